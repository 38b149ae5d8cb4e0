#!/usr/bin/env python3
"""The networks of ctseg_bench_gpu in PyTorch on the same card, in every way that people run them: each memory format, eager, as a
CUDA graph and compiled. Forward, and a training step with Dice + cross-entropy and fused AdamW; autocast for bf16, TF32 for tf32.

    torch_arms.py [--nets NAME,...] [--types f32,tf32,bf16] [--size 128] [--batch 1] [--seconds 1] [--arms eager,graph,compile]
                  [--budget SECONDS] [--json FILE] [--device cpu]            cpu with --size 32: a dry run

Medians of event samples of at least seconds / 20, after a warm-up; inputs rotate over four sets. An arm that fails is named. What
matters most comes first: types as listed, and arms that need no compilation before those that do. Rows are added to FILE, and what
FILE has already is not measured again; when the budget is used up the rest is named and left out.
"""
import argparse
import gc
import json
import os
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Sequential):
    def __init__(self, first, last, kernel=3, stride=1, norm="instance", activation=None, transposed=False, bare=False):
        pad = (kernel - 1) // 2
        conv = nn.ConvTranspose3d(first, last, kernel, stride, pad, stride - 1) if transposed else nn.Conv3d(first, last, kernel, stride, pad)
        norms = {"instance": lambda: nn.InstanceNorm3d(last, affine=True), "batch": lambda: nn.BatchNorm3d(last)}
        super().__init__(*([conv] if bare else [conv, norms[norm](), activation(last)]))


class UNetLike(nn.Module):
    """Two blocks a level; pooling or strides down, transposed 2/2 up, concat [skip, up]. ups: (from, up, skip, to) a level."""

    def __init__(self, features, ups, pool, **block):
        super().__init__()
        self.pool = nn.MaxPool3d(2) if pool else None
        self.down, self.up, self.merge = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        first = 1
        for level, f in enumerate(features):
            stride = 2 if level and not pool else 1
            self.down.append(nn.Sequential(Block(first, f, stride=stride, **block), Block(f, f, **block)))
            first = f
        for a, b, skip, to in ups:
            self.up.append(nn.ConvTranspose3d(a, b, 2, 2))
            self.merge.append(nn.Sequential(Block(skip + b, to, **block), Block(to, to, **block)))
        self.head = nn.Conv3d(ups[-1][3], 2, 1)

    def forward(self, x):
        skips = []
        for level, down in enumerate(self.down):
            x = down(self.pool(x) if self.pool is not None and level else x)
            skips.append(x)
        skips.pop()
        for up, merge in zip(self.up, self.merge):
            x = merge(torch.cat([skips.pop(), up(x)], 1))
        return self.head(x)


def leaky(slope):
    return lambda channels: nn.LeakyReLU(slope, inplace=True)


def basic_unet():
    return UNetLike((32, 32, 64, 128, 256), [(256, 128, 128, 128), (128, 64, 64, 64), (64, 32, 32, 32), (32, 32, 32, 32)], True,
                    activation=leaky(0.1))


def unet():
    f = (64, 128, 256, 512, 1024)
    return UNetLike(f, [(f[k], f[k - 1], f[k - 1], f[k - 1]) for k in (4, 3, 2, 1)], True, norm="batch",
                    activation=lambda channels: nn.ReLU(inplace=True))


def plain_conv_unet():
    f = (32, 64, 128, 256, 320, 320)
    return UNetLike(f, [(f[k], f[k - 1], f[k - 1], f[k - 1]) for k in (5, 4, 3, 2, 1)], False, activation=leaky(0.01))


class ResidualUnit(nn.Module):
    def __init__(self, first, last, stride=1, convs=2, bare_end=False):
        super().__init__()
        prelu = lambda channels: nn.PReLU()
        self.convs = nn.Sequential(*[Block(last if k else first, last, stride=1 if k else stride, norm="batch", activation=prelu,
                                           bare=bare_end and k == convs - 1) for k in range(convs)])
        self.short = nn.Conv3d(first, last, 3, stride, 1) if stride > 1 else nn.Conv3d(first, last, 1) if first != last else nn.Identity()

    def forward(self, x):
        return self.convs(x) + self.short(x)


