"""Small ONNX files as PyTorch's exporters write them, with inputs and PyTorch's outputs.

    python make_onnx_fixtures.py

Needs torch, monai, dynamic-network-architectures, onnx, onnxscript and safetensors. Writes onnx/NAME.onnx beside this script, and
onnx/NAME.safetensors with x0, y0 (and x1, y1: another size, where the graph is dynamic). `legacy` is the TorchScript exporter.
"""
import warnings
from importlib.metadata import version
from pathlib import Path

import onnx
import torch
import torch.nn.functional as F
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from monai.networks.nets import AttentionUnet, BasicUNet, DynUNet, SegResNet, UNet
from monai.networks.nets.vnet import DownTransition, InputTransition, OutputTransition, UpTransition
from safetensors.torch import save_file
from torch import nn

FOLDER = Path(__file__).parent / "onnx"
INSTANCE = {"norm_op": nn.InstanceNorm3d, "norm_op_kwargs": {"affine": True}, "nonlin": nn.LeakyReLU, "conv_bias": True}


class VNetStages(nn.Module):
    """One level of MONAI's V-Net: the whole has 45 million parameters and no option for fewer."""

    def __init__(self):
        super().__init__()
        self.first = InputTransition(2, 1, 16, ("elu", {"inplace": True}))
        self.down = DownTransition(2, 16, 0, ("elu", {"inplace": True}))
        self.up = UpTransition(2, 32, 32, 0, ("elu", {"inplace": True}))
        self.last = OutputTransition(2, 32, 2, ("elu", {"inplace": True}))

    def forward(self, x):
        skip = self.first(x)
        return self.last(self.up(self.down(skip), skip))


