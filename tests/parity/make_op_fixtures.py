#!/usr/bin/env python3
"""Makes ops_2d.safetensors and ops_3d.safetensors of this folder with PyTorch on the CPU. Run it by hand, and commit what it
writes; the same versions write the same bytes:

    python3 tests/parity/make_op_fixtures.py            needs torch, numpy, safetensors

A case NAME is its inputs NAME/x0, x1 ..., weights w0, w1 ... in the order of the op (as PyTorch shapes them; an absent one
leaves a gap), result y, given gradient dy, and from them dx0 ..., dw0 ...; running statistics are weights without gradient,
with their values behind the pass in after0 ... What goes in is half, so that double, float and bf16 start from the same
numbers; what comes out has all digits of a double. The versions are in the metadata, under "made_with".

op_parity_cases.hpp says by the same names what ctseg runs; a name that only one of the two knows fails the test. Left out:
dropout, whose masks come from other random numbers (tests/ops compares its statistics).
"""
import os
import platform
import zlib

import numpy
import safetensors
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
MADE_WITH = (f"torch {torch.__version__}, numpy {numpy.__version__}, safetensors {safetensors.__version__}, "
             f"python {platform.python_version()}")


class Numbers:
    """Random halves that depend on nothing but a key."""

    def __init__(self, key):
        self.generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))

    def normal(self, *shape, scale=1.0):
        return (scale * torch.randn(shape, generator=self.generator)).half()

    def uniform(self, low, high, *shape):
        return (low + (high - low) * torch.rand(shape, generator=self.generator)).half()

    def apart(self, *shape):
        """No two alike: a maximum is one voxel's, by far."""
        count = torch.Size(shape).numel()
        return ((torch.randperm(count, generator=self.generator) - count // 2) / 16).reshape(shape).half()

    def off_zero(self, *shape):
        """For functions with a kink at 0."""
        x = self.normal(*shape)
        return torch.where(x.abs() < 0.02, torch.full_like(x, 0.5), x)

    def below(self, count, *shape):
        return torch.randint(count, shape, generator=self.generator)


def narrow(t):
    """In the smallest type that loses nothing: many ops only move halves."""
    types = (torch.half, torch.float) if t.is_floating_point() else ()
    return next((t.to(type) for type in types if torch.equal(t.to(type).double(), t.double())), t)


class Cases:
    def __init__(self, dim):
        self.dim, self.tensors = dim, {}

    def last(self, *zyx):
        """One number per axis, of three for z, y, x."""
        return tuple(zyx[3 - self.dim:])

    def of_dim(self, two, three):
        return (two, three)[self.dim - 2]

    def record(self, name, f, make, kink_at=None):
        """make(numbers) -> inputs, weights, statistics. kink_at, called as f is: values that an activation with a kink at 0
        gets; other numbers are taken until none is so close to 0 that float could be on its other side."""
        for attempt in range(100):
            numbers = Numbers(f"{self.dim} {name} {attempt}")
            x, w, s = (list(part) for part in (*make(numbers), (), ())[:3])
            xs = [t.double().requires_grad_() if t.is_floating_point() else t for t in x]
            ws = [t if t is None else t.double().requires_grad_() for t in w]
            after = [t.double().clone() for t in s]
            if kink_at is None or kink_at(*xs, *ws, *(t.clone() for t in after)).abs().min() > 1e-3:
                break
        else:
            raise RuntimeError(f"{name}: no numbers without a kink nearby")
        y = f(*xs, *ws, *after)
        dy = numbers.normal(*y.shape)
        y.backward(dy.double())
        out = {"y": y.detach(), "dy": dy}
        out |= {f"x{k}": t for k, t in enumerate(x)}
        out |= {f"dx{k}": t.grad for k, t in enumerate(xs) if t.is_floating_point()}
        out |= {f"w{k}": t for k, t in enumerate(w + s) if t is not None}
        out |= {f"dw{k}": t.grad for k, t in enumerate(ws) if t is not None}
        out |= {f"after{k + len(w)}": t for k, t in enumerate(after)}
        for key, value in out.items():
            assert torch.isfinite(value.double()).all(), name
            self.tensors[f"{name}/{key}"] = narrow(value).contiguous()

    def save(self, name):
        path = os.path.join(HERE, name + ".safetensors")
        save_file(self.tensors, path, metadata={"made_with": MADE_WITH})
        os.chmod(path, 0o644)
        names = {key.split("/")[0] for key in self.tensors}
        print(f"{name}: {len(names)} cases, {os.path.getsize(path)} bytes, {MADE_WITH}")


def convolutions(c):
    conv, deconv = c.of_dim(F.conv2d, F.conv3d), c.of_dim(F.conv_transpose2d, F.conv_transpose3d)

    def case(name, x, w, bias=None, **options):
        function = deconv if name.startswith("conv_transposed") else conv
        c.record(name, lambda x, w, b=None: function(x, w, b, **options),
                 lambda r: ([r.normal(*x)], [r.normal(*w, scale=0.4)] + ([r.normal(bias)] if bias else [])))

    last = c.last
    case("conv_1x1", (2, 3, *last(2, 3, 2)), (4, 3, *last(1, 1, 1)), 4)
    case("conv_k3", (1, 2, *last(3, 4, 3)), (3, 2, *last(3, 3, 3)), 3, padding=1)
    case("conv_anisotropic", (2, 2, *last(3, 4, 5)), (3, 2, *last(1, 3, 2)), 3, stride=last(2, 1, 2), padding=last(0, 1, 1))
    case("conv_stride2", (1, 2, *last(5, 4, 3)), (3, 2, *last(3, 3, 3)), 3, stride=2, padding=1)
    case("conv_dilation2", (1, 2, *last(4, 5, 3)), (2, 2, *last(3, 3, 3)), 2, padding=2, dilation=2)
    case("conv_groups2", (1, 4, *last(2, 3, 4)), (6, 2, *last(3, 3, 3)), 6, padding=1, groups=2)
    case("conv_depthwise", (1, 3, *last(3, 4, 3)), (3, 1, *last(3, 3, 3)), 3, padding=1, groups=3)
    case("conv_depthwise_twofold", (1, 3, *last(2, 4, 3)), (6, 1, *last(1, 3, 3)), 6, padding=last(0, 1, 1), groups=3)
    case("conv_no_bias", (1, 2, *last(3, 5, 4)), (3, 2, *last(3, 3, 3)))
    case("conv_transposed_k2s2", (2, 3, *last(2, 1, 3)), (3, 2, *last(2, 2, 2)), 2, stride=2)
    case("conv_transposed_k3s2", (1, 2, *last(2, 3, 2)), (2, 3, *last(3, 3, 3)), 3, stride=2, padding=1, output_padding=1)
    case("conv_transposed_k4s3", (1, 2, *last(2, 2, 3)), (2, 2, *last(2, 4, 3)), 2, stride=last(1, 3, 2),
         padding=last(0, 1, 1), output_padding=last(0, 2, 1))
    case("conv_transposed_dilation2", (1, 2, *last(2, 3, 2)), (2, 2, *last(2, 3, 2)), 2, stride=last(1, 2, 2),
         padding=1, output_padding=last(0, 1, 0), dilation=2)
    case("conv_transposed_groups2", (1, 4, *last(2, 2, 3)), (4, 3, *last(2, 2, 2)), 6, stride=2, groups=2)
    case("conv_transposed_no_bias", (1, 2, *last(2, 3, 2)), (2, 3, *last(3, 3, 3)), padding=1)
    for mode in ("replicate", "reflect"):
        module = c.of_dim(nn.Conv2d, nn.Conv3d)(2, 3, last(1, 3, 5), stride=last(1, 2, 1), padding=last(1, 1, 2),
                                                padding_mode=mode)
        c.record("conv_" + mode, lambda x, w, b: torch.func.functional_call(module, {"weight": w, "bias": b}, x),
                 lambda r: ([r.normal(1, 2, *last(2, 4, 3))], [r.normal(3, 2, *last(1, 3, 5), scale=0.4), r.normal(3)]))


ACTIVATIONS = {   # of ctseg's names: the function, how many slopes it learns (C: one per channel), whether it has a kink
    "identity": (lambda x: x * 1, None, False),
    "relu": (F.relu, None, True),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.125), None, True),
    "elu": (lambda x: F.elu(x, 0.75), None, True),
    "sigmoid": (torch.sigmoid, None, False),
    "gelu": (F.gelu, None, False),
    "prelu": (F.prelu, "C", True),
    "prelu_shared": (F.prelu, 1, True),
}


