#!/usr/bin/env python3
"""A network in PyTorch, ONNX Runtime or OpenVINO at the other end of a pipe, as bench_peer.cpp is for ctseg; see peers.py.

    serve.py make NETWORK FOLDER SCALE                                  weights, an input with labels, and an ONNX file
    serve.py PEER NETWORK infer|train THREADS FOLDER [--format FORMAT]  "go" -> "ms", of a training step "ms loss";
                                                                        "write FILE" -> logits; "memory" -> MB; "facts" -> JSON

The networks are those of benchmarks/networks.hpp. Each peer gets what is known to be best for it on a CPU. Dropout is 0.
"""
import argparse
import json
import sys
import time
import warnings

import numpy

SIZES = {"basic_unet": (96, 96, 96), "residual_unet": (64, 256, 256), "unet": (96, 96, 96), "vnet": (96, 96, 96),
         "plain_conv_unet": (128, 128, 128), "unet_2d": (512, 512)}


def classic_unet(dim, features=(64, 128, 256, 512, 1024), classes=1):
    """The U-Net of its paper, with padding and batch norm; no library has it."""
    from torch import cat, nn
    conv, up, norm, pool = ((nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.MaxPool2d),
                            (nn.Conv3d, nn.ConvTranspose3d, nn.BatchNorm3d, nn.MaxPool3d))[dim - 2]

    def block(first, last):
        unit = lambda a, b: nn.Sequential(dict_of(conv=conv(a, b, 3, padding=1), norm=norm(b), activation=nn.ReLU(inplace=True)))
        return nn.Sequential(dict_of(conv_0=unit(first, last), conv_1=unit(last, last)))

    def dict_of(**modules):
        from collections import OrderedDict
        return OrderedDict(modules)

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            for i, f in enumerate(features):
                self.add_module(f"encoder_{i}", block(features[i - 1] if i else 1, f))
            for i, f in enumerate(features[:-1]):
                self.add_module(f"up_{i}", up(features[i + 1], f, 2, stride=2))
                self.add_module(f"decoder_{i}", block(2 * f, f))
            self.pool, self.head = pool(2), conv(features[0], classes, 1)

        def forward(self, x):
            skips = []
            for i in range(len(features)):
                x = getattr(self, f"encoder_{i}")(self.pool(x) if i else x)
                skips.append(x)
            for i in reversed(range(len(features) - 1)):
                x = getattr(self, f"decoder_{i}")(cat([skips[i], getattr(self, f"up_{i}")(x)], 1))
            return self.head(x)

    return UNet()


def plain_conv_unet():
    from dynamic_network_architectures.architectures.unet import PlainConvUNet
    from torch import nn
    return PlainConvUNet(1, 6, (32, 64, 128, 256, 320, 320), nn.Conv3d, 3, (1, 2, 2, 2, 2, 2), 2, 2, 2, conv_bias=True,
                         norm_op=nn.InstanceNorm3d, norm_op_kwargs={"eps": 1e-5, "affine": True}, nonlin=nn.LeakyReLU,
                         nonlin_kwargs={"inplace": True}, deep_supervision=False)


def make_network(name):
    if name in ("unet", "unet_2d"):
        return classic_unet(len(SIZES[name]))
    if name == "plain_conv_unet":
        return plain_conv_unet()
    from monai.networks.nets import BasicUNet, UNet, VNet
    if name == "basic_unet":
        return BasicUNet(3, 1, 2, (32, 32, 64, 128, 256, 32))
    if name == "residual_unet":
        return UNet(3, 1, 1, (32, 64, 128, 256, 512), (2, 2, 2, 2), num_res_units=2, norm="batch")
    if name == "vnet":
        return VNet(3, 1, 2, dropout_prob_down=0.0, dropout_prob_up=(0.0, 0.0))
    sys.exit(f"no network {name}; there are {', '.join(SIZES)}")


def save(path, arrays):
    """As safetensors has it: the length of a header, the header, the bytes."""
    header, end = {}, 0
    for name, a in arrays.items():
        header[name] = {"dtype": {"float32": "F32", "uint8": "U8"}[str(a.dtype)], "shape": a.shape, "data_offsets": [end, end + a.nbytes]}
        end += a.nbytes
    words = json.dumps(header).encode()
    words += b" " * (-len(words) % 8)
    with open(path, "wb") as file:
        file.write(len(words).to_bytes(8, "little") + words)
        for a in arrays.values():
            file.write(numpy.ascontiguousarray(a).tobytes())


