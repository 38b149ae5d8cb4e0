#!/usr/bin/env python3
"""Makes windows.safetensors of this folder with MONAI and nnU-Net. Run it once, by hand, and commit what it writes:

    python3 tests/parity/make_window_fixtures.py       needs torch, monai, nnunetv2, safetensors

starts.RULE.EXTENT.WINDOW.OVERLAP: first voxels along an axis. weights.RULE.Z.Y.X: of a window's voxels. case.K.image,
.result, .config (rule, overlap, Gaussian or not, padding, value outside, batch, window): a network of one 3 x 3 x 3
convolution, whose borders of zeros differ from window to window, over images larger and smaller than the window. nnU-Net's
results are put together from its own steps, weights and padding in float32, for its predictor sums in half precision.
"""
import importlib.metadata as metadata
import os

import numpy as np
import torch
import torch.nn.functional as F
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from monai.data.utils import compute_importance_map, dense_patch_slices
from monai.inferers import sliding_window_inference
from monai.inferers.utils import _get_scan_interval
from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window
from safetensors.numpy import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
PADDINGS = ["constant", "reflect", "replicate", "circular"]
torch.manual_seed(5)
out = {}


def starts():
    for extent, window in [(250, 96), (512, 96), (110, 64), (96, 96), (97, 96), (300, 128), (61, 20), (33, 12), (384, 96)]:
        for overlap in [0.0, 0.25, 0.5, 0.6, 0.7, 0.75, 0.9]:
            interval = _get_scan_interval((extent,), (window,), 1, (overlap,))
            slices = dense_patch_slices((extent,), (window,), interval)
            name = f"{extent}.{window}.{round(100 * overlap)}"
            out[f"starts.monai.{name}"] = np.array([s[0].start for s in slices], np.int32)
            steps = compute_steps_for_sliding_window((extent,), (window,), round(1 - overlap, 2))
            out[f"starts.nnunet.{name}"] = np.array(steps[0], np.int32)


def weights():
    for size in [(24, 20, 11), (8, 9, 10), (48, 6, 5)]:
        name = ".".join(map(str, size))
        out[f"weights.monai.{name}"] = compute_importance_map(size, mode="gaussian", sigma_scale=0.125).numpy()
        out[f"weights.nnunet.{name}"] = compute_gaussian(size, 1.0 / 8, 10, torch.float32, torch.device("cpu")).numpy()


def nnunet(image, net, window, overlap, gaussian):
    data, back = pad_nd_image(image[0], window, "constant", {"value": 0}, True, None)
    steps = compute_steps_for_sliding_window(data.shape[1:], window, round(1 - overlap, 2))
    weight = compute_gaussian(tuple(window), 1.0 / 8, 10, torch.float32, torch.device("cpu")) if gaussian else torch.ones(window)
    total, total_weight = None, torch.zeros(data.shape[1:])
    for z in steps[0]:
        for y in steps[1]:
            for x in steps[2]:
                at = (slice(z, z + window[0]), slice(y, y + window[1]), slice(x, x + window[2]))
                logits = net(data[(None, slice(None), *at)])[0]
                if total is None:
                    total = torch.zeros((logits.shape[0], *data.shape[1:]))
                total[(slice(None), *at)] += logits * weight
                total_weight[at] += weight
    return (total / total_weight)[(slice(None), *back[1:])][None]


def cases():
    conv = torch.randn(2, 1, 3, 3, 3) * 0.3
    bias = torch.randn(2)
    out["conv.weight"], out["conv.bias"] = conv.numpy(), bias.numpy()

    def net(x):
        return F.conv3d(x, conv, bias, padding=1)

    large, small, mixed = (15, 14, 17), (5, 6, 7), (6, 14, 5)
    table = [("monai", large, 0.5, True, 0, 0, 1), ("monai", large, 0.25, False, 0, 0, 3), ("monai", large, 0.6, True, 0, 0, 2),
             ("monai", small, 0.5, True, 0, -1.5, 1), ("monai", mixed, 0.5, True, 0, 2, 2)]
    table += [("monai", small, 0.25, True, padding, 0, 1) for padding in (1, 2, 3)]
    table += [("monai", mixed, 0.7, False, padding, 0, 2) for padding in (1, 2, 3)]
    table += [("nnunet", large, 0.5, True, 0, 0, 1), ("nnunet", large, 0.5, False, 0, 0, 2), ("nnunet", large, 0.7, True, 0, 0, 1),
              ("nnunet", small, 0.5, True, 0, 0, 1), ("nnunet", mixed, 0.25, True, 0, 0, 2)]
    window = (8, 7, 9)
    for k, (rule, size, overlap, gaussian, padding, outside, batch) in enumerate(table):
        image = torch.randn(1, 1, *size)
        if rule == "monai":
            result = sliding_window_inference(image, window, batch, net, overlap, "gaussian" if gaussian else "constant",
                                              padding_mode=PADDINGS[padding], cval=outside)
        else:
            result = nnunet(image, net, window, overlap, gaussian)
        config = [rule == "nnunet", overlap, gaussian, padding, outside, batch, *window]
        out[f"case.{k}.config"] = np.array(config, np.float64)
        out[f"case.{k}.image"], out[f"case.{k}.result"] = image.numpy(), np.ascontiguousarray(result.numpy())


if __name__ == "__main__":
    with torch.no_grad():
        starts()
        weights()
        cases()
    versions = {name: metadata.version(name) for name in ("torch", "monai", "nnunetv2", "acvl_utils", "scipy", "numpy")}
    save_file(out, os.path.join(HERE, "windows.safetensors"), versions)
