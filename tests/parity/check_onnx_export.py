"""Runs the ONNX files that ctseg writes in ONNX Runtime and compares the outputs.

    python check_onnx_export.py build/release/bin/ctseg_test_onnx

Needs onnx and onnxruntime. The test program writes networks, inputs and ctseg's outputs into a folder; nothing is committed.
Fails if an output differs by more than 1e-4 of its largest value.
"""
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file


def main(program: str) -> int:
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([program, "-tc=onnx: exports for ONNX Runtime*"], check=True, stdout=subprocess.DEVNULL,
                       env=dict(os.environ, CTSEG_ONNX_EXPORTS=folder))
        files = sorted(Path(folder).glob("*.onnx"))
        for path in files:
            model = onnx.load(path)
            onnx.checker.check_model(model, full_check=True)
            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            for values in sorted(Path(folder).glob(path.stem + ".*.safetensors")):
                pair = load_file(values)
                y = session.run(None, {"input": pair["x"]})[0]
                difference = np.abs(y - pair["y"]).max() / np.abs(pair["y"]).max() if y.shape == pair["y"].shape else 2
                worst = max(worst, difference)
                print(f"{path.stem:24} {str(list(pair['x'].shape)):22} {path.stat().st_size:9} bytes   {difference:.1e}")
    print(f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}: {len(files)} files, worst {worst:.1e}")
    return 0 if files and worst <= 1e-4 else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
