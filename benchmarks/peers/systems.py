#!/usr/bin/env python3
"""A system of examples/systems beside the stack it comes from: the same phantoms, network, steps, batch, loss, optimizer,
schedule, kinds of augmentation and initial weights, trained by ctseg and by PyTorch with MONAI, and judged by one program
(ctseg's reads both).

    systems.py BIN FOLDER SYSTEM[:STEPS]... [--seed N] [--threads N] [--lines FILE] [--table FILE]

BIN is build/release/bin. SYSTEM is liver, lung_nodules, liver_slices, coronary or spine; STEPS, where it takes too long, in
place of what its preset says, for both. --seed is of initial weights, patches and augmentation, and for systems that split their
patients themselves of which are held out; the patients stay the same. A line of JSON each is added to --lines, --table is made of
all of them. What lies in FOLDER is not done again, and refused if it was done with another configuration. Patches and augmentation are drawn by other random numbers. Needs torch, monai, scipy, nibabel, safetensors.

CPU seconds are of the whole training command of ctseg (reading the prepared cases and a validation at its end included) and of
the training loop of PyTorch.
Memory is the peak of what is resident; for PyTorch also without what it holds once its libraries are loaded."""
import argparse
import csv
import json
import math
import os
import resource
import struct
import subprocess
import sys
import time

os.environ.setdefault("OMP_WAIT_POLICY", "passive")   # else threads wait busily for a processor that another program has
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SYSTEMS = os.path.join(ROOT, "examples", "systems")
TITLES = {"liver": "liver, 3-D U-Net", "lung_nodules": "lung nodules, residual U-Net",
          "liver_slices": "liver slices, 2-D U-Net", "coronary": "coronary arteries, BasicUNet",
          "spine": "spine, V-Net of 26 classes"}


def merged(path):
    """A configuration with its bases and its recipe in their place, as config.cpp does it."""
    def patch(into, by):
        for key, value in by.items():
            if value is None:
                into.pop(key, None)
            elif isinstance(value, dict) and isinstance(into.get(key), dict):
                patch(into[key], value)
            else:
                into[key] = value
        return into

    with open(path) as file:
        own = json.load(file)
    here = os.path.dirname(path)
    if isinstance(own.get("recipe"), str):
        with open(os.path.join(here, own["recipe"])) as file:
            own["recipe"] = json.load(file)
    return patch(merged(os.path.join(here, own.pop("base"))), own) if "base" in own else own


# ---- ctseg's arm, and the judge of both


def steps_of(training):
    if training.get("epochs", 0) > 0:
        return training["epochs"] * training["steps_per_epoch"]
    return training["steps"]


