#!/usr/bin/env python3
"""ctseg_bench_evaluate beside MONAI, SciPy and DeepMind's surface-distance, on the same pairs of masks, in turns.

    python3 benchmarks/peers/evaluate.py build/release/bin/ctseg_bench_evaluate [rounds = 3] [--without-deepmind]
        needs numpy, scipy, torch, monai, surface-distance

Peers run as their users call them. Most of their time is one thread's; on several cores one runs several cases beside each
other, so the CPU time (user + system, all threads) is what to compare: it is also the steadier figure on a shared machine.
"""
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np
import scipy
import torch
from scipy import ndimage as ndi

import monai
from monai.metrics import compute_hausdorff_distance, compute_surface_dice

warnings.filterwarnings("ignore")
SPACING = (1.5, 0.8, 0.8)
TOLERANCE = 2.0


def of_monai(p, t):
    p, t = torch.from_numpy(p)[None, None].float(), torch.from_numpy(t)[None, None].float()
    hd95 = compute_hausdorff_distance(p, t, include_background=True, percentile=95, spacing=SPACING)
    nsd = compute_surface_dice(p, t, [TOLERANCE], include_background=True, spacing=SPACING)
    return float(hd95), float(nsd)


def of_scipy(p, t):
    """Borders and distance transforms in the box of both masks, once for both scores."""
    box = ndi.find_objects((p | t).astype(np.uint8))[0]
    p, t = (np.pad(m[box], 1) for m in (p, t))
    a, b = (m ^ ndi.binary_erosion(m) for m in (p, t))
    to_t, to_p = ndi.distance_transform_edt(~b, SPACING)[a], ndi.distance_transform_edt(~a, SPACING)[b]
    hd95 = max(np.percentile(to_t, 95), np.percentile(to_p, 95))
    return hd95, ((to_t <= TOLERANCE).sum() + (to_p <= TOLERANCE).sum()) / (len(to_t) + len(to_p))


def of_deepmind(p, t):
    import surface_distance   # its NSD; its Hausdorff distance is by area
    d = surface_distance.compute_surface_distances(t, p, SPACING)
    return surface_distance.compute_robust_hausdorff(d, 95), surface_distance.compute_surface_dice_at_tolerance(d, TOLERANCE)


def main():
    program, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 and sys.argv[2].isdigit() else 3
    np.Inf, np.NaN = np.inf, np.nan   # surface-distance is older than NumPy 2
    ndi.filters = ndi.morphology = ndi
    peers = {"MONAI": (of_monai, "voxels"), "SciPy": (of_scipy, "voxels"), "DeepMind": (of_deepmind, "elements")}
    if "--without-deepmind" in sys.argv:
        del peers["DeepMind"]
    torch.set_num_threads(2)
    print(f"# monai {monai.__version__}, scipy {scipy.__version__}, numpy {np.__version__}, torch {torch.__version__},",
          f"Python {platform.python_version()}, {rounds} rounds in turns")
    ours, theirs = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([program, "0", folder], check=True, capture_output=True)
        names = sorted(f[:-len("_truth.npy")] for f in os.listdir(folder) if f.endswith("_truth.npy"))
        for _ in range(rounds):
            for line in subprocess.run([program, "1"], check=True, capture_output=True, text=True).stdout.splitlines():
                if not line.startswith("#"):
                    name, surface, threads, *values = line.split()
                    ours.setdefault((name, surface, threads), []).append([float(v) for v in values])
            for name in names:
                p, t = (np.load(f"{folder}/{name}_{which}.npy").astype(bool) for which in ("prediction", "truth"))
                for peer, (function, _) in peers.items():
                    wall, cpu = time.perf_counter(), time.process_time()
                    scores = function(p, t)
                    theirs.setdefault((name, peer), []).append(
                        [time.perf_counter() - wall, time.process_time() - cpu, *scores])

    def median(rows, column):
        return statistics.median(row[column] for row in rows)

    print(f"{'pair':9} {'peer':9} {'peer wall':>10} {'peer CPU':>9} {'1 thread':>9} {'2 threads':>9} {'CPU 1':>8} {'CPU':>7} {'wall':>7}"
          "   same scores")
    for (name, peer), rows in theirs.items():
        one, two = ours[name, peers[peer][1], "1"], ours[name, peers[peer][1], "2"]
        same = abs(rows[0][3] - one[0][3]) < 2e-6 and (peer == "DeepMind" or abs(rows[0][2] - one[0][2]) < 1e-4)
        print(f"{name:9} {peer:9} {median(rows, 0):9.3f}s {median(rows, 1):8.3f}s {median(one, 0):8.3f}s {median(two, 0):8.3f}s"
              f" {median(one, 1):7.3f}s {median(rows, 1) / median(one, 1):6.1f}x {median(rows, 0) / median(two, 0):6.1f}x"
              f"   {'yes' if same else f'NO: {rows[0][2:]} and {one[0][2:]}'}")
    print("# CPU: the peer's over that of ctseg on one thread; wall: the peer's over that of ctseg on two threads")


if __name__ == "__main__":
    main()
