#!/usr/bin/env python3
"""Makes preprocess.safetensors of this folder with MONAI, nnU-Net, SciPy and numpy. Run it by hand, and commit what it writes;
the same versions write the same bytes:

    python3 tests/parity/make_preprocess_fixtures.py     needs monai, nnunetv2, scipy, scikit-image, numpy, safetensors

Arrays are volumes in the order z, y, x, as ctseg has them in memory; NAME.affine is a 4 x 4 affine (RAS) of voxel indices x, y,
z. What goes in is small whole numbers, what comes out is rounded to float. The versions are in the metadata, under "made_with".
"""
import os
import platform

import batchgenerators
import monai
import numpy as np
import safetensors
import scipy
import skimage
import torch
from importlib.metadata import version
from monai.data import MetaTensor
from monai.transforms import (CropForeground, NormalizeIntensity, Orientation, Resize, ScaleIntensity, ScaleIntensityRange,
                              Spacing, SpatialPad)
from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero
from nnunetv2.preprocessing.normalization.default_normalization_schemes import CTNormalization, ZScoreNormalization
from nnunetv2.preprocessing.resampling import default_resampling
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape, resample_data_or_seg_to_shape
from safetensors.numpy import save_file
from scipy import ndimage
from skimage.transform import resize

HERE = os.path.dirname(os.path.abspath(__file__))
MADE_WITH = ", ".join([f"monai {monai.__version__}", f"torch {torch.__version__}", f"nnunetv2 {version('nnunetv2')}",
                       f"batchgenerators {version('batchgenerators')}", f"scipy {scipy.__version__}",
                       f"scikit-image {skimage.__version__}", f"numpy {np.__version__}",
                       f"safetensors {safetensors.__version__}", f"python {platform.python_version()}"])

rng = np.random.default_rng(7)
out = {}


def keep(name, array):
    out[name] = np.ascontiguousarray(array)


