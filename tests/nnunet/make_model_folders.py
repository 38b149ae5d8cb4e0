#!/usr/bin/env python3
"""Makes the model folders in models/ with nnU-Net itself: phantoms, its planner, its preprocessing, its trainer for a few
steps, its predictor. Run it by hand, and commit what it writes (a few minutes on one core):

    python3 tests/nnunet/make_model_folders.py [NAME...]      needs what requirements.txt lists

Each models/DATASET/CONFIGURATION is what nnUNetv2_train leaves, but for logs and pictures, with networks of 4 to 8 channels.
Beside the configurations of a dataset lie case_0000.nii.gz ..., a scan that was not trained on; in each of them mask.nii.gz,
what nnU-Net says of it, and stages.safetensors, what is between them:

    crop, normalized, prepared    the image after each step of its preprocessing
    logits                        mean of folds, mirror images and windows, on the prepared grid
    resampled                     these on the grid of the cropped scan
    probabilities                 on the scan's grid

in nnU-Net's axis order (transposed, but for probabilities), every STRIDE-th value; NAME.shape has the whole shape, "box" the
crop as low and high of each axis. nnU-Net sums windows in half precision, whose weights have one digit at the edges of a
volume: mask.nii.gz is that. Logits and what is made of them, mask_float_sums.nii.gz too, are with float sums; the metadata says
how far the two are apart (largest_difference_to_half of probabilities, voxels_that_half_changes).
"""
import contextlib
import functools
import json
import multiprocessing
import os
import platform
import random
import shutil
import sys
import tempfile
from importlib.metadata import version
from multiprocessing.pool import ThreadPool
from types import SimpleNamespace

HERE = os.path.dirname(os.path.abspath(__file__))
WORK = os.environ.get("CTSEG_NNUNET_WORK") or tempfile.mkdtemp()
for folder in ("raw", "preprocessed", "results"):
    os.environ["nnUNet_" + folder] = os.path.join(WORK, folder)
    os.makedirs(os.environ["nnUNet_" + folder], exist_ok=True)
os.environ.update(nnUNet_n_proc_DA="1", nnUNet_def_n_proc="1")

import numpy as np
import SimpleITK as sitk
import torch
from safetensors.numpy import save_file

multiprocessing.get_context = lambda how=None: SimpleNamespace(Pool=ThreadPool)   # nnU-Net's processes, which start slowly
STRIDE = 11
MADE_WITH = ", ".join(f"{name} {version(name)}" for name in (
    "nnunetv2", "torch", "dynamic-network-architectures", "batchgenerators", "batchgeneratorsv2", "acvl-utils", "scipy",
    "scikit-image", "numpy", "SimpleITK")) + f", python {platform.python_version()}"