def load(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        return {name: numpy.frombuffer(bytearray(file.read(t["data_offsets"][1] - t["data_offsets"][0])),
                                       {"F32": numpy.float32, "U8": numpy.uint8}[t["dtype"]]).reshape(t["shape"])
                for name, t in header.items()}   # in the order of their bytes, as save() wrote them


def make(name, folder, scale):
    import torch
    warnings.filterwarnings("ignore")   # of the exporter, about itself
    torch.manual_seed(0)
    net = make_network(name).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0
    x = torch.randn(1, 1, *(n // int(scale) for n in SIZES[name]))
    smooth = (torch.nn.functional.avg_pool3d if x.dim() == 5 else torch.nn.functional.avg_pool2d)(x, 5, 1, 2)
    values = dict(net.named_parameters()) | {k: v for k, v in net.named_buffers() if "num_batches" not in k}
    save(f"{folder}/{name}.weights.safetensors", {k: v.detach().numpy() for k, v in values.items()})
    save(f"{folder}/{name}.values.safetensors", {"x": x.numpy(), "labels": (smooth > 0.05).to(torch.uint8).numpy()})
    try:
        torch.onnx.export(net, (x,), f"{folder}/{name}.onnx", opset_version=17, input_names=["x"], output_names=["y"], dynamo=False)
    except Exception as error:
        print(f"no ONNX file: {type(error).__name__}: {error}", file=sys.stderr)


def tensors(args, part):
    return load(f"{args.folder}/{args.network}.{part}.safetensors")


class Torch:
    """Eager, as people run it. FORMAT: the memory format of weights and input."""

    def __init__(self):
        import torch
        self.torch, self.version = torch, torch.__version__
        try:   # counted to the library
            import monai.losses
            import monai.networks.nets
            self.loss = monai.losses.DiceCELoss
        except ImportError:
            self.loss = None

    def prepare(self, args):
        torch = self.torch
        torch.set_num_threads(args.threads)
        torch.set_num_interop_threads(1)
        net = make_network(args.network)
        weights = tensors(args, "weights")
        with torch.no_grad():
            for name, value in list(net.named_parameters()) + list(net.named_buffers()):   # each once; state_dict() may hold it twice
                if "num_batches" not in name:
                    value.copy_(torch.from_numpy(weights[name]))
        for module in net.modules():
            if isinstance(module, torch.nn.modules.dropout._DropoutNd):
                module.p = 0.0
        values = tensors(args, "values")
        x, labels = torch.from_numpy(values["x"]), torch.from_numpy(values["labels"])
        if args.format == "channels_last":
            last = torch.channels_last_3d if x.dim() == 5 else torch.channels_last
            net, x = net.to(memory_format=last), x.to(memory_format=last)
        if args.work == "infer":
            net.eval()

            def infer():
                with torch.inference_mode():
                    self.y = net(x)
            return infer
        if self.loss is None:
            sys.exit("no MONAI, whose loss the training step needs")
        net.train()
        one = args.network in ("unet", "unet_2d", "residual_unet")
        loss_of = self.loss(sigmoid=True) if one else self.loss(softmax=True, to_onehot_y=True)
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
        labels = labels.float() if one else labels.long()

        def train():
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(net(x), labels)
            loss.backward()
            optimizer.step()
            return loss.item()
        return train

    def logits(self):
        return self.y.numpy()


class OnnxRuntime:
    def __init__(self):
        import onnxruntime
        self.library, self.version = onnxruntime, onnxruntime.__version__

    def prepare(self, args):
        options = self.library.SessionOptions()
        options.graph_optimization_level = self.library.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads, options.inter_op_num_threads = args.threads, 1
        session = self.library.InferenceSession(f"{args.folder}/{args.network}.onnx", options, ["CPUExecutionProvider"])
        x = tensors(args, "values")["x"]

        def infer():
            self.y = session.run(None, {"x": x})[0]
        return infer

    def logits(self):
        return self.y


class OpenVino:
    def __init__(self):
        import openvino
        self.library, self.version = openvino, openvino.__version__.split("-")[0]

    def prepare(self, args):
        core = self.library.Core()
        model = core.compile_model(core.read_model(f"{args.folder}/{args.network}.onnx"), "CPU", {
            "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": str(args.threads)})
        request, x = model.create_infer_request(), tensors(args, "values")["x"]
        request.set_tensor(model.inputs[0], self.library.Tensor(x, shared_memory=True))
        self.request, self.x = request, x
        return request.infer

    def logits(self):
        return self.request.get_output_tensor(0).data


def resident(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 / 1e6 for line in file if line.startswith(key + ":"))


def serve(args):
    peer = {"torch": Torch, "onnxruntime": OnnxRuntime, "openvino": OpenVino}[args.peer]()
    idle = resident("VmRSS")
    work = peer.prepare(args)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")   # the peak counts from here
    print("ready", flush=True)
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "go":
            start = time.perf_counter()
            loss = work()
            ms = (time.perf_counter() - start) * 1e3
            print(f"{ms} {loss if isinstance(loss, float) else 0.0}", flush=True)
        elif word == "write":
            numpy.ascontiguousarray(peer.logits(), dtype=numpy.float32).tofile(rest[0])
            print("written", flush=True)
        elif word == "memory":
            print(resident("VmHWM") - idle, flush=True)
        elif word == "facts":
            print(json.dumps({"version": peer.version}), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["make"]:
        make(*sys.argv[2:])
    else:
        parser = argparse.ArgumentParser()
        for name in ("peer", "network", "work"):
            parser.add_argument(name)
        parser.add_argument("threads", type=int)
        parser.add_argument("folder")
        parser.add_argument("--format", default="contiguous")
        serve(parser.parse_args())
