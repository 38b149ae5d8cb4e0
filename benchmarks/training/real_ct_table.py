#!/usr/bin/env python3
"""The table of real_ct.sh, in Markdown: real_ct_table.py real_ct.jsonl STEPS"""
import json
import os
import sys

TITLES = {"spine_005_007": "vertebrae, 005 -> 007", "spine_007_005": "vertebrae, 007 -> 005",
          "lung_12_3": "lung tumour, 1 + 2 -> 3"}
with open(sys.argv[1]) as file:
    rows = [r for r in map(json.loads, file) if r["steps"] == int(sys.argv[2])]
with open("/proc/cpuinfo") as file:
    processor = next((line.split(": ", 1)[1].strip() for line in file if line.startswith("model name")), "unknown processor")


def mean(values):
    values = list(values)
    return sum(values) / len(values)


print(f"""# Training on real CT beside MONAI

{processor}, {os.cpu_count()} processors, 2 threads, float; {sys.argv[2]} steps of two patches of 48^3 at 2 mm; by benchmarks/training/real_ct.sh.
Scans, network (BasicUNet, 16 to 128 channels), initial weights, loss, optimizer, schedule, kinds of augmentation with their
probabilities, and sliding windows are the same; random numbers are not. Dice of the scan that was not trained on, on the 2 mm grid.
Seconds and CPU seconds are of the training alone; load is the machine's mean number of running programs. MB as in peers.md.

| trained -> tested | arm | seeds | Dice | mean | of the scans trained on | last loss | CPU s | s (load) | MB |
|---|---|---|---|---|---|---|---|---|---|""")
for task, title in TITLES.items():
    for arm in ("ctseg", "MONAI"):
        runs = sorted((r for r in rows if r["task"] == task and r["arm"] == arm), key=lambda r: r["seed"])
        if not runs:
            continue
        join = lambda f: ", ".join(map(f, runs))
        print(f"| {title} | {arm} | {join(lambda r: str(r['seed']))} | {join(lambda r: '%.3f' % r['dice'])} | "
              f"{mean(r['dice'] for r in runs):.3f} | {mean(mean(r['dice_seen']) for r in runs):.3f} | "
              f"{mean(r['loss'][-1] for r in runs):.3f} | {mean(r['cpu_seconds'] for r in runs):.0f} | "
              f"{join(lambda r: '%.0f (%.0f)' % (r['seconds'], mean(r['load'])))} | {mean(r['memory_mb'] for r in runs):.0f} |")
