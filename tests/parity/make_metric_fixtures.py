#!/usr/bin/env python3
"""Makes metrics.safetensors of this folder with MONAI, surface-distance (DeepMind), SciPy, scikit-image and NumPy. Run it once,
by hand, and commit what it writes:

    python3 tests/parity/make_metric_fixtures.py     needs torch, monai, surface-distance, scipy, scikit-image, safetensors

200 pairs of masks: noise, blobs, shifted blobs, single voxels, full ones, empty ones, odd sizes, anisotropic spacing; the last
40 are one slice and are measured as pictures. Masks lie behind each other, eight voxels a byte, each from a new byte on. Rows of
"scores" are pairs, columns are COLUMNS. Probabilities, and a table of detections, follow.
"""
import os
import platform
import warnings

import numpy as np
import scipy
import skimage
import torch
from safetensors.numpy import save_file
from scipy import ndimage as ndi
from skimage.morphology import skeletonize

np.Inf, np.NaN = np.inf, np.nan   # surface-distance is older than NumPy 2
ndi.filters = ndi.morphology = ndi
import monai  # noqa: E402
import surface_distance as deepmind  # noqa: E402
from monai.metrics import (CalibrationErrorMetric, compute_average_surface_distance, compute_dice,  # noqa: E402
                           compute_hausdorff_distance, compute_iou, compute_surface_dice, get_confusion_matrix)
from monai.metrics.confusion_matrix import compute_confusion_matrix_metric  # noqa: E402
from monai.metrics.utils import get_edge_surface_distance  # noqa: E402

warnings.filterwarnings("ignore")
HERE = os.path.dirname(os.path.abspath(__file__))
PAIRS, FLAT = 200, 40
COLUMNS = ("dice_nan dice_one iou_nan sensitivity specificity precision accuracy hd hd95 asd assd nsd "
           "deepmind_hd deepmind_hd95 deepmind_to_truth deepmind_to_prediction deepmind_nsd pooled95 hd50 cldice").split()
rng = np.random.default_rng(11)


def blobs(shape, level):
    field = ndi.gaussian_filter(rng.standard_normal(shape), [min(1.5, n / 4) for n in shape], mode="wrap")
    return field > np.quantile(field, level)