class ResidualUNet(nn.Module):
    def __init__(self, channels=(32, 64, 128, 256, 512)):
        super().__init__()
        c = channels
        self.down = nn.ModuleList(ResidualUnit(1 if k == 0 else c[k - 1], c[k], 2) for k in range(4))
        self.bottom = ResidualUnit(c[3], c[4])
        ends = [c[2], c[1], c[0], 2]
        starts = [c[3] + c[4], 2 * c[2], 2 * c[1], 2 * c[0]]
        prelu = lambda channels: nn.PReLU()
        self.up = nn.ModuleList(nn.Sequential(Block(a, b, stride=2, norm="batch", activation=prelu, transposed=True),
                                              ResidualUnit(b, b, 1, 1, k == 3)) for k, (a, b) in enumerate(zip(starts, ends)))

    def forward(self, x):
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        x = self.bottom(x)
        for up in self.up:
            x = up(torch.cat([skips.pop(), x], 1))
        return x


class VNetStage(nn.Module):
    def __init__(self, channels, units):
        super().__init__()
        self.units = nn.Sequential(*[Block(channels, channels, 5, norm="batch", activation=lambda c: nn.ELU(inplace=True)) for _ in range(units)])

    def forward(self, x, short):
        return F.elu(self.units(x) + short)


class VNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv3d(1, 16, 5, padding=2), nn.BatchNorm3d(16))
        change = lambda conv, channels: nn.Sequential(conv, nn.BatchNorm3d(channels), nn.ELU(inplace=True))
        self.down = nn.ModuleList(change(nn.Conv3d(c, 2 * c, 2, 2), 2 * c) for c in (16, 32, 64, 128))
        self.down_stage = nn.ModuleList(VNetStage(2 * c, n) for c, n in ((16, 1), (32, 2), (64, 3), (128, 2)))
        self.up = nn.ModuleList(change(nn.ConvTranspose3d(a, b, 2, 2), b) for a, b in ((256, 128), (256, 64), (128, 32), (64, 16)))
        self.up_stage = nn.ModuleList(VNetStage(c, n) for c, n in ((256, 2), (128, 2), (64, 1), (32, 1)))
        self.head = nn.Sequential(Block(32, 2, 5, norm="batch", activation=lambda c: nn.ELU(inplace=True)), nn.Conv3d(2, 2, 1))

    def forward(self, x):
        x = F.elu(self.first(x) + x.expand(-1, 16, -1, -1, -1))
        skips = [x]
        for down, stage in zip(self.down, self.down_stage):
            y = down(x)
            x = stage(y, y)
            skips.append(x)
        skips.pop()
        for up, stage in zip(self.up, self.up_stage):
            y = torch.cat([up(x), skips.pop()], 1)
            x = stage(y, y)
        return self.head(x)


NETS = {"basic_unet": basic_unet, "residual_unet": ResidualUNet, "vnet": VNet, "plain_conv_unet": plain_conv_unet, "unet": unet}


def dice_ce(logits, labels):
    logits = logits.float()
    p, y = logits.softmax(1), F.one_hot(labels, 2).movedim(-1, 1).float()
    inside = (p * y).sum((2, 3, 4))
    return (1 - (2 * inside + 1e-5) / (p.sum((2, 3, 4)) + y.sum((2, 3, 4)) + 1e-5)).mean() + F.cross_entropy(logits, labels)


