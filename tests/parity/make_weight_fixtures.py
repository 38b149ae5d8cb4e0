#!/usr/bin/env python3
"""Makes the PyTorch checkpoints of tests/parity/weights. Run it once, by hand, and commit what it writes:

    python3 tests/parity/make_weight_fixtures.py            needs torch, monai, numpy, safetensors,
                                                            dynamic_network_architectures

The networks are MONAI's, and one of nnU-Net's; check_weights.py tries all others. expected.safetensors holds an input x and each
network's output, computed in double from the weights as they are in the file, with the versions in its metadata. evil.pth asks
for os.system("exit 66") when it is unpickled: never load it with torch.load(weights_only=False).
"""
import collections
import importlib.metadata
import os
import platform

import monai
import numpy
import torch
from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet
from safetensors.torch import save_file

from network_fixtures import randomize

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "weights")
MADE_WITH = (f"torch {torch.__version__}, monai {monai.__version__}, numpy {numpy.__version__}, "
             f"dynamic_network_architectures {importlib.metadata.version('dynamic_network_architectures')}, "
             f"python {platform.python_version()}")
torch.manual_seed(5)
X = torch.randn(1, 1, 32, 37).half().float()
expected = {"x": X}


def save(name, content, **options):
    torch.save(content, os.path.join(HERE, name + ".pth"), **options)


def unet(norm=("instance", {"affine": True})):
    net = monai.networks.nets.BasicUNet(2, 1, 2, features=(2, 2, 3, 3, 4, 2), norm=norm)
    with torch.no_grad():
        for tensor in list(net.parameters()) + [b for b in net.buffers() if b.dtype == torch.float32]:
            tensor.add_(0.1 * torch.rand_like(tensor))   # constants such as 1 and 0 would hide a mistake
    return net.eval()


def expect(name, net, weights, x=X):
    """What `net` makes of x with these weights, in double."""
    net = net.double()
    net.load_state_dict({k: v.double() if v.is_floating_point() else v for k, v in weights.items()})
    expected["y." + name] = net(x.double()).detach().float()


net = unet()
weights = {k: v.clone() for k, v in net.state_dict().items()}
save("basic_unet", net.state_dict())
expect("basic_unet", unet(), weights)

# What a training loop saves: DistributedDataParallel's names, an optimizer with its moments, NumPy's numbers.
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
net(X).square().mean().backward()
optimizer.step()
weights = collections.OrderedDict(("module." + k, v) for k, v in net.state_dict().items())
save("checkpoint", {"epoch": 7, "best_dice": numpy.float64(0.5), "losses": [numpy.float32(1.5), numpy.float64(0.25)],
                    "classes": numpy.array([0, 1]), "seen": {"a"}, "device": torch.device("cuda", 0),
                    "optimizer": {k: v for k, v in optimizer.state_dict().items() if k == "param_groups"},
                    "moments": [s["exp_avg"] for s in list(optimizer.state.values())[:3]],
                    "scheduler": {"milestones": collections.Counter([3, 5])}, "state_dict": weights})
expect("checkpoint", unet(), {k[7:]: v for k, v in weights.items()})

for name, dtype in (("half", torch.float16), ("bfloat16", torch.bfloat16)):
    weights = {k: v.to(dtype) for k, v in unet().state_dict().items()}
    save(name, {"model": weights})
    expect(name, unet(), weights)

net = unet(norm="batch")
save("batch_norm", net.state_dict(), pickle_protocol=5)
expect("batch_norm", unet(norm="batch"), net.state_dict())

# Views: value k of each storage is k, so every tensor says where it lies.
base = torch.arange(24.0)
save("views", {"packed": base.view(2, 3, 4), "transposed": base.view(4, 6).t(), "sliced": base.view(4, 6)[1:3, ::2],
               "columns": base.view(2, 3, 4).permute(2, 0, 1), "repeated": base[5:8].expand(2, 3), "scalar": base[9],
               "empty": torch.zeros(0, 3), "parameter": torch.nn.Parameter(torch.arange(3.0)),
               "f64": torch.arange(4).double(), "f16": torch.arange(4).half(), "bf16": torch.arange(4).bfloat16(),
               "i64": torch.arange(4), "i32": torch.arange(4).int(), "i16": torch.arange(4).short(),
               "u8": torch.arange(4).byte(), "bool": torch.arange(4) % 2 == 1, "number": 3, "size": torch.Size([1, 2])})


# One of nnU-Net's networks, which has most tensors under two to four names, in what nnU-Net saves.
net = ResidualEncoderUNet(1, 2, (2, 3), torch.nn.Conv2d, 3, (1, 2), (1, 1), 3, (1,), conv_bias=True,
                          norm_op=torch.nn.InstanceNorm2d, norm_op_kwargs={"affine": True}, nonlin=torch.nn.LeakyReLU)
around = {"optimizer_state": {"state": {}, "param_groups": [{"lr": 0.01}]}, "grad_scaler_state": {"scale": 65536.0},
          "logging": {"mean_fg_dice": [numpy.float64(0.5), numpy.float32(0.25)]}, "_best_ema": numpy.float64(0.5),
          "current_epoch": 1000, "init_args": {"fold": 0, "device": torch.device("cuda")}, "trainer_name": "nnUNetTrainer",
          "inference_allowed_mirroring_axes": (0, 1)}
save("nnunet", {"network_weights": net.state_dict(), **around})
different = net.state_dict()
different["decoder.encoder.stem.convs.0.conv.bias"] = different["encoder.stem.convs.0.conv.bias"] + 1
save("nnunet_different", {"network_weights": different})

# MONAI's UNet in a training checkpoint; its DynUNet, which has all tensors twice, and heads for training.
expected["x.even"] = X[..., :32].contiguous()
UNET = (2, 1, 2, (4, 6, 8), (2, 2)), {"num_res_units": 2, "norm": "batch"}
DYNUNET = (2, 1, 2, [3] * 4, [1, 2, 2, 2], [2] * 3), {"filters": (4, 4, 6, 6), "deep_supervision": True, "deep_supr_num": 2}
for name, network, (args, options) in (("residual_unet", monai.networks.nets.UNet, UNET),
                                       ("dynunet", monai.networks.nets.DynUNet, DYNUNET)):
    net = network(*args, **options)
    randomize(net)
    save(name, {"epoch": 7, "state_dict": net.state_dict()} if name == "residual_unet" else net.state_dict())
    expect(name, net.eval(), net.state_dict(), expected["x.even"])


class Evil:
    def __reduce__(self):
        return os.system, ("exit 66",)


save("evil", {"weight": torch.ones(2), "hidden": Evil()})
save_file(expected, os.path.join(HERE, "expected.safetensors"), metadata={"made_with": MADE_WITH})
for file in os.listdir(HERE):
    os.chmod(os.path.join(HERE, file), 0o644)
