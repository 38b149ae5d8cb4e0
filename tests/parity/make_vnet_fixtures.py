#!/usr/bin/env python3
"""V-Net, AttentionUnet and SegResNet of MONAI, recorded for test_network_vnet.cpp and its neighbours. Needs torch, monai; see
network_fixtures.py.

MONAI's V-Net has 16 channels at the top and no option for fewer: slim() puts MONAI's own stages together with fewer. The V-Net
of the paper, which MONAI does not have, is built here from its description."""
import torch
from monai.networks.nets import AttentionUnet, SegResNet, VNet
from monai.networks.nets.vnet import DownTransition, InputTransition, OutputTransition, UpTransition
from torch import nn

from network_fixtures import record


def slim(width, dim, inp, out, act, bias=False):
    net, up = VNet(dim, inp, out, act=act), {"act": act, "dropout_prob": (None, 0.0)}
    w = width
    net.in_tr = InputTransition(dim, inp, w, act, bias=bias)
    net.down_tr32 = DownTransition(dim, w, 1, act, bias=bias)
    net.down_tr64 = DownTransition(dim, 2 * w, 2, act, bias=bias)
    net.down_tr128 = DownTransition(dim, 4 * w, 3, act, bias=bias)
    net.down_tr256 = DownTransition(dim, 8 * w, 2, act, bias=bias)
    net.up_tr256 = UpTransition(dim, 16 * w, 16 * w, 2, **up)
    net.up_tr128 = UpTransition(dim, 16 * w, 8 * w, 2, **up)
    net.up_tr64 = UpTransition(dim, 8 * w, 4 * w, 1, **up)
    net.up_tr32 = UpTransition(dim, 4 * w, 2 * w, 1, **up)
    net.out_tr = OutputTransition(dim, 2 * w, out, act, bias=bias)
    return net


class LiteHead(nn.Module):
    def __init__(self, conv):
        super().__init__()
        self.conv2 = conv

    def forward(self, x):
        return self.conv2(x)


class Unit(nn.Module):
    """Convolution of 5^3 and PReLU; the last of a stage adds before it is activated."""
    def __init__(self, inp, out, name="act_function"):
        super().__init__()
        self.conv_block = nn.ModuleDict({"conv": nn.Conv3d(inp, out, 5, padding=2)})
        setattr(self, name, nn.PReLU(out))
        self.name = name

    def forward(self, x, shortcut=0):
        return getattr(self, self.name)(self.conv_block["conv"](x) + shortcut)


class Stage(nn.Module):
    def __init__(self, name, change, channels, units):
        super().__init__()
        self.name = name
        setattr(self, name, change)
        self.act_function1 = nn.PReLU(change.out_channels)
        self.ops = nn.ModuleList([Unit(channels, channels) for _ in range(units)])

    def forward(self, x, skip=None):
        x = self.act_function1(getattr(self, self.name)(x))
        shortcut = x = x if skip is None else torch.cat([x, skip], 1)
        for unit in self.ops[:-1]:
            x = unit(x)
        return self.ops[-1](x, shortcut)


class OriginalVNet(nn.Module):
    def __init__(self, w, classes):
        super().__init__()
        self.in_tr = Unit(1, w)
        for i, units in enumerate((1, 2, 3, 3)):
            setattr(self, f"down_tr{32 << i}", Stage("down_conv", nn.Conv3d(w << i, w << i + 1, 2, 2), w << i + 1, units))
        for i, units in enumerate((3, 2, 1, 1)):
            to = 16 * w >> i
            up = nn.ConvTranspose3d(2 * to if i else to, to // 2, 2, 2)
            setattr(self, f"up_tr{256 >> i}", Stage("up_conv", up, to, units))
        self.out_tr = Unit(2 * w, classes, "act_function1")
        self.out_tr.conv2 = nn.Conv3d(classes, classes, 1)
        self.width = w

    def forward(self, x):
        level = [self.in_tr(x, x.repeat(1, self.width, 1, 1, 1))]
        for name in (32, 64, 128, 256):
            level.append(getattr(self, f"down_tr{name}")(level[-1]))
        x = level.pop()
        for name in (256, 128, 64, 32):
            x = getattr(self, f"up_tr{name}")(x, level.pop())
        return self.out_tr.conv2(self.out_tr(x))


if __name__ == "__main__":
    record("vnet_3d", slim(2, 3, 1, 2, "elu"), (3, 1, 16, 16, 16), drawn=True)
    record("vnet_2d_prelu", slim(4, 2, 2, 4, "prelu", bias=True), (2, 2, 48, 32), classes=4, drawn=True)
    lite = slim(4, 2, 1, 2, "relu")
    lite.out_tr = LiteHead(nn.Conv2d(8, 2, 1))
    record("vnet_2d_lite", lite, (2, 1, 64, 48), drawn=True)
    record("vnet_original_3d", OriginalVNet(2, 2), (1, 1, 16, 16, 32), drawn=True)
    record("attention_unet_3d", AttentionUnet(3, 1, 2, (4, 6, 8, 10), (2, (1, 2, 2), 2)), (2, 1, 8, 16, 16), drawn=True)
    record("attention_unet_2d", AttentionUnet(2, 2, 3, (4, 8, 6), (2, 3), kernel_size=(3, 5), up_kernel_size=5), (2, 2, 24, 30),
           classes=3, drawn=True)
    record("segresnet_3d", SegResNet(3, 8, 1, 2), (1, 1, 16, 24, 24), drawn=True)
    deconv = SegResNet(2, 4, 2, 3, act="leakyrelu", norm=("instance", {"affine": True}), blocks_down=(1, 2, 1),
                       blocks_up=(2, 1), upsample_mode="deconv")
    record("segresnet_2d_deconv", deconv, (2, 2, 20, 24), classes=3, drawn=True)
    record("segresnet_2d_shuffle", SegResNet(2, 4, 1, 2, norm="batch", blocks_down=(1, 1), blocks_up=(1,),
                                             upsample_mode="pixelshuffle"), (2, 1, 18, 16), drawn=True)
