#!/bin/sh
# README.md's results on phantoms, in less than 20 minutes of two processors: CPM, Dice and more, in OUT/summary.json. It may be
# stopped and called again: it goes on where it was.
#   sh examples/systems/lung_nodules/reproduce.sh [BIN = build/release/bin] [OUT = build/systems/lung_nodules] [THREADS = 2]
set -eu
bin=${1:-build/release/bin} out=${2:-build/systems/lung_nodules} threads=${3:-2}
mkdir -p "$out"
run() { "$bin/ctseg_lung_nodules" "$@" --phantom -o "$out" --threads "$threads"; }
run preprocess > /dev/null
[ -e "$out/model.safetensors" ] || run train --resume > /dev/null
run validate > "$out/validated.txt"
run infer > /dev/null
number() { sed -n "s/.*\"$2\": \([-0-9.e]*\).*/\1/p" "$out/$1" | head -n 1; }
mean() { sed -n "/\"$1\": {/,/}/s/.*\"$2\": \([-0-9.e]*\).*/\1/p" "$out/validation.json"; }
cat > "$out/summary.json" << END
{
  "system": "lung_nodules",
  "data": "synthetic",
  "network": "residual U-Net, channels 16 to 128, 1.5 mm",
  "parameters": $(number run.json parameters),
  "steps": $(number run.json steps),
  "training_seconds": $(number run.json training_seconds),
  "peak_memory_mb": $(number run.json peak_memory_mb),
  "threads": $threads,
  "scans": $(number validation.json scans),
  "nodules": $(number validation.json nodules),
  "found": $(number validation.json found),
  "cpm": $(mean cpm value),
  "dice": $(mean dice mean),
  "dice_std": $(mean dice std),
  "sensitivity": $(mean sensitivity mean),
  "precision": $(mean precision mean)
}
END
cat "$out/validated.txt" "$out/summary.json"