def config_of(system, steps, folder):
    """The phantom preset without validation in between, which the other arm has not either; one at the end stays."""
    preset = os.path.join(SYSTEMS, system, "phantom.json")
    training = merged(preset)["training"]
    steps = steps or steps_of(training)
    own = {"steps": steps, "epochs": 0, "validate_every": 10 * steps, "checkpoint_every": steps}
    if training.get("schedule") == "exponential":   # falls once an epoch
        epoch = min(training["steps_per_epoch"], steps)
        own |= {"epochs": steps // epoch, "steps_per_epoch": epoch}
    elif training.get("epochs", 0) > 0:
        own |= {"epochs": 1, "steps_per_epoch": steps}
    path = os.path.join(folder, "config.json")
    with open(path, "w") as file:
        json.dump({"base": os.path.relpath(preset, folder), "training": own}, file, indent=1)
    return path, steps_of(own)


def initial_weights(program, base, folder):
    """What ctseg begins with: a step at a learning rate of 0. How long a short training takes depends much on its start."""
    start = os.path.join(folder, "start")
    weights = os.path.join(start, "model.safetensors")
    if os.path.exists(weights):
        return
    os.makedirs(start, exist_ok=True)
    config = os.path.join(start, "config.json")
    with open(config, "w") as file:
        json.dump({"base": "../config.json",
                   "training": {"learning_rate": 0, "steps": 1, "epochs": 1, "steps_per_epoch": 1}}, file)
    for name in ("prepared", "statistics.json"):
        if os.path.exists(os.path.join(folder, name)) and not os.path.exists(os.path.join(start, name)):
            os.symlink(os.path.join("..", name), os.path.join(start, name))
    subprocess.run([program, "train", *base, "-q", "-c", config, "-o", start, "-d", os.path.join(folder, "data")], check=True,
                   stdout=subprocess.DEVNULL)


def measured(command, **more):
    """Runs a program: wall seconds, CPU seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **more)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - start, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def judge(program, system, base, model):
    """The scores of a model, and the Dice of each patient that was held out (None where it is not defined)."""
    nodules = system == "lung_nodules"
    subprocess.run([program, "validate" if nodules else "evaluate", *base, "-m", model, "-q"], check=True,
                   stdout=subprocess.DEVNULL)
    out = base[base.index("-o") + 1]
    with open(os.path.join(out, "validation.json" if nodules else "evaluation/evaluation.json")) as file:
        said = json.load(file)
    scores = {"dice": said["mean"]["dice"] if system == "liver" else said["dice_mean"] if system == "spine"
              else said["dice"]["mean"]}
    more = {"coronary": ("cldice", "mean"), "lung_nodules": ("cpm", "value")}.get(system)
    if more:
        scores[more[0]] = said[more[0]][more[1]]
    if system in ("liver", "coronary"):
        patients = {name: [case["dice"]] for name, case in said["cases"].items()}
    else:   # a row for each patient, or for each of its labels
        patients = {}
        with open(os.path.join(out, "validation.csv" if nodules else "evaluation/cases.csv")) as file:
            for row in csv.DictReader(file):
                dice = patients.setdefault(row["patient" if nodules else "case"], [])
                dice.append(float(row["dice"]) if row["dice"] not in ("", "nan") else None)
    scores["dice_of_patients"] = {}
    for name, dice in patients.items():
        known = [d for d in dice if d is not None]
        scores["dice_of_patients"][name] = sum(known) / len(known) if known else None
    return scores


def paired(ours, theirs):
    """Mean difference of the same patients' Dice, and its standard error."""
    pairs = [(d, theirs["dice_of_patients"][name]) for name, d in ours["dice_of_patients"].items()]
    by = [a - b for a, b in pairs if a is not None and b is not None]
    mean = sum(by) / len(by)
    return mean, math.sqrt(sum((d - mean) ** 2 for d in by) / (len(by) - 1) / len(by)), len(by)


def folder_of(system, seed, options):
    """Of one training by each; all of a system have the same patients."""
    first = os.path.join(os.path.abspath(options.folder), system)
    folder = f"{first}.{seed}" if seed else first
    os.makedirs(folder, exist_ok=True)
    for name in ("data", "prepared") if system == "lung_nodules" else ("data",):
        if seed and os.path.exists(os.path.join(first, name)) and not os.path.exists(os.path.join(folder, name)):
            os.symlink(os.path.join("..", system, name), os.path.join(folder, name))
    return folder


def known(path, told):
    """What an earlier call wrote, if it is of the same training."""
    if not os.path.exists(path):
        return None
    with open(path) as file:
        found = json.load(file)
    if found["of"] != told:
        raise SystemExit(f"{path} is of another configuration. Hint: another FOLDER.")
    return found


def compare(system, steps, options):
    folder = folder_of(system, options.seed, options)
    program = os.path.join(os.path.abspath(options.bin), "ctseg_" + system)
    config, steps = config_of(system, steps, folder)
    base = ["--phantom", "-c", config, "-o", folder, "--threads", str(options.threads)]
    seed = ["--seed", str(options.seed)]
    prepare = [program, "preprocess", *base] if system == "lung_nodules" else [program, "prepare", *base, *seed]
    subprocess.run([*prepare, "-q"], check=True, stdout=subprocess.DEVNULL)
    base += seed
    told = merged(config)
    told = {"training": told["training"], "recipe": told["recipe"], "threads": options.threads}
    own, times = os.path.join(folder, "model.safetensors"), os.path.join(folder, "ctseg.json")
    ours = known(times, told)
    if not ours:
        wall, cpu = measured([program, "train", *base, "-q"])
        with open(os.path.join(folder, "run.json")) as file:
            run = json.load(file)
        with open(os.path.join(folder, "log.csv")) as file:
            losses = [float(row["last_loss"]) for row in csv.DictReader(file) if row["last_loss"]][-20:]
        ours = {"of": told, "seconds": run["figures"]["training_seconds"], "cpu_seconds": cpu,
                "memory_mb": run["peak_memory_mb"], "parameters": run["figures"]["parameters"],
                "loss": sum(losses) / len(losses)}
        with open(times, "w") as file:
            json.dump(ours, file)
    other = os.path.join(folder, "monai")
    theirs = known(other + ".json", told)
    if not theirs:
        initial_weights(program, base[:1] + base[5:], folder)
        subprocess.run([sys.executable, os.path.abspath(__file__), "--torch", system, folder, config, str(options.threads),
                        str(options.seed)], check=True)
        with open(other + ".json") as file:
            theirs = {"of": told} | json.load(file)
        with open(other + ".json", "w") as file:
            json.dump(theirs, file)
    del ours["of"], theirs["of"]
    ours |= judge(program, system, base, own)
    theirs |= judge(program, system, base, other + ".safetensors")
    preset = steps_of(merged(os.path.join(SYSTEMS, system, "phantom.json"))["training"])
    return {"system": system, "steps": steps, "preset_steps": preset, "seed": options.seed, "threads": options.threads,
            "date": time.strftime("%Y-%m-%d", time.gmtime()), "load": os.getloadavg()[2], "ctseg": ours, "monai": theirs}


# ---- PyTorch's arm


def read_mha(path):
    import numpy
    import zlib
    with open(path, "rb") as file:
        data = file.read()
    end = data.index(b"\n", data.index(b"ElementDataFile")) + 1
    head = dict(line.split(" = ", 1) for line in data[:end].decode().splitlines())
    raw = zlib.decompress(data[end:]) if head.get("CompressedData", "False") == "True" else data[end:]
    kind = {"MET_FLOAT": "<f4", "MET_UCHAR": "u1", "MET_SHORT": "<i2"}[head["ElementType"]]
    return numpy.frombuffer(raw, kind).reshape([int(n) for n in head["DimSize"].split()][::-1])


def read_nifti(path, codes):
    import nibabel
    image = nibabel.load(path)
    turn = nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(codes))
    return nibabel.orientations.apply_orientation(image.get_fdata(dtype="float32"), turn).transpose(2, 1, 0)   # z, y, x


