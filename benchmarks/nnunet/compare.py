#!/usr/bin/env python3
"""`ctseg segment --nnunet-model` beside `nnUNetv2_predict_from_modelfolder -device cpu`: the same folder, the same scan, one
after the other; wall time, peak memory and masks.

    python3 benchmarks/nnunet/compare.py CTSEG [SCAN.nii.gz...] [--synthetic 512,512,200] [--json FILE]

The model is like TotalSegmentator's: PlainConvUNet of 32 to 320 features, 3d_fullres, windows of 128^3 at 1.5 mm, --classes 104
with random weights (what it finds is noise, but it is the same noise). Both without mirroring, as TotalSegmentator does, with
--threads on all processors, float32, steps of --step (0.5) windows.

Memory is the sum of proportional set sizes (shared pages counted once) over a program and all processes that it starts,
sampled up to ten times a second but never for more than a twentieth of the time (the kernel walks all pages for it), and for a
single process the kernel's own peak where that is higher. CPU seconds are those of all its processes. --limit (GB) stops a program
that exceeds it, so that the machine survives; such a row says ">". --only ctseg or --only nnunet runs one. Needs nnunetv2.

nnU-Net sums windows in half precision, ctseg in float. Random weights make classes that are nearly as likely as each other, so
that half sums alone move many voxels: --float-sums has nnU-Net sum in float too (more memory), for masks to be compared.
"""
import argparse
import gzip
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

import numpy as np

FLOAT_SUMS = """import functools, torch
from nnunetv2.inference import predict_from_raw_data as module

class Floats:
    half = torch.float32
    def __getattr__(self, name):
        return getattr(torch, name)

gaussian = functools.partial(module.compute_gaussian.__wrapped__, dtype=torch.float32)
module.torch, module.compute_gaussian = Floats(), functools.lru_cache(gaussian)
"""
PREDICT = "from nnunetv2.inference.predict_from_raw_data import predict_entry_point_modelfolder as p; p()"


def make_model(folder, classes, patch, features):
    """plans.json, dataset.json and fold_0/checkpoint_final.pth as nnU-Net reads them."""
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    stages = len(features)
    network = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": stages, "features_per_stage": features, "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * stages, "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
            "n_conv_per_stage": [2] * stages, "n_conv_per_stage_decoder": [2] * (stages - 1), "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d", "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None, "dropout_op_kwargs": None, "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": True}},
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"]}
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    plans = {
        "dataset_name": "Dataset999_Benchmark", "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [1.5, 1.5, 1.5], "original_median_shape_after_transp": [240, 240, 240],
        "image_reader_writer": "SimpleITKIO", "transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2],
        "experiment_planner_used": "ExperimentPlanner", "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {
            "max": 3000.0, "mean": -50.0, "median": 40.0, "min": -1100.0, "percentile_00_5": -1004.0, "percentile_99_5": 1588.0,
            "std": 503.0}},
        "configurations": {"3d_fullres": {
            "data_identifier": "nnUNetPlans_3d_fullres", "preprocessor_name": "DefaultPreprocessor", "batch_size": 2,
            "patch_size": [patch] * 3, "median_image_size_in_voxels": [240, 240, 240], "spacing": [1.5, 1.5, 1.5],
            "normalization_schemes": ["CTNormalization"], "use_mask_for_norm": [False],
            "resampling_fn_data": "resample_data_or_seg_to_shape", "resampling_fn_data_kwargs": resampling,
            "resampling_fn_seg": "resample_data_or_seg_to_shape",
            "resampling_fn_seg_kwargs": {**resampling, "is_seg": True, "order": 1},
            "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
            "resampling_fn_probabilities_kwargs": {**resampling, "order": 1}, "architecture": network, "batch_dice": False}}}
    dataset = {"channel_names": {"0": "CT"}, "numTraining": 1, "file_ending": ".nii.gz",
               "labels": {"background": 0, **{f"structure_{i}": i for i in range(1, classes + 1)}}}
    torch.manual_seed(1)
    net = get_network_from_plans(network["network_class_name"], network["arch_kwargs"], network["_kw_requires_import"], 1,
                                 classes + 1, deep_supervision=False)
    os.makedirs(os.path.join(folder, "fold_0"))
    for name, content in (("plans.json", plans), ("dataset.json", dataset)):
        with open(os.path.join(folder, name), "w") as file:
            json.dump(content, file, indent=2)
    torch.save({"network_weights": net.state_dict(), "trainer_name": "nnUNetTrainer", "current_epoch": 1000, "logging": {},
                "init_args": {"plans": plans, "configuration": "3d_fullres", "fold": 0, "dataset_json": dataset},
                "inference_allowed_mirroring_axes": (0, 1, 2)}, os.path.join(folder, "fold_0", "checkpoint_final.pth"))


