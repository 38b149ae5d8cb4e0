#!/usr/bin/env python3
"""Full-size networks of other libraries, for full.cpp: full.py FOLDER SIZE [NAME...]. Run by full.sh; needs torch, monai,
dynamic-network-architectures.

FOLDER/NAME.weights.safetensors   the module's parameters and running statistics, in single precision
FOLDER/NAME.values.safetensors    an input x and the output y in inference; volumes have SIZE voxels along each axis
Another network is a line here and a line in full.cpp.
"""
import sys

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from monai.networks.nets import AttentionUnet, BasicUNet, DynUNet, SegResNet, UNet, VNet
from safetensors.torch import save_file

from make_nnunet_fixtures import nnunet
from make_unet_fixtures import ClassicUNet
from make_vnet_fixtures import OriginalVNet
from network_fixtures import MADE_WITH, randomize

RESIDUAL = dict(strides=(2, 2, 2, 2), num_res_units=2, norm="batch")
HALVING = dict(features_per_stage=(32, 64, 128, 256, 320, 320), kernel_sizes=3, strides=(1, 2, 2, 2, 2, 2), conv_bias=True)
SLICES = dict(features_per_stage=(32, 64, 128, 256, 512, 512, 512, 512), kernel_sizes=3, strides=(1, 2, 2, 2, 2, 2, 2, 2),
              conv_bias=True)
TWICE = dict(n_conv_per_stage=2, n_conv_per_stage_decoder=2)
RESENC = dict(n_blocks_per_stage=(1, 3, 4, 6, 6, 6), n_conv_per_stage_decoder=1)
NETWORKS = {   # name: (maker, rank); the first five are those of the five systems
    "liver_unet": (lambda: ClassicUNet(3, (64, 128, 256, 512, 1024), 1), 3),
    "nodule_unet": (lambda: UNet(3, 1, 1, (32, 64, 128, 256, 512), **RESIDUAL), 3),
    "slice_unet": (lambda: ClassicUNet(2, (4, 8, 16, 32, 64, 128), 1), 2),
    "coronary_unet": (lambda: BasicUNet(3, 1, 2, (32, 64, 128, 256, 512, 32)), 3),
    "spine_vnet": (lambda: VNet(3, 1, 26), 3),
    "original_vnet": (lambda: OriginalVNet(16, 2), 3),
    "attention_unet": (lambda: AttentionUnet(3, 1, 2, (16, 32, 64, 128, 256), (2, 2, 2, 2)), 3),
    "segresnet_brats": (lambda: SegResNet(3, 16, 4, 3, dropout_prob=0.2), 3),
    "segresnet_whole_body": (lambda: SegResNet(3, 32, 1, 105, dropout_prob=0.2), 3),
    "plain_conv_unet": (lambda: nnunet(PlainConvUNet, 3, 1, 2, **HALVING, **TWICE), 3),
    "plain_conv_unet_2d": (lambda: nnunet(PlainConvUNet, 2, 1, 2, **SLICES, **TWICE), 2),
    "residual_encoder_unet": (lambda: nnunet(ResidualEncoderUNet, 3, 1, 2, **HALVING, **RESENC), 3),
    "dynunet": (lambda: DynUNet(3, 1, 2, [3] * 6, [1, 2, 2, 2, 2, 2], [2] * 5), 3),
}


def write(folder, name, size):
    maker, rank = NETWORKS[name]
    torch.manual_seed(0)
    module = maker().eval()
    randomize(module)
    first = next(p for p in module.parameters() if p.dim() > 2)
    x = torch.randn(1, first.shape[1], *[size if rank == 3 else 8 * size] * rank)
    with torch.no_grad():
        y = module(x)
    named = list(module.named_parameters()) + list(module.named_buffers())   # each once; state_dict() may hold it twice
    weights = {k: v.detach().contiguous().clone() for k, v in named if "num_batches" not in k}
    save_file(weights, f"{folder}/{name}.weights.safetensors", metadata={"made_with": MADE_WITH})
    save_file({"x": x, "y": y.contiguous()}, f"{folder}/{name}.values.safetensors", metadata={"made_with": MADE_WITH})


if __name__ == "__main__":
    for chosen in sys.argv[3:] or NETWORKS:
        write(sys.argv[1], chosen, int(sys.argv[2]))