def prepared(image, steps):
    """The recipe's steps; phantoms lie on the network's grid, so that nothing is resampled."""
    import numpy
    for step in steps:
        kind = step["step"]
        if kind == "WindowHu":
            image = ((image - step["low"]) / (step["high"] - step["low"])).clip(0, 1)
        elif kind == "ScaleIntensityRange":
            image = ((image - step["a_min"]) / (step["a_max"] - step["a_min"])).clip(0, 1)
        elif kind == "CtNormalization":
            image = (image.clip(step["low"], step["high"]) - step["mean"]) / step["deviation"]
        elif kind == "ZScore":
            some = image != 0
            image = numpy.where(some, (image - image[some].mean()) / image[some].std(), image)
        elif kind not in ("Reorient", "Spacing", "SpatialPad"):
            raise SystemExit(f"{kind} is not known here")
    return image


def cases_of(system, folder, recipe):
    """Patients that ctseg trained on, as the network sees them: [1, z, y, x]."""
    import torch
    names = open(os.path.join(folder, "start", "trained_on.txt")).read().split()
    cases = []
    for name in names:
        if system == "lung_nodules":   # cut to the lungs by preprocess, and the masks are drawn there
            image, label = (read_mha(os.path.join(folder, "prepared", kind, name + ".mha")) for kind in ("images", "labels"))
        else:
            data = os.path.join(folder, "data")
            at = {"liver": (f"train/ct_scans/{name}.nii.gz", f"train/masks/{name}.nii.gz"),
                  "liver_slices": (f"ct_scans/{name}.nii.gz", f"masks/{name}.nii.gz"),
                  "coronary": (f"{name}.img.nii.gz", f"{name}.label.nii.gz"),
                  "spine": (f"train/rawdata/{name}/{name}_ct.nii.gz",
                            f"train/derivatives/{name}/{name}_seg-vert_msk.nii.gz")}[system]
            codes = next(s["codes"] for s in recipe["preprocess"] if s["step"] == "Reorient")
            image, label = (read_nifti(os.path.join(data, p), codes) for p in at)
            image = prepared(image, recipe["preprocess"])
        cases.append({"image": torch.tensor(image.copy(), dtype=torch.float32)[None],
                      "label": torch.tensor(label.copy(), dtype=torch.float32)[None]})
    return cases


