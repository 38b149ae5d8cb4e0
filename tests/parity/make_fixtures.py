#!/usr/bin/env python3
"""Makes the .safetensors fixtures of this folder with PyTorch on the CPU. Run it once, by hand, and commit what it writes:

    python3 tests/parity/make_fixtures.py            needs torch, numpy, safetensors

Every file holds the parameters of one module under PyTorch's names, its input x, its output y, the gradient of every
parameter under "grad." + name and, under "after." + name, the running statistics behind one forward pass. All of it was
computed in double and rounded to float; the versions are in the metadata, under "made_with". make_op_fixtures.py makes those of
single ops. BasicUNet is built here again from the published description of MONAI's network.
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


class TwoConv(nn.Module):
    def __init__(self, dim, inp, out):
        super().__init__()
        for i, c in ((0, inp), (1, out)):
            block = nn.Module()
            block.conv = (nn.Conv2d, nn.Conv3d)[dim - 2](c, out, 3, padding=1)
            block.adn = nn.Module()
            block.adn.N = (nn.InstanceNorm2d, nn.InstanceNorm3d)[dim - 2](out, affine=True)
            setattr(self, f"conv_{i}", block)

    def forward(self, x):
        for block in (self.conv_0, self.conv_1):
            x = nn.functional.leaky_relu(block.adn.N(block.conv(x)), 0.1)
        return x


class Down(nn.Module):
    def __init__(self, dim, inp, out):
        super().__init__()
        self.convs = TwoConv(dim, inp, out)
        self.pool = (nn.MaxPool2d, nn.MaxPool3d)[dim - 2](2)

    def forward(self, x):
        return self.convs(self.pool(x))


class UpCat(nn.Module):
    def __init__(self, dim, inp, skip, out, halves=True):
        super().__init__()
        up = inp // 2 if halves else inp
        self.upsample = nn.Module()
        self.upsample.deconv = (nn.ConvTranspose2d, nn.ConvTranspose3d)[dim - 2](inp, up, 2, stride=2)
        self.convs = TwoConv(dim, skip + up, out)

    def forward(self, x, skip):
        x = self.upsample.deconv(x)
        pads = []
        for axis in range(x.dim() - 1, 1, -1):
            pads += [0, skip.shape[axis] - x.shape[axis]]
        return self.convs(torch.cat([skip, nn.functional.pad(x, pads, "replicate")], 1))


class BasicUNet(nn.Module):
    def __init__(self, dim, f):
        super().__init__()
        self.conv_0 = TwoConv(dim, 1, f[0])
        for k in range(1, 5):
            setattr(self, f"down_{k}", Down(dim, f[k - 1], f[k]))
        self.upcat_4 = UpCat(dim, f[4], f[3], f[3])
        self.upcat_3 = UpCat(dim, f[3], f[2], f[2])
        self.upcat_2 = UpCat(dim, f[2], f[1], f[1])
        self.upcat_1 = UpCat(dim, f[1], f[0], f[5], halves=False)
        self.final_conv = (nn.Conv2d, nn.Conv3d)[dim - 2](f[5], 2, 1)

    def forward(self, x):
        x0 = self.conv_0(x)
        x1 = self.down_1(x0)
        x2 = self.down_2(x1)
        x3 = self.down_3(x2)
        x4 = self.down_4(x3)
        return self.final_conv(self.upcat_1(self.upcat_2(self.upcat_3(self.upcat_4(x4, x3), x2), x1), x0))


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
record("basic_unet_2d", BasicUNet(2, (4, 4, 4, 6, 8, 4)), (1, 1, 37, 33))
record("basic_unet_3d", BasicUNet(3, (2, 2, 3, 4, 4, 2)), (1, 1, 17, 16, 32))
for mode in ("replicate", "reflect"):
    record("conv_" + mode, nn.Conv3d(2, 3, (1, 3, 5), stride=(1, 2, 1), padding=(1, 1, 2), padding_mode=mode), (1, 2, 2, 4, 3))
