#!/usr/bin/env python3
"""MONAI's bundles spleen_ct_segmentation and wholeBody_ct_segmentation with random weights: what examples/recipes says of them
(monai_spleen_ct.json, monai_whole_body_ct.json) must do the same.

    python3 tests/parity/monai_bundles.py                     writes monai_bundles.safetensors, for tests/recipe: small networks
                                                              and windows on a phantom. Commit it; the same versions write the
                                                              same bytes
    python3 tests/parity/monai_bundles.py CTSEG SCAN          as published, on a real CT: runs `CTSEG segment` beside MONAI and
                                                              prints Dice of each label, seconds and memory of both. With
                                                              SHRINK=2 each axis has half the windows' worth of voxels

Needs monai, nibabel, torch, safetensors. Weights are drawn from a seed, batch norm's statistics are those of the first window:
so logits are spread, and labels are many small islands, which is harder than organs are. The scan of the fixture is in the
order z, y, x; probabilities are every STRIDE-th, of label 1.
"""
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time

import monai
import nibabel
import numpy as np
import torch
from monai.data import decollate_batch, list_data_collate
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import SegResNet, UNet
from monai.transforms import (Activationsd, AsDiscreted, Compose, EnsureChannelFirstd, EnsureTyped, Invertd, LoadImaged,
                              NormalizeIntensityd, Orientationd, ScaleIntensityd, ScaleIntensityRanged, Spacingd)
from safetensors.numpy import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
STRIDE = 5
KEY = "image"
torch.manual_seed(0)   # what initialises biases


class Bundle:
    def __init__(self, name, network, steps, inferer, post):
        self.name, self.network, self.steps, self.inferer, self.post = name, network, steps, inferer, post

    def prepare_weights(self, path, seed):
        """Random, with batch norm as after training on this scan."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, p in self.network.named_parameters():
                bound = 1 / np.sqrt(p[0].numel()) if p.ndim > 1 else 0.1
                p.copy_((torch.rand(p.shape, generator=generator) * 2 - 1) * bound * 1.7 + (p.ndim == 1) * p)
            x = self.before()({KEY: path})[KEY][None]
            x = x[..., :self.inferer.roi_size[0], :self.inferer.roi_size[1], :self.inferer.roi_size[2]]
            pads = [n for r, n in zip(self.inferer.roi_size[::-1], x.shape[:1:-1]) for n in (0, r - n)]
            self.network.train()(torch.nn.functional.pad(x.as_tensor(), pads))
            for name, buffer in self.network.named_buffers():
                if name.endswith("running_mean"):
                    buffer *= 10   # one batch moved them by a tenth
            for value in self.network.state_dict().values():
                if value.ndim:
                    value.copy_(value.half())   # as they are stored
        self.network.eval()

    def before(self):
        return Compose([LoadImaged(KEY), EnsureChannelFirstd(KEY), Orientationd(KEY, axcodes="RAS")] + self.steps +
                       [EnsureTyped(KEY)])

    def run(self, path):
        """Labels, and probabilities where they came back to the scan's grid, both x, y, z."""
        before = self.before()
        with torch.no_grad():
            item = before({KEY: path})
            item = list_data_collate([item])
            item["pred"] = self.inferer(item[KEY], self.network)
            item = decollate_batch(item)[0]
            first, kept = self.post[0](item), None
            for transform in self.post[1:]:
                transform = transform(before) if callable(transform) and transform in (back_linear, back_nearest) else transform
                first = transform(first)
                if transform.__class__ is Invertd and first["pred"].shape[0] > 1:
                    kept = np.asarray(first["pred"])
        return np.asarray(first["pred"])[0].astype(np.uint8), kept


def back_linear(before):
    return Invertd("pred", transform=before, orig_keys=KEY, nearest_interp=False)


def back_nearest(before):
    return Invertd("pred", transform=before, orig_keys=KEY, nearest_interp=True)


SOFTMAX, ARGMAX = Activationsd("pred", softmax=True), AsDiscreted("pred", argmax=True)


def spleen(channels=(16, 32, 64, 128, 256), window=96):
    return Bundle("monai_spleen_ct",
                  UNet(spatial_dims=3, in_channels=1, out_channels=2, channels=channels, strides=[2] * (len(channels) - 1),
                       num_res_units=2, norm="batch"),
                  [Spacingd(KEY, pixdim=(1.5, 1.5, 2.0), mode="bilinear"),
                   ScaleIntensityRanged(KEY, a_min=-57, a_max=164, b_min=0, b_max=1, clip=True)],
                  SlidingWindowInferer(roi_size=[window] * 3, sw_batch_size=4, overlap=0.5),
                  [SOFTMAX, back_linear, ARGMAX])


def whole_body(classes=105, filters=32, blocks=(1, 2, 2, 4), window=96):
    return Bundle("monai_whole_body_ct",
                  SegResNet(spatial_dims=3, in_channels=1, out_channels=classes, init_filters=filters, blocks_down=blocks,
                            blocks_up=[1] * (len(blocks) - 1), dropout_prob=0.2),
                  [Spacingd(KEY, pixdim=(1.5, 1.5, 1.5), mode="bilinear"), NormalizeIntensityd(KEY, nonzero=True),
                   ScaleIntensityd(KEY, minv=-1.0, maxv=1.0)],
                  SlidingWindowInferer(roi_size=[window] * 3, sw_batch_size=1, overlap=0.25, padding_mode="replicate",
                                       mode="gaussian"),
                  [SOFTMAX, ARGMAX, back_nearest])


