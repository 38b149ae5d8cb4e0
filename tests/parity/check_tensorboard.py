#!/usr/bin/env python3
"""Reads event files of ctseg with the tensorboard package:

    python3 tests/parity/check_tensorboard.py BUILD       needs tensorboard

Runs BUILD/bin/ctseg_test_train on the one case that writes a known file into CTSEG_EVENTS, and compares what tensorboard sees.
"""
import os
import subprocess
import sys
import tempfile

import tensorboard
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def main(build):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([os.path.join(build, "bin", "ctseg_test_train"), "-tc=event files*"], check=True,
                       env={**os.environ, "CTSEG_EVENTS": folder}, stdout=subprocess.DEVNULL)
        events = EventAccumulator(folder, size_guidance={"tensors": 0, "scalars": 0, "images": 0, "histograms": 0})
        events.Reload()
        tags = events.Tags()
        assert sorted(tags["scalars"]) == ["learning_rate", "loss/mean", "loss/step", "steps_per_second", "validation/score"], tags
        loss, = events.Scalars("loss/mean")
        assert (loss.step, loss.value) == (1, 0.5) and loss.wall_time > 1.7e9, loss
        score, = events.Scalars("validation/score")
        assert (score.step, score.value) == (1, 0.5), score
        image, = events.Images("overlay")
        assert (image.step, image.width, image.height) == (2, 2, 1), image
        assert image.encoded_image_string.startswith(b"\x89PNG"), image
        histogram, = events.Histograms("weights")
        h = histogram.histogram_value
        assert (h.min, h.max, h.num, h.sum, h.sum_squares) == (-1, 1, 4, 1, 3), h
        assert len(h.bucket) == len(h.bucket_limit) == 64 and sum(h.bucket) == 4 and h.bucket[-1] == 2, h
        print(f"tensorboard {tensorboard.__version__}: 5 scalars, an image and a histogram read as written")


if __name__ == "__main__":
    main(sys.argv[1])
