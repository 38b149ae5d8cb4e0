"""What nnU-Net plans: plans.json beside this file, and the raw data sets below raw/ with their fingerprints.

    python make_plan_fixtures.py        needs nnunetv2 (the versions it was run with are in plans.json)

Most data sets are a made-up fingerprint, which is all that nnU-Net's planner looks at; those below raw/ are images too, so
that the fingerprint itself is compared. NumPy sorts equal numbers differently with AVX-512, and a plan may depend on it (which
of two equally long axes is cut); so its wide instructions are switched off here.
"""
import contextlib
import importlib.metadata
import io
import json
import os
import shutil
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORK = Path(os.environ.setdefault("CTSEG_PLANS_WORK", "") or tempfile.mkdtemp())   # nnU-Net's processes import this file again
os.environ["CTSEG_PLANS_WORK"] = str(WORK)
for folder in ("raw", "preprocessed", "results"):   # nnU-Net looks for them when it is imported
    os.environ[f"nnUNet_{folder}"] = str(WORK / folder)
    (WORK / folder).mkdir(exist_ok=True)

import numpy as np
import SimpleITK as sitk
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
    ResEncUNetPlanner, nnUNetPlannerResEncL, nnUNetPlannerResEncM, nnUNetPlannerResEncXL)

PLANNERS = {"default": ExperimentPlanner, "resenc": ResEncUNetPlanner, "resenc_m": nnUNetPlannerResEncM,
            "resenc_l": nnUNetPlannerResEncL, "resenc_xl": nnUNetPlannerResEncXL}


def properties(rng, ct):
    mean, std = (rng.uniform(-50, 300), rng.uniform(30, 300)) if ct else (rng.uniform(100, 900), rng.uniform(50, 200))
    return {"max": mean + 5 * std, "mean": mean, "median": mean + 1.5, "min": mean - 5 * std,
            "percentile_00_5": mean - 2.5 * std, "percentile_99_5": mean + 2.5 * std, "std": std}


def fingerprint(seed, cases, spacing, shape, channels=("CT",), relative_size=1.0):
    """spacing, shape: of each axis z, y, x what to draw from, a list of choices or (low, high)."""
    rng = np.random.default_rng(seed)
    pick = lambda what, whole: (rng.choice(what) if isinstance(what, list) else
                                rng.integers(what[0], what[1] + 1) if whole else np.float32(rng.uniform(*what)))
    in_plane = []
    for axis in (1, 2):   # pixels are squares: y and x are drawn together where they have one range
        in_plane.append((spacing[axis] == spacing[1], shape[axis] == shape[1]))
    rows, sizes = [], []
    for _ in range(cases):
        row, size = [pick(s, False) for s in spacing], [pick(s, True) for s in shape]
        if in_plane[1][0]:
            row[2] = row[1]
        if in_plane[1][1]:
            size[2] = size[1]
        rows.append([float(v) for v in row]), sizes.append([int(v) for v in size])
    return {"foreground_intensity_properties_per_channel": {str(k): properties(rng, n == "CT") for k, n in enumerate(channels)},
            "median_relative_size_after_cropping": relative_size, "shapes_after_crop": sizes, "spacings": rows}


def dataset_json(channels=("CT",), labels=2, cases=20, ending=".nii.gz", **more):
    names = labels if isinstance(labels, dict) else {"background": 0, **{f"label{i}": i for i in range(1, labels)}}
    return {"channel_names": {str(k): n for k, n in enumerate(channels)}, "labels": names, "numTraining": cases,
            "file_ending": ending, **more}


