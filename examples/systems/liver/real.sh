#!/bin/sh
# The liver of one real CT (totalseg_ct of CTSEG_TEST_DATA: 3 mm, labels made by TotalSegmentator), judged on another subject's 20
# slices. One patient teaches little: this shows the way, not a result. Goes on where it was stopped.
#   CTSEG_TEST_DATA=DIR sh examples/systems/liver/real.sh [BIN = build/release/bin] [OUT = build/systems/liver_real] [THREADS = 2]
set -eu
bin=${1:-build/release/bin} out=${2:-build/systems/liver_real} threads=${3:-2}
from=$CTSEG_TEST_DATA/totalseg_ct data=$out/data
for part in train test; do mkdir -p "$data/$part/images" "$data/$part/labels"; done
ln -sfn "$from/example_ct.nii.gz" "$data/train/images/one.nii.gz"
ln -sfn "$from/example_seg_fast_force_split.nii.gz" "$data/train/labels/one.nii.gz"
ln -sfn "$from/example_ct_dicom" "$data/test/images/two"
ln -sfn "$from/example_seg_dicom.nii.gz" "$data/test/labels/two.nii.gz"
run() { "$bin/ctseg_liver" "$@" -c real -d "$data" -o "$out" --threads "$threads"; }
[ -e "$out/model.safetensors" ] || run train --resume
run evaluate