def make_scan(path, shape, spacing):
    """A body of smooth tissue with noise, int16, x, y, z."""
    header = struct.pack("<i36x8h14xhh2x8f3f3xb", 348, 3, *shape, 1, 1, 1, 1, 4, 16, 1, *spacing, 0, 0, 0, 0, 352, 1, 0, 2)
    header = header.ljust(252, b"\0") + struct.pack("<hh24x", 0, 1)
    header += b"".join(struct.pack("<4f", *(spacing[r] if r == c else 0 for c in range(3)), 0) for r in range(3))
    header = header.ljust(344, b"\0") + b"n+1\0" + b"\0" * 4
    rng = np.random.default_rng(2)
    x, y = [np.linspace(-1, 1, n, dtype=np.float32) for n in shape[:2]]
    body = (x[None, :] / 0.85) ** 2 + (y[:, None] / 0.65) ** 2 < 1
    with gzip.open(path, "wb", 1) as file:
        file.write(header)
        for z in range(shape[2]):
            tissue = 60 + 90 * np.sin(7 * x[None, :] + z / 23) * np.cos(9 * y[:, None] - z / 31)
            slab = np.where(body, tissue, -1000) + rng.normal(0, 15, (shape[1], shape[0]))
            file.write(slab.astype("<i2").tobytes())


