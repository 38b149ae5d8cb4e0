#!/usr/bin/env python3
"""Weights from PyTorch to ctseg and back, with the libraries themselves:

    python3 tests/parity/check_weights.py                needs torch, monai, safetensors and g++ (or CXX)

MONAI's BasicUNet is saved by torch.save, as a state dictionary and inside a training checkpoint; ctseg runs it from the file
alone and writes safetensors; load_state_dict(strict=True) takes those, and all outputs agree.
"""
import os
import subprocess
import sys
import tempfile

import monai
import numpy
import torch
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


def program(folder):
    out = os.path.join(folder, "program")
    subprocess.check_call([os.environ.get("CXX", "g++"), "-std=c++20", "-O2", "-I" + os.path.join(ROOT, "include"),
                           "-isystem", "/usr/include/eigen3", os.path.join(HERE, "weights_program.cpp"), "-o", out, "-lz",
                           "-pthread"])
    return out


def unet(norm):
    net = monai.networks.nets.BasicUNet(2, 1, 2, features=(4, 4, 8, 8, 16, 4), norm=norm)
    with torch.no_grad():
        for tensor in list(net.parameters()) + [b for b in net.buffers() if b.dtype == torch.float32]:
            tensor.add_(0.1 * torch.rand_like(tensor))
    return net.eval()


def apart(a, b):
    return float((a - b).abs().max() / b.abs().max())


def check(run, folder, norm, wrap):
    path = {name: os.path.join(folder, name) for name in ("w.pth", "x", "y", "back.safetensors")}
    net, x = unet(norm), torch.randn(1, 1, 48, 37)
    exact = net(x).detach()
    torch.save(wrap(net), path["w.pth"])
    save_file({"x": x}, path["x"])
    subprocess.check_call([run, path["w.pth"], path["x"], path["y"], path["back.safetensors"]] + ["batch"] * (norm == "batch"))
    there = apart(load_file(path["y"])["y"], exact)
    weights = load_file(path["back.safetensors"])
    other = unet(norm)
    other.load_state_dict(weights, strict=True)
    same = all(torch.equal(weights[k], v) for k, v in net.state_dict().items() if "num_batches" not in k)
    back = apart(other(x).detach(), exact)
    print(f"{norm}: ctseg against MONAI {there:.1e}, MONAI with ctseg's file against itself {back:.1e}, same weights: {same}")
    return there < 1e-5 and back == 0 and same


def checkpoint(net):
    optimizer = torch.optim.AdamW(net.parameters())
    return {"epoch": 3, "state_dict": net.state_dict(), "optimizer": optimizer.state_dict(),
            "best": numpy.float64(0.5)}


torch.manual_seed(1)
with tempfile.TemporaryDirectory() as folder:
    run = program(folder)
    good = [check(run, folder, ("instance", {"affine": True}), lambda net: net.state_dict()),
            check(run, folder, ("instance", {"affine": True}), checkpoint), check(run, folder, "batch", checkpoint)]
print("weights agree" if all(good) else "WEIGHTS DIFFER")
sys.exit(not all(good))
