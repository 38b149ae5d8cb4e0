#!/usr/bin/env python3
"""Makes the .safetensors fixtures of this folder with PyTorch on the CPU. Run it once, by hand, and commit what it writes:

    python3 tests/parity/make_fixtures.py            needs torch, numpy, safetensors

Every file holds the parameters of one module under PyTorch's names, its input x, its output y, the gradient of every
parameter under "grad." + name and, under "after." + name, the running statistics behind one forward pass. All of it was
computed in double and rounded to float; the versions are in the metadata, under "made_with". make_op_fixtures.py makes those of
single ops, network_fixtures.py those of whole networks.
"""
import os
import platform

import numpy
import safetensors
import torch
from torch import nn
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
MADE_WITH = (f"torch {torch.__version__}, numpy {numpy.__version__}, safetensors {safetensors.__version__}, "
             f"python {platform.python_version()}")


def record(name, module, shape):
    """One forward and one backward in training, from loss = sum(y * y) / 2, so that the gradient of y is y."""
    torch.manual_seed(len(name))
    module = module.double()
    with torch.no_grad():
        for parameter in module.parameters():   # constants such as 1 and 0 would hide a mistake
            parameter.add_(0.1 * torch.randn_like(parameter))
            parameter.copy_(parameter.float())
    out = {k: v.clone().float() for k, v in module.state_dict().items() if "num_batches" not in k}
    x = torch.randn(shape).half()
    y = module(x.double())
    (y * y / 2).sum().backward()
    out |= {"x": x, "y": y.detach().float()}
    out |= {"grad." + k: p.grad.float() for k, p in module.named_parameters()}
    out |= {"after." + k: v.clone().float() for k, v in module.state_dict().items() if "running" in k}
    path = os.path.join(HERE, name + ".safetensors")
    save_file({k: v.contiguous() for k, v in out.items()}, path, metadata={"made_with": MADE_WITH})
    os.chmod(path, 0o644)


torch.manual_seed(0)   # for the first module; record() seeds for the next
record("conv", nn.Conv3d(3, 5, (1, 3, 3), stride=(1, 2, 1), padding=(0, 1, 1)), (2, 3, 4, 7, 6))
record("conv_transposed", nn.ConvTranspose3d(3, 4, 3, stride=2, padding=1, output_padding=1), (2, 3, 3, 4, 2))
record("instance_norm", nn.InstanceNorm3d(5, affine=True), (2, 5, 3, 4, 5))
record("batch_norm", nn.BatchNorm3d(5), (2, 5, 3, 4, 5))
for mode in ("replicate", "reflect"):
    record("conv_" + mode, nn.Conv3d(2, 3, (1, 3, 5), stride=(1, 2, 1), padding=(1, 1, 2), padding_mode=mode), (1, 2, 2, 4, 3))
