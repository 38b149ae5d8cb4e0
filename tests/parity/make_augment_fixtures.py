#!/usr/bin/env python3
"""Makes augment.safetensors of this folder with MONAI and batchgeneratorsv2 on the CPU. Run it by hand, and commit what it
writes; the same versions write the same bytes:

    python3 tests/parity/make_augment_fixtures.py            needs monai, batchgeneratorsv2, torch, numpy, safetensors

Every array is the result of a transform with given parameters on `image` or `label`; tests/data/test_augment_parity.cpp
holds the same parameters under the same names. Coordinates are computed in double where the originals allow it. The
versions are in the metadata, under "made_with".
"""
import os
import platform
from importlib.metadata import version

import numpy as np
import torch
from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import blur_dimension
from batchgeneratorsv2.transforms.spatial import spatial as nnunet
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from monai.networks.layers import GaussianFilter
from monai.transforms import (AdjustContrast, Affine, AffineGrid, Flip, GaussianSmooth, Resample, Rotate, Rotate90,
                              ScaleIntensity, ShiftIntensity, Zoom)
from monai.transforms.utils import create_grid
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
MADE_WITH = ", ".join(f"{name} {version(name)}" for name in ("torch", "monai", "batchgeneratorsv2", "numpy", "safetensors"))
SIZE = (12, 14, 16)
PATCH = (8, 10, 12)   # cut from the middle of SIZE

random = np.random.default_rng(7)
image = torch.from_numpy(random.normal(0.4, 0.3, (1, *SIZE)).astype(np.float32))
z, y, x = np.meshgrid(*[np.arange(n) for n in SIZE], indexing="ij")
label = ((x > 7) * 1 + ((y > 6) & (z > 4)) * 2).astype(np.float32)
label[3:6, 3:6, 3:6] = 5
label = torch.from_numpy(label)[None]
out = {"image": image[0], "label": label[0].byte()}


def plain(t):
    return torch.as_tensor(np.asarray(t)).float()


def put(name, t):
    out[name] = plain(t)[0].contiguous()


def put_label(name, t):
    t = plain(t)[0]
    assert torch.equal(t, t.round())
    out[name] = t.byte().contiguous()


cube, cube_label = image[:, :, :12, :12], label[:, :, :12, :12]
for k in (1, 2, 3):
    for axis, plane in enumerate([(1, 2), (0, 2), (0, 1)]):
        put(f"rotate90_{k}_{axis}", Rotate90(k=k, spatial_axes=plane)(cube))
put("flip_zx", Flip(spatial_axis=(0, 2))(image))

angles = (0.3, -0.4, 0.5)
put("rotate", Rotate(angles, padding_mode="border", dtype=np.float64)(image))
put_label("rotate_label", Rotate(angles, mode="nearest", padding_mode="border", dtype=np.float64)(label))
put("rotate_2d", Rotate(0.6, padding_mode="border", dtype=np.float64)(image[:, 5])[:, None])

affine = dict(rotate_params=(0.2, 0.1, -0.3), shear_params=(0.1, -0.05, 0.02, 0.07, -0.1, 0.03),
              translate_params=(1.5, -2.25, 3.0), scale_params=(1.2, 0.9, 0.75))
for mode in ("border", "reflection", "zeros"):
    put(f"affine_{mode}", Affine(**affine, padding_mode=mode, dtype=np.float64, image_only=True)(image.double()))
    put_label(f"affine_label_{mode}",
              Affine(**affine, mode="nearest", padding_mode=mode, dtype=np.float64, image_only=True)(label.double()))
# Far outside: reflected more than once.
put("affine_far", Affine(translate_params=(40.3, -55.2, 70.9), padding_mode="reflection", dtype=np.float64,
                         image_only=True)(image.double()))

field = torch.from_numpy(random.uniform(-1, 1, (3, *SIZE)).astype(np.float32))
offsets = GaussianFilter(3, 2.0, 3.0)(field[None])[0].double() * 25
grid = create_grid(SIZE, backend="torch", dtype=torch.float64)
grid[:3] += offsets
grid, _ = AffineGrid(rotate_params=(0.1, 0.2, 0.3), scale_params=(1.1, 0.9, 1.05), dtype=np.float64)(grid=grid)
out["elastic_field"] = field
out["elastic_offsets"] = offsets.float()
put("elastic", Resample(padding_mode="reflection", dtype=np.float64)(image.double(), grid))

for zoom in (0.73, 0.93, 1.1, 1.4):
    put(f"zoom_{zoom}", Zoom(zoom)(image))
    put_label(f"zoom_label_{zoom}", Zoom(zoom, mode="nearest")(label))

put("smooth", GaussianSmooth((0.3, 1.0, 1.5))(image))
put("scale", ScaleIntensity(minv=None, maxv=None, factor=0.07)(image))
put("shift", ShiftIntensity(-0.08)(image))
put("adjust_contrast", AdjustContrast(0.7)(image))
put("adjust_contrast_strong", AdjustContrast(4.5)(image))
put("adjust_contrast_retain", AdjustContrast(1.5, invert_image=True, retain_stats=True)(image))

for name, rotation, scale in (("turn", (0.3, -0.2, 0.4), 1), ("scale", (0, 0, 0), 1.35), ("both", (-0.5, 0.4, 0.2), 0.8),
                              ("out", (0.5, 0.5, -0.5), 1.9)):
    sp = nnunet.SpatialTransform(PATCH, 0, False)
    matrix = torch.from_numpy(nnunet.create_affine_matrix_3d(rotation, [scale] * 3))
    g = nnunet._create_centered_identity_grid2(PATCH).double() @ matrix.T
    g = nnunet._convert_my_grid_to_grid_sample_grid(g, SIZE)
    put(f"spatial_{name}", sp._apply_to_image(image.double(), grid=g))
    put_label(f"spatial_label_{name}", sp._apply_to_segmentation(label.to(torch.int16), grid=g.float()))

blurred = image
for d, sigma in enumerate((0.5, 0.8, 1.0)):
    blurred = blur_dimension(blurred, sigma, d)
put("blur", blurred)
for scale in (0.5, 0.61, 0.87):
    t = SimulateLowResolutionTransform((scale, scale), False, True, None)
    put(f"low_resolution_{scale}", t._apply_to_image(image.clone(), apply_to_channel=[0], scales=torch.tensor([[scale] * 3])))
for factor in (0.8, 1.2):
    t = ContrastTransform((factor, factor), True, False)
    put(f"contrast_{factor}", t._apply_to_image(image.clone(), apply_to_channel=torch.tensor([0]),
                                                multipliers=torch.tensor([factor])))
for name, gamma, invert in (("gamma", 0.8, False), ("gamma_inverted", 1.4, True)):
    t = GammaTransform((gamma, gamma), float(invert), False, 1, 1)
    put(name, t._apply_to_image(image.clone(), apply_to_channel=torch.tensor([0]), retain_stats=torch.tensor([True]),
                                invert_image=torch.tensor([invert]), gamma=torch.tensor([gamma])))

save_file(dict(sorted(out.items())), os.path.join(HERE, "augment.safetensors"),
          {"made_with": f"{MADE_WITH}, python {platform.python_version()}"})
print(MADE_WITH, len(out), "arrays,", sum(t.numel() * t.element_size() for t in out.values()) // 1024, "KiB")