def made_up():
    """name -> dataset.json, fingerprint."""
    mr2, mr4 = ("T2", "ADC"), ("T1", "T1ce", "T2", "FLAIR")
    regions = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3, "ignore": 4}
    even = [(0.6, 0.98), (0.6, 0.98)]
    one = [[1.0]] * 3
    return {
        "Dataset001_IsotropicSmall": (dataset_json(("MRI",), 3, 260),
                                      fingerprint(1, 20, one, [(30, 44), (40, 59), (28, 43)], ("MRI",))),
        "Dataset002_CtAbdomen": (dataset_json(labels=3, cases=131),
                                 fingerprint(2, 25, [(0.7, 2.5), *even], [(120, 900), [512], [512]])),
        "Dataset003_Prostate": (dataset_json(mr2, 3, 32),
                                fingerprint(3, 16, [[3.0, 3.5999999, 3.6, 4.0], (0.6, 0.75), (0.6, 0.75)],
                                            [(15, 24), [320, 320, 384], [320, 320, 384]], mr2)),
        "Dataset004_Slices": (dataset_json(("R", "rgb_to_0_1", "Rescale_To_0_1"), 2, 80, ".png"),
                              fingerprint(4, 12, [[999.0], [1.0], [1.0]], [[1], (400, 700), (380, 650)], "RGB")),
        "Dataset005_ThickHeart": (dataset_json(("cineMRI",), 4, 200),
                                  fingerprint(5, 20, [[5.0, 8.0, 10.0, 10.0, 10.0], (1.3, 1.8), (1.3, 1.8)],
                                              [(7, 12), (200, 260), (150, 232)], ("cineMRI",))),
        "Dataset006_ThickCtHead": (dataset_json(labels=6, cases=40),
                                   fingerprint(6, 15, [[5.0, 5.0, 4.8, 0.375], (0.4, 0.49), (0.4, 0.49)],
                                               [(26, 40), [512], [512]])),
        "Dataset007_Brain": (dataset_json(mr4, regions, 484, regions_class_order=[1, 2, 3]),
                             fingerprint(7, 20, one, [(130, 146), (160, 180), (130, 150)], mr4, 0.41)),
        "Dataset008_CoarseLast": (dataset_json(("noNorm",), 2, 30),
                                  fingerprint(8, 11, [(0.5, 0.8), (0.5, 0.8), (2.0, 3.3)],
                                              [(280, 420), (300, 420), (40, 90)], ("noNorm",))),
        "Dataset009_ManyClasses": (dataset_json(labels=105, cases=1200),
                                   fingerprint(9, 20, [[1.5]] * 3, [(90, 480), (180, 330), (200, 334)])),
        "Dataset010_CoarseMiddle": (dataset_json(labels=2, cases=9),
                                    fingerprint(10, 9, [(0.9, 1.1), (6.0, 6.6), (0.8, 1.3)],
                                                [(200, 300), (18, 30), (180, 310)])),
        "Dataset011_Tiny": (dataset_json(("zscore",), 2, 5), fingerprint(11, 6, one, [(6, 9), (9, 13), (12, 20)], ("zscore",))),
        "Dataset012_Huge": (dataset_json(labels=14, cases=20),
                            fingerprint(12, 10, [(0.25, 0.35)] * 3, [(1000, 1600), (900, 1100), (900, 1100)])),
        "Dataset013_ThinCube": (dataset_json(labels=2, cases=50), fingerprint(13, 14, one, [[170], [170], [170]])),
    }


def plans_of(name, seen=None):
    """What every planner says; the first data sets ask all of them."""
    out = []
    asked = [("default", {}), ("resenc_l", {})]
    if name.startswith(("Dataset002", "Dataset003", "Dataset010")):
        asked += [("resenc", {}), ("resenc_m", {}), ("resenc_xl", {}), ("default", {"gpu_memory_target_in_gb": 24}),
                  ("default", {"overwrite_target_spacing": [2.5, 1.25, 1.5], "plans_name": "coarser"})]
    for preset, options in asked:
        with contextlib.redirect_stdout(io.StringIO()):
            PLANNERS[preset](name, **options).plan_experiment()
        file = WORK / "preprocessed" / name / f"{options.get('plans_name', PLANNERS[preset](name).plans_identifier)}.json"
        out.append({"preset": preset, "options": options, "plans": json.loads(file.read_text())})
        file.unlink()   # a later planner would keep configurations of an earlier one
    return out