def activations(c):
    for name, (f, slopes, _) in ACTIVATIONS.items():
        shape = (2, 3, *c.last(2, 3, 4))
        c.record(name, f, lambda r: ([r.off_zero(*shape)], [r.uniform(0.1, 0.4, 3 if slopes == "C" else 1)] if slopes else []))
    c.record("softmax", lambda x: F.softmax(x, 1), lambda r: ([r.normal(2, 5, *c.last(2, 3, 2))],))
    c.record("softmax_large", lambda x: F.softmax(x, 1),   # exp alone would overflow in float
             lambda r: ([r.normal(1, 4, *c.last(2, 3, 2)) + 200],))


def norms(c):
    def batch(x, *w, training, momentum=0.1):
        gamma, beta = w[:2] if len(w) == 4 else (None, None)
        return F.batch_norm(x, w[-2], w[-1], gamma, beta, training=training, momentum=momentum)

    def instance(x, *w):
        return F.instance_norm(x, weight=w[0] if w else None, bias=w[1] if w else None)

    def group(groups):
        return lambda x, *w: F.group_norm(x, groups, *w)

    def numbers(channels, affine, running=False):
        return lambda r: ([r.normal(2, channels, *c.last(2, 3, 4), scale=2) + 1],
                          [r.uniform(0.5, 1.5, channels), r.normal(channels)] if affine else [],
                          [r.normal(channels), r.uniform(0.5, 2, channels)] if running else [])

    for affine in (True, False):
        plain = "" if affine else "_plain"
        c.record("batch_norm_train" + plain, lambda *t: batch(*t, training=True), numbers(3, affine, True))
        c.record("batch_norm_eval" + plain, lambda *t: batch(*t, training=False), numbers(3, affine, True))
        c.record("instance_norm" + plain, instance, numbers(3, affine))
        c.record("group_norm" + plain, group(2), numbers(4, affine))
    c.record("group_norm_one_group", group(1), numbers(3, True))

    for name, (f, slopes, kink) in ACTIVATIONS.items():   # behind a norm they are one op with it
        def make(r, slopes=slopes):
            x, w, _ = numbers(3, True)(r)
            return x, w + ([r.uniform(0.1, 0.4, 3 if slopes == "C" else 1)] if slopes else [])
        c.record("instance_norm_" + name, lambda x, g, b, *slope: f(instance(x, g, b), *slope), make,
                 kink_at=(lambda x, g, b, *_: instance(x, g, b)) if kink else None)

    conv = c.of_dim(F.conv2d, F.conv3d)
    x, w = (2, 2, *c.last(2, 3, 4)), (3, 2, *c.last(3, 3, 3))
    normed = lambda x, w, _, g, b: instance(conv(x, w, padding=1), g, b)
    c.record("block_instance_leaky_relu", lambda *t: F.leaky_relu(normed(*t), 0.125),
             lambda r: ([r.normal(*x)], [r.normal(*w), None, r.uniform(0.5, 1.5, 3), r.normal(3)]), kink_at=normed)
    trained = lambda x, w, b, *norm: batch(conv(x, w, b, padding=1), *norm, training=True)
    c.record("block_batch_relu", lambda *t: F.relu(trained(*t)),
             lambda r: ([r.normal(*x)], [r.normal(*w), r.normal(3), r.uniform(0.5, 1.5, 3), r.normal(3)],
                        [r.normal(3), r.uniform(0.5, 2, 3)]), kink_at=trained)

    added = (2, 3, *c.last(2, 3, 4))   # a residual, before the activation
    summed = lambda x, r, *t: instance(x, *t[:2]) + r
    c.record("instance_norm_add_prelu", lambda *t: F.prelu(summed(*t), t[-1]),
             lambda r: ([r.normal(*added), r.normal(*added)], [r.uniform(0.5, 1.5, 3), r.normal(3), r.uniform(0.1, 0.4, 3)]),
             kink_at=summed)
    joined = lambda x, r, *t: trained(x, *t) + r
    c.record("block_batch_add_relu", lambda *t: F.relu(joined(*t)),
             lambda r: ([r.normal(*x), r.normal(*added)], [r.normal(*w), r.normal(3), r.uniform(0.5, 1.5, 3), r.normal(3)],
                        [r.normal(3), r.uniform(0.5, 2, 3)]), kink_at=joined)


