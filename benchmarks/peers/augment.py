#!/usr/bin/env python3
"""MONAI's and nnU-Net's augmentation of one 128^3 patch on one thread, beside ctseg's in the same run:

    python3 benchmarks/peers/augment.py build/release/bin/ctseg_bench_augment      needs monai, batchgeneratorsv2, torch, numpy

Image and labels are those of benchmarks/bench_augment.cpp. Single transforms fire always, recipes with their probabilities.
"""
import os
import subprocess
import sys
import time
from importlib.metadata import version

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import torch
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from monai import transforms as M

torch.set_num_threads(1)
RUNS = int(os.environ.get("CTSEG_BENCH_RUNS", 15))
SOURCE, PATCH, CORNER = 205, 128, 38
BOTH, MODES = ["image", "label"], ("bilinear", "nearest")
TURN, TENTH, FIFTEEN = np.pi / 6, 0.1, np.pi / 12

axis = np.arange(SOURCE)
value = (np.sin(axis / 9)[:, None, None] * np.cos(axis / 11)[None, :, None] + np.sin(axis / 7)[None, None]).astype(np.float32)
source_image = torch.from_numpy(value)[None]
source_label = torch.from_numpy((value > 1).astype(np.int16) + (value > 0.5))[None]
box = (slice(None),) + (slice(CORNER, CORNER + PATCH),) * 3
image, label = source_image[box].contiguous(), source_label[box].contiguous()


def measure(f, make, runs):
    cpu, wall = [], []
    for run in range(runs + 1):
        x = make()
        w, c = time.perf_counter(), time.process_time()
        f(x)
        c, w = time.process_time() - c, time.perf_counter() - w
        if run:
            cpu.append(c * 1e3)
            wall.append(w * 1e3)
    return np.median(cpu), np.median(wall), np.mean(cpu)


def monai(transform, runs=RUNS):
    return measure(transform, lambda: {"image": image.clone(), "label": label.float()}, runs)


def nnunet(transform, from_source=False, runs=RUNS):
    def make():
        return ({"image": source_image.clone(), "segmentation": source_label.clone()} if from_source else
                {"image": image.clone(), "segmentation": label.clone()})
    return measure(lambda d: transform(**d), make, runs)


def spatial(p):
    return SpatialTransform((PATCH,) * 3, 0, False, p_rotation=p, rotation=(-TURN, TURN), p_scaling=p, scaling=(0.7, 1.4),
                            p_synchronize_scaling_across_axes=1, bg_style_seg_sampling=False)


noise, blur = GaussianNoiseTransform((0, 0.1), 1, True), GaussianBlurTransform((0.5, 1.0), False, False, 1, benchmark=True)
bright = MultiplicativeBrightnessTransform(BGContrast((0.75, 1.25)), False, 1)
contrast = ContrastTransform(BGContrast((0.75, 1.25)), True, False, 1)
lowres = SimulateLowResolutionTransform((0.5, 1), False, True, None, None, 1)
gamma = GammaTransform(BGContrast((0.7, 1.5)), 0, False, 1, 1)
nnunet_recipe = ComposeTransforms([
    spatial(0.2), RandomTransform(noise, 0.1),
    RandomTransform(GaussianBlurTransform((0.5, 1.0), False, False, 0.5, benchmark=True), 0.2),
    RandomTransform(bright, 0.15), RandomTransform(contrast, 0.15),
    RandomTransform(SimulateLowResolutionTransform((0.5, 1), False, True, None, None, 0.5), 0.25),
    RandomTransform(GammaTransform(BGContrast((0.7, 1.5)), 1, False, 1, 1), 0.1), RandomTransform(gamma, 0.3),
    MirrorTransform((0, 1, 2))])
affine = dict(scale_range=(TENTH,) * 3, mode=MODES)
lung = M.Compose([
    M.RandRotate90d(BOTH, 0.5, spatial_axes=(1, 2)), *[M.RandFlipd(BOTH, 0.5, a) for a in range(3)],
    M.RandGaussianNoised(["image"], 0.3, std=0.05), M.RandScaleIntensityd(["image"], 0.1, 0.3),
    M.RandShiftIntensityd(["image"], 0.1, prob=0.3), M.RandAffined(BOTH, prob=0.3, rotate_range=(FIFTEEN,) * 3, **affine)])
