#!/usr/bin/env python3
"""Makes curves.safetensors of this folder with MONAI and PyTorch: 50 steps of two whole recipes. Run it by hand, and commit what
it writes:

    python3 tests/parity/make_curve_fixtures.py       needs torch, monai, numpy, safetensors

    weight.NAME         initial weights of MONAI's BasicUNet, rounded to half precision
    adamw, sgd          the loss before each step, in float32, as people train
    adamw.double, ...   the same in double: how far float32 alone takes it
    adamw.norms, ...    lengths of the gradients before clipping, of the float32 training

Every step has two new patches, which test_curves.cpp makes by the same lines: a ball in noise.
"""
import os
import platform

import monai
import numpy as np
import safetensors
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
MADE_WITH = (f"torch {torch.__version__}, monai {monai.__version__}, numpy {np.__version__}, "
             f"safetensors {safetensors.__version__}, python {platform.python_version()}")
STEPS, BATCH, SHAPE, FEATURES = 50, 2, (16, 32, 32), (4, 8, 8, 16, 16, 4)
WARM_UP = 5
S = torch.optim.lr_scheduler


def adamw(parameters):
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=1e-2)
    warm_up = S.LinearLR(optimizer, 1 / WARM_UP, 1, WARM_UP - 1)
    return optimizer, S.SequentialLR(optimizer, [warm_up, S.CosineAnnealingLR(optimizer, STEPS - WARM_UP)], [WARM_UP])


def sgd(parameters):   # nnU-Net's, with a shorter gradient below: 12 is never reached here
    optimizer = torch.optim.SGD(parameters, lr=1e-2, momentum=0.99, nesterov=True, weight_decay=3e-5)
    return optimizer, S.PolynomialLR(optimizer, STEPS, 0.9)


RECIPES = {"adamw": (adamw, 0.5), "sgd": (sgd, 0.5)}   # and the longest gradient


def sample(number):
    """Image, in steps of 1/128 so that float holds it exactly, and label, both [1, *SHAPE]."""
    d, h, w = SHAPE
    z, y, x = np.ogrid[:d, :h, :w]
    centre = 4 + number * 5 % 9, 8 + number * 7 % 17, 8 + number * 11 % 15
    radius = 4 + number % 5
    label = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < radius * radius
    i = np.arange(d * h * w, dtype=np.uint32) + np.uint32(number * d * h * w)
    noise = i * np.uint32(0x9E3779B9)   # murmur3's last steps
    noise = (noise ^ (noise >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    noise = (noise ^ (noise >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    noise = ((noise ^ (noise >> np.uint32(16))) >> np.uint32(24)).astype(np.int64).reshape(SHAPE)   # 0 .. 255
    image = (noise - 128 + 100 * label) / 128
    return image[None].astype(np.float32), label[None].astype(np.int64)


def train(net, recipe):
    make, most = RECIPES[recipe]
    optimizer, schedule = make(net.parameters())
    loss_of = DiceCELoss(softmax=True, to_onehot_y=True)
    dtype = next(net.parameters()).dtype
    losses, norms = [], []
    for step in range(STEPS):
        image, label = (torch.from_numpy(np.stack(part)) for part in zip(*(sample(step * BATCH + n) for n in range(BATCH))))
        optimizer.zero_grad()
        loss = loss_of(net(image.to(dtype)), label)
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(net.parameters(), most).item())
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return torch.tensor(losses, dtype=torch.float64), torch.tensor(norms, dtype=torch.float64)


def main():
    torch.manual_seed(7)
    torch.set_num_threads(1)
    start = {k: v.half() for k, v in BasicUNet(3, 1, 2, FEATURES).state_dict().items()}
    out = {"weight." + k: v for k, v in start.items()}
    for name in RECIPES:
        for dtype, suffix in ((torch.float32, ""), (torch.float64, ".double")):
            net = BasicUNet(3, 1, 2, FEATURES).to(dtype)
            net.load_state_dict({k: v.to(dtype) for k, v in start.items()})
            out[name + suffix], norms = train(net, name)
            if not suffix:
                out[name + ".norms"] = norms
        apart = ((out[name] - out[name + ".double"]).abs() / out[name + ".double"]).max()
        print(f"{name}: loss {out[name][0]:.4f} to {out[name][-1]:.4f}, float32 within {apart:.1e} of double; gradients of "
              f"{norms.min():.2f} to {norms.max():.2f}, {int((norms > RECIPES[name][1]).sum())} of {STEPS} clipped")
    path = os.path.join(HERE, "curves.safetensors")
    save_file({k: v.contiguous() for k, v in out.items()}, path, {"made_with": MADE_WITH})
    os.chmod(path, 0o644)


if __name__ == "__main__":
    main()
