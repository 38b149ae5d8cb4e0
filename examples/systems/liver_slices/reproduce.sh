#!/bin/sh
# README.md's results on phantoms, in less than 20 minutes of two processors: Dice of the patients held out, the time of a slice of
# 512 x 512 for both widths, in OUT/summary.json. It may be stopped and called again: it goes on where it was.
#   sh examples/systems/liver_slices/reproduce.sh [BIN = build/release/bin] [OUT = build/systems/liver_slices] [THREADS = 2]
set -eu
bin=${1:-build/release/bin} out=${2:-build/systems/liver_slices} threads=${3:-2}
mkdir -p "$out"
run() { "$bin/ctseg_liver_slices" "$@" --threads "$threads"; }
run prepare --phantom -o "$out" > "$out/prepared.txt"
[ -e "$out/model.safetensors" ] || run train --phantom --resume -o "$out" > /dev/null
run evaluate --phantom -o "$out" > "$out/judged.json"
run segment --phantom -o "$out" > /dev/null

[ -e "$out/ct.nii.gz" ] || "$bin/ctseg" phantom abdomen -o "$out" --shape 512,512,12 --spacing 0.8,0.8,5 -q > /dev/null
for preset in config classic; do run measure "$out/ct.nii.gz" -c $preset -q > "$out/$preset.json"; done

number() { sed -n "s/.*\"$2\": \([-0-9.e]*\).*/\1/p" "$out/$1" | head -n 1; }
mean() { sed -n "/\"$1\": {/,/}/s/.*\"$2\": \([-0-9.e]*\).*/\1/p" "$out/judged.json"; }
cat > "$out/summary.json" << END
{
  "system": "liver_slices",
  "data": "synthetic",
  "network": "2-D U-Net of 4 to 128 channels, 3.4 mm",
  "parameters": $(number run.json parameters),
  "steps": $(number run.json steps),
  "training_seconds": $(number run.json training_seconds),
  "peak_memory_mb": $(number run.json peak_memory_mb),
  "threads": $threads,
  "patients": $(number judged.json patients),
  "dice": $(mean dice mean),
  "dice_std": $(mean dice std),
  "hd95_mm": $(mean hd95_mm mean),
  "seconds_per_slice_512": $(number config.json seconds_per_slice),
  "seconds_per_slice_512_classic": $(number classic.json seconds_per_slice)
}
END
cat "$out/summary.json"
