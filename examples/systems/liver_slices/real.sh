#!/bin/sh
# The liver of one real CT (totalseg_ct of CTSEG_TEST_DATA: 3 mm, labels made by TotalSegmentator), judged on 20 slices of 512 x 512 of
# another subject (DICOM). One patient teaches little: this shows the way, not a result. Goes on where it was stopped.
#   CTSEG_TEST_DATA=DIR sh examples/systems/liver_slices/real.sh [BIN = build/release/bin] [OUT = build/systems/slices_real] [THREADS]
set -eu
bin=${1:-build/release/bin} out=${2:-build/systems/slices_real} threads=${3:-2}
from=$CTSEG_TEST_DATA/totalseg_ct data=$out/data
for part in train val; do mkdir -p "$data/$part/images" "$data/$part/labels"; done
ln -sfn "$from/example_ct.nii.gz" "$data/train/images/one.nii.gz"
ln -sfn "$from/example_seg_fast_force_split.nii.gz" "$data/train/labels/one.nii.gz"
ln -sfn "$from/example_ct_dicom" "$data/val/images/two"
ln -sfn "$from/example_seg_dicom.nii.gz" "$data/val/labels/two.nii.gz"
run() { "$bin/ctseg_liver_slices" "$@" -c real -d "$data" -o "$out" --threads "$threads"; }
run prepare > /dev/null
[ -e "$out/model.safetensors" ] || run train --resume > /dev/null
run evaluate
