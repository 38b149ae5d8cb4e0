#!/bin/sh
# Two real CTs (VerSe 005 and 007 of CTSEG_TEST_DATA), each trained on and judged on the other: any vertebra as one class, for one
# patient cannot teach names. Goes on where it was stopped.
#   CTSEG_TEST_DATA=DIR sh examples/systems/spine/real.sh [BIN = build/release/bin] [OUT = build/systems/spine_real] [THREADS = 2]
set -eu
bin=${1:-build/release/bin} out=${2:-build/systems/spine_real} threads=${3:-2}
for pair in 005_007 007_005; do
  data=$out/$pair/data
  for part in train test; do
    case=${pair%_*}
    [ $part = train ] || case=${pair#*_}
    mkdir -p "$data/$part/images" "$data/$part/labels"
    ln -sfn "$CTSEG_TEST_DATA/verse/sub-verse${case}_ct.nii.gz" "$data/$part/images/verse$case.nii.gz"
    ln -sfn "$CTSEG_TEST_DATA/verse/sub-verse${case}_seg-vert_msk.nii.gz" "$data/$part/labels/verse$case.nii.gz"
  done
  run() { "$bin/ctseg_spine" "$@" -c real -d "$data" -o "$out/$pair" --threads "$threads"; }
  [ -e "$out/$pair/model.safetensors" ] || run train --resume
  echo "trained -> tested: $pair"
  run evaluate
done
