#!/usr/bin/env python3
"""nnU-Net's networks and MONAI's DynUNet, recorded for test_pytorch_nnunet.cpp. See network_fixtures.py.

    python3 tests/parity/make_nnunet_fixtures.py      needs torch, monai, dynamic-network-architectures
"""
from importlib.metadata import version

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from monai.networks.nets import DynUNet
from torch import nn

from network_fixtures import record

ARCHITECTURES = "dynamic-network-architectures " + version("dynamic-network-architectures")


def nnunet(network, dim, inputs, classes, norm="instance", **options):
    """As nnU-Net calls it with its plans."""
    norms = {"instance": (nn.InstanceNorm2d, nn.InstanceNorm3d), "batch": (nn.BatchNorm2d, nn.BatchNorm3d)}
    return network(input_channels=inputs, n_stages=len(options["features_per_stage"]), num_classes=classes,
                   conv_op=(nn.Conv2d, nn.Conv3d)[dim - 2], norm_op=norms[norm][dim - 2],
                   norm_op_kwargs={"eps": 1e-5, "affine": True}, nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True},
                   **options)


class ListedDynUNet(DynUNet):
    """What it stacks, as a list."""

    def forward(self, x):
        y = super().forward(x)
        return list(y.unbind(1)) if self.deep_supervision and self.training else y


if __name__ == "__main__":
    torch.manual_seed(0)   # for the first module; record() seeds for the next
    KERNELS, STRIDES = [[1, 3, 3], [3, 3, 3], [3, 3, 3]], [[1, 1, 1], [1, 2, 2], [2, 2, 2]]
    record("plain_conv_unet_3d",
           nnunet(PlainConvUNet, 3, 1, 2, features_per_stage=(3, 5, 6), kernel_sizes=KERNELS, strides=STRIDES,
                  n_conv_per_stage=(1, 2, 2), n_conv_per_stage_decoder=(2, 1), conv_bias=True, deep_supervision=True),
           (1, 1, 6, 16, 20), made_with=ARCHITECTURES)
    record("plain_conv_unet_2d",
           nnunet(PlainConvUNet, 2, 2, 3, norm="batch", features_per_stage=(4, 6, 8, 8), kernel_sizes=3, strides=(1, 2, 2, 2),
                  n_conv_per_stage=2, n_conv_per_stage_decoder=2, conv_bias=False),
           (2, 2, 32, 40), classes=3, made_with=ARCHITECTURES)
    record("residual_encoder_unet_3d",
           nnunet(ResidualEncoderUNet, 3, 1, 2, features_per_stage=(3, 5, 5), kernel_sizes=KERNELS, strides=STRIDES,
                  n_blocks_per_stage=(1, 2, 2), n_conv_per_stage_decoder=1, conv_bias=True, deep_supervision=True),
           (1, 1, 6, 16, 20), made_with=ARCHITECTURES)
    record("residual_encoder_unet_2d",
           nnunet(ResidualEncoderUNet, 2, 1, 3, features_per_stage=(4, 6, 6, 8), kernel_sizes=3, strides=(1, 2, 2, 2),
                  n_blocks_per_stage=(1, 2, 1, 2), n_conv_per_stage_decoder=(1, 2, 1), conv_bias=False, stem_channels=5),
           (2, 1, 32, 40), classes=3, made_with=ARCHITECTURES)
    KERNELS = [[1, 3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 1]]
    STRIDES = [[1, 1, 1], [1, 2, 2], [2, 2, 2], [1, 2, 1]]
    record("dynunet_3d",
           ListedDynUNet(3, 1, 2, KERNELS, STRIDES, STRIDES[1:], filters=(3, 4, 6, 7), deep_supervision=True, deep_supr_num=2),
           (1, 1, 6, 16, 16))
    record("dynunet_residual_3d",
           DynUNet(3, 2, 3, KERNELS, STRIDES, STRIDES[1:], filters=(3, 4, 4, 4), res_block=True, trans_bias=True),
           (1, 2, 6, 16, 16), classes=3)
    record("dynunet_2d",
           ListedDynUNet(2, 1, 3, [3, 3, 3], [1, 3, 2], [3, 2], filters=(4, 6, 8), norm_name="batch", deep_supervision=True),
           (2, 1, 24, 30), classes=3)
