"""Writes what a whole network of another library computes to networks/NAME.safetensors, for network_parity.hpp.

Needs torch, monai, numpy, safetensors. A script of its own per family of networks calls record(); run it by hand and commit
what it writes, at most 250 KB each: widths of 2 to 8 channels, volumes of a few thousand voxels.

A file holds, all computed in double:
    x, labels              the input (half precision) and u8 labels [N, 1, ...]; with several outputs labels.0, labels.1, ...
    weight.NAME            parameters and running statistics under the network's own names, rounded to half precision
    y                      the output in training mode; y.0, y.1, ..., finest first, of networks with deep supervision
    infer                  the (finest) output in inference, where running statistics make it another one
    loss, grad.NAME        Dice + cross entropy in training mode, of outputs 0, 1, 2, ... weighted 1, 1/2, 1/4, ..., and its gradients
    after.NAME             the running statistics behind that pass
    curve                  the loss before each of 20 steps of AdamW with PyTorch's defaults on that one sample
"""
import os
import platform

import monai
import numpy
import safetensors
import torch
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
MADE_WITH = (f"torch {torch.__version__}, monai {monai.__version__}, numpy {numpy.__version__}, "
             f"safetensors {safetensors.__version__}, python {platform.python_version()}")
STEPS = 20
MOST_BYTES = 250_000


def half(tensor):
    return tensor.half().to(tensor.dtype)


def randomize(module):
    """Constants such as 1 and 0 would hide a mistake; half precision keeps files small."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() < 2:
                parameter.add_(0.1 * torch.randn_like(parameter))
            parameter.copy_(half(parameter))
        for name, buffer in module.named_buffers():
            if "running_mean" in name:
                buffer.copy_(half(0.1 * torch.randn_like(buffer)))
            elif "running_var" in name:
                buffer.copy_(half(0.5 + torch.rand_like(buffer)))


def outputs_of(y):
    return list(y) if isinstance(y, (list, tuple)) else [y]


def labels_for(labels, y):
    """Every s-th label along each axis."""
    steps = [a // b for a, b in zip(labels.shape[2:], y.shape[2:])]
    return labels[(slice(None), slice(None)) + tuple(slice(None, None, s) for s in steps)]


def loss_of(outputs, labels):
    loss = monai.losses.DiceCELoss(softmax=True, to_onehot_y=True)
    return sum(loss(y, labels_for(labels, y).long()) / 2 ** i for i, y in enumerate(outputs))


def record(name, module, shape, classes=2, folder="networks", made_with="", **call):
    """module: any torch network with `classes` outputs and no dropout; shape [N, C, ...] of x; `call` goes to its forward.

    made_with: further versions, such as "dynamic-network-architectures 0.3.1".
    """
    torch.manual_seed(len(name))
    module = module.double()
    randomize(module)
    weights = {k: v for k, v in list(module.named_parameters()) + list(module.named_buffers()) if "num_batches" not in k}
    out = {"weight." + k: v.detach().clone().half() for k, v in weights.items()}
    x = torch.randn(shape).half()
    coarse = torch.nn.functional.avg_pool2d if len(shape) == 4 else torch.nn.functional.avg_pool3d
    smooth = coarse(x.double().mean(1, keepdim=True), 3, 1, 1)   # labels that have something to do with x
    labels = torch.bucketize(smooth, torch.quantile(smooth, torch.linspace(0, 1, classes + 1)[1:-1].double())).to(torch.uint8)

    module.eval()
    with torch.no_grad():
        infer = outputs_of(module(x.double(), **call))[0]
    module.train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
    curve = []
    for step in range(STEPS):
        optimizer.zero_grad()
        outputs = outputs_of(module(x.double(), **call))
        loss = loss_of(outputs, labels)
        loss.backward()
        curve.append(loss.item())
        if step == 0:
            single = len(outputs) == 1
            for i, y in enumerate(outputs):
                out["y" if single else f"y.{i}"] = y.detach().float()
                out["labels" if single else f"labels.{i}"] = labels_for(labels, y)
            if not torch.allclose(infer, outputs[0], rtol=1e-9, atol=1e-12):
                out["infer"] = infer.float()
            out |= {"grad." + k: p.grad.float() for k, p in module.named_parameters() if p.grad is not None}
            out |= {"after." + k: v.clone().float() for k, v in weights.items() if "running" in k}
        optimizer.step()
    out |= {"x": x, "loss": torch.tensor(curve[:1]).double(), "curve": torch.tensor(curve).double()}
    path = os.path.join(HERE, folder, name + ".safetensors")
    save_file({k: v.contiguous().clone() for k, v in out.items()}, path,
              metadata={"made_with": MADE_WITH + (", " + made_with if made_with else "")})
    os.chmod(path, 0o644)
    size = os.path.getsize(path)
    print(f"{name}: {size} bytes, {sum(p.numel() for p in module.parameters())} parameters, loss {curve[0]:.4f} to {curve[-1]:.4f}")
    if size > MOST_BYTES:
        raise SystemExit(f"{path} is {size} bytes, more than {MOST_BYTES}: fewer channels or voxels")
