#!/usr/bin/env python3
"""Runs the ONNX files that ctseg writes, of every network, in ONNX Runtime and compares the outputs:

    python3 tests/parity/check_onnx_export.py BUILD       needs onnx, onnxruntime, safetensors, g++ (or CXX), doctest and
                                                          libctseg_onnx.a somewhere in the folder BUILD

onnx_program.cpp writes networks of fixed size, dynamic batch and dynamic size, with inputs and ctseg's outputs, and imports each
again. Fails if an import differs by more than 1e-6 of the largest value, or ONNX Runtime by more than 1e-4.
"""
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from safetensors import safe_open

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def export(build, folder):
    library = next(Path(build).rglob("libctseg_onnx.a"))
    program = str(Path(folder) / "program")
    subprocess.run([os.environ.get("CXX", "g++"), "-std=c++20", "-O2", f"-I{ROOT / 'include'}", f"-I{ROOT / 'tests'}",
                    str(HERE / "onnx_program.cpp"), str(library), "-o", program, "-lonnx_proto", "-lprotobuf", "-lz", "-pthread"],
                   check=True)
    subprocess.run([program], check=True, env=dict(os.environ, CTSEG_ONNX_EXPORTS=folder))


def main(build):
    worst = defaultdict(float)
    with tempfile.TemporaryDirectory() as folder:
        export(build, folder)
        files = sorted(Path(folder).glob("*.onnx"))
        for path in files:
            onnx.checker.check_model(onnx.load(path), full_check=True)
            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            for values in sorted(Path(folder).glob(path.stem + ".*.safetensors")):
                with safe_open(values, "np") as pair:
                    x, y, again = pair.get_tensor("x"), pair.get_tensor("y"), pair.metadata()["import"]
                out = session.run(None, {"input": x})[0]
                apart = np.abs(out - y).max() / np.abs(y).max() if out.shape == y.shape else 2
                network = path.stem.rsplit("_", 1)[0]
                worst[network] = max(worst[network], float(apart))
                print(f"{path.stem:34} {str(list(x.shape)):22} {path.stat().st_size:9} bytes   onnxruntime {apart:.1e}   "
                      f"import {float(again):.1e}", flush=True)
    for network, apart in sorted(worst.items()):
        print(f"{network:34} {apart:.1e}")
    print(f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}: {len(files)} files, worst {max(worst.values()):.1e}")
    return 0 if files and max(worst.values()) <= 1e-4 else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