class Dataset:
    """Phantoms: a body with an organ (1), a lesion in it (2) and a bright bone (3)."""

    def __init__(self, name, spacing, shape, channels=("CT",), labels=None, regions_order=None, air=-1000, turned=False):
        self.name, self.spacing, self.shape, self.channels, self.air, self.turned = name, spacing, shape, channels, air, turned
        self.labels = labels or {"background": 0, "organ": 1, "lesion": 2, "bone": 3}
        self.regions_order = regions_order

    def phantom(self, rng, spacing, shape):
        """Image and labels on a grid of x, y, z, as arrays z, y, x."""
        mm = [np.arange(n) * s for n, s in zip(shape, spacing)]
        z, y, x = np.meshgrid(mm[2], mm[1], mm[0], indexing="ij")
        size = np.array([n * s for n, s in zip(shape, spacing)])

        def ellipsoid(center, radius):
            return sum(((a - c * s) / (r * s)) ** 2 for a, c, r, s in zip((x, y, z), center, radius, size)) < 1

        c = 0.5 + rng.uniform(-0.06, 0.06, 3)
        organ = c + rng.uniform(-0.08, 0.08, 3) * (1, 1, 0.6) - (0.08, 0, 0)
        image, labels = np.full(x.shape, self.air, np.float32), np.zeros(x.shape, np.uint8)
        for inside, value, label in (
                (ellipsoid(c, (0.42, 0.4, 0.46)), 0, 0),
                (ellipsoid(organ, rng.uniform(0.19, 0.25, 3)), 250, 1),
                (ellipsoid(organ + rng.uniform(-0.06, 0.06, 3), rng.uniform(0.1, 0.13, 3)), 600, 2),
                (ellipsoid(c + (0.26, 0.05, 0), rng.uniform(0.07, 0.1, 3) * (1, 1, 3)), 1100, 3)):
            image[inside], labels[inside] = value, label
        noise = rng.normal(0, 12, x.shape)
        if self.air == 0:   # magnetic resonance: nothing is exactly 0 but what is masked
            body = image + labels > 0
            body |= ellipsoid(c, (0.42, 0.4, 0.46))
            image = np.where(body, 300 + image + noise, 0)
        else:
            image += noise
        return np.round(image / 4) * 4, labels

    def write(self, path, array, spacing, dtype):
        image = sitk.GetImageFromArray(array.astype(dtype))
        image.SetSpacing([float(s) for s in spacing])
        if self.turned:   # oblique, left-handed axes: nnU-Net looks at the array only, and its mask must keep the place
            a = 0.25
            image.SetDirection((-np.cos(a), np.sin(a), 0, np.sin(a), np.cos(a), 0, 0, 0, 1))
        image.SetOrigin((12.5, -80, 33.25))
        sitk.WriteImage(image, path, useCompression=True)

    def make(self, cases=6):
        rng = np.random.default_rng(abs(sum(map(ord, self.name))))
        folder = os.path.join(os.environ["nnUNet_raw"], self.name)
        for part in ("imagesTr", "labelsTr", "imagesTs"):
            os.makedirs(os.path.join(folder, part), exist_ok=True)
        for i in range(cases + 1):
            scale = rng.uniform(0.92, 1.08) if i < cases else 0.87   # the last one, for prediction, has another spacing
            spacing = np.round(np.array(self.spacing) * scale, 3)
            shape = [int(n + rng.integers(-1, 2)) if i < cases else n for n in self.shape]
            image, labels = self.phantom(rng, spacing, shape)
            part, name = ("Tr", f"case_{i:03}") if i < cases else ("Ts", "case_ts")
            for c in range(len(self.channels)):   # the second is a coarser, darker look at the same
                shown = image if c == 0 else np.round(image / 40 + rng.normal(0, 0.3, image.shape)) * 16 * (image != 0)
                self.write(os.path.join(folder, "images" + part, f"{name}_{c:04}.nii.gz"), shown, spacing, np.int16)
            if i < cases:
                self.write(os.path.join(folder, "labelsTr", name + ".nii.gz"), labels, spacing, np.uint8)
        about = {"channel_names": {str(c): n for c, n in enumerate(self.channels)}, "labels": self.labels,
                 "numTraining": cases, "file_ending": ".nii.gz"}
        if self.regions_order:
            about["regions_class_order"] = self.regions_order
        with open(os.path.join(folder, "dataset.json"), "w") as file:
            json.dump(about, file, indent=2)
        return [os.path.join(folder, "imagesTs", f"case_ts_{c:04}.nii.gz") for c in range(len(self.channels))]