def smooth(shape, low, high):
    """Whole numbers that vary as tissue does, with noise on top."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape), 1.2)
    field = (field - field.min()) / (field.max() - field.min())
    return np.clip(np.round(low + (high - low) * field + rng.normal(0, 20, shape)), low, high)


def turned(spacing, origin):
    """An oblique affine whose first axis points left."""
    a, b = 0.3, -0.2
    ry = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    rz = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    m = np.eye(4)
    m[:3, :3] = rz @ ry @ np.diag([-spacing[0], spacing[1], spacing[2]])
    m[:3, 3] = origin
    return m


def ties(labels, shape):
    """How many voxels two labels share but for rounding, which then decides in batchgenerators."""
    each = [resize((labels == c).astype(float), shape, 1, mode="edge", clip=True, anti_aliasing=False)
            for c in np.unique(labels)]
    first, second = np.sort(np.stack(each), 0)[-2:][::-1]
    return np.sum(first - second < 1e-9)


def settled_labels():
    """Labels that are nowhere tied in what nnU-Net's cases below do: in 3-D, and slice by slice."""
    while True:
        labels = (smooth((7, 9, 11), 0, 80) // 19).astype(np.uint8)
        slices = sum(ties(s, (11, 13)) + ties(s, (7, 11)) for s in labels)
        if ties(labels, (13, 11, 13)) + ties(labels, (13, 13, 13)) + slices == 0:
            return labels


# MONAI has x, y, z behind a channel
def there(volume, affine):
    return MetaTensor(torch.from_numpy(volume.T[None].astype(np.float32)), affine=torch.from_numpy(affine))


def back(name, tensor, dtype=np.float32):
    keep(name, np.asarray(tensor)[0].T.astype(dtype))
    keep(name + ".affine", np.asarray(tensor.affine, dtype=np.float64))


ct, affine = smooth((7, 9, 11), -1000, 1000), turned((0.8, 0.9, 2.5), (10, -20, 30))
labels = settled_labels()
keep("ct", ct.astype(np.float16))
keep("labels", labels)
keep("ct.affine", affine)
image, mask = there(ct, affine), there(labels, affine)

for codes in ("RAS", "PIR", "LPS"):
    back("orientation." + codes, Orientation(axcodes=codes)(image))
for name, mm in (("coarse", (1.31, 1.7, 3.1)), ("fine", (0.55, 0.63, 1.1))):
    back("spacing." + name, Spacing(pixdim=mm, mode="bilinear")(image))
    back("spacing_labels." + name, Spacing(pixdim=mm, mode="nearest")(mask), np.uint8)
for mode in ("trilinear", "area", "nearest"):
    for name, size in (("small", (5, 6, 4)), ("mixed", (13, 7, 12))):
        back(f"resize.{mode}.{name}", Resize(size, mode=mode)(image))
back("pad.constant", SpatialPad((14, 9, 10), value=-5)(image))
back("pad.edge", SpatialPad((14, 12, 10), mode="edge")(image))
body = np.zeros_like(ct)
body[2:5, 3:8, 1:9] = ct[2:5, 3:8, 1:9] + 1001
keep("body", body.astype(np.float16))
box = there(body, affine)
back("foreground.plain", CropForeground()(box))
back("foreground.margin", CropForeground(select_fn=lambda x: x > 700, margin=(2, 3, 4), k_divisible=4)(box))
back("foreground.smaller", CropForeground(margin=4, allow_smaller=True)(box))
back("range", ScaleIntensityRange(-160, 240, -1, 2)(image))
back("range.clip", ScaleIntensityRange(-160, 240, 0, 1, clip=True)(image))
back("range.flat", ScaleIntensityRange(40, 40, 3, 5)(image))
back("scale", ScaleIntensity(-1, 3)(image))
back("normalize", NormalizeIntensity()(image))
back("normalize.nonzero", NormalizeIntensity(nonzero=True)(box))
back("normalize.given", NormalizeIntensity(subtrahend=70.5, divisor=130.25)(image))

# SciPy and numpy
keep("percentiles", np.percentile(ct, [0, 0.5, 12.3, 50, 99.5, 100]))
keep("zoom3", ndimage.zoom(ct, (10 / 7, 5 / 9, 16 / 11), order=3, mode="nearest", grid_mode=True).astype(np.float32))
at = np.linalg.inv(affine) @ turned((1.1, 0.7, 1.9), (11, -18, 34)) @ np.array(
    [[0.9, -0.3, 0.1, 0], [0.3, 0.9, 0.2, 0], [-0.1, -0.2, 0.95, 0], [0, 0, 0, 1]])
keep("oblique.affine", affine @ at)
grid = np.stack(np.meshgrid(np.arange(8), np.arange(9), np.arange(6), indexing="ij"), -1) @ at[:3, :3].T + at[:3, 3]
for order in (1, 3):
    keep(f"oblique{order}", ndimage.map_coordinates(ct.T, np.moveaxis(grid, -1, 0), order=order,
                                                    mode="nearest").T.astype(np.float32))

# nnU-Net has z, y, x behind a channel, and spacings in that order; odd extents have no linear weight of exactly a half
by_argmax = default_resampling.resize_segmentation


def at_least_half(segmentation, new_shape, order):
    """The rule of batchgenerators up to 0.25.1: every label on its own, in ascending order, where it has a half or more."""
    result = np.zeros(new_shape)
    for label in np.unique(segmentation):
        share = resize((segmentation == label).astype(float), new_shape, order, mode="edge", clip=True, anti_aliasing=False)
        result[share >= 0.5] = label
    return result


for name, old, new in (("even", (2.0, 0.9, 0.8), (1.08, 0.75, 0.68)), ("thick", (4.0, 0.9, 0.8), (2.2, 0.75, 0.68)),
                       ("thin", (2.0, 0.9, 0.8), (5.1, 1.3, 0.9)), ("two", (4.0, 4.0, 0.8), (2.2, 2.8, 0.68))):
    shape = compute_new_shape(ct.shape, old, new)
    how = {"new_shape": shape, "current_spacing": old, "new_spacing": new, "order_z": 0, "force_separate_z": None}
    keep(f"nnunet.{name}.spacings", np.array([old, new], dtype=np.float64))
    for kind, array, order in (("image", ct, 3), ("labels_most", labels, 1), ("labels", labels, 1), ("logits", ct, 1)):
        default_resampling.resize_segmentation = at_least_half if kind == "labels" else by_argmax
        y = resample_data_or_seg_to_shape(array[None].astype(np.float32), is_seg="labels" in kind, order=order, **how)[0]
        keep(f"nnunet.{name}.{kind}", y.astype(np.uint8 if "labels" in kind else np.float32))
hollow = body.copy()
hollow[3, 5, 4] = 0
keep("hollow", hollow.astype(np.float16))
cropped, seg, found = crop_to_nonzero(hollow[None].astype(np.float32))
keep("nonzero.box", np.array(found, dtype=np.float64))
keep("nonzero.mask", (seg[0] >= 0).astype(np.uint8))
zscore = ZScoreNormalization(use_mask_for_norm=True, intensityproperties={})
keep("nonzero.zscore", zscore.run(cropped[0].copy(), seg[0]).astype(np.float32))
foreground = ct[labels > 0]
numbers = {"mean": float(np.mean(foreground)), "std": float(np.std(foreground)),
           "percentile_00_5": float(np.percentile(foreground, 0.5)), "percentile_99_5": float(np.percentile(foreground, 99.5))}
keep("fingerprint", np.array([numbers["mean"], numbers["std"], numbers["percentile_00_5"], numbers["percentile_99_5"],
                              np.median(foreground), np.min(foreground), np.max(foreground)], dtype=np.float64))
keep("nnunet.ct", CTNormalization(intensityproperties=numbers).run(ct.astype(np.float32).copy()).astype(np.float32))

path = os.path.join(HERE, "preprocess.safetensors")
save_file(out, path, metadata={"made_with": MADE_WITH})
os.chmod(path, 0o644)
print(len(out), "arrays,", os.path.getsize(path), "bytes;", MADE_WITH)