def pools(c):
    largest, mean = c.of_dim(F.max_pool2d, F.max_pool3d), c.of_dim(F.avg_pool2d, F.avg_pool3d)
    adaptive = c.of_dim(F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)
    x = (1, 2, *c.last(4, 5, 3))
    for name, kernel, stride in (("2", 2, 2), ("3s2", 3, 2), ("flat", c.last(2, 1, 2), c.last(2, 1, 2))):
        c.record("max_pool_" + name, lambda x: largest(x, kernel, stride), lambda r: ([r.apart(*x)],))
        c.record("average_pool_" + name, lambda x: mean(x, kernel, stride), lambda r: ([r.normal(*x)],))
    c.record("max_pool_ties", lambda x: largest(x, 3, 2), lambda r: ([r.below(2, 1, 3, *c.last(5, 5, 5)).half()],))
    c.record("adaptive_average_pool_1", lambda x: adaptive(x, 1), lambda r: ([r.normal(*x)],))
    c.record("adaptive_average_pool", lambda x: adaptive(x, c.last(2, 3, 5)), lambda r: ([r.normal(*x)],))


def moves(c):
    space = c.last(2, 3, 4)
    pair = lambda r: ([r.normal(2, 3, *space), r.normal(2, 3, *space)],)
    c.record("add", torch.add, pair)
    c.record("add_scaled", lambda a, b: torch.add(a, b, alpha=-0.375), pair)
    c.record("multiply", torch.mul, pair)
    c.record("multiply_gate", torch.mul, lambda r: ([r.normal(2, 3, *space), r.normal(2, 1, *space)],))
    c.record("concat", lambda *x: torch.cat(x, 1), lambda r: ([r.normal(2, channels, *space) for channels in (2, 1, 3)],))
    c.record("slice", lambda x: x[:, 1:3], lambda r: ([r.normal(2, 5, *space)],))

    low, high = c.last(1, 0, 2), c.last(1, 2, 1)
    pads = [n for d in reversed(range(c.dim)) for n in (low[d], high[d])]
    for name, mode, value in (("replicate", "replicate", None), ("reflect", "reflect", None), ("constant", "constant", 0.0),
                              ("value", "constant", -1.5)):
        c.record("pad_" + name, lambda x: F.pad(x, pads, mode, value), lambda r: ([r.normal(1, 2, *c.last(2, 4, 3))],))