def write_made_up(name, dataset, found):
    raw, ready = WORK / "raw" / name, WORK / "preprocessed" / name
    (raw / "imagesTr").mkdir(parents=True), ready.mkdir(parents=True)
    (raw / "dataset.json").write_text(json.dumps(dataset))
    (ready / "dataset_fingerprint.json").write_text(json.dumps(found))
    ending = dataset["file_ending"]
    image = sitk.GetImageFromArray(np.zeros((8, 8) if ending == ".png" else (8, 8, 8), np.uint8))
    for channel in range(len(dataset["channel_names"])):
        sitk.WriteImage(image, str(raw / "imagesTr" / f"case_{channel:04}{ending}"))


def write_raw(name, seed, cases, channels, ct):
    """Small images with a border of zeros, spacings that float32 cannot hold, and a case without foreground."""
    rng = np.random.default_rng(seed)
    folder = HERE / "raw" / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "imagesTr").mkdir(parents=True), (folder / "labelsTr").mkdir()
    (folder / "dataset.json").write_text(json.dumps(dataset_json(channels, 3, cases), indent=1) + "\n")
    for case in range(cases):
        shape = tuple(int(v) for v in rng.integers(9, 15, 3))
        spacing = (0.7 + 0.1 * case, 0.8, 2.3 - 0.2 * case)
        label = np.zeros(shape, np.uint8)
        if case != 1:
            label[3:7, 2:6, 3:8] = 1
            label[5, 4, 4:6] = 2
        for channel in range(len(channels)):
            values = rng.integers(-1000, 1500, shape).astype(np.int16) if ct else rng.gamma(3, 90, shape).astype(np.float32)
            values[:, : 1 + case] = 0
            values[-1] = 0
            image = sitk.GetImageFromArray(values)
            image.SetSpacing(spacing), image.SetOrigin((3.0, -4.5, 10.25))
            sitk.WriteImage(image, str(folder / "imagesTr" / f"case{case}_{channel:04}.nii.gz"), useCompression=True)
        mask = sitk.GetImageFromArray(label)
        mask.CopyInformation(image)
        sitk.WriteImage(mask, str(folder / "labelsTr" / f"case{case}.nii.gz"), useCompression=True)
    shutil.copytree(folder, WORK / "raw" / name)
    with contextlib.redirect_stdout(io.StringIO()):
        DatasetFingerprintExtractor(name, num_processes=1).run()
    found = json.loads((WORK / "preprocessed" / name / "dataset_fingerprint.json").read_text())
    (folder / "dataset_fingerprint.json").write_text(json.dumps(found, indent=1) + "\n")


def folds():
    """nnU-Net's five folds of n cases, as places in the sorted list of their names."""
    from nnunetv2.utilities.crossval_split import generate_crossval_split
    out = {}
    for n in (5, 7, 20, 131):
        names = [f"case_{i:04}" for i in range(n)]
        out[str(n)] = [[names.index(v) for v in fold["val"]] for fold in generate_crossval_split(names, seed=12345, n_splits=5)]
    return out


def main():
    datasets = []
    for name, (dataset, found) in made_up().items():
        write_made_up(name, dataset, found)
        datasets.append({"name": name, "dataset": dataset, "fingerprint": found, "plans": plans_of(name)})
        print(name, len(datasets[-1]["plans"]))
    write_raw("Dataset901_Ct", 21, 3, ("CT",), True)
    write_raw("Dataset902_TwoChannels", 22, 4, ("T2", "ADC"), False)
    versions = {p: importlib.metadata.version(p) for p in ("nnunetv2", "dynamic-network-architectures", "numpy", "torch")}
    lines = ",\n".join(json.dumps(d, separators=(",", ":")) for d in datasets)
    head = json.dumps({"versions": versions, "validation": folds()}, separators=(",", ":"))
    (HERE / "plans.json").write_text(head[:-1] + ',"datasets":[\n' + lines + "\n]}\n")


if __name__ == "__main__":
    try:
        main()
    finally:
        shutil.rmtree(WORK)