def network_of(n):
    from monai.networks.nets import BasicUNet, UNet
    sys.path.insert(0, os.path.join(ROOT, "tests", "parity"))   # what MONAI has not, written from its paper
    dim, inp, out = n["dim"], n["in_channels"], n["out_channels"]
    if n["network"] == "UNet":
        from make_unet_fixtures import ClassicUNet
        return ClassicUNet(dim, n["features"], out)
    if n["network"] == "BasicUNet":
        return BasicUNet(dim, inp, out, n["features"], dropout=n.get("dropout", 0.0))
    if n["network"] == "ResidualUNet":
        return UNet(dim, inp, out, n["channels"], n["strides"], num_res_units=n["num_res_units"], norm=n["norm"],
                    dropout=n.get("dropout", 0.0))
    from make_vnet_fixtures import LiteHead, slim
    from torch import nn
    net = slim(n["width"], dim, inp, out, "prelu")   # without dropout, as the preset is
    if n.get("lite_head"):
        net.out_tr = LiteHead((nn.Conv2d, nn.Conv3d)[dim - 2](2 * n["width"], out, 1))
    if n.get("norm") == "instance":   # MONAI's has batch norm alone; weights keep their names
        for parent in list(net.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, (nn.BatchNorm2d, nn.BatchNorm3d)):
                    setattr(parent, name, (nn.InstanceNorm2d, nn.InstanceNorm3d)[dim - 2](child.num_features, affine=True))
    return net


def augmentation(name, dim):
    """recipes.hpp and light_recipe() of training.cpp, in MONAI's words."""
    from monai.transforms import (RandAffined, RandFlipd, RandGaussianNoised, RandRotate90d, RandRotated, RandScaleIntensityd,
                                  RandShiftIntensityd)
    both, image = ["image", "label"], ["image"]
    turn, interpolation = math.radians, {"mode": ("bilinear", "nearest"), "padding_mode": "zeros"}
    affine = lambda p, degrees: RandAffined(both, prob=p, rotate_range=(turn(degrees),) * dim, scale_range=(0.1,) * dim,
                                            **interpolation)
    flips = lambda p, axes: [RandFlipd(both, p, axis) for axis in axes]
    if name == "light":
        return [affine(0.5, 10), RandScaleIntensityd(image, 0.1, prob=0.3), RandShiftIntensityd(image, 0.05, prob=0.3),
                RandGaussianNoised(image, 0.3, std=0.03)]
    if name == "lung_nodules":
        return [RandRotate90d(both, 0.5, spatial_axes=(1, 2)), *flips(0.5, (0, 1, 2)), RandGaussianNoised(image, 0.3, std=0.05),
                RandScaleIntensityd(image, 0.1, prob=0.3), RandShiftIntensityd(image, 0.1, prob=0.3), affine(0.3, 15)]
    if name == "liver_slices":
        return [RandRotated(both, range_x=turn(15), prob=0.5, **interpolation), *flips(0.5, (0, 1)),
                RandShiftIntensityd(image, 0.1, prob=0.5)]
    return []


