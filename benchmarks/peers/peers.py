#!/usr/bin/env python3
"""Whole networks, inference and one training step, beside PyTorch, ONNX Runtime and OpenVINO: ./run bench peers.

    peers.py --program build/release/bin/ctseg_bench_peer [--only NAME] [--work infer|train|fit] [--threads N] [--rounds N]
             [--scale N] [--json FILE] [--table FILE]

Every program is a process of its own that works when told to, in turns (A B C A B C); the others sleep. All have the same
weights and the same input, and their logits are compared with PyTorch's. Times are medians. Memory is the peak of what is resident
from the first call on, weights included, minus what the process held once its library was loaded; inference and training are
processes of their own. A training step of ctseg is made of the four calls; --work fit measures steps of fit() instead, with a
sampler, as users call it.
"""
import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import numpy

HERE = os.path.dirname(os.path.abspath(__file__))
# Modes of ctseg; goals: speed against PyTorch and against the best peer, by mode.
NETWORKS = {
    "basic_unet": ("BasicUNet 96^3", ("strict", "standard", "fast"), {"standard": 4, "fast": 7}, {"standard": 1.6, "fast": 2.8}),
    "residual_unet": ("residual U-Net 64x256x256", ("standard", "fast"), {"fast": 5}, {"fast": 2}),
    "unet": ("U-Net 96^3, base 64", ("standard", "fast"), {"fast": 5.5}, {"fast": 2.2}),
    "vnet": ("V-Net 96^3", ("standard", "fast"), {"fast": 4.5}, {"fast": 2.2}),
    "plain_conv_unet": ("nnU-Net PlainConvUNet 128^3", ("standard", "fast"), {"fast": 5}, {"fast": 2.2}),
    "unet_2d": ("2-D U-Net 512^2, base 64", ("standard", "fast"), {"fast": 3}, {"fast": 1.5}),
}
PEERS = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
TRAINING_GOAL, MEMORY_GOAL, PEAK_GOAL = 4, 0.6, {"basic_unet": 2.6}


class Failed(Exception):
    pass


