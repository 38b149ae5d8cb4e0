#!/usr/bin/env python3
"""MONAI's arm of real_ct.sh: the scans, initial weights and recipe of real_ct.cpp, with MONAI's transforms, network, loss and
sliding window, and PyTorch's AdamW. Prints a line of JSON as ctseg_bench_real_ct train does.

    real_ct_monai.py FOLDER TASK SEED STEPS        needs torch, monai, numpy, safetensors
"""
import json
import math
import os
import resource
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "2")
import numpy as np
import torch
from monai.data import set_track_meta
from monai.inferers import sliding_window_inference
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet
from monai.transforms import (Compose, FgBgToIndicesd, RandAffined, RandCropByPosNegLabeld, RandFlipd, RandGaussianNoised,
                              RandScaleIntensityd)
from safetensors.torch import load_file, save_file

TASKS = {"spine_005_007": (["verse005"], "verse007"), "spine_007_005": (["verse007"], "verse005"),
         "lung_12_3": (["lung1", "lung2"], "lung3")}
PATCH, BATCH, LEARNING_RATE, WEIGHT_DECAY, PARTS = 48, 2, 2e-3, 1e-5, 25
FEATURES = (16, 16, 32, 64, 128, 16)
BOTH, ALL, TURN = ["image", "label"], (PATCH,) * 3, math.radians(15)


def resident(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 / 1e6 for line in file if line.startswith(key + ":"))


def cpu_seconds():
    use = resource.getrusage(resource.RUSAGE_SELF)
    return use.ru_utime + use.ru_stime


def read_case(folder, name):
    return {k: torch.from_numpy(np.load(f"{folder}/{name}_{k}.npy").astype(np.float32))[None] for k in BOTH}


def judge(net, case):
    net.eval()
    with torch.inference_mode():
        logits = sliding_window_inference(case["image"][None], ALL, 1, net, overlap=0.5, mode="gaussian")
    net.train()
    mask, truth = logits[0].argmax(0) > 0, case["label"][0] > 0
    return 2 * int((mask & truth).sum()) / (int(mask.sum()) + int(truth.sum()))


def main(folder, task, seed, steps):
    torch.set_num_threads(2)
    torch.set_num_interop_threads(1)
    set_track_meta(False)   # as fast as MONAI can: tensors stay plain
    idle = resident("VmRSS")
    torch.manual_seed(seed)
    net = BasicUNet(3, 1, 2, FEATURES)
    net.load_state_dict(load_file(f"{folder}/init_{seed}.safetensors"))
    net = net.to(memory_format=torch.channels_last_3d) if os.environ.get("CHANNELS_LAST") else net
    train, test = TASKS[task]
    ready = FgBgToIndicesd(["label"])   # once for each case, as a cached data set does
    cases = [ready(read_case(folder, name)) for name in train]
    augment = Compose([
        RandCropByPosNegLabeld(BOTH, "label", ALL, 1, 1, 1, fg_indices_key="label_fg_indices", bg_indices_key="label_bg_indices"),
        RandFlipd(BOTH, 0.5, 2),
        RandAffined(BOTH, prob=0.5, rotate_range=(TURN,) * 3, scale_range=(0.1,) * 3, mode=("bilinear", "nearest"),
                    padding_mode="reflection"),
        RandScaleIntensityd(["image"], 0.1, 0.5),
        RandGaussianNoised(["image"], 0.3, std=0.05),
    ]).set_random_state(seed)
    random = np.random.RandomState(seed)
    loss_of = DiceCELoss(softmax=True, to_onehot_y=True)
    adam = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    losses = []
    start, cpu_start = time.perf_counter(), cpu_seconds()
    for step in range(steps):
        batch = [augment(cases[random.randint(len(cases))])[0] for _ in range(BATCH)]
        image, label = (torch.stack([b[k] for b in batch]) for k in BOTH)
        adam.zero_grad(set_to_none=True)
        loss = loss_of(net(image), label)
        loss.backward()
        adam.step()
        schedule.step()
        losses.append(loss.item())
        part = max(steps // PARTS, 1)
        if (step + 1) % part == 0:
            print(f"step {step + 1}/{steps}  loss {np.mean(losses[-part:]):.4f}  {(time.perf_counter() - start) / (step + 1):.2f} s",
                  file=sys.stderr, flush=True)
    wall, cpu, memory = time.perf_counter() - start, cpu_seconds() - cpu_start, resident("VmHWM") - idle
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, f"{folder}/{task}_{seed}_monai.safetensors")
    judge_start = time.perf_counter()
    dice = judge(net, read_case(folder, test))
    judge_seconds = time.perf_counter() - judge_start
    curve = [round(float(np.mean(losses[i:i + part])), 4) for i in range(0, len(losses) - part + 1, part)]
    print(json.dumps(dict(task=task, arm="MONAI", seed=seed, steps=steps, dice=round(dice, 4),
                          dice_seen=[round(judge(net, c), 4) for c in cases], seconds=round(wall, 1), cpu_seconds=round(cpu, 1),
                          memory_mb=round(memory), judge_seconds=round(judge_seconds, 2), loss=curve)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
