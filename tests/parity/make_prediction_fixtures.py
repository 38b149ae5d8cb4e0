#!/usr/bin/env python3
"""Makes prediction.safetensors of this folder with MONAI, nnU-Net and PyTorch. Run it by hand, and commit what it writes; the
same versions write the same bytes:

    python3 tests/parity/make_prediction_fixtures.py     needs torch, monai, nnunetv2, numpy, safetensors

Windows and logits are N, C, D, H, W. inverse.*: random logits on a grid that MONAI's Orientationd and Spacingd made, and their
way back by Invertd, probabilities first and labels first; volumes there are in the order z, y, x (x, y, z of MONAI turned
round). The versions are in the metadata, under "made_with".
"""
import os
import platform

import monai
import numpy as np
import safetensors
import torch
from importlib.metadata import version
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, MeanEnsemble, Orientationd, Spacingd
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from safetensors.numpy import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
MADE_WITH = ", ".join([f"monai {monai.__version__}", f"torch {torch.__version__}", f"nnunetv2 {version('nnunetv2')}",
                       f"numpy {np.__version__}", f"safetensors {safetensors.__version__}",
                       f"python {platform.python_version()}"])
rng = np.random.default_rng(11)
out = {}


def keep(name, array):
    out[name] = np.ascontiguousarray(array)


class Crooked(torch.nn.Module):
    """tests/infer/test_test_time.cpp has the same formula."""

    def __init__(self, strength=1.0):
        super().__init__()
        self.strength = strength

    def forward(self, x):
        d, h, w = x.shape[2:]
        k = (torch.arange(w)[None, None, :] + 2 * torch.arange(h)[None, :, None] + 3 * torch.arange(d)[:, None, None]).float()
        a, b = x[:, 0], x[:, 1]
        s = self.strength
        return torch.stack([s * (a * 0.1 * k - b), a * b + 0.05 * k, s * a * a - 0.02 * k * b], 1)


x = torch.from_numpy(rng.normal(size=(2, 2, 8, 7, 11)).astype(np.float32))
net = Crooked()
keep("windows", x.numpy())
keep("plain", net(x).numpy())


def nnunet(axes):
    predictor = nnUNetPredictor.__new__(nnUNetPredictor)
    predictor.network, predictor.use_mirroring, predictor.allowed_mirroring_axes = net, True, axes
    return predictor._internal_maybe_mirror_and_predict(x).numpy()


keep("mirrored.nnunet", nnunet((0, 1, 2)))
keep("mirrored.nnunet.02", nnunet((0, 2)))
flips = [[], [2], [3], [4], [2, 3], [2, 4], [3, 4], [2, 3, 4]]
keep("mirrored.softmax", torch.stack([net(x.flip(f)).softmax(1).flip(f) for f in flips]).mean(0).numpy())
folds = [Crooked(1.0), Crooked(0.5)]
keep("ensemble.sigmoid", MeanEnsemble()([f(x).sigmoid() for f in folds]).numpy())
keep("ensemble.weighted", MeanEnsemble(weights=[1.0, 3.0])([f(x) for f in folds]).numpy())


def resized(t, size):
    return torch.nn.functional.interpolate(t, size=size, mode="trilinear", align_corners=False)


looks = [net(x)] + [resized(net(resized(x, size)), x.shape[2:]) for size in ((4, 4, 6), (12, 10, 16))]
keep("scales", torch.stack(looks).mean(0).numpy())

# The way back. A scan stored front to back, with 0.9 x 1.4 x 2.2 mm voxels, seen as RAS with 1.3 x 1.1 x 1.7 mm.
turn = np.array([[np.cos(0.1), -np.sin(0.1), 0], [np.sin(0.1), np.cos(0.1), 0], [0, 0, 1]])
affine = np.eye(4)
affine[:3, :3] = turn @ np.array([[0, -0.9, 0], [-1.4, 0, 0], [0, 0, 2.2]])
affine[:3, 3] = 31, 12.5, -40
keep("inverse.affine", affine)
scan = MetaTensor(torch.from_numpy(rng.normal(size=(1, 20, 26, 11)).astype(np.float32)), affine=torch.from_numpy(affine))
keep("inverse.shape", np.array([20, 26, 11], dtype=np.float64))   # x, y, z
there = Compose([Orientationd("image", "RAS", labels=None), Spacingd("image", pixdim=(1.3, 1.1, 1.7), mode="bilinear")])
data = there({"image": scan})
keep("inverse.prepared_affine", np.asarray(data["image"].affine, dtype=np.float64))
shape = tuple(data["image"].shape[1:])
logits = torch.from_numpy((2 * rng.normal(size=(3, *shape))).astype(np.float32))
keep("inverse.logits", logits.permute(3, 2, 1, 0).numpy())   # z, y, x, channel: as slabs have them
for name, values, nearest in (("probabilities", logits.softmax(0), False), ("labels", logits.argmax(0, True).float(), True)):
    data["pred"] = MetaTensor(values, meta=data["image"].meta, applied_operations=data["image"].applied_operations)
    back = Invertd("pred", there, "image", nearest_interp=nearest, to_tensor=True)(dict(data))["pred"]
    assert tuple(back.shape[1:]) == (20, 26, 11) and np.allclose(back.affine, affine)
    if nearest:
        keep("inverse.labels_first", back[0].permute(2, 1, 0).numpy().astype(np.uint8))
    else:
        keep("inverse.probabilities", back.permute(0, 3, 2, 1).numpy())

path = os.path.join(HERE, "prediction.safetensors")
save_file(out, path, metadata={"made_with": MADE_WITH})
os.chmod(path, 0o644)
print(len(out), "arrays,", os.path.getsize(path), "bytes;", MADE_WITH)
