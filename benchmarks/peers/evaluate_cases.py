#!/usr/bin/env python3
"""ctseg evaluate beside MONAI and SciPy as they are used: a folder of predictions and one of truths, read from .nii.gz, two cores.

    python3 benchmarks/peers/evaluate_cases.py build/release/bin/ctseg [pairs = 50] [--scipy N]
        needs numpy, scipy, torch, monai, nibabel

Pairs have 256 x 256 x 256 voxels: four balls that overlap, and the same moved and resized by about 2 voxels. Everybody takes ten of
them in turn. MONAI and SciPy compute HD95 and the surface Dice; ctseg writes Dice, IoU, volumes, HD, HD95, ASSD and DeepMind's
surface Dice. SciPy is slow: it takes the first N (10) only.
"""
import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

import nibabel as nib
import numpy as np

import evaluate as peers
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice

SIDE, MM, PART = 256, (0.9, 0.9, 1.5), 10


def balls(grid, seed, moved):
    rng, other = np.random.default_rng(seed), np.random.default_rng(seed + 1000)
    mask = np.zeros((SIDE,) * 3, bool)
    for _ in range(4):
        centre, radius = rng.uniform(60, 196, 3), rng.uniform(20, 50)
        if moved:
            centre, radius = centre + other.normal(0, 2, 3), radius + other.normal(0, 2)
        mask |= sum(((g - c) * s) ** 2 for g, c, s in zip(grid, centre, (1, 1, 1.3))) < radius * radius
    return mask.astype(np.uint8)


def make(folder, count):
    grid = np.ogrid[:SIDE, :SIDE, :SIDE]
    for k in range(count):
        for which in "pg":
            part = f"{folder}/{which}{k // PART}"
            os.makedirs(part, exist_ok=True)
            image = nib.Nifti1Image(balls(grid, k, which == "p"), np.diag([*MM, 1]))
            with gzip.open(f"{part}/c{k:02d}.nii.gz", "wb", 6) as file:
                file.write(image.to_bytes())


def read(path):
    return np.asarray(nib.load(path).dataobj).astype(bool)


def of_monai(p, t):
    p, t = torch.from_numpy(p)[None, None].float(), torch.from_numpy(t)[None, None].float()
    return (float(compute_hausdorff_distance(p, t, include_background=True, percentile=95, spacing=MM)),
            float(compute_surface_dice(p, t, [2.0], include_background=True, spacing=MM)))


def cpu_seconds(who):
    use = resource.getrusage(who)
    return use.ru_utime + use.ru_stime


class Clock:
    def __init__(self, who=resource.RUSAGE_SELF):
        self.who, self.wall, self.cpu = who, time.perf_counter(), cpu_seconds(who)

    def passed(self):
        return np.array([time.perf_counter() - self.wall, cpu_seconds(self.who) - self.cpu])


def main():
    program = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 and sys.argv[2].isdigit() else 50
    slow = int(sys.argv[sys.argv.index("--scipy") + 1]) if "--scipy" in sys.argv else 10
    torch.set_num_threads(2)
    peers.SPACING, peers.TOLERANCE = MM, 2.0
    spent, cases, hd95 = {}, {}, {}

    def add(name, passed, n):
        spent[name] = spent.get(name, 0) + passed
        cases[name] = cases.get(name, 0) + n

    with tempfile.TemporaryDirectory() as folder:
        make(folder, count)
        for part in range((count + PART - 1) // PART):
            ids = range(part * PART, min(count, (part + 1) * PART))
            paths = [[f"{folder}/{which}{part}/c{k:02d}.nii.gz" for which in "pg"] for k in ids]
            clock = Clock(resource.RUSAGE_CHILDREN)
            out = subprocess.run([program, "evaluate", "-p", f"{folder}/p{part}", "-g", f"{folder}/g{part}", "--nsd-tolerance", "2",
                                  "--threads", "2", "--json", "--quiet"], check=True, capture_output=True, text=True).stdout
            add("ctseg evaluate", clock.passed(), len(ids))
            for case in json.loads(out)["cases"]:
                hd95[case["case"]] = case["labels"][0]["hd95_mm"]
            for name, function in {"MONAI": of_monai, "SciPy": peers.of_scipy}.items():
                for k, (p, t) in zip(ids, paths):
                    if name == "SciPy" and k >= slow:
                        continue
                    clock = Clock()
                    masks = read(p), read(t)
                    add(name + ", reading", clock.passed(), 1)
                    clock = Clock()
                    theirs = function(*masks)[0]
                    add(name, clock.passed(), 1)
                    if abs(theirs - hd95[f"c{k:02d}"]) > 1e-4:
                        print(f"# case {k}: HD95 is {hd95[f'c{k:02d}']} here, {theirs} by {name}")
    print(f"{'of a pair':16} {'wall':>9} {'CPU':>9}   ctseg's share of the wall time, of the CPU time")
    ours = spent["ctseg evaluate"] / cases["ctseg evaluate"]
    for name in spent:
        if name.endswith("reading"):
            continue
        each = spent[name] / cases[name]
        if name != "ctseg evaluate":
            whole = each + spent[name + ", reading"] / cases[name]
            for row, what in ((each, "scores alone"), (whole, "with reading")):
                print(f"{name:6} {what} {row[0]:8.3f}s {row[1]:8.3f}s   1/{row[0] / ours[0]:.1f}, 1/{row[1] / ours[1]:.1f}"
                      f"   ({cases[name]} pairs)")
        else:
            print(f"{name:16}   {each[0]:8.3f}s {each[1]:8.3f}s   with reading ({cases[name]} pairs)")


if __name__ == "__main__":
    main()
