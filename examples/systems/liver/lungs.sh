#!/bin/sh
# Another organ is another configuration: lungs, learned from synthetic patients alone and judged on a real CT (elastix_mha of
# CTSEG_TEST_DATA, 1.4 x 1.4 x 2.5 mm, with its mask). Goes on where it was stopped.
#   CTSEG_TEST_DATA=DIR sh examples/systems/liver/lungs.sh [BIN = build/release/bin] [OUT = build/systems/lungs] [THREADS = 2]
set -eu
bin=${1:-build/release/bin} out=${2:-build/systems/lungs} threads=${3:-2}
data=$out/data
mkdir -p "$data/test/ct_scans" "$data/test/masks"
ln -sfn "$CTSEG_TEST_DATA/elastix_mha/3DCT_lung.mha" "$data/test/ct_scans/real.mha"
ln -sfn "$CTSEG_TEST_DATA/elastix_mha/3DCT_lung_baseline_mask.mha" "$data/test/masks/real.mha"
[ -e "$data/train" ] || "$bin/ctseg" phantom thorax -o "$data/train" --count 8 --mask lung --shape 104,104,80 --spacing 4,4,4 -q > /dev/null
run() { "$bin/ctseg_liver" "$@" -c lungs -d "$data" -o "$out" --threads "$threads"; }
[ -e "$out/model.safetensors" ] || run train --resume
run evaluate
