#!/usr/bin/env python3
"""Makes losses.safetensors of this folder with MONAI on the CPU. Run it by hand, and commit what it writes; the same versions
write the same bytes:

    python3 tests/parity/make_loss_fixtures.py            needs torch, monai, numpy, scipy, safetensors

DIM/KIND/x and DIM/KIND/labels are logits (half) and labels; DIM/KIND/LOSS/y is a loss of them, DIM/KIND/LOSS/dx the gradient,
with all digits of a double (gradients of the shapes: of a float). test_monai_losses.cpp says by the same names what ctseg runs. What MONAI does not have is written
out here: nnU-Net's losses by their formulas, ignored labels of several channels, top-k.

Kinds    classes: indices, one class missing in one image; binary: one channel; channels: a bit per channel; ignored and
         channels_ignored: with 255; shapes: larger and with structures, for losses that look at neighbourhoods
"""
import os
import platform
import warnings
import zlib

import monai
import numpy
import safetensors
import scipy
import torch
from monai import losses as M
from monai.networks import one_hot
from safetensors.torch import save_file
from torch.nn import functional as F

warnings.filterwarnings("ignore")
HERE = os.path.dirname(os.path.abspath(__file__))
MADE_WITH = (f"monai {monai.__version__}, torch {torch.__version__}, numpy {numpy.__version__}, scipy {scipy.__version__}, "
             f"safetensors {safetensors.__version__}, python {platform.python_version()}")
IGNORED = 255