class Program:
    """A process that answers; leaving it ends the process."""

    def __init__(self, name, command):
        self.name, self.times, self.losses, self.memory = name, [], [], None
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
                                        env=dict(os.environ, OMP_NUM_THREADS=str(THREADS)))

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            lines = self.errors.read().strip().splitlines() or [f"ended with {self.process.returncode}"]
            raise Failed(f"{self.name}: {lines[-1]}")
        return line.strip()

    def ask(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass   # answer() says why
        return self.answer()

    def go(self):
        ms, loss = map(float, self.ask("go").split())
        time.sleep(0.2)   # thread pools wait busily for a while
        return ms, loss

    def end(self):
        self.process.stdin.close()
        self.process.wait()

    @property
    def ms(self):
        return statistics.median(self.times)


def command(name, network, work, folder, memory_format="contiguous"):
    if name in PEERS:
        work = "infer" if work == "infer" else "train"
        return [sys.executable, f"{HERE}/serve.py", name, network, work, str(THREADS), folder, "--format", memory_format]
    return [ARGS.program, network, work, name, str(THREADS), folder]


def faster_format(network, work, folder):
    """PyTorch's best memory format here, each in a process of its own, after a first call that warms up."""
    best = {}
    for memory_format in ("contiguous", "channels_last"):
        program = Program("torch", command("torch", network, work, folder, memory_format))
        try:
            program.answer()
            first = program.go()[0]
            best[memory_format] = min(first, program.go()[0]) if first < 5000 else first
        finally:
            program.end()
    print("  PyTorch, one call: " + ", ".join(f"{k} {v:.0f} ms" for k, v in best.items()), flush=True)
    return min(best, key=best.get)


def start(names, network, work, folder):
    """Those that start and can do the work once; the others are said."""
    running = []
    memory_format = "contiguous"
    if "torch" in names:
        try:
            memory_format = faster_format(network, work, folder)
        except Failed:
            pass   # it is about to fail again, and then it is said
    for name in names:
        program = Program(name, command(name, network, work, folder, memory_format))
        try:
            program.answer()
            ms, loss = program.go()   # warms up
            program.losses.append(loss)
            program.facts = json.loads(program.ask("facts"))
            program.format = memory_format
            print(f"  {name} started, first call {ms:.0f} ms", flush=True)
            running.append(program)
        except Failed as failed:
            program.end()
            missing(network, work, str(failed))
    return running


def title_of(network):
    return NETWORKS[network][0] + (f", sizes / {ARGS.scale}" if ARGS.scale > 1 else "")


def missing(network, work, why):
    NOT_MEASURED.append(f"{NETWORKS[network][0]}, {work}: {why}")
    print(f"  not measured: {why}", flush=True)


def in_turns(programs):
    slowest = sum(float(p.ask("go").split()[0]) for p in programs)   # once more, now that all are there
    rounds = ARGS.rounds or (5 if slowest < 15e3 else 3 if slowest < 40e3 else 2)
    for _ in range(rounds):
        for program in programs:
            ms, loss = program.go()
            program.times.append(ms)
            program.losses.append(loss)
    for program in programs:
        program.memory = float(program.ask("memory"))
    return rounds


def compare(programs, folder):
    """Of every program the largest difference from the first one's logits over their largest value, and its logits."""
    logits = {}
    for program in programs:
        program.ask(f"write {folder}/{program.name}.raw")
        logits[program.name] = numpy.fromfile(f"{folder}/{program.name}.raw", dtype=numpy.float32)
        os.remove(f"{folder}/{program.name}.raw")
    first = logits[programs[0].name]
    return {name: (float(numpy.abs(y - first).max() / numpy.abs(first).max()), y) for name, y in logits.items()}


def same_class(a, b, channels):
    if channels == 1:
        return float(((a > 0) == (b > 0)).mean())
    return float((a.reshape(channels, -1).argmax(0) == b.reshape(channels, -1).argmax(0)).mean())


def row(work, program, peer, values):
    """peer: (name, version). Values hold ctseg_ms and peer_ms, or ctseg_mb and peer_mb; ratio and goal."""
    r = dict(work=work, mode=program.name, peer=peer[0], peer_version=peer[1], threads=THREADS) | values
    ROWS.append(r)
    unit, goal = "mb" if "ctseg_mb" in r else "ms", r["goal"]
    missed = goal is not None and (r["ratio"] < goal if unit == "ms" else r["ratio"] > goal)
    met = "" if goal is None else f"{goal} missed" if missed else f"{goal}"
    far = f"{r['max_difference']:.1e}, {100 * r['same_class']:.4f} %" if "max_difference" in r else ""
    TABLE.append(f"| {r['work']} | {r['mode']} | {r['ctseg_' + unit]:.0f} {unit.upper() if unit == 'mb' else unit} | {r['peer']} | "
                 f"{r['peer_' + unit]:.0f} | {r['ratio']:.2f} | {met} | {far} |")
    print(TABLE[-1], flush=True)


def named(peer):
    return PEERS[peer.name], peer.facts["version"]


def time_row(work, program, peer, peer_ms, goal, **more):
    row(work, program, peer, dict(ctseg_ms=program.ms, peer_ms=peer_ms, ratio=peer_ms / program.ms, goal=goal) | more)


def memory_row(work, program, peer):
    row(work + ", memory", program, named(peer), dict(ctseg_mb=program.memory, peer_mb=peer.memory,
                                                      ratio=program.memory / max(1, peer.memory),
                                                      goal=MEMORY_GOAL if peer.name == "torch" else None))


def inference(network, folder):
    _, modes, torch_goals, best_goals = NETWORKS[network]
    work = title_of(network) + ", inference"
    print(work, flush=True)
    running = start([*PEERS, *modes], network, "infer", folder)
    if not running:
        return
    peers, ours = [p for p in running if p.name in PEERS], [p for p in running if p.name not in PEERS]
    try:
        rounds = in_turns(running)
        facts = [p.facts | json.loads(p.ask("facts")) for p in ours]
        peak = statistics.median(f["peak"] for f in facts) if facts else 0
        MACHINE.update(facts[0] if facts else {})
        far = compare(running, folder)
    finally:
        for program in running:
            program.end()
    first, channels = far[running[0].name][1], 1 if network in ("residual_unet", "unet", "unet_2d") else 2
    for peer in peers[1:]:
        print(f"  {peer.name} against {peers[0].name}: {far[peer.name][0]:.1e}", flush=True)
    for mode in ours:
        difference, logits = far[mode.name]
        apart = dict(max_difference=difference, same_class=same_class(logits, first, channels))
        for peer in peers:
            torch = peer.name == "torch"
            time_row(work, mode, named(peer), peer.ms, torch_goals.get(mode.name) if torch else None, rounds=rounds,
                     **(apart | {"peer_format": peer.format} if torch else {}))
        if peers:
            best = min(peers, key=lambda p: p.ms)
            time_row(work, mode, ("the best: " + PEERS[best.name], best.facts["version"]), best.ms, best_goals.get(mode.name),
                     rounds=rounds)
        gflop = facts[0]["gflop"]
        time_row(work, mode, (f"{gflop:.0f} GFLOP at the multiply-add peak", ""), gflop / peak * 1e3,
                 PEAK_GOAL.get(network) if mode.name == "fast" else None, rounds=rounds)
        for peer in peers:
            memory_row(work, mode, peer)


def training(network, folder, by="train"):
    modes = NETWORKS[network][1]
    work = title_of(network) + (", step of fit" if by == "fit" else ", training step")
    print(work, flush=True)
    running = start(["torch", *modes], network, by, folder)
    if not running:
        return
    try:
        rounds = in_turns(running)
    finally:
        for program in running:
            program.end()
    if running[0].name != "torch":
        return
    peer = running[0]
    for mode in running[1:]:
        print(f"  loss of the first step {mode.losses[0]:.6f}, PyTorch's {peer.losses[0]:.6f}", flush=True)
        time_row(work, mode, named(peer), peer.ms, TRAINING_GOAL, rounds=rounds, peer_format=peer.format,
                 loss=mode.losses[0], peer_loss=peer.losses[0])
        memory_row(work, mode, peer)


def processor():
    with open("/proc/cpuinfo") as file:
        return next((line.split(": ", 1)[1].strip() for line in file if line.startswith("model name")), platform.machine())


def page(versions):
    lines = ["# Networks beside other libraries", "",
             f"{processor()}, {os.cpu_count()} processors, {MACHINE.get('isa', '')}, {THREADS} threads, float; ctseg by "
             f"{MACHINE.get('compiler', '')}; {versions}; {datetime.date.today()}.",
             "Medians of programs run in turn, one at a time; load of the machine before and after: "
             f"{LOAD[0]:.1f}, {os.getloadavg()[0]:.1f}.",
             "MB: peak of resident memory minus that of the loaded library. Difference of logits: largest, over the largest logit of "
             "PyTorch; then voxels of the same class.", "",
             "| work | mode | ctseg | beside | | ratio | goal | difference |", "|---|---|---|---|---|---|---|---|", *TABLE]
    if NOT_MEASURED:
        lines += ["", "Not measured:", "", *(f"- {line}" for line in NOT_MEASURED)]
    return "\n".join(lines) + "\n"


def save():
    if ARGS.json:
        with open(ARGS.json, "w") as file:
            file.write("[\n " + ",\n ".join(json.dumps(r) for r in ROWS) + "\n]\n")
    if ARGS.table:
        versions = {(r["peer"], r["peer_version"]) for r in ROWS if r["peer"] in PEERS.values()}
        with open(ARGS.table, "w") as file:
            file.write(page(", ".join(f"{a} {b}" for a, b in sorted(versions))))


def main():
    named = [n for n in NETWORKS if n == ARGS.only] or [n for n in NETWORKS if not ARGS.only or ARGS.only in n]
    for network in named:
        with tempfile.TemporaryDirectory() as folder:
            made = subprocess.run([sys.executable, f"{HERE}/serve.py", "make", network, folder, str(ARGS.scale)], capture_output=True, text=True)
            if not os.path.exists(f"{folder}/{network}.values.safetensors"):
                missing(network, "all", (made.stderr.strip().splitlines() or ["no weights"])[-1])
                continue
            for work, measure in (("infer", inference), ("train", training), ("fit", lambda *where: training(*where, "fit"))):
                if ARGS.work == work or (ARGS.work is None and work != "fit"):
                    measure(network, folder)
                    save()
    for line in NOT_MEASURED:
        print("not measured: " + line)
    return 0 if ROWS else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--only", help="the network of this name, or those whose names contain it: " + ", ".join(NETWORKS))
    parser.add_argument("--work", choices=("infer", "train", "fit"))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--scale", type=int, default=1, help="sizes divided by this: to check that all is well, not to measure")
    parser.add_argument("--json")
    parser.add_argument("--table")
    ARGS = parser.parse_args()
    THREADS, ROWS, TABLE, NOT_MEASURED, MACHINE, LOAD = ARGS.threads, [], [], [], {}, os.getloadavg()
    sys.exit(main())
