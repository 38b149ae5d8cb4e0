#!/usr/bin/env python3
"""PyTorch's side of bench_agreement: the same weights and voxels in float and in double, and how many voxels change their class.
Needs torch, monai, numpy and safetensors.

    build/release/bin/ctseg_bench_agreement DATA FOLDER    trains, measures ctseg, writes what this reads
    python3 benchmarks/peers/agreement.py FOLDER
"""
import glob
import sys

import monai
import numpy as np
import torch
from monai.networks.nets import BasicUNet
from safetensors.torch import load_file

folder = sys.argv[1]
torch.set_num_threads(2)
print(f"torch {torch.__version__}, monai {monai.__version__}")


def margins(image, dtype):
    net = BasicUNet(spatial_dims=3, in_channels=1, out_channels=2).to(dtype).eval()
    net.load_state_dict({k: v.to(dtype) for k, v in load_file(f"{folder}/weights.safetensors").items()})
    with torch.inference_mode():
        logits = net(torch.from_numpy(image).to(dtype)[None, None])[0]
    return (logits[1] - logits[0]).numpy()


for path in sorted(glob.glob(f"{folder}/*_image.npy")):
    image, exact = np.load(path), np.load(path.replace("_image", "_margin"))
    print(f"{path}: {image.size} voxels")
    for name, dtype in (("float", torch.float32), ("double", torch.float64)):
        margin = margins(image, dtype)
        differ = int(np.count_nonzero((margin > 0) != (exact > 0)))
        print(f"  PyTorch {name}: {differ} voxels differ from ctseg's double: {100 - 100 * differ / image.size:.5f} % agree; "
              f"margins {np.abs(margin - exact).max() / np.abs(exact).max():.1e}", flush=True)
