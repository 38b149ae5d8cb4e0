#!/bin/sh
# Time and memory of a whole CT of 512 x 512 x 119 voxels of 1 x 1 x 1.5 mm on the CPU: overlap 0.25, air left out, fast
# convolutions, random weights (what weights say changes no time). low_memory has half of the full width, fast all of it.
#   sh examples/systems/liver/measure.sh [BIN = build/release/bin] [OUT = build/systems/liver_measure] [THREADS = 2] [PRESETS]
set -eu
bin=${1:-build/release/bin} out=${2:-build/systems/liver_measure} threads=${3:-2}
[ -e "$out/ct.nii.gz" ] || "$bin/ctseg" phantom abdomen -o "$out" --shape 512,512,119 --spacing 1,1,1.5 -q > /dev/null
for preset in ${4:-low_memory fast}; do
  "$bin/ctseg_liver" measure "$out/ct.nii.gz" -c "$preset" -o "$out" --accuracy fast --threads "$threads" -q > "$out/$preset.json"
  cat "$out/$preset.json"
done
