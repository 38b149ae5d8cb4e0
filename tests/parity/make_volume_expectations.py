#!/usr/bin/env python3
"""Makes volume_expected.txt and itk_oblique.mha of this folder with SimpleITK (MetaImage) and nibabel (NIfTI). Run by hand:

    CTSEG_TEST_DATA=... python3 tests/parity/make_volume_expectations.py

One line for each file that ctseg must read: shape x y z, the affine in RAS row by row, CRC-32 of the voxels as float32 (x
fastest), path. A path in this folder begins with "tests/". A 2-D image is one slice of 1 mm, as ITK sees it in 3-D.
"""
import os
import warnings
import zlib

import nibabel
import numpy as np
import SimpleITK as sitk

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.environ["CTSEG_TEST_DATA"]
REFUSED = {   # the peers read these, ctseg does not, on purpose
    "metaimage_odd/image5x6x7-no-spacing.mhd": "no spacing: not taken for 1 mm",
}
warnings.filterwarnings("ignore")
sitk.ProcessObject.SetGlobalWarningDisplay(False)


def line(shape, affine, values, path):
    numbers = " ".join(f"{v:.17g}" for v in np.asarray(affine)[:3].ravel())
    crc = zlib.crc32(np.ascontiguousarray(values, "<f4").tobytes())
    return f"{shape[0]} {shape[1]} {shape[2]} {numbers} {crc:08x} {path}"


def metaimage(file, path):
    image = sitk.ReadImage(file)
    if image.GetNumberOfComponentsPerPixel() != 1 or image.GetDimension() > 3:
        return None
    n = image.GetDimension()
    direction, spacing, origin = np.eye(3), np.ones(3), np.zeros(3)
    direction[:n, :n] = np.reshape(image.GetDirection(), (n, n))
    spacing[:n] = image.GetSpacing()
    origin[:n] = image.GetOrigin()
    affine = np.eye(4)
    affine[:3, :3] = direction * spacing
    affine[:3, 3] = origin
    affine = np.diag([-1.0, -1, 1, 1]) @ affine + 0.0   # LPS to RAS
    values = sitk.GetArrayFromImage(image)   # z, y, x
    return line((list(image.GetSize()) + [1])[:3], affine, values.astype(np.float64), path)


def nifti(file, path):
    image = nibabel.load(file)
    if not isinstance(image, nibabel.Nifti1Pair) or len(image.shape) < 3 or any(n != 1 for n in image.shape[3:]):
        return None
    values = image.get_fdata(dtype=np.float64).reshape(image.shape[:3], order="F")
    return line(image.shape[:3], image.affine, values.transpose(2, 1, 0), path)


def make_oblique():
    """A file by ITK whose directions are no axes: shows in which order the matrix is written."""
    image = sitk.GetImageFromArray((np.arange(60) * 37 - 1000).astype(np.int16).reshape(3, 4, 5))
    turn = sitk.Euler3DTransform((0, 0, 0), 0.3, -0.2, 0.5)
    image.SetDirection(turn.GetMatrix())
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((-120.5, 33.25, -1400.125))
    sitk.WriteImage(image, os.path.join(HERE, "itk_oblique.mha"), useCompression=True)


def main():
    make_oblique()
    paths = ["tests/parity/itk_oblique.mha"]
    for folder, _, names in os.walk(DATA):
        paths += [os.path.relpath(os.path.join(folder, n), DATA) for n in names]
    lines = []
    for path in sorted(paths):
        file = os.path.join(HERE, "../..", path) if path.startswith("tests/") else os.path.join(DATA, path)
        reader = {"mha": metaimage, "mhd": metaimage, "nii": nifti, "hdr": nifti, "img": nifti}.get(
            path.removesuffix(".gz").rsplit(".", 1)[-1])
        if reader is None or path in REFUSED:
            continue
        try:
            found = reader(file, path)
        except Exception as error:
            print("not read by the peer:", path, str(error).strip().splitlines()[-1][:100])
            continue
        if found:
            lines.append(found)
    with open(os.path.join(HERE, "volume_expected.txt"), "w") as out:
        out.write(f"# make_volume_expectations.py with SimpleITK {sitk.Version_VersionString()}, nibabel {nibabel.__version__}\n")
        out.write("".join(l + "\n" for l in lines))
    print(len(lines), "files")


main()
