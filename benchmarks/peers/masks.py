#!/usr/bin/env python3
"""ctseg_bench_masks beside SciPy and scikit-image, on one mask, in turns; prints medians and ratios.

    python3 benchmarks/peers/masks.py build/release/bin/ctseg_bench_masks [rounds = 3]     needs numpy, scipy, scikit-image

The peers run on one thread, as they do for everybody. On a shared machine the CPU time (user + system, all threads) is the
steadier figure: "CPU" is the peer's over that of ctseg on one thread; "wall" compares elapsed times, ctseg on two threads.
"""
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import scipy
import skimage
from scipy import ndimage as ndi
from skimage import measure, morphology

SPACING = (1.5, 0.8, 0.8)
CROSS, CUBE = ndi.generate_binary_structure(3, 1), ndi.generate_binary_structure(3, 3)


def signed(m):
    return ndi.distance_transform_edt(~m, SPACING) - ndi.distance_transform_edt(m, SPACING)


# name in ctseg_bench_masks, peer, function, rounds at most, what to compare
PEERS = [
    ("distance", "SciPy", lambda m: ndi.distance_transform_edt(m, SPACING), 3, np.sum),
    ("signed_distance", "SciPy", signed, 1, np.sum),
    ("components_6", "SciPy", lambda m: ndi.label(m, CROSS), 9, lambda r: r[1]),
    ("components_26", "SciPy", lambda m: ndi.label(m, CUBE), 9, lambda r: r[1]),
    ("components_26", "scikit-image", lambda m: measure.label(m, connectivity=3, return_num=True), 9, lambda r: r[1]),
    ("erosion_6", "SciPy", lambda m: ndi.binary_erosion(m, CROSS), 9, np.sum),
    ("closing_26_x2", "SciPy", lambda m: ndi.binary_closing(m, CUBE, 2), 3, np.sum),
    ("fill_holes", "SciPy", ndi.binary_fill_holes, 1, np.sum),
    ("remove_small", "scikit-image", lambda m: morphology.remove_small_objects(m, max_size=99, connectivity=3), 3, np.sum),
]


def run_ctseg(program, path, times):
    for line in subprocess.run([program, "1", path], check=True, capture_output=True, text=True).stdout.splitlines():
        if not line.startswith("#"):
            name, threads, wall, cpu, result = line.split()
            times.setdefault((name, threads), []).append((float(wall), float(cpu), float(result)))
        elif "voxels" in line and not times:
            print(line)


def run_peer(function, mask):
    wall, cpu = time.perf_counter(), time.process_time()
    result = function(mask)
    return time.perf_counter() - wall, time.process_time() - cpu, result


def main():
    program, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3
    folder = tempfile.TemporaryDirectory()
    path = os.path.join(folder.name, "mask.npy")
    subprocess.run([program, "0", path], check=True, capture_output=True)
    mask = np.load(path).astype(bool)
    print(f"# scipy {scipy.__version__}, scikit-image {skimage.__version__}, numpy {np.__version__},",
          f"Python {platform.python_version()}, {rounds} rounds, ctseg in between")
    ours, theirs = {}, {}
    for k in range(rounds):
        run_ctseg(program, path, ours)
        for i, (name, _, function, most, reduce) in enumerate(PEERS):
            if k < most:
                wall, cpu, result = run_peer(function, mask)
                theirs.setdefault(i, []).append((wall, cpu, float(reduce(result))))
                del result

    def median(rows, column):
        return statistics.median(row[column] for row in rows)

    print(f"{'':16} {'peer':13} {'peer wall':>10} {'1 thread':>9} {'2 threads':>9} {'peer CPU':>10} {'CPU 1':>8} {'CPU 2':>8}"
          f" {'CPU':>7} {'wall':>7}   same result")
    for i, (name, peer, *_) in enumerate(PEERS):
        one, two = ours[name, "1"], ours[name, "2"]
        a, b = theirs[i][0][2], one[0][2]
        print(f"{name:16} {peer:13} {median(theirs[i], 0):9.2f}s {median(one, 0):8.3f}s {median(two, 0):8.3f}s"
              f" {median(theirs[i], 1):9.2f}s {median(one, 1):7.3f}s {median(two, 1):7.3f}s"
              f" {median(theirs[i], 1) / median(one, 1):6.1f}x {median(theirs[i], 0) / median(two, 0):6.1f}x"
              f"   {'yes' if abs(a - b) <= 1e-6 * abs(a) else f'NO: {a} and {b}'}")
    print("# CPU: peer over ctseg on one thread; wall: peer over ctseg on two threads")


main()