def tree(root):
    """A process and all its descendants."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    parents.setdefault(int(file.read().rsplit(")", 1)[1].split()[1]), []).append(int(name))
            except OSError:
                pass
    found, todo = [], [root]
    while todo:
        found.append(todo.pop())
        todo += parents.get(found[-1], [])
    return found


def field(path, name):
    """Bytes of a line of a file in /proc; 0 for a process that has gone."""
    try:
        with open(path) as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith(name)), 0)
    except OSError:
        return 0


def measured(command, limit, log, environment):
    """Seconds, CPU seconds, bytes, whether it was finished."""
    def first_to_go():
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("900")

    def cpu():
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    with open(log, "w") as out:
        start, before = time.time(), cpu()
        child = subprocess.Popen(command, stdout=out, stderr=out, env=environment, start_new_session=True,
                                 preexec_fn=first_to_go)
        peak, stopped = 0, False
        while child.poll() is None:
            sampled = time.time()
            processes = tree(child.pid)
            now = sum(field(f"/proc/{p}/smaps_rollup", "Pss:") for p in processes)
            peak = max(peak, now, field(f"/proc/{child.pid}/status", "VmHWM:") if len(processes) == 1 else 0)
            if now > limit * 1e9 and not stopped:
                stopped = True
                os.killpg(child.pid, signal.SIGKILL)
            time.sleep(max(0.1, 20 * (time.time() - sampled)))
    return time.time() - start, cpu() - before, peak, not stopped and child.returncode == 0


def masks_agree(a, b):
    import SimpleITK as sitk
    a, b = (sitk.GetArrayFromImage(sitk.ReadImage(p)) for p in (a, b))
    labels = np.union1d(a, b)
    both = np.bincount(a[a == b], minlength=256)
    all_ = np.bincount(a.ravel(), minlength=256) + np.bincount(b.ravel(), minlength=256)
    dice = [2 * both[c] / all_[c] for c in labels]
    return min(dice), float(np.mean(dice)), int(np.sum(a != b)), a.size, len(labels)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("program"), p.add_argument("scans", nargs="*")
    p.add_argument("--synthetic", action="append", default=[], help="X,Y,Z voxels of 0.8 x 0.8 x 1.5 mm, may be repeated")
    p.add_argument("--classes", type=int, default=104), p.add_argument("--step", type=float, default=0.5)
    p.add_argument("--patch", type=int, default=128), p.add_argument("--only", choices=["ctseg", "nnunet"])
    p.add_argument("--features", default="32,64,128,256,320,320"), p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--limit", type=float, default=16, help="GB"), p.add_argument("--json"), p.add_argument("--folder")
    p.add_argument("--float-sums", action="store_true")
    o = p.parse_args()
    work = o.folder or tempfile.mkdtemp()
    model = os.path.join(work, "model")
    if not os.path.exists(model):
        make_model(model, o.classes, o.patch, [int(f) for f in o.features.split(",")])
    scans = [(os.path.basename(s), s) for s in o.scans]
    for shape in o.synthetic:
        path = os.path.join(work, shape.replace(",", "x") + ".nii.gz")
        if not os.path.exists(path):
            make_scan(path, [int(n) for n in shape.split(",")], (0.8, 0.8, 1.5))
        scans.append((shape.replace(",", " x "), path))
    environment = {**os.environ, "OMP_NUM_THREADS": str(o.threads), **{"nnUNet_" + k: work for k in (
        "raw", "preprocessed", "results")}}
    rows = []
    for name, scan in scans:
        inputs, outputs = os.path.join(work, "in"), os.path.join(work, "out")
        for folder in (inputs, outputs):
            shutil.rmtree(folder, ignore_errors=True)
            os.makedirs(folder)
        os.symlink(os.path.abspath(scan), os.path.join(inputs, "case_0000.nii.gz"))
        own = os.path.join(work, "ctseg.nii.gz")
        row = {"scan": name, "threads": o.threads, "step": o.step, "classes": o.classes,
               "nnunet_sums": "float" if o.float_sums else "half"}
        commands = {
            "ctseg": [o.program, "segment", scan, "--nnunet-model", model, "-o", own, "--no-mirroring", "--step-size",
                      str(o.step), "--threads", str(o.threads), "--json", "--quiet"],
            "nnunet": [sys.executable, "-c", FLOAT_SUMS * o.float_sums + PREDICT, "-i", inputs,
                       "-o", outputs, "-m", model, "-f", "0", "-device", "cpu",
                       "--disable_tta", "-step_size", str(o.step), "-npp", "1", "-nps", "1"]}
        for who, command in commands.items():
            if o.only in (None, who):
                seconds, cpu, peak, done = measured(command, o.limit, os.path.join(work, who + ".log"), environment)
                row.update({who + "_s": seconds, who + "_cpu_s": cpu, who + "_gb": peak / 1e9, who + "_done": done})
                print(f"{name}: {who} {seconds:.1f} s ({cpu:.1f} s of CPU), {'' if done else '> '}{peak / 1e9:.2f} GB"
                      f"{'' if done else ', not finished: see ' + os.path.join(work, who + '.log')}", flush=True)
        if row.get("ctseg_done") and row.get("nnunet_done"):
            least, mean, differ, voxels, labels = masks_agree(own, os.path.join(outputs, "case.nii.gz"))
            row.update(dice_least=least, dice_mean=mean, differ=differ, voxels=voxels, labels=labels)
        if "ctseg_s" in row and "nnunet_s" in row:
            row.update(faster=row["nnunet_s"] / row["ctseg_s"], memory=row["ctseg_gb"] / row["nnunet_gb"])
            print(f"{name}: {row['faster']:.2f} times as fast ({row['nnunet_cpu_s'] / row['ctseg_cpu_s']:.2f} times less CPU), {row['memory']:.3f} of the memory" + (
                f"; {row['labels']} labels, Dice from {row['dice_least']:.5f}, mean {row['dice_mean']:.5f}, {row['differ']} of "
                f"{row['voxels']} voxels differ" if "labels" in row else ""), flush=True)
        rows.append(row)
    if o.json:
        with open(o.json, "w") as file:
            json.dump(rows, file, indent=1)
    if not o.folder:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
