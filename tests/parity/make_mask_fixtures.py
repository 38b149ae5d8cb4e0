#!/usr/bin/env python3
"""Makes masks.safetensors of this folder with SciPy and scikit-image. Run it once, by hand, and commit what it writes:

    python3 tests/parity/make_mask_fixtures.py       needs numpy, scipy, scikit-image, safetensors

Names of tensors are INPUT.OPERATION.ARGUMENTS in the order of the loops below; masks are packed, eight voxels a byte. The
versions of the libraries are in the file's metadata. Where both libraries do the same, both must agree before anything is
written.
"""
import os
import platform

import numpy as np
import scipy
import skimage
from safetensors.numpy import save_file
from scipy import ndimage as ndi
from skimage import measure

HERE = os.path.dirname(os.path.abspath(__file__))
SPACING = (2.5, 0.9, 0.7)   # z, y, x
RADIUS = 2.1                # exactly three voxels along x
rng = np.random.default_rng(7)
out = {}


def put_mask(name, mask):
    out[name] = np.packbits(np.asarray(mask).astype(bool).ravel())


def put(name, values, dtype):
    assert np.array_equal(values, values.astype(dtype)) or dtype == np.float32
    out[name] = np.ascontiguousarray(values.astype(dtype))


def structure(dim, connectivity):
    return ndi.generate_binary_structure(dim, min(connectivity + 1, dim))


def ball(dim):
    spacing = SPACING[3 - dim:]
    reach = [int(RADIUS * 1.000001 / s) for s in spacing]
    grid = np.meshgrid(*[np.arange(-r, r + 1) * s for r, s in zip(reach, spacing)], indexing="ij")
    return sum(g * g for g in grid) <= (RADIUS * 1.000001) ** 2


def in_order(labels):
    """Numbered by first voxel in memory."""
    values, first = np.unique(labels, return_index=True)
    order = [v for _, v in sorted(zip(first, values)) if v != 0]
    table = np.zeros(labels.max() + 1, np.int64)
    table[order] = np.arange(1, len(order) + 1)
    return table[labels]


def by_value(labels, s):
    out, top = np.zeros(labels.shape, np.int64), 0
    for v in np.unique(labels)[1:]:
        found, n = ndi.label(labels == v, s)
        out[found > 0] = found[found > 0] + top
        top += n
    return in_order(out)


def slices(function, mask):
    return np.stack([function(m) for m in mask])


def slice_labels(mask, s):
    top, all = 0, []
    for m in mask:
        found, n = ndi.label(m, s)
        all.append(np.where(found > 0, found + top, 0))
        top += n
    return np.stack(all)


blobs = ndi.gaussian_filter(rng.standard_normal((8, 17, 19)), 1.2, mode="wrap") > 0.02
noise = rng.random((7, 11, 19)) < 0.35
image = ndi.gaussian_filter(rng.standard_normal((1, 33, 37)), (0, 2, 2), mode="wrap") > 0
labels = np.digitize(ndi.gaussian_filter(rng.standard_normal((8, 15, 21)), 1.1), (-0.05, 0.03, 0.1)).astype(np.uint8)
inputs = {"blobs": blobs, "noise": noise, "image": image}
put("labels", labels, np.uint8)

for name, mask in inputs.items():
    put(name, mask, np.uint8)
    put(f"{name}.distance", ndi.distance_transform_edt(mask, SPACING), np.float32)
    put(f"{name}.distance_2d", slices(lambda m: ndi.distance_transform_edt(m, SPACING[1:]), mask), np.float32)
    put_mask(f"{name}.fill.3d", ndi.binary_fill_holes(mask))
    put_mask(f"{name}.fill.2d", slices(ndi.binary_fill_holes, mask))
    for c in range(3):
        s, s2 = structure(3, c), structure(2, c)
        found, count = ndi.label(mask, s)
        assert np.array_equal(found, in_order(found)) and np.array_equal(found, measure.label(mask, connectivity=c + 1))
        put(f"{name}.components.{c}.3d", found, np.uint16)
        put(f"{name}.components.{c}.2d", slice_labels(mask, s2), np.uint16)
        put(f"{name}.sizes.{c}", ndi.sum_labels(mask, found, range(1, count + 1)), np.int32)
        put(f"{name}.centers.{c}", np.array(ndi.center_of_mass(mask, found, range(1, count + 1))), np.float32)
        put(f"{name}.boxes.{c}", np.array([[[a.start, a.stop - 1] for a in o] for o in ndi.find_objects(found)]), np.int32)
        put_mask(f"{name}.fill.{c}", ndi.binary_fill_holes(mask, s))
        for iterations in (1, 2):
            for border in (0, 1):
                how = {"iterations": iterations, "border_value": border}
                for operation in ("erosion", "dilation", "opening", "closing"):
                    f = getattr(ndi, "binary_" + operation)
                    key = f"{name}.{operation}.{c}.{iterations}.{border}"
                    put_mask(key + ".3d", f(mask, s, **how))
                    put_mask(key + ".2d", slices(lambda m: f(m, s2, **how), mask))
    for border in (0, 1):
        for operation in ("erosion", "dilation", "opening", "closing"):
            f = getattr(ndi, "binary_" + operation)
            key = f"{name}.ball_{operation}.{border}"
            put_mask(key + ".3d", f(mask, ball(3), border_value=border))
            put_mask(key + ".2d", slices(lambda m: f(m, ball(2), border_value=border), mask))

for c in range(3):
    found = by_value(labels, structure(3, c))
    assert np.array_equal(found, measure.label(labels, connectivity=c + 1, background=0))
    put(f"labels.components.{c}.3d", found, np.uint16)

versions = (f"numpy {np.__version__}, scipy {scipy.__version__}, scikit-image {skimage.__version__}, "
            f"Python {platform.python_version()}")
path = os.path.join(HERE, "masks.safetensors")
save_file(out, path, {"made_with": versions})
os.chmod(path, 0o644)
print(os.path.getsize(path), "bytes,", versions)
