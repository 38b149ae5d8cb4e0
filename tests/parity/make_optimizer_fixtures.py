#!/usr/bin/env python3
"""Makes optimizers.safetensors of this folder with PyTorch. Run it by hand, and commit what it writes; the same versions write
the same bytes:

    python3 tests/parity/make_optimizer_fixtures.py       needs torch, safetensors

start are weights, gradients those of ten steps; NAME are the weights after each step of that optimizer, all in double.
test_pytorch_optimizers.cpp says by the same names what ctseg runs.
"""
import os
import platform

import safetensors
import torch
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
MADE_WITH = f"torch {torch.__version__}, safetensors {safetensors.__version__}, python {platform.python_version()}"
STEPS, SIZE = 10, 7
O = torch.optim
OPTIMIZERS = {
    "sgd": lambda p: O.SGD(p, lr=0.1),
    "sgd_decay": lambda p: O.SGD(p, lr=0.1, weight_decay=0.05),
    "sgd_momentum": lambda p: O.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01),
    "sgd_nesterov": lambda p: O.SGD(p, lr=0.01, momentum=0.99, weight_decay=3e-5, nesterov=True),
    "adam": lambda p: O.Adam(p, lr=0.02),
    "adam_decay": lambda p: O.Adam(p, lr=0.02, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1),
    "adamw": lambda p: O.AdamW(p, lr=0.02, weight_decay=0.1),
}


def run(start, gradients, make, before=lambda p: None, after=lambda p, k: None):
    p = torch.nn.Parameter(start.clone())
    optimizer = make([p])
    rows = []
    for k in range(STEPS):
        p.grad = gradients[k].clone()
        before(p)
        optimizer.step()
        after(p, k)
        rows.append(p.detach().clone())
    return torch.stack(rows)


def main():
    generator = torch.Generator().manual_seed(7)
    start = torch.randn(SIZE, generator=generator, dtype=torch.float64)
    gradients = torch.randn(STEPS, SIZE, generator=generator, dtype=torch.float64)
    gradients[3] = 0
    out = {"start": start, "gradients": gradients}
    for name, make in OPTIMIZERS.items():
        out[name] = run(start, gradients, make)
    norms = []
    out["clipped"] = run(start, gradients, OPTIMIZERS["sgd"],
                         before=lambda p: norms.append(torch.nn.utils.clip_grad_norm_([p], 2.0)))
    out["norms"] = torch.stack(norms)
    averages = torch.nn.Module()
    averages.w = torch.nn.Parameter(start.clone())
    ema = torch.optim.swa_utils.AveragedModel(averages, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.8))
    rows = []

    def after(p, _):
        averages.w.data.copy_(p.data)
        ema.update_parameters(averages)
        rows.append(ema.module.w.detach().clone())

    run(start, gradients, OPTIMIZERS["adam"], after=after)
    out["average"] = torch.stack(rows)
    S = torch.optim.lr_scheduler
    schedules = {
        "step": lambda o: S.StepLR(o, 4, 0.3),
        "exponential": lambda o: S.ExponentialLR(o, 0.9),
        "cosine": lambda o: S.CosineAnnealingLR(o, 20, eta_min=0.1),
        "poly": lambda o: S.PolynomialLR(o, 20, 0.9),
    }
    for name, make in schedules.items():
        optimizer = O.SGD([torch.nn.Parameter(start.clone())], lr=1.0)
        scheduler, rates = make(optimizer), []
        for _ in range(20):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        out["schedule_" + name] = torch.tensor(rates, dtype=torch.float64)
    save_file({k: v.contiguous() for k, v in out.items()}, os.path.join(HERE, "optimizers.safetensors"), {"made_with": MADE_WITH})


if __name__ == "__main__":
    main()