class ComputedSizes(nn.Module):
    """Pads and sizes that the graph computes from shapes, group norm, GELU, channel slices, a gate, a pixel shuffle."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.up = nn.ConvTranspose2d(4, 4, 2, 2)
        self.norm = nn.GroupNorm(2, 4)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x):
        a = F.relu(self.first(x))
        b = self.up(F.max_pool2d(a, 2))
        b = F.pad(b, (0, a.shape[3] - b.shape[3], 0, a.shape[2] - b.shape[2]), mode="replicate")
        c = F.gelu(self.norm(torch.cat([a, b], 1)[:, 2:6]))
        c = F.interpolate(F.avg_pool2d(c, 2), size=(a.shape[2], a.shape[3]), mode="bilinear") * 2 - 0.5
        d = F.interpolate(F.avg_pool2d(self.shuffle(c), 2), scale_factor=1, mode="nearest")
        return torch.softmax(c, 1) * torch.sigmoid(c[:, :1]) + torch.cat([d, d, d, d], 1)


def cases():
    """name, network, exporter, dynamic, input sizes"""
    yield "basic_unet_2d", BasicUNet(2, 1, 2, features=(2, 2, 3, 4, 4, 2)), "legacy", True, [(33, 34), (49, 50)]
    yield ("basic_unet_3d", BasicUNet(3, 1, 2, features=(2, 2, 2, 3, 3, 2), norm="batch", act="prelu"), "dynamo", False,
           [(17, 16, 18)])
    yield ("basic_unet_shuffle_3d", BasicUNet(3, 1, 2, features=(2, 2, 2, 2, 4, 2), norm="batch", upsample="pixelshuffle"),
           "legacy", True, [(16, 16, 16), (16, 32, 16)])
    yield ("basic_unet_linear_2d", BasicUNet(2, 1, 2, features=(2, 2, 2, 2, 4, 2), upsample="nontrainable"), "legacy", True,
           [(32, 32), (48, 32)])
    yield "unet_3d", UNet(3, 1, 2, (2, 3, 4), (2, 2), num_res_units=2), "legacy", True, [(8, 12, 8), (8, 16, 12)]
    yield "unet_batch_3d", UNet(3, 1, 2, (2, 3, 4), (2, 2), norm="batch", dropout=0.1), "dynamo", True, [(8, 12, 8), (16, 8, 8)]
    yield "attention_unet_3d", AttentionUnet(3, 1, 2, (2, 4, 6), (2, 2)), "legacy", True, [(8, 12, 8), (16, 8, 8)]
    yield ("segresnet_3d", SegResNet(3, 2, 1, 2, norm=("GROUP", {"num_groups": 2}), blocks_down=(1, 1, 1), blocks_up=(1, 1)),
           "legacy", True, [(8, 12, 8), (16, 8, 8)])
    yield ("segresnet_dynamo_2d", SegResNet(2, 2, 1, 2, norm=("GROUP", {"num_groups": 2}), blocks_down=(1, 1), blocks_up=(1,)),
           "dynamo", True, [(16, 12), (8, 20)])
    yield "vnet_stages_2d", VNetStages(), "legacy", True, [(16, 12), (8, 20)]
    yield ("dynunet_3d", DynUNet(3, 1, 2, [3, 3, 3], [1, 2, 2], [2, 2], filters=[2, 3, 4], res_block=True), "legacy", True,
           [(8, 12, 8), (16, 8, 8)])
    yield ("plain_conv_unet_3d", PlainConvUNet(1, 3, [2, 3, 4], nn.Conv3d, 3, [1, 2, (1, 2, 2)], 2, 2, 2, **INSTANCE), "legacy",
           True, [(8, 12, 8), (16, 8, 8)])
    yield ("residual_encoder_unet_3d", ResidualEncoderUNet(1, 3, [2, 3, 4], nn.Conv3d, 3, [1, 2, 2], [1, 1, 2], 2, [1, 1],
                                                           **INSTANCE), "legacy", True, [(8, 12, 8), (16, 8, 8)])
    yield "computed_sizes_legacy_2d", ComputedSizes(), "legacy", True, [(17, 19), (22, 24)]
    yield "computed_sizes_dynamo_2d", ComputedSizes(), "dynamo", True, [(17, 19), (22, 24)]


def export(net, x, exporter, dynamic, path):
    axes = {0: "batch", **{d: f"size_{d - 2}" for d in range(2, x.ndim)}}
    if exporter == "legacy":
        torch.onnx.export(net, x, path, opset_version=17, dynamo=False, input_names=["x"], output_names=["y"],
                          dynamic_axes={"x": axes, "y": axes} if dynamic else None)
        return
    shapes = ({d: torch.export.Dim.DYNAMIC for d in axes},) if dynamic else None
    example = x.repeat(2, *[1] * (x.ndim - 1)) if dynamic else x   # an extent of 1 would be taken as fixed
    torch.onnx.export(net, (example,), path, dynamo=True, input_names=["x"], output_names=["y"], dynamic_shapes=shapes,
                      external_data=False, verbose=False)


def forget_sources(path):
    """Takes out the lines of source, with paths, that exporters attach to nodes and values."""
    model = onnx.load(path)
    graph = model.graph
    for part in [model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer]:
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    onnx.save(model, path)


def make_refused():
    """Files that are well formed and are not run: each must be refused by name."""
    h = onnx.helper
    value = lambda name: h.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 1, 4, 4])

    def save(name, nodes, tensors=(), sparse=()):
        graph = h.make_graph(nodes, "g", [value("x")], [value("y")], list(tensors), sparse_initializer=list(sparse))
        model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17), h.make_opsetid("com.example", 1)])
        model.ir_version = 8
        onnx.save(model, FOLDER / f"refused_{name}.onnx")

    external = onnx.TensorProto(name="w", data_type=1, dims=[1, 1, 1, 1], data_location=onnx.TensorProto.EXTERNAL)
    external.external_data.add(key="location", value="weights.bin")
    save("external", [h.make_node("Conv", ["x", "w"], ["y"], "conv")], [external])
    save("strings", [h.make_node("Conv", ["x", "w"], ["y"], "conv")], [h.make_tensor("w", 8, [1], [b"a"])])
    branch = h.make_graph([h.make_node("Relu", ["x"], ["z"])], "b", [], [value("z")])
    save("branch", [h.make_node("If", ["c"], ["y"], "choose", then_branch=branch, else_branch=branch)],
         [h.make_tensor("c", 9, [], [True])])
    save("domain", [h.make_node("Relu", ["x"], ["y"], "mine", domain="com.example")])
    some = h.make_sparse_tensor(h.make_tensor("w", 1, [1], [1.0]), h.make_tensor("i", 7, [1], [0]), [4])
    save("sparse", [h.make_node("Relu", ["x"], ["y"])], sparse=[some])


def main():
    warnings.filterwarnings("ignore")
    FOLDER.mkdir(exist_ok=True)
    make_refused()
    versions = {name: version(name) for name in ("torch", "monai", "dynamic-network-architectures", "onnx", "onnxscript")}
    for name, net, exporter, dynamic, sizes in cases():
        torch.manual_seed(1)
        for parameter in net.parameters():   # no fills of 0 and 1, behind which a swap could hide
            parameter.data = torch.randn_like(parameter) * (0.3 if parameter.ndim < 3 else parameter[0].numel() ** -0.5)
        for buffer in net.buffers():
            if buffer.is_floating_point():
                buffer.data = torch.rand_like(buffer) + 0.5
        net.eval()
        tensors = {}
        with torch.no_grad():
            for k, size in enumerate(sizes):
                tensors[f"x{k}"] = torch.randn(1, 1, *size)
                if k == 0:
                    export(net, tensors["x0"], exporter, dynamic, str(FOLDER / f"{name}.onnx"))
                    forget_sources(FOLDER / f"{name}.onnx")
                tensors[f"y{k}"] = net(tensors[f"x{k}"]).contiguous()
        save_file(tensors, FOLDER / f"{name}.safetensors", metadata={**versions, "exporter": exporter})
        print(name, (FOLDER / f"{name}.onnx").stat().st_size, (FOLDER / f"{name}.safetensors").stat().st_size, flush=True)


if __name__ == "__main__":
    main()
