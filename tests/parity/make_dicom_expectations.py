#!/usr/bin/env python3
"""Makes dicom_expected.txt of this folder with pydicom, and compares with SimpleITK where that reads a series. Run by hand:

    CTSEG_TEST_DATA=... python3 tests/parity/make_dicom_expectations.py
    needs numpy, pydicom, SimpleITK, pylibjpeg, pylibjpeg-libjpeg, pylibjpeg-openjpeg, pyjpegls

One line for each path that must be read: series | file (alone), shape x y z, the affine in LPS row by row, mean, minimum,
maximum, CRC-32 of the float32 voxels, or "lossy" where decoders may differ in the last digit. Slices are sorted by position
along the normal, slope and intercept are applied, padding values of a CT become -1024.
"""
import os
import warnings
import zlib

import numpy as np
import pydicom
import SimpleITK

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.environ["CTSEG_TEST_DATA"]
warnings.filterwarnings("ignore")

SERIES = """totalseg_ct/example_ct_dicom
dicom_tilt_philips
lung_tumour/pat_2_dicom_rtstruct
dicom_seg_dcmqi/ct-3slice
dicom_seg_dcmqi/23x38x3/image
dicom_seg_dcmqi/23x38x3/multiframe
dicom_seg_dcmqi/24x38x3/image
dicom_seg_dcmqi/24x38x3/multiframe
dicom_odd/dicom_intercept
dicom_odd/dicom_slope
dicom_odd/dicom_window_level
dicom_odd/pydicom_dicomdir_98892001/CT5N""".split()
FILES = ["dicom_odd/" + n for n in """693_J2KI.dcm CT_small.dcm J2K_pixelrep_mismatch.dcm MR_small_RLE.dcm
MR_small_jpeg_ls_lossless.dcm dicom_4d/1.dcm""".split()]
LOSSY = (".4.50", ".4.51", ".4.53", ".4.55", ".4.81", ".4.91")


def frames_of(path):
    """(position, row, column, (row spacing, column spacing), thickness, values) of each frame."""
    ds = pydicom.dcmread(path, force=True)
    if "PixelData" not in ds or ds.get("Modality") in ("RTDOSE", "SEG"):
        return []
    if not hasattr(ds.file_meta, "TransferSyntaxUID"):
        ds.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    rescaled = False
    try:
        pixels = ds.pixel_array
    except NotImplementedError:   # two of the old JPEG processes
        pixels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path))
        rescaled = True
    count = int(ds.get("NumberOfFrames", 1))
    pixels = pixels.reshape((count,) + pixels.shape[-2:])
    shared = ds.SharedFunctionalGroupsSequence[0] if ds.get("SharedFunctionalGroupsSequence") else pydicom.Dataset()
    own = ds.get("PerFrameFunctionalGroupsSequence", [pydicom.Dataset()] * count)

    def get(frame, macro, name, default=None):
        for group in (own[frame], shared):
            if macro in group and name in group[macro].value[0]:
                return group[macro].value[0][name].value
        return ds[name].value if name in ds else default

    out = []
    for i in range(count):
        o = np.array(get(i, "PlaneOrientationSequence", "ImageOrientationPatient"), float)
        slope = float(get(i, "PixelValueTransformationSequence", "RescaleSlope", 1))
        intercept = float(get(i, "PixelValueTransformationSequence", "RescaleIntercept", 0))
        values = pixels[i].astype(np.float64) if rescaled else pixels[i].astype(np.float64) * slope + intercept
        if "PixelPaddingValue" in ds and ds.Modality == "CT":
            padding = ds.PixelPaddingValue
            if ds.PixelRepresentation == 1 and padding > 32767:
                padding -= 65536
            values[pixels[i] == padding] = -1024
        out.append((np.array(get(i, "PlanePositionSequence", "ImagePositionPatient"), float), o[:3], o[3:],
                    [float(v) for v in get(i, "PixelMeasuresSequence", "PixelSpacing")],
                    get(i, "PixelMeasuresSequence", "SliceThickness"), values.astype(np.float32)))
    return out


def expectation(kind, name):
    path = os.path.join(DATA, name)
    files = [path] if kind == "file" else [os.path.join(path, f) for f in sorted(os.listdir(path))]
    frames = [f for file in files for f in frames_of(file)]
    normal = np.cross(frames[0][1], frames[0][2])
    frames.sort(key=lambda f: f[0] @ normal)
    voxels = np.stack([f[5] for f in frames])
    position, row, column, spacing, thickness, _ = frames[0]
    step = (frames[-1][0] - position) / (len(frames) - 1) if len(frames) > 1 else normal * float(thickness)
    affine = np.stack([row * spacing[1], column * spacing[0], step, position], axis=1)
    syntax = pydicom.dcmread(files[0], force=True).file_meta.get("TransferSyntaxUID", "")
    crc = "lossy" if syntax.endswith(LOSSY) else "%08x" % zlib.crc32(np.ascontiguousarray(voxels).tobytes())
    shape = voxels.shape[::-1]
    print(kind, name, shape)
    return " ".join([kind, *map(str, shape), *("%.9g" % v for v in affine.ravel()),
                     *("%.9g" % v for v in (voxels.mean(dtype=np.float64), voxels.min(), voxels.max())), crc, name]), voxels, affine


def compare_with_simpleitk(name, voxels, affine):
    reader = SimpleITK.ImageSeriesReader()
    folder = os.path.join(DATA, name)
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(folder, reader.GetGDCMSeriesIDs(folder)[0]))
    image = reader.Execute()
    ours = np.where(voxels == -1024, np.maximum(-1024, voxels), voxels)
    theirs = np.maximum(SimpleITK.GetArrayFromImage(image), -1024)   # it keeps the scanner's padding
    assert np.array_equal(ours, theirs), name
    corner = image.TransformIndexToPhysicalPoint([int(n) - 1 for n in image.GetSize()])
    mine = affine[:, :3] @ (np.array(image.GetSize()) - 1) + affine[:, 3]
    assert np.abs(np.array(image.GetOrigin()) - affine[:, 3]).max() < 1e-6, name
    assert np.abs(np.array(corner) - mine).max() < 1e-3, name
    print("  the same as SimpleITK", SimpleITK.Version_VersionString())


with open(os.path.join(HERE, "dicom_expected.txt"), "w") as out:
    out.write(f"# make_dicom_expectations.py with pydicom {pydicom.__version__}, SimpleITK {SimpleITK.Version_VersionString()}\n")
    for name in SERIES:
        line, voxels, affine = expectation("series", name)
        out.write(line + "\n")
        if name in ("totalseg_ct/example_ct_dicom", "lung_tumour/pat_2_dicom_rtstruct", "dicom_seg_dcmqi/ct-3slice"):
            compare_with_simpleitk(name, voxels, affine)
    folder = "dicom_transfer_syntaxes"
    for name in FILES + [f"{folder}/{f}" for f in sorted(os.listdir(os.path.join(DATA, folder))) if f.startswith("CT")]:
        out.write(expectation("file", name)[0] + "\n")