def make(i, shape):
    kind = i % 10
    if kind == 0:
        pair = rng.random(shape) < 0.3, rng.random(shape) < 0.3
    elif kind in (1, 2, 3):
        a = blobs(shape, rng.uniform(0.5, 0.95))
        pair = a, np.roll(a, rng.integers(0, 4, len(shape)), range(len(shape)))
    elif kind in (4, 5):
        pair = blobs(shape, 0.8), blobs(shape, 0.7)
    elif kind == 6:
        a = blobs(shape, 0.6)
        pair = a, ndi.binary_dilation(a)
    elif kind == 7:
        a, b = np.zeros(shape, bool), np.zeros(shape, bool)
        a[tuple(rng.integers(0, n) for n in shape)] = True
        b[tuple(rng.integers(0, n) for n in shape)] = True
        pair = a, b
    elif kind == 8:
        pair = np.ones(shape, bool), blobs(shape, 0.4)
    else:
        empty = np.zeros(shape, bool)
        pair = [(empty, blobs(shape, 0.7)), (blobs(shape, 0.7), empty), (empty, empty),
                (np.ones(shape, bool), np.ones(shape, bool))][i // 10 % 4]
    return pair


def edges(mask):
    return ndi.binary_erosion(mask) ^ mask


def pooled(a, b, spacing):
    a, b = edges(a), edges(b)
    if not a.any() or not b.any():
        return np.nan if not a.any() and not b.any() else np.inf
    return np.percentile(np.concatenate([ndi.distance_transform_edt(~b, spacing)[a], ndi.distance_transform_edt(~a, spacing)[b]]), 95)


def cldice(p, t, skeleton_p, skeleton_t):
    if not skeleton_p.any() or not skeleton_t.any():
        return np.nan
    precision, sensitivity = (skeleton_p & t).sum() / skeleton_p.sum(), (skeleton_t & p).sum() / skeleton_t.sum()
    return 2 * precision * sensitivity / (precision + sensitivity) if precision + sensitivity else 0.0


def score(p, t, spacing, tolerance):
    tp, tt = torch.from_numpy(p)[None, None].float(), torch.from_numpy(t)[None, None].float()
    whole = {"include_background": True, "spacing": list(spacing)}
    counts = get_confusion_matrix(tp, tt)
    rates = [float(compute_confusion_matrix_metric(n, counts)) for n in ("sensitivity", "specificity", "precision", "accuracy")]
    out = [float(compute_dice(tp, tt)), float(compute_dice(tp, tt, ignore_empty=False)), float(compute_iou(tp, tt)), *rates]
    out += [float(compute_hausdorff_distance(tp, tt, **whole)), float(compute_hausdorff_distance(tp, tt, percentile=95, **whole)),
            float(compute_average_surface_distance(tp, tt, **whole)),
            float(compute_average_surface_distance(tp, tt, symmetric=True, **whole)),
            float(compute_surface_dice(tp, tt, [tolerance], **whole))]
    d = deepmind.compute_surface_distances(t, p, spacing)
    to_prediction, to_truth = deepmind.compute_average_surface_distance(d)
    nsd = deepmind.compute_surface_dice_at_tolerance(d, tolerance)
    theirs = float(compute_surface_dice(tp, tt, [tolerance], use_subvoxels=True, **whole))
    assert np.isclose(nsd, theirs, rtol=1e-5, equal_nan=True), (nsd, theirs)   # MONAI's use_subvoxels is DeepMind's
    if not len(d["distances_gt_to_pred"]) and not len(d["distances_pred_to_gt"]):
        hd = hd95 = np.nan   # its code says infinity for two empty masks; the mean distances say NaN, as MONAI does
    else:
        hd, hd95 = deepmind.compute_robust_hausdorff(d, 100), deepmind.compute_robust_hausdorff(d, 95)
    if p.any() != t.any():   # its means are 0/0 for the empty side
        to_truth = to_prediction = np.inf
    out += [hd, hd95, to_truth, to_prediction, nsd, pooled(p, t, spacing)]
    out += [float(compute_hausdorff_distance(tp, tt, percentile=50, **whole))]
    if p.any() != t.any():   # between two infinities torch.quantile finds NaN, and infinity where it need not look between
        assert all(np.isinf(out[k]) or np.isnan(out[k]) for k in (8, 18)) and np.isinf(out[7])
        out[8] = out[18] = np.inf
    elif p.any():   # it has the rank in float, which is 1e-6 off; NumPy's rule on the same distances
        _, both, _ = get_edge_surface_distance(tp[0, 0], tt[0, 0], spacing=list(spacing), symmetric=True)
        for k, percent in ((8, 95), (18, 50)):
            exact = max(np.percentile(d.numpy().astype(np.float64), percent) for d in both)
            assert np.isclose(out[k], exact, rtol=1e-5), (out[k], exact)
            out[k] = exact
    lines = [np.asarray(skeletonize(m, method="lee")).astype(bool) for m in (p, t)]
    return out + [cldice(p, t, *lines)], lines[0]


def detections():
    """LUNA16's rules in another way than the library: for every threshold all candidates are looked at again."""
    scans = 12
    nodules = [(s, *rng.uniform(-50, 50, 3), rng.uniform(4, 30)) for s in rng.integers(0, scans - 2, 15)]
    excluded = [(s, *rng.uniform(-50, 50, 3), rng.choice([-1.0, 14.0])) for s in rng.integers(0, scans, 10)]
    found = []
    for s, x, y, z, d in nodules[:12] + excluded[:6]:
        for _ in range(rng.integers(0, 4)):
            found.append((s, *(np.array([x, y, z]) + rng.normal(0, abs(d) / 5, 3)), round(rng.random(), 2)))
    found += [(s, *rng.uniform(-50, 50, 3), round(rng.random() ** 2, 2)) for s in rng.integers(0, scans, 170)]
    nodules, excluded, found = (np.array(a, np.float64) for a in (nodules, excluded, found))
    limit = 12
    kept = np.ones(len(found), bool)
    for s in range(scans):
        of_scan = np.flatnonzero(found[:, 0] == s)
        if len(of_scan) > limit:
            kept[of_scan] = found[of_scan, 4] > np.sort(found[of_scan, 4])[::-1][limit]
    kept = found[kept]

    def hit(candidates, things):
        radius = np.where(things[:, 4] < 0, 10, things[:, 4]) / 2
        gap = ((candidates[:, None, 1:4] - things[None, :, 1:4]) ** 2).sum(-1)
        return (gap < radius ** 2) & (candidates[:, None, 0] == things[None, :, 0])

    on_nodule, on_excluded = hit(kept, nodules), hit(kept, excluded)
    alarm = ~on_nodule.any(1) & ~on_excluded.any(1)
    thresholds = np.unique(kept[alarm | on_nodule.any(1), 4])[::-1]
    fps = [0.0] + [(alarm & (kept[:, 4] >= t)).sum() / scans for t in thresholds]
    sens = [0.0] + [(on_nodule & (kept[:, 4:] >= t)).any(0).sum() / len(nodules) for t in thresholds]
    at = np.interp([0.125, 0.25, 0.5, 1, 2, 4, 8], fps, sens)
    return {"froc.nodules": nodules, "froc.excluded": excluded, "froc.candidates": found,
            "froc.sensitivity": np.append(at, at.mean()), "froc.shape": np.array([scans, limit], np.int32)}


masks, skeletons, rows, shapes, spacings, tolerances = [], [], [], [], [], []
for i in range(PAIRS):
    flat = i >= PAIRS - FLAT
    shape = tuple(int(n) for n in (rng.integers(5, 22, 2) if flat else rng.integers(3, 15, 3)))
    spacing = tuple(np.round(rng.uniform(0.5, 3.0, len(shape)), 3)) if i % 4 else (1.0,) * len(shape)
    tolerance = float(np.round(rng.uniform(0.3, 4), 4)) if i % 4 else float(rng.integers(0, 4))
    p, t = make(i, shape)
    row, line = score(p, t, spacing, tolerance)
    masks += [np.packbits(p.ravel()), np.packbits(t.ravel())]
    skeletons.append(np.packbits(line.ravel()))
    rows.append(row)
    shapes.append((1,) * flat + shape)
    spacings.append((1.0,) * flat + spacing)
    tolerances.append(tolerance)

probability = rng.random(3000).astype(np.float32)
truth = rng.random(3000) < probability ** 1.5
calibration = CalibrationErrorMetric(num_bins=15, include_background=True, calibration_reduction="expected")
calibration(torch.from_numpy(probability)[None, None], torch.from_numpy(truth)[None, None].float())
confidence, right = np.maximum(probability, 1 - probability), (probability >= 0.5) == truth
place = np.ceil(confidence.astype(np.float64) * 15).astype(int)
guo = sum((place == b).mean() * abs(confidence[place == b].mean(dtype=np.float64) - right[place == b].mean())
          for b in np.unique(place))
p64 = probability.astype(np.float64)

out = {"masks": np.concatenate(masks), "skeletons": np.concatenate(skeletons), "scores": np.array(rows, np.float64),
       "shapes": np.array(shapes, np.int32), "spacings": np.array(spacings, np.float64),
       "tolerances": np.array(tolerances, np.float64), "probability": probability, "truth": truth.astype(np.uint8),
       "calibration": np.array([float(calibration.aggregate()), guo, ((p64 - truth) ** 2).mean(),
                                -np.log(np.where(truth, p64, 1 - p64)).mean()]), **detections()}
versions = (f"monai {monai.__version__}, surface-distance 0.1, numpy {np.__version__}, scipy {scipy.__version__}, "
            f"scikit-image {skimage.__version__}, torch {torch.__version__.split('+')[0]}, Python {platform.python_version()}")
path = os.path.join(HERE, "metrics.safetensors")
save_file(out, path, {"made_with": versions, "columns": " ".join(COLUMNS)})
os.chmod(path, 0o644)
print(os.path.getsize(path), "bytes,", versions)
