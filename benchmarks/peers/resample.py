#!/usr/bin/env python3
"""SciPy's side of bench_resample: the same voxels, order 1 by affine_transform (its fastest way for these grids: a diagonal
matrix goes to zoom_shift) and order 3 by zoom. Needs numpy and scipy; SciPy uses one thread.

    build/release/bin/ctseg_bench_resample 2 5 DIR      writes DIR/ct.raw
    python3 benchmarks/peers/resample.py DIR [repeats] [linear | cubic]   writes DIR/scipy_*.raw, prints medians
    build/release/bin/ctseg_bench_resample 2 5 DIR      prints the differences
"""
import os
import statistics
import sys
import time

import numpy as np
import scipy
from scipy import ndimage

folder, repeats = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3
ct = np.fromfile(os.path.join(folder, "ct.raw"), np.int16).reshape(300, 512, 512)
image = ct.astype(np.float32)
spacing = np.array([1.0, 0.7, 0.7])
coarse = tuple(int(np.rint((n - 1) * s / 1.5 + 1)) for n, s in zip(ct.shape, spacing))
same_field = tuple(int(np.rint(s / 1.5 * n)) for n, s in zip(ct.shape, spacing))
wanted = sys.argv[3] if len(sys.argv) > 3 else ""


def measure(name, f):
    if wanted not in name:
        return ct
    wall, work = [], []
    for _ in range(repeats):
        start, used = time.perf_counter(), time.process_time()
        result = f()
        wall.append(time.perf_counter() - start)
        work.append(time.process_time() - used)
    print(f"{name:<22} {statistics.median(wall):8.3f} s wall {statistics.median(work):8.3f} s processor", flush=True)
    result.tofile(os.path.join(folder, f"scipy_{name}.raw"))
    return result


def linear(x, step, shape):
    return ndimage.affine_transform(x, step, output_shape=shape, order=1, mode="nearest")


def cubic(x, shape):
    return ndimage.zoom(x, np.array(shape) / x.shape, order=3, mode="nearest", grid_mode=True)


print(f"scipy {scipy.__version__}, numpy {np.__version__}: {ct.shape} to {coarse} (z, y, x), medians of {repeats}")
small = measure("float_linear", lambda: linear(image, 1.5 / spacing, coarse))
measure("float_linear_back", lambda: linear(small, spacing / 1.5, ct.shape))
small = measure("int16_linear", lambda: linear(ct, 1.5 / spacing, coarse))
measure("int16_linear_back", lambda: linear(small, spacing / 1.5, ct.shape))
small = measure("float_cubic", lambda: cubic(image, same_field))
measure("float_cubic_back", lambda: cubic(small, ct.shape))