def data(dim):
    generator = torch.Generator().manual_seed(zlib.crc32(b"losses%d" % dim))

    def normal(*shape):
        return (1.5 * torch.randn(shape, generator=generator)).half()

    def apart(*shape):
        """No two alike: among equals PyTorch splits the gradient of a minimum, where any share is a slope."""
        count = torch.Size(shape).numel()
        return ((torch.randperm(count, generator=generator) - count // 2) * 6 / count).reshape(shape).half()

    def below(count, *shape):
        return torch.randint(count, shape, generator=generator).to(torch.uint8)

    space, large = ((4, 5), (11, 12)) if dim == 2 else ((3, 2, 4), (5, 7, 8))
    classes = torch.cat([below(3, 1, 1, *space), below(2, 1, 1, *space)])
    ignored = classes.clone()
    ignored[below(4, *ignored.shape) == 0] = IGNORED
    channels = below(2, 2, 3, *space)
    channels_ignored = channels.clone()
    channels_ignored[below(4, *channels.shape) == 0] = IGNORED
    structure = torch.zeros(1, 1, *large, dtype=torch.uint8)
    structure[..., 2:5, 1:-1] = 1
    structure[..., 6:9, 3:6] = 2
    if dim == 3:
        structure[:, :, 0], structure[:, :, -1] = 0, 0
    shapes = torch.cat([structure, below(3, 1, 1, *large)])
    binary = below(2, 2, 1, *space)
    several = torch.cat([(shapes == 1), (shapes == 2)], 1).to(torch.uint8)
    return {
        "classes": (normal(2, 3, *space), classes), "ignored": (normal(2, 3, *space), ignored),
        "binary": (normal(2, 1, *space), binary), "channels": (normal(2, 3, *space), channels),
        "channels_ignored": (normal(2, 3, *space), channels_ignored),
        "shapes": (apart(2, 3, *large), shapes), "shapes_binary": (apart(2, 1, *large), several[:, :1]),
        "shapes_channels": (apart(2, 2, *large), several),
    }


def squeezed(labels):
    return labels[:, 0].long()


def torch_ce(**options):
    return lambda x, labels: F.cross_entropy(x, squeezed(labels), **options)


def masked_dice(x, labels, mask):
    """Dice of sigmoids where the mask is 1."""
    p, q = torch.sigmoid(x) * mask, labels * mask
    axes = list(range(2, x.dim()))
    return (1 - (2 * (p * q).sum(axes) + 1e-5) / (p.sum(axes) + q.sum(axes) + 1e-5)).mean()


def masked_bce(x, labels, mask):
    loss = F.binary_cross_entropy_with_logits(x, labels * mask, reduction="none")
    return (loss * mask).sum() / mask.sum()


def nnunet_dice(p, q, batch, do_bg, smooth=1e-5):
    axes = list(range(2, p.dim()))
    if not do_bg:
        p, q = p[:, 1:], q[:, 1:]
    meet, total_p, total_q = (p * q).sum(axes), p.sum(axes), q.sum(axes)
    if batch:
        meet, total_p, total_q = meet.sum(0), total_p.sum(0), total_q.sum(0)
    return -((2 * meet + smooth) / torch.clip(total_q + total_p + smooth, 1e-8)).mean()


def nnunet(batch=False, do_bg=False, ignore=None):
    def loss(x, labels):
        mask = torch.ones_like(labels, dtype=torch.double) if ignore is None else (labels != ignore).double()
        q = one_hot(torch.where(mask > 0, labels, torch.zeros_like(labels)), x.shape[1]) * mask
        ce = F.cross_entropy(x, squeezed(labels), ignore_index=-100 if ignore is None else ignore)
        return ce + nnunet_dice(torch.softmax(x, 1) * mask, q, batch, do_bg)
    return loss


def top_k(percent, **options):
    def loss(x, labels):
        each = F.cross_entropy(x, squeezed(labels), reduction="none", **options)
        return torch.topk(each.view(-1), max(1, int(each.numel() * percent / 100)), sorted=False)[0].mean()
    return loss


def heads(x):
    """Logits at three resolutions."""
    pool = F.adaptive_avg_pool2d if x.dim() == 4 else F.adaptive_avg_pool3d
    sizes = ((3, 4), (1, 2)) if x.dim() == 4 else ((2, 1, 3), (1, 1, 2))
    return [x] + [pool(x, size) for size in sizes]


def deep(mode, loss):
    return lambda x, labels: M.DeepSupervisionLoss(loss, weight_mode=mode)(heads(x), labels)


def deep_nnunet(x, labels):
    weights = [2 / 3, 1 / 3]   # 1, 1/2, and 0 for the coarsest, of their sum
    return sum(w * nnunet()(h, F.interpolate(labels, size=h.shape[2:], mode="nearest-exact"))
               for w, h in zip(weights, heads(x)))


def cases():
    w = torch.tensor([0.5, 1.0, 2.0], dtype=torch.double)
    soft = {"softmax": True, "to_onehot_y": True}
    sigmoid = {"sigmoid": True}
    both = {"sigmoid": True, "to_onehot_y": True}
    classes = {
        "dice": M.DiceLoss(**soft), "dice_batch": M.DiceLoss(batch=True, **soft),
        "dice_foreground": M.DiceLoss(include_background=False, **soft),
        "dice_squared": M.DiceLoss(squared_pred=True, **soft), "dice_jaccard": M.DiceLoss(jaccard=True, **soft),
        "dice_jaccard_squared": M.DiceLoss(jaccard=True, squared_pred=True, **soft),
        "dice_weights": M.DiceLoss(weight=w, **soft),
        "dice_foreground_weights": M.DiceLoss(include_background=False, weight=w[1:], **soft),
        "dice_sigmoid": M.DiceLoss(**both), "dice_smooth": M.DiceLoss(smooth_nr=0.5, smooth_dr=2, **soft),
        "dice_ce": M.DiceCELoss(**soft), "dice_ce_weights": M.DiceCELoss(weight=w, **soft),
        "dice_ce_all": M.DiceCELoss(weight=w, label_smoothing=0.1, include_background=False, batch=True, squared_pred=True,
                                    lambda_dice=0.25, lambda_ce=1.5, **soft),
        "dice_ce_jaccard": M.DiceCELoss(jaccard=True, **soft),
        "ce": torch_ce(), "ce_weights": torch_ce(weight=w), "ce_smoothing": torch_ce(weight=w, label_smoothing=0.2),
        "generalized_square": M.GeneralizedDiceLoss(**soft),
        "generalized_simple": M.GeneralizedDiceLoss(w_type="simple", **soft),
        "generalized_uniform": M.GeneralizedDiceLoss(w_type="uniform", **soft),
        "generalized_batch": M.GeneralizedDiceLoss(batch=True, **soft),
        "generalized_foreground": M.GeneralizedDiceLoss(include_background=False, **soft),
        "tversky": M.TverskyLoss(**soft), "tversky_37": M.TverskyLoss(alpha=0.3, beta=0.7, **soft),
        "tversky_batch": M.TverskyLoss(alpha=0.7, beta=0.3, batch=True, include_background=False, **soft),
        "focal": M.FocalLoss(to_onehot_y=True), "focal_alpha": M.FocalLoss(to_onehot_y=True, alpha=0.25, gamma=1.5),
        "focal_softmax": M.FocalLoss(to_onehot_y=True, use_softmax=True),
        "focal_softmax_alpha": M.FocalLoss(to_onehot_y=True, use_softmax=True, alpha=0.75, gamma=1, weight=w),
        "focal_alphas": M.FocalLoss(to_onehot_y=True, alpha=[0.25, 0.5, 0.75], weight=w),
        "focal_foreground": M.FocalLoss(to_onehot_y=True, include_background=False),
        "dice_focal": M.DiceFocalLoss(lambda_dice=0.5, lambda_focal=2, **soft),
        "dice_focal_all": M.DiceFocalLoss(weight=w[1:], include_background=False, alpha=0.25, gamma=3, **soft),
        "generalized_focal": M.GeneralizedDiceFocalLoss(**soft),
        "nnunet": nnunet(), "nnunet_batch": nnunet(batch=True), "nnunet_background": nnunet(do_bg=True),
        "top_k": top_k(10), "top_k_half": top_k(50, weight=w),
        "deep_exp": deep("exp", M.DiceCELoss(**soft)), "deep_same": deep("same", M.DiceLoss(**soft)),
        "deep_two": deep("two", M.DiceLoss(**soft)), "deep_nnunet": deep_nnunet,
    }
    ignored = {
        "dice": M.DiceLoss(ignore_index=IGNORED, **soft), "ce": torch_ce(ignore_index=IGNORED),
        "ce_all": torch_ce(ignore_index=IGNORED, weight=w, label_smoothing=0.1),
        "tversky": M.TverskyLoss(alpha=0.3, beta=0.7, ignore_index=IGNORED, **soft),
        # MONAI divides by voxels here, not by voxels and channels.
        "focal": lambda x, labels: M.FocalLoss(to_onehot_y=True, ignore_index=IGNORED)(x, labels) / x.shape[1],
        "nnunet": nnunet(ignore=IGNORED), "top_k": top_k(40, ignore_index=IGNORED),
    }
    binary = {
        "dice": M.DiceLoss(**sigmoid), "dice_ce": M.DiceCELoss(**sigmoid),
        "dice_ce_weight": M.DiceCELoss(weight=torch.tensor([3.0], dtype=torch.double), include_background=False, **sigmoid),
        "dice_focal": M.DiceFocalLoss(alpha=0.25, **sigmoid), "tversky": M.TverskyLoss(alpha=0.3, beta=0.7, **sigmoid),
        "generalized": M.GeneralizedDiceLoss(**sigmoid), "focal": M.FocalLoss(alpha=0.25),
        "bce": F.binary_cross_entropy_with_logits,
        "half_half": lambda x, q: 0.5 * M.DiceLoss(sigmoid=True, smooth_nr=1e-6, smooth_dr=1e-6)(x, q)
                                  + 0.5 * F.binary_cross_entropy_with_logits(x, q),
    }
    channels = {
        "dice": M.DiceLoss(**sigmoid), "dice_foreground": M.DiceLoss(include_background=False, **sigmoid),
        "generalized": M.GeneralizedDiceLoss(**sigmoid), "tversky": M.TverskyLoss(**sigmoid), "focal": M.FocalLoss(alpha=0.25),
        "bce_weights": lambda x, q: F.binary_cross_entropy_with_logits(x, q, pos_weight=w.view(3, *[1] * (x.dim() - 2))),
        "dice_bce": lambda x, q: 0.5 * M.DiceLoss(**sigmoid)(x, q) + 2 * F.binary_cross_entropy_with_logits(x, q),
        "dice_focal": M.DiceFocalLoss(**sigmoid),
        "nnunet": lambda x, q: F.binary_cross_entropy_with_logits(x, q) + nnunet_dice(torch.sigmoid(x), q, True, True),
    }
    channels_ignored = {
        "dice": lambda x, q: masked_dice(x, q, (q != IGNORED).double()),
        "bce": lambda x, q: masked_bce(x, q, (q != IGNORED).double()),
    }
    shapes = {
        "hausdorff": M.HausdorffDTLoss(**soft), "hausdorff_1": M.HausdorffDTLoss(alpha=1, include_background=True, **soft),
        "hausdorff_log": M.LogHausdorffDTLoss(**soft), "boundary": M.BoundaryLoss(**soft),
        "boundary_foreground": M.BoundaryLoss(include_background=False, **soft),
        "cldice": M.SoftclDiceLoss(**soft), "cldice_5": M.SoftclDiceLoss(iter_=5, include_background=False, **soft),
        "dice_cldice": M.SoftDiceclDiceLoss(alpha=0.3, iter_=2, **soft),
    }
    shapes_binary = {
        "hausdorff": M.HausdorffDTLoss(**sigmoid), "boundary": M.BoundaryLoss(**sigmoid), "cldice": M.SoftclDiceLoss(**sigmoid)
    }
    shapes_channels = {
        "hausdorff": M.HausdorffDTLoss(include_background=True, **sigmoid), "boundary": M.BoundaryLoss(**sigmoid),
        "cldice": M.SoftclDiceLoss(iter_=1, **sigmoid)
    }
    return {"classes": classes, "ignored": ignored, "binary": binary, "channels": channels,
            "channels_ignored": channels_ignored, "shapes": shapes, "shapes_binary": shapes_binary,
            "shapes_channels": shapes_channels}


def main():
    tensors = {}
    for dim in (2, 3):
        for kind, (x, labels) in data(dim).items():
            tensors[f"{dim}d/{kind}/x"], tensors[f"{dim}d/{kind}/labels"] = x, labels
            for name, loss in cases()[kind].items():
                logits = x.double().requires_grad_()
                y = loss(logits, labels.double())
                y.backward()
                tensors[f"{dim}d/{kind}/{name}/y"] = y.detach().double().reshape(1)
                tensors[f"{dim}d/{kind}/{name}/dx"] = logits.grad.float() if kind.startswith("shapes") else logits.grad
    path = os.path.join(HERE, "losses.safetensors")
    save_file({k: v.contiguous() for k, v in sorted(tensors.items())}, path, {"made_with": MADE_WITH})
    print(path, os.path.getsize(path), "bytes")


main()