def time_of(args, work):
    cuda = args.device == "cuda"
    wait = torch.cuda.synchronize if cuda else lambda: None
    begin, calls = time.time(), 0
    while calls < 3 or time.time() - begin < args.seconds:
        work(calls)
        calls += 1
        wait()
    together = max(1, int(args.seconds / 20 / ((time.time() - begin) / calls)))
    samples, start = [], time.time()
    while len(samples) < 5 or (len(samples) < 20 and time.time() - start < 3 * args.seconds):
        t = time.time()
        if cuda:
            first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            first.record()
        for k in range(together):
            work(k)
        if cuda:
            last.record()
        wait()
        samples.append((first.elapsed_time(last) if cuda else (time.time() - t) * 1e3) / together)
    samples.sort()
    return statistics.median(samples), samples[len(samples) // 10], samples[-1 - len(samples) // 10]


def measure(args, name, kind, layout, way, train):
    torch.manual_seed(0)
    cuda = args.device == "cuda"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = kind == "tf32"
    torch.backends.cudnn.benchmark, torch.backends.cudnn.benchmark_limit = True, 0
    form = torch.channels_last_3d if layout == "channels_last" else torch.contiguous_format
    net = NETS[name]().to(args.device, memory_format=form).train(train)
    sets = range(4)
    shape = (args.batch, 1, args.size, args.size, args.size)
    images = [torch.randn(shape, device=args.device).to(memory_format=form) for _ in sets]
    labels = [torch.randint(0, 2, (args.batch,) + shape[2:], device=args.device) for _ in sets]
    adam = torch.optim.AdamW(net.parameters(), lr=1e-4, fused=cuda, capturable=cuda and way == "graph") if train else None
    torch.compiler.reset()   # else the ninth network of a process is not compiled any more, without a word
    model = torch.compile(net) if way == "compile" else net

    def once(x, y):
        cast = torch.autocast(args.device, torch.bfloat16, enabled=kind == "bf16")
        if not train:
            with torch.no_grad(), cast:
                return model(x)
        adam.zero_grad(set_to_none=True)
        with cast:
            logits = model(x)
        loss = dice_ce(logits, y)
        loss.backward()
        adam.step()

    work = lambda i: once(images[i % 4], labels[i % 4])
    if way == "graph":
        x, y = images[0].clone(), labels[0].clone()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                once(x, y)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            once(x, y)

        def work(i):
            x.copy_(images[i % 4])
            y.copy_(labels[i % 4])
            graph.replay()

    if cuda:
        torch.cuda.reset_peak_memory_stats()
    return time_of(args, work) + ((torch.cuda.max_memory_allocated() >> 20) if cuda else 0,)


def ceilings(args, file, done):
    """What this card gives at best: a large copy, and 8192^3 products of random matrices."""
    if any(d[0] == "ceiling" for d in done):
        return
    a = torch.empty(1 << 30, dtype=torch.float32, device=args.device).normal_()
    b = torch.empty_like(a)
    found = [("copy", 2 * a.nbytes, time_of(args, lambda i: b.copy_(a))[0], "GB/s")]
    del a, b
    for kind, dtype in (("bf16", torch.bfloat16), ("tf32", torch.float32), ("f32", torch.float32)):
        torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
        a, b = (torch.randn(8192, 8192, dtype=dtype, device=args.device) for _ in range(2))
        found.append((kind, 2 * 8192**3, time_of(args, lambda i: a @ b)[0], "GFLOP/s"))
    for name, work, ms, unit in found:
        print(f"ceiling  {name:16} {work / ms * 1e-6:10.0f} {unit}", flush=True)
        if file:
            file.write(json.dumps({"kind": "ceiling", "name": name, "ms": ms, unit: work / ms * 1e-6}) + "\n")
            file.flush()


KEYS = ("kind", "name", "type", "layout", "way", "batch", "size")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nets", default=",".join(NETS))
    parser.add_argument("--types", default="f32,tf32,bf16")
    parser.add_argument("--arms", default="eager,graph,compile")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--budget", type=float, default=1e9)
    parser.add_argument("--json")
    args = parser.parse_args()
    begin, done, left = time.time(), set(), 0
    if args.json and os.path.exists(args.json):
        done = {tuple(json.loads(line).get(k) for k in KEYS) for line in open(args.json) if line.endswith("}\n")}
    file = open(args.json, "a") if args.json else None
    if args.device == "cuda":
        print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}")
        ceilings(args, file, done)
    for way in args.arms.split(","):
        for kind in args.types.split(","):
            for name in args.nets.split(","):
                for what in ("forward", "step"):
                    for layout in ("contiguous", "channels_last"):
                        if (what, name, kind, layout, way, args.batch, args.size) in done:
                            continue
                        if time.time() - begin > args.budget:
                            left += 1
                            continue
                        try:
                            ms, low, high, memory = measure(args, name, kind, layout, way, what == "step")
                        except Exception as error:
                            print(f"{what:8} {name:16} {kind:5} {layout:14} {way:8} failed: {type(error).__name__}: {str(error)[:120]}")
                            continue
                        finally:
                            gc.collect()
                            if args.device == "cuda":
                                torch.cuda.empty_cache()
                        print(f"{what:8} {name:16} {kind:5} {layout:14} {way:8} {ms:10.4f} ms ({low:.4f} - {high:.4f}) {memory} MiB", flush=True)
                        if file:
                            row = {"batch": args.batch, "size": args.size, "kind": what, "name": name, "type": kind, "layout": layout, "way": way, "ms": ms, "p10": low, "p90": high, "mib": memory}
                            file.write(json.dumps(row) + "\n")
                            file.flush()
    if left:
        print(f"left out, for the time was used up: {left} measurements; call again with the same --json")


if __name__ == "__main__":
    main()