def plan(dataset, planner, gigabytes, blocks=None):
    """plans.json of nnU-Net's planner, told of a small card and narrow networks."""
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
    from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import ResEncUNetPlanner
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, preprocess
    number = int(dataset.name[7:10])
    name = {"plain": "nnUNetPlans", "residual": "nnUNetResEncUNetPlans"}[planner]
    if os.path.exists(os.path.join(os.environ["nnUNet_results"], dataset.name)):
        return name   # an earlier run with this CTSEG_NNUNET_WORK came as far as training
    extract_fingerprints([number], num_processes=1, verbose=False)
    p = {"plain": ExperimentPlanner, "residual": ResEncUNetPlanner}[planner](number, gpu_memory_target_in_gb=gigabytes)
    p.UNet_base_num_features, p.UNet_max_features_2d, p.UNet_max_features_3d = 4, 8, 8
    if blocks:
        p.UNet_blocks_per_stage_encoder = blocks
    plans = p.plan_experiment()
    configurations = [c for c in plans["configurations"] if c != "3d_cascade_fullres"]
    preprocess([number], p.plans_identifier, configurations, [1] * len(configurations))
    return name


def folder_of(dataset, plans, configuration):
    return os.path.join(os.environ["nnUNet_results"], dataset.name, f"nnUNetTrainer__{plans}__{configuration}")


def train(dataset, plans, configuration, fold, steps):
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    if os.path.exists(os.path.join(folder_of(dataset, plans, configuration), f"fold_{fold}", "checkpoint_final.pth")):
        return   # by an earlier run with this CTSEG_NNUNET_WORK
    seed = 100 + (fold if fold != "all" else 9)
    random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
    preprocessed = os.path.join(os.environ["nnUNet_preprocessed"], dataset.name)
    with open(os.path.join(preprocessed, plans + ".json")) as a, open(os.path.join(preprocessed, "dataset.json")) as b:
        trainer = nnUNetTrainer({**json.load(a), "continue_training": False}, configuration, fold, json.load(b),
                                device=torch.device("cpu"))
    trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = 4, steps // 4, 1
    trainer.initial_lr, trainer.oversample_foreground_percent = 0.02, 0.7
    if configuration == "2d":   # slices are cheap, and show less
        trainer.num_iterations_per_epoch, trainer.oversample_foreground_percent, trainer.initial_lr = steps // 2, 1.0, 0.05
    os.environ["nnUNet_n_proc_DA"] = "0"   # batches are made in this process
    trainer.run_training()
    os.environ["nnUNet_n_proc_DA"] = "1"
    trainer.perform_actual_validation(False)


class FloatSums:
    """torch, but for torch.half."""
    half = torch.float32

    def __getattr__(self, name):
        return getattr(torch, name)


@contextlib.contextmanager
def float_sums():
    from nnunetv2.inference import predict_from_raw_data as module
    gaussian = module.compute_gaussian
    floats = functools.lru_cache(maxsize=2)(functools.partial(gaussian.__wrapped__, dtype=torch.float32))
    module.torch, module.compute_gaussian = FloatSums(), floats
    yield
    module.torch, module.compute_gaussian = torch, gaussian


class Stages:
    """Arrays on their way through nnU-Net, with what it calls replaced by the same that also keeps its results."""

    def __init__(self):
        self.kept = {}

    def keep(self, name, array):
        array = np.asarray(array, dtype=np.float32)
        self.kept[name] = np.ascontiguousarray(array.reshape(-1)[::STRIDE])
        self.kept[name + ".shape"] = np.array(array.shape, dtype=np.int64)

    def preprocess(self, predictor, files, previous):
        from nnunetv2.preprocessing.preprocessors import default_preprocessor as module
        from nnunetv2.utilities.label_handling.label_handling import convert_labelmap_to_one_hot
        crop, preprocessor = module.crop_to_nonzero, predictor.configuration_manager.preprocessor_class(verbose=False)
        normalize = preprocessor._normalize

        def kept_crop(data, seg=None, nonzero_label=-1):
            data, seg, box = crop(data, seg, nonzero_label)
            self.keep("crop", data)
            self.kept["box"] = np.array(box, dtype=np.int64)
            return data, seg, box

        def kept_normalize(*arguments):
            data = normalize(*arguments)
            self.keep("normalized", data)
            return data

        module.crop_to_nonzero, preprocessor._normalize = kept_crop, kept_normalize
        data, seg, properties = preprocessor.run_case(files, previous, predictor.plans_manager, predictor.configuration_manager,
                                                      predictor.dataset_json)
        module.crop_to_nonzero = crop
        if previous:
            data = np.vstack((data, convert_labelmap_to_one_hot(seg[0], predictor.label_manager.foreground_labels, data.dtype)))
        self.keep("prepared", data)
        return torch.from_numpy(data).to(torch.float32), properties

    def predict(self, predictor, data, properties, keep):
        from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape as export
        logits = predictor.predict_logits_from_preprocessed_data(data)
        manager = predictor.configuration_manager
        resample = manager.resampling_fn_probabilities

        if keep:
            self.keep("logits", logits)
            spacing = [properties["spacing"][i] for i in predictor.plans_manager.transpose_forward]
            prepared = [*spacing[:3 - len(manager.spacing)], *manager.spacing]
            cropped = properties["shape_after_cropping_and_before_resampling"]
            self.keep("resampled", resample(logits, cropped, prepared, spacing))
        labels, probabilities = export(logits, predictor.plans_manager, manager, predictor.label_manager, properties, True)
        return labels, np.asarray(probabilities)


