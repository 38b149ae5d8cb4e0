#!/usr/bin/env python3
"""U-Nets recorded for test_network_unet.cpp: MONAI's BasicUNet and UNet, and the classic U-Net, which MONAI has not and which is
written here from its paper. Needs torch, monai, numpy, safetensors; see network_fixtures.py.
"""
import torch
from monai.networks.nets import BasicUNet, UNet
from torch import nn

from network_fixtures import record


class TwoConv(nn.Module):
    def __init__(self, dim, inp, out, bias):
        super().__init__()
        for i, c in ((0, inp), (1, out)):
            block = nn.Module()
            block.conv = (nn.Conv2d, nn.Conv3d)[dim - 2](c, out, 3, padding=1, bias=bias)
            block.norm = (nn.BatchNorm2d, nn.BatchNorm3d)[dim - 2](out)
            setattr(self, f"conv_{i}", block)

    def forward(self, x):
        for block in (self.conv_0, self.conv_1):
            x = torch.relu(block.norm(block.conv(x)))
        return x


class ClassicUNet(nn.Module):
    def __init__(self, dim, f, classes, bias=True):
        super().__init__()
        up = (nn.ConvTranspose2d, nn.ConvTranspose3d)[dim - 2]
        self.levels, self.pool = len(f), (nn.MaxPool2d, nn.MaxPool3d)[dim - 2](2)
        for i, c in enumerate(f):
            setattr(self, f"encoder_{i}", TwoConv(dim, f[i - 1] if i else 1, c, bias))
        for i in range(self.levels - 1):
            setattr(self, f"up_{i}", up(f[i + 1], f[i], 2, stride=2))
            setattr(self, f"decoder_{i}", TwoConv(dim, 2 * f[i], f[i], bias))
        self.head = (nn.Conv2d, nn.Conv3d)[dim - 2](f[0], classes, 1)

    def forward(self, x):
        skips = []
        for i in range(self.levels):
            x = getattr(self, f"encoder_{i}")(self.pool(x) if i else x)
            skips.append(x)
        for i in reversed(range(self.levels - 1)):
            x = getattr(self, f"decoder_{i}")(torch.cat([skips[i], getattr(self, f"up_{i}")(x)], 1))
        return self.head(x)


def main():
    torch.manual_seed(0)
    record("basic_unet_3d", BasicUNet(3, 1, 2, (2, 2, 3, 4, 6, 2)), (1, 1, 17, 16, 32))
    record("basic_unet_nontrainable", BasicUNet(3, 2, 2, (3, 2, 4, 4, 6, 2), act="prelu", upsample="nontrainable"),
           (1, 2, 16, 33, 18))
    record("basic_unet_pixelshuffle", BasicUNet(3, 1, 2, (2, 2, 3, 4, 4, 2), act="prelu", upsample="pixelshuffle"),
           (1, 1, 34, 16, 17))
    record("basic_unet_2d_pixelshuffle", BasicUNet(2, 2, 3, (3, 2, 4, 4, 6, 2), norm="batch", upsample="pixelshuffle"),
           (2, 2, 32, 50), classes=3)
    record("basic_unet_2d_group", BasicUNet(2, 1, 2, (4, 4, 6, 6, 8, 4), norm=("group", {"num_groups": 2}), act="elu", bias=False),
           (2, 1, 33, 32))

    record("classic_unet_3d", ClassicUNet(3, (3, 4, 6, 8), 2), (2, 1, 16, 16, 8))
    record("classic_unet_2d", ClassicUNet(2, (4, 6, 8, 8), 3, bias=False), (2, 1, 32, 40), classes=3)

    record("residual_unet_batch", UNet(3, 1, 2, (3, 4, 6, 8), (2, 2, 2), num_res_units=2, norm="batch"), (2, 1, 16, 16, 16))
    record("residual_unet_instance", UNet(3, 2, 3, (4, 4, 6), (1, 2), num_res_units=3, act=("leakyrelu", {"negative_slope": 0.2}),
                                          bias=False), (1, 2, 12, 12, 12), classes=3)
    record("residual_unet_none", UNet(3, 1, 2, (3, 4, 6), ((1, 2, 2), (2, 2, 3)), kernel_size=(1, 3, 5), up_kernel_size=(3, 1, 5),
                                      num_res_units=0), (2, 1, 8, 16, 12))
    record("residual_unet_2d", UNet(2, 1, 4, (4, 6, 8), (2, 2), num_res_units=1, act="relu", norm=("instance", {"affine": True})),
           (2, 1, 24, 32), classes=4)
    record("basic_unet_2d", BasicUNet(2, 1, 2, (4, 4, 4, 6, 8, 4)), (1, 1, 37, 33))


if __name__ == "__main__":
    main()