def schedule_of(t, steps):
    warm, epoch = t.get("warm_up", 0), t.get("steps_per_epoch", 0)

    def factor(step):
        if step < warm:
            return (step + 1) / warm
        if t.get("schedule") == "cosine":
            return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(steps - warm, 1)))
        return t["factor"] ** (step // epoch) if t.get("schedule") == "exponential" else 1.0

    return factor


def resident(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 / 1e6 for line in file if line.startswith(key + ":"))


def cpu_seconds():
    use = resource.getrusage(resource.RUSAGE_SELF)
    return use.ru_utime + use.ru_stime


def train_with_torch(system, folder, config_path, threads, seed):
    import numpy
    import scipy.ndimage
    import torch
    from monai.data import set_track_meta
    from monai.losses import DiceCELoss
    from monai.transforms import Compose, FgBgToIndicesd, RandCropByPosNegLabeld, RandSpatialCropd, SpatialPadd
    from safetensors.torch import load_file, save_file

    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    set_track_meta(False)   # as fast as MONAI can: tensors stay plain
    torch.manual_seed(seed)
    idle = resident("VmRSS")
    config = merged(config_path)
    t, with_loss = config["training"], config["training"]["loss"]
    with open(os.path.join(folder, "start", "model.safetensors"), "rb") as file:   # what ctseg uses, statistics included
        recipe_text = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))["__metadata__"]["ctseg"]
    recipe, steps, batch = json.loads(recipe_text), steps_of(t), t.get("batch", 2)
    dim, many = recipe["network"]["dim"], recipe["network"]["out_channels"] > 1
    net = network_of(config["recipe"]["network"])
    start = load_file(os.path.join(folder, "start", "model.safetensors"))
    missing, unknown = net.load_state_dict({k: v for k, v in start.items() if ".running_" not in k}, strict=False)
    if unknown or any("running_" not in k and "num_batches" not in k for k in missing):
        raise SystemExit(f"the initial weights do not fit: {missing[:3]}, {unknown[:3]}")

    both, patch = ["image", "label"], [1] * (3 - dim) + t["patch"]
    off = t.get("off_centre", 0)   # a larger patch is cut, and one of the right size out of it anywhere
    wide = [1] * (3 - dim) + [n + 2 * off for n in t["patch"]]
    ready = Compose([SpatialPadd(both, wide), FgBgToIndicesd(["label"])])
    cases = [ready(case) for case in cases_of(system, folder, recipe)]
    pieces = [[] for _ in cases]
    for case, found in zip(cases, pieces if t.get("by_component") else []):
        label = case["label"][0].numpy()
        for value in numpy.unique(label[label > 0]):
            numbered, count = scipy.ndimage.label(label == value, numpy.ones([3] * 3))
            found += [torch.tensor(numpy.flatnonzero(numbered == k + 1)) for k in range(count)]
    crop = RandCropByPosNegLabeld(both, "label", wide, t.get("positive", 1), t.get("negative", 1), 1,
                                  fg_indices_key="label_fg_indices", bg_indices_key="label_bg_indices").set_random_state(4 * seed)
    move = [RandSpatialCropd(both, patch, random_size=False)] if off else []
    augment = Compose(augmentation(t.get("augment", "none"), dim)).set_random_state(4 * seed + 1)
    move = Compose(move).set_random_state(4 * seed + 2)
    random = numpy.random.RandomState(4 * seed + 3)

    def sample():
        k = random.randint(len(cases))
        case = cases[k]
        if pieces[k]:
            case = case | {"label_fg_indices": pieces[k][random.randint(len(pieces[k]))]}
        part = crop(case)[0]
        part = move({k: part[k] for k in both})
        part = {k: part[k].reshape(1, *t["patch"]) for k in both}
        return augment(part)

    weights = torch.tensor(with_loss["class_weights"], dtype=torch.float32) if with_loss.get("class_weights") else None
    smooth = with_loss.get("smooth", 1e-5)
    loss_of = DiceCELoss(sigmoid=not many, softmax=many, to_onehot_y=many, include_background=with_loss.get("background", True),
                         smooth_nr=smooth, smooth_dr=smooth, weight=weights, lambda_dice=with_loss.get("dice", 1),
                         lambda_ce=with_loss.get("ce", 1))
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[t.get("optimizer", "adam")]
    optimizer = kind(net.parameters(), lr=t["learning_rate"], weight_decay=t.get("weight_decay", 0))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule_of(t, steps))
    net.train()
    losses, start, cpu = [], time.perf_counter(), cpu_seconds()
    for step in range(steps):
        drawn = [sample() for _ in range(batch)]
        image, label = (torch.stack([d[k] for d in drawn]) for k in both)
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(net(image), label)
        loss.backward()
        if t.get("clip_norm", 0) > 0:
            torch.nn.utils.clip_grad_norm_(net.parameters(), t["clip_norm"])
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if (step + 1) % 20 == 0:
            each = (time.perf_counter() - start) / (step + 1)
            print(f"step {step + 1}/{steps}  loss {sum(losses[-20:]) / 20:.4f}  {each:.2f} s", file=sys.stderr, flush=True)
    out = {"seconds": time.perf_counter() - start, "cpu_seconds": cpu_seconds() - cpu, "memory_mb": resident("VmHWM"),
           "memory_of_libraries_mb": idle, "parameters": sum(p.numel() for p in net.parameters()),
           "loss": sum(losses[-20:]) / len(losses[-20:])}
    state = {k: v.detach().clone().contiguous() for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    save_file(state, os.path.join(folder, "monai.safetensors"), metadata={"ctseg": recipe_text})
    with open(os.path.join(folder, "monai.json"), "w") as file:
        json.dump(out, file)


# ---- the table


def table(lines):
    with open("/proc/cpuinfo") as file:
        names = [line.split(": ", 1)[1].strip() for line in file if line.startswith("model name")]
    trainings = {}   # the last of each seed, of what was trained last
    for line in lines:
        of = trainings.setdefault(line["system"], {})
        if of and next(iter(of.values()))["steps"] != line["steps"]:
            of.clear()
        of[line.get("seed", 0)] = line
    rows = {name: of[min(of)] for name, of in trainings.items()}
    processor, threads = (names or ["Unknown processor"])[0], next(iter(rows.values()))["threads"]
    print(f"""# Systems beside the stack they come from

{processor}, {os.cpu_count()} processors, {threads} threads, float; by benchmarks/peers/systems.py.
Synthetic patients; phantoms, network, initial weights, steps, batch, loss, optimizer, schedule and kinds of augmentation are the
same, the random numbers of patches and augmentation are not; one seed, unless it says more. Both models are judged by ctseg on patients that neither
has seen. CPU seconds are of the training, for ctseg with reading the cases and a validation at its end; seconds depend on what
else the machine did (load). MB: peak of resident memory; in brackets without PyTorch's and MONAI's libraries.

| system | steps (of the preset's) | arm | parameters | Dice | more | loss of the last 20 steps | CPU s | s (load) | MB |
|---|---|---|---|---|---|---|---|---|---|""")
    for name in TITLES:
        if name not in rows:
            continue
        r = rows[name]
        for arm in ("ctseg", "monai"):
            a = r[arm]
            more = ", ".join(f"{k} {a[w]:.3f}" for k, w in (("clDice", "cldice"), ("CPM", "cpm")) if a.get(w) is not None)
            beside = f" ({a['memory_mb'] - a['memory_of_libraries_mb']:.0f})" if "memory_of_libraries_mb" in a else ""
            dice = "none" if a["dice"] is None else f"{a['dice']:.3f}"
            print(f"| {TITLES[name]} | {r['steps']} of {r['preset_steps']} | {'MONAI' if arm == 'monai' else arm} | "
                  f"{a['parameters']:,.0f} | {dice} | {more} | {a['loss']:.3f} | {a['cpu_seconds']:.0f} | "
                  f"{a['seconds']:.0f} ({r['load']:.0f}) | {a['memory_mb']:.0f}{beside} |")
    print("""
The same patients by both models: ctseg's Dice minus MONAI's, its mean and standard error, and how many times more CPU seconds
and memory MONAI took.

| system | seed | patients | Dice, ctseg - MONAI | CPU s | MB | MB without the libraries |
|---|---|---|---|---|---|---|""")
    for name in TITLES:
        for seed, line in sorted(trainings.get(name, {}).items()):
            ours, theirs = line["ctseg"], line["monai"]
            mean, error, patients = paired(ours, theirs)
            beside = theirs["memory_mb"] - theirs["memory_of_libraries_mb"]
            print(f"| {TITLES[name]} | {seed} | {patients} | {mean:+.3f} +- {error:.3f} | "
                  f"{theirs['cpu_seconds'] / ours['cpu_seconds']:.1f} | {theirs['memory_mb'] / ours['memory_mb']:.1f} | "
                  f"{beside / ours['memory_mb']:.1f} |")


def main():
    if sys.argv[1:2] == ["--torch"]:
        return train_with_torch(*sys.argv[2:5], int(sys.argv[5]), int(sys.argv[6]))
    parser = argparse.ArgumentParser()
    parser.add_argument("bin")
    parser.add_argument("folder")
    parser.add_argument("systems", nargs="*")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lines", default=os.path.join(ROOT, "benchmarks", "results", "systems.jsonl"))
    parser.add_argument("--table", default=os.path.join(ROOT, "benchmarks", "results", "systems.md"))
    options = parser.parse_args()
    for wanted in options.systems:
        system, _, steps = wanted.partition(":")
        line = compare(system, int(steps) if steps else None, options)
        with open(options.lines, "a") as file:
            file.write(json.dumps(line) + "\n")
    with open(options.lines) as file:
        lines = [json.loads(line) for line in file]
    with open(options.table, "w") as sys.stdout:
        table(lines)


if __name__ == "__main__":
    main()