def predict(folder, case, folds, previous=None):
    """nnU-Net's mask and stages.safetensors of a case, in a model's folder."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(folder, folds)
    out = os.path.join(WORK, "predicted", os.path.relpath(folder, os.environ["nnUNet_results"]))
    os.makedirs(out, exist_ok=True)
    predictor.predict_from_files_sequential([case], [os.path.join(out, "case_ts")], folder_with_segs_from_prev_stage=previous)
    shutil.copy(os.path.join(out, "case_ts.nii.gz"), os.path.join(folder, "mask.nii.gz"))
    stages = Stages()
    data, properties = stages.preprocess(predictor, case, previous and os.path.join(previous, "case_ts.nii.gz"))
    half = stages.predict(predictor, data, properties, False)
    with float_sums():
        full = stages.predict(predictor, data, properties, True)
    stages.keep("probabilities", full[1])
    mask = sitk.ReadImage(os.path.join(folder, "mask.nii.gz"))
    written = sitk.GetArrayFromImage(mask)
    floats = sitk.GetImageFromArray(full[0])
    floats.CopyInformation(mask)
    sitk.WriteImage(floats, os.path.join(folder, "mask_float_sums.nii.gz"), useCompression=True)
    assert np.array_equal(half[0], written), "the stages are not those of the predictor"
    labels = {int(v): int(n) for v, n in zip(*np.unique(written, return_counts=True))}
    save_file(stages.kept, os.path.join(folder, "stages.safetensors"), metadata={
        "made_with": MADE_WITH, "stride": str(STRIDE), "folds": ",".join(map(str, folds)),
        "mirror": ",".join(map(str, predictor.allowed_mirroring_axes or ())),
        "largest_difference_to_half": f"{np.abs(half[1] - full[1]).max():.3g}",
        "voxels_that_half_changes": str(int(np.sum(half[0] != full[0])))})
    print("   ", labels, "voxels; half sums change", int(np.sum(half[0] != full[0])), "and probabilities by",
          np.abs(half[1] - full[1]).max())


def postprocessing(dataset, plans, configuration, folds):
    """What nnUNetv2_find_best_configuration leaves: crossval_results_folds_0_1/postprocessing.json and .pkl."""
    from nnunetv2.evaluation.accumulate_cv_results import accumulate_cv_results
    from nnunetv2.postprocessing.remove_connected_components import apply_postprocessing, determine_postprocessing
    folder = folder_of(dataset, plans, configuration)
    merged = os.path.join(folder, "crossval_results_folds_" + "_".join(map(str, folds)))
    accumulate_cv_results(folder, merged, folds, 1, True)
    truth = os.path.join(os.environ["nnUNet_preprocessed"], dataset.name, "gt_segmentations")
    functions, options = determine_postprocessing(merged, truth, os.path.join(folder, "plans.json"),
                                                  os.path.join(folder, "dataset.json"), 1, False)
    image = sitk.ReadImage(os.path.join(folder, "mask.nii.gz"))
    labels = apply_postprocessing(sitk.GetArrayFromImage(image), functions, options)
    after = sitk.GetImageFromArray(labels)
    after.CopyInformation(image)
    sitk.WriteImage(after, os.path.join(folder, "mask_postprocessed.nii.gz"), useCompression=True)
    print("    postprocessing", options, "changes", int(np.sum(labels != sitk.GetArrayFromImage(image))), "voxels")


KEEP = ("plans.json", "dataset.json", "stages.safetensors", "mask.nii.gz", "mask_float_sums.nii.gz",
        "mask_postprocessed.nii.gz", "fold_0/checkpoint_final.pth", "fold_1/checkpoint_final.pth", "fold_all/checkpoint_final.pth",
        "crossval_results_folds_0_1/postprocessing.json", "crossval_results_folds_0_1/postprocessing.pkl")


def publish(dataset, plans, configurations, case):
    into = os.path.join(HERE, "models", dataset.name)
    shutil.rmtree(into, ignore_errors=True)
    os.makedirs(into)
    for c, path in enumerate(case):
        shutil.copy(path, os.path.join(into, f"case_{c:04}.nii.gz"))
    for configuration in configurations:
        folder = folder_of(dataset, plans, configuration)
        for name in KEEP:
            if os.path.exists(os.path.join(folder, name)):
                path = os.path.join(into, os.path.basename(folder), name)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                shutil.copy(os.path.join(folder, name), path)
                os.chmod(path, 0o644)


def model(dataset, planner, gigabytes, jobs, steps, blocks=None):
    """jobs: (configuration, folds)."""
    case = dataset.make()
    plans = plan(dataset, planner, gigabytes, blocks)
    for configuration, folds in jobs:
        for fold in folds:
            train(dataset, plans, configuration, fold, steps)
        folder = folder_of(dataset, plans, configuration)
        previous = None
        if configuration == "3d_cascade_fullres":   # where the first stage was predicted above
            previous = os.path.join(WORK, "predicted", dataset.name, os.path.basename(folder_of(dataset, plans, "3d_lowres")))
        print(dataset.name, configuration)
        predict(folder, case, folds, previous)
        if len(folds) > 1:
            postprocessing(dataset, plans, configuration, folds)
    publish(dataset, plans, [configuration for configuration, _ in jobs], case)


MODELS = {
    # cubes; a 2-D network; two folds
    "even": lambda: model(Dataset("Dataset901_Even", (2, 2, 2.2), (34, 32, 30)), "plain", 0.006,
                          [("3d_fullres", [0, 1]), ("2d", [0])], 200),
    # thick slices: resampled slice by slice; residual; oblique
    "thick": lambda: model(Dataset("Dataset902_Thick", (1.5, 1.5, 6), (40, 38, 12), turned=True), "residual", 0.006,
                           [("3d_fullres", [0]), ("2d", [0])], 200, (1, 2, 2, 2, 2)),
    # thick along x: nnU-Net turns the axes; two channels, one of them normalised behind a mask; regions
    "regions": lambda: model(Dataset("Dataset903_Regions", (6, 1.5, 1.4), (12, 38, 40), ("MR", "CT"),
                                     {"background": 0, "whole": [1, 2], "lesion": 2, "bone": 3}, [1, 2, 3], air=0),
                             "plain", 0.006, [("3d_fullres", [0]), ("2d", [0])], 200),
    # two stages
    "cascade": lambda: model(Dataset("Dataset904_Cascade", (1.2, 1.2, 1.4), (44, 42, 36)), "plain", 0.002,
                             [("3d_lowres", ["all"]), ("3d_cascade_fullres", ["all"])], 200),
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or MODELS:
        MODELS[name]()
    if "CTSEG_NNUNET_WORK" not in os.environ:
        shutil.rmtree(WORK)