def phantom(path):
    """A body of oblique, unequal voxels, stored front to back and upside down.

    The affine's numbers are exact in float, as files have them. Where they are not, MONAI's Spacing finds no corner that stays
    (its test is 1e-8 mm) and puts centre on centre, up to half a voxel beside where it puts exact ones; ctseg always keeps the
    corner."""
    rng = np.random.default_rng(3)
    shape, spacing = (40, 36, 18), (2.0, 2.5, 5.0)   # no voxel of the way back lies half-way between two
    x, y, z = np.meshgrid(*[np.arange(n) * s for n, s in zip(shape, spacing)], indexing="ij")
    size = [n * s for n, s in zip(shape, spacing)]
    body = ((x / size[0] - 0.5) / 0.45) ** 2 + ((y / size[1] - 0.5) / 0.4) ** 2 < 1
    tissue = 50 + 70 * np.sin(x / 9) * np.cos(y / 11) + 50 * np.sin(z / 8 + x / 17)
    ct = np.where(body, tissue + rng.normal(0, 12, shape), -1000)
    turn = np.array([[0, -0.8, 0.6], [1, 0, 0], [0, 0.6, 0.8]]) @ np.diag([-1, 1, -1])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn @ np.diag(spacing), (30, -12, 200)
    # Tissue is never 0: NormalizeIntensity leaves a 0 as it is, and MONAI's resampling makes 1e-6 of some.
    ct = np.where(ct > -500, np.maximum(np.round(ct), 12), -1000)
    nibabel.save(nibabel.Nifti1Image(ct.astype(np.int16), affine), path)
    return nibabel.load(path)


def make_fixture():
    out = {}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "ct.nii.gz")
        scan = phantom(path)
        out["ct"] = np.ascontiguousarray(np.asarray(scan.dataobj).T.astype(np.float16))
        out["affine"] = np.asarray(scan.affine, dtype=np.float64)
        for bundle in (spleen((4, 8, 8, 16), 32), whole_body(4, 8, (1, 1, 1), 32)):
            bundle.prepare_weights(path, 5)
            labels, probabilities = bundle.run(path)
            print(bundle.name, dict(zip(*map(np.ndarray.tolist, np.unique(labels, return_counts=True)))))
            out[bundle.name + ".labels"] = np.ascontiguousarray(labels.T)
            if probabilities is not None:
                flat = probabilities[1].T.reshape(-1)
                out[bundle.name + ".probability"] = np.ascontiguousarray(flat[::STRIDE].astype(np.float32))
            for name, value in bundle.network.state_dict().items():
                if value.ndim:
                    out[f"{bundle.name}.weights.{name}"] = value.half().numpy()
    made_with = f"monai {monai.__version__}, torch {torch.__version__}, nibabel {nibabel.__version__}, " \
                f"numpy {np.__version__}, python {platform.python_version()}"
    path = os.path.join(HERE, "monai_bundles.safetensors")
    save_file(out, path, metadata={"made_with": made_with, "stride": str(STRIDE)})
    os.chmod(path, 0o644)
    print(os.path.getsize(path), "bytes;", made_with)


def compare(program, scan, shrink):
    recipes = os.path.join(HERE, "..", "..", "examples", "recipes")
    worst = 1.0
    with tempfile.TemporaryDirectory() as folder:
        if shrink > 1:   # fewer voxels of the same size
            whole = nibabel.load(scan)
            part = whole.slicer[tuple(slice(n // 2 - n // shrink // 2, n // 2 + n // shrink // 2) for n in whole.shape)]
            scan = os.path.join(folder, "part.nii.gz")
            nibabel.save(part, scan)
        for bundle in (spleen(), whole_body()):
            bundle.prepare_weights(scan, 7)
            model, out = os.path.join(folder, bundle.name + ".pt"), os.path.join(folder, bundle.name + ".nii.gz")
            torch.save(bundle.network.state_dict(), model)
            recipe = os.path.join(recipes, bundle.name + ".json")
            subprocess.run([program, "segment", scan, "-m", model, "--recipe", recipe, "-o", out, "--quiet", "--accuracy",
                            "strict", "--threads", str(torch.get_num_threads())], check=True)
            own_memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
            start = time.time()
            labels, _ = bundle.run(scan)
            seconds = time.time() - start
            found = nibabel.load(out)
            mask = np.asarray(found.dataobj)
            assert mask.shape == labels.shape and np.allclose(found.affine, nibabel.load(scan).affine, atol=1e-4)
            dice = [2 * np.sum((labels == c) & (mask == c)) / (np.sum(labels == c) + np.sum(mask == c))
                    for c in np.union1d(labels, mask)]
            worst = min(worst, min(dice))
            print(f"{bundle.name}: {len(dice)} labels, Dice from {min(dice):.6f}, mean {np.mean(dice):.6f}, "
                  f"{np.sum(labels != mask)} of {mask.size} voxels differ; MONAI {seconds:.1f} s in "
                  f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB, ctseg in {own_memory / 1e6:.1f} GB")
    return 0 if worst >= 0.999 else 1


if __name__ == "__main__":
    if len(sys.argv) == 1:
        make_fixture()
    else:
        sys.exit(compare(sys.argv[1], sys.argv[2], int(os.environ.get("SHRINK", 1))))
