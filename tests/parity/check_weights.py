#!/usr/bin/env python3
"""Weights from PyTorch to ctseg and back, for every network, with the libraries themselves:

    python3 tests/parity/check_weights.py [NETWORK...]     needs torch, monai, dynamic-network-architectures, safetensors and
                                                           g++ (or CXX)

Each network of MONAI and nnU-Net is saved by torch.save, as a state dictionary and inside a training checkpoint; ctseg runs it
from the file alone and writes safetensors; load_state_dict(strict=True) takes those, and all outputs agree.
"""
import os
import subprocess
import sys
import tempfile

import numpy
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from monai.networks.nets import AttentionUnet, BasicUNet, DynUNet, SegResNet, UNet
from safetensors.torch import load_file, save_file

from make_nnunet_fixtures import nnunet
from make_unet_fixtures import ClassicUNet
from make_vnet_fixtures import OriginalVNet, slim
from network_fixtures import randomize

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


def networks(d):
    """Those of interchange.hpp. ClassicUNet and OriginalVNet are no library's: they are written from their papers."""
    width, affine = (4, 4, 6, 8, 8, 4), ("instance", {"affine": True})
    flat, step = [1] + [3] * (d - 1), [1] + [2] * (d - 1)   # as in plans for thick slices
    stages = dict(features_per_stage=(4, 6, 8), kernel_sizes=[flat, [3] * d, [3] * d], strides=[[1] * d, step, [2] * d],
                  conv_bias=True)
    made = {
        "basic_unet": BasicUNet(d, 1, 2, width, norm="batch"),
        "basic_unet_shuffle": BasicUNet(d, 1, 2, width, act="prelu", upsample="pixelshuffle"),
        "basic_unet_linear": BasicUNet(d, 1, 2, width, upsample="nontrainable"),
        "residual_unet": UNet(d, 1, 2, (4, 6, 8), (2, 2), num_res_units=2, norm=affine),
        "unet": ClassicUNet(d, (4, 6, 8), 1),
        "vnet": slim(2, d, 1, 2, "prelu"),
        "attention_unet": AttentionUnet(d, 1, 2, (4, 6, 8), (2, 2)),
        "segresnet": SegResNet(d, 8, 1, 2, norm=("group", {"num_groups": 4})),
        "segresnet_deconv": SegResNet(d, 4, 1, 2, norm="batch", upsample_mode="deconv"),
        "dynunet": DynUNet(d, 1, 2, [flat] + [[3] * d] * 3, [[1] * d, step, [2] * d, [2] * d], [step, [2] * d, [2] * d],
                           filters=(4, 6, 8, 8), deep_supervision=True, deep_supr_num=2),
        "dynunet_residual": DynUNet(d, 1, 2, [3] * 3, [1, 2, 2], [2] * 2, filters=(4, 6, 8), norm_name="batch", res_block=True,
                                    trans_bias=True),
        "plain_conv_unet": nnunet(PlainConvUNet, d, 1, 2, **stages, n_conv_per_stage=2, n_conv_per_stage_decoder=2),
        "residual_encoder_unet": nnunet(ResidualEncoderUNet, d, 1, 2, **stages, n_blocks_per_stage=(1, 2, 2),
                                        n_conv_per_stage_decoder=1),
    }
    return made | ({"original_vnet": OriginalVNet(2, 2)} if d == 3 else {})


def program(folder):
    out = os.path.join(folder, "program")
    subprocess.check_call([os.environ.get("CXX", "g++"), "-std=c++20", "-O2", "-I" + os.path.join(ROOT, "include"),
                           "-isystem", "/usr/include/eigen3", os.path.join(HERE, "weights_program.cpp"), "-o", out, "-lz",
                           "-pthread"])
    return out


def checkpoint(net, x):
    """After a step of training: moments, counters and NumPy's numbers beside the weights."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    net.train()(x).square().mean().backward()
    optimizer.step()
    net.eval()
    return {"epoch": 3, "network_weights" if "UNet" in type(net).__name__ else "state_dict": net.state_dict(),
            "optimizer": optimizer.state_dict(), "best": numpy.float64(0.5)}


def apart(a, b):
    return float((a - b).abs().max() / b.abs().max()) if a.shape == b.shape else 2.0


def check(run, folder, name, d, as_checkpoint):
    path = {key: os.path.join(folder, key) for key in ("w.pth", "x", "y", "back.safetensors")}
    torch.manual_seed(1)
    net, x = networks(d)[name], torch.randn(1, 1, *((48, 32), (32, 16, 32))[d - 2])
    randomize(net)
    torch.save(checkpoint(net, x) if as_checkpoint else net.state_dict(), path["w.pth"])
    with torch.no_grad():
        exact = net.eval()(x)
    save_file({"x": x}, path["x"])
    subprocess.check_call([run, name, str(d), path["w.pth"], path["x"], path["y"], path["back.safetensors"]])
    there, weights = apart(load_file(path["y"])["y"], exact), load_file(path["back.safetensors"])
    other = networks(d)[name].eval()
    other.load_state_dict(weights, strict=True)
    same = all(torch.equal(weights[k], v) for k, v in net.state_dict().items() if "num_batches" not in k)
    with torch.no_grad():
        back = apart(other(x), exact)
    print(f"{name:22} {d}-D  {'checkpoint' if as_checkpoint else 'state_dict'}  {len(net.state_dict()):4} tensors   "
          f"ctseg {there:.1e}   PyTorch with ctseg's file {back:.1e}   weights {'equal' if same else 'DIFFER'}", flush=True)
    return there <= 1e-4 and back == 0 and same


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        run = program(folder)
        good = [check(run, folder, name, d, wrap) for d in (2, 3) for name in networks(d)
                if name in sys.argv[1:] or not sys.argv[1:] for wrap in (False, True)]
    print("weights agree" if good and all(good) else "WEIGHTS DIFFER")
    sys.exit(not good or not all(good))