coronary = M.Compose([
    M.RandRotated(BOTH, TURN, TURN, TURN, 0.3, mode=MODES), *[M.RandFlipd(BOTH, 0.3, a) for a in range(3)],
    M.RandZoomd(BOTH, 0.3, 0.9, 1.1, mode=("area", "nearest")),
    M.RandAffined(BOTH, prob=0.3, rotate_range=(FIFTEEN,) * 3, **affine),
    M.RandAdjustContrastd(["image"], 0.3, (0.7, 1.5)), M.RandScaleIntensityd(["image"], 0.1, 0.3),
    M.RandGaussianNoised(["image"], 0.3, std=0.05)])

CASES = {
    "RandRotate90": lambda: monai(M.RandRotate90d(BOTH, 1, spatial_axes=(1, 2))),
    "RandFlip": lambda: monai(M.RandFlipd(BOTH, 1, 2)),
    "RandRotate": lambda: monai(M.RandRotated(BOTH, TURN, TURN, TURN, 1, mode=MODES)),
    "RandZoom": lambda: monai(M.RandZoomd(BOTH, 1, 0.9, 1.1, mode=("area", "nearest"))),
    "RandAffine": lambda: monai(M.RandAffined(BOTH, prob=1, rotate_range=(TURN,) * 3, **affine)),
    "Rand3DElastic": lambda: monai(M.Rand3DElasticd(BOTH, (5, 7), (50, 150), prob=1, mode=MODES), min(RUNS, 5)),
    "RandGaussianNoise": lambda: monai(M.RandGaussianNoised(["image"], 1)),
    "RandGaussianSmooth": lambda: monai(M.RandGaussianSmoothd(["image"], prob=1)),
    "RandScaleIntensity": lambda: monai(M.RandScaleIntensityd(["image"], 0.1, 1)),
    "RandShiftIntensity": lambda: monai(M.RandShiftIntensityd(["image"], 0.1, prob=1)),
    "RandAdjustContrast": lambda: monai(M.RandAdjustContrastd(["image"], 1)),
    "recipe lung nodules": lambda: monai(lung, 8 * RUNS),
    "recipe coronaries": lambda: monai(coronary, 8 * RUNS),
    "SpatialTransform": lambda: nnunet(spatial(1), True),
    "GaussianNoiseTransform": lambda: nnunet(noise),
    "GaussianBlurTransform": lambda: nnunet(blur),
    "MultiplicativeBrightnessTransform": lambda: nnunet(bright),
    "ContrastTransform": lambda: nnunet(contrast),
    "SimulateLowResolutionTransform": lambda: nnunet(lowres),
    "GammaTransform": lambda: nnunet(gamma),
    "MirrorTransform": lambda: nnunet(MirrorTransform((0, 1, 2))),
    "recipe nnU-Net": lambda: nnunet(nnunet_recipe, True, 8 * RUNS),
}
print(", ".join(f"{n} {version(n)}" for n in ("torch", "monai", "batchgeneratorsv2")), f"; one thread, median of {RUNS} runs")
ours = {}
for line in subprocess.run([sys.argv[1]], capture_output=True, text=True, check=True).stdout.splitlines()[1:]:
    ours[line[:36].strip()] = [float(v) for v in line[36:].split()]
print(f"{'':36}|{'theirs, ms':^30}|{'ctseg, ms':^30}| ratio of CPU time\n"
      f"{'128^3 voxels':36}|{'cpu':>10}{'wall':>10}{'mean cpu':>10}|{'cpu':>10}{'wall':>10}{'mean cpu':>10}|")
for name, run in CASES.items():
    a, b = run(), ours[name]
    which = 2 if name.startswith("recipe") else 0
    print(f"{name:36}|{a[0]:10.2f}{a[1]:10.2f}{a[2]:10.2f}|{b[0]:10.2f}{b[1]:10.2f}{b[2]:10.2f}|{a[which] / b[which]:7.1f}",
          flush=True)