def resizes(c):
    linear = c.of_dim("bilinear", "trilinear")
    for name, mode, aligned in (("nearest", "nearest", None), ("nearest_exact", "nearest-exact", None),
                                ("linear", linear, False), ("linear_aligned", linear, True)):
        make = lambda r: ([r.normal(1, 2, *c.last(2, 4, 3))],)
        c.record(f"upsample_{name}", lambda x: F.interpolate(x, scale_factor=2, mode=mode, align_corners=aligned), make)
        c.record(f"upsample_{name}_anisotropic",
                 lambda x: F.interpolate(x, scale_factor=c.last(1, 2, 3), mode=mode, align_corners=aligned), make)
        c.record(f"upsample_{name}_size",   # up, down, and up by no whole number
                 lambda x: F.interpolate(x, size=c.last(3, 3, 5), mode=mode, align_corners=aligned), make)

    def shuffle(x, f=2):
        """PyTorch has it in 2-D only. MONAI's pixelshuffle in 3-D, from its definition: voxel (z, y, x) of channel c spreads
        over f^3 voxels, offset (i, j, k) of which comes from channel c f^3 + i f^2 + j f + k."""
        if x.dim() == 4:
            return F.pixel_shuffle(x, f)
        n, channels, d, h, w = x.shape
        y = x.new_zeros(n, channels // f**3, d * f, h * f, w * f)
        for i in range(f):
            for j in range(f):
                for k in range(f):
                    y[:, :, i::f, j::f, k::f] = x[:, i * f * f + j * f + k::f**3]
        return y

    c.record("pixel_shuffle", shuffle, lambda r: ([r.normal(1, 2 * 2**c.dim, *c.last(1, 3, 2))],))
    c.record("pixel_shuffle_3", lambda x: shuffle(x, 3), lambda r: ([r.normal(1, 3**c.dim, *c.last(1, 2, 1))],))


def losses(c):
    def dice_ce(logits, labels, dice_weight=1, ce_weight=1, smooth=(1e-5, 1e-5), include_background=True, batch=False):
        labels = labels.long().squeeze(1)
        p = F.softmax(logits, 1)
        q = F.one_hot(labels, logits.shape[1]).movedim(-1, 1).to(p)
        if not include_background:
            p, q = p[:, 1:], q[:, 1:]
        axes = ([0] if batch else []) + list(range(2, p.dim()))
        dice = 1 - (2 * (p * q).sum(axes) + smooth[0]) / (p.sum(axes) + q.sum(axes) + smooth[1])
        loss = dice_weight * dice.mean() + ce_weight * F.cross_entropy(logits, labels)
        return loss.reshape([1] * logits.dim())

    space = c.last(2, 3, 4)
    for name, options in (("", {}), ("_batch", {"batch": True}), ("_foreground", {"include_background": False}),
                          ("_foreground_batch", {"include_background": False, "batch": True}),
                          ("_dice_alone", {"ce_weight": 0}), ("_ce_alone", {"dice_weight": 0}),
                          ("_weights", {"dice_weight": 0.25, "ce_weight": 1.5, "smooth": (0.5, 2.0)})):
        c.record("dice_ce" + name, lambda x, labels: dice_ce(x, labels, **options),
                 lambda r: ([r.normal(2, 4, *space, scale=2), r.below(3, 2, 1, *space).to(   # nobody has class 3
                     torch.uint16 if name == "_weights" else torch.uint8)],))


for dim in (2, 3):
    cases = Cases(dim)
    for family in (convolutions, activations, norms, pools, moves, resizes, losses):
        family(cases)
    cases.save(f"ops_{dim}d")
