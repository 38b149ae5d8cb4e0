#!/bin/sh
# Trains a system on its phantoms, judges it on patients that it never saw, and writes OUT/summary.json. It may be stopped and
# called again: it goes on where it was. The systems' own reproduce.sh call it with their names and targets.
#   sh examples/systems/common/reproduce.sh NAME TARGET [BIN = build/release/bin] [OUT = build/systems/NAME] [THREADS = 2]
set -eu
name=$1 target=$2
bin=${3:-build/release/bin} out=${4:-build/systems/$1} threads=${5:-2}
program=$bin/ctseg_$name
mkdir -p "$out"
unset CTSEG_MODEL   # judged is what is trained here

"$program" prepare --phantom -o "$out" --threads "$threads" > "$out/prepared.txt"
[ -e "$out/model.safetensors" ] || "$program" train --phantom --resume -o "$out" --threads "$threads"
"$program" evaluate --phantom -o "$out" --threads "$threads" --json > "$out/judged.json"
"$program" segment --phantom -o "$out" --threads "$threads" > /dev/null

# number FILE BEGIN KEY: the first value of KEY at or after the line with BEGIN
number() { sed -n "/$2/,\$p" "$1" | sed -n "s/.*\"$3\": \([-0-9.e]*\).*/\1/p" | head -n 1; }
case $name in
  liver) dice=$(number "$out/judged.json" '"mean"' dice) ;;
  coronary) dice=$(number "$out/judged.json" '"dice": {' mean) ;;
  spine) dice=$(number "$out/judged.json" '"dice_mean"' dice_mean) ;;
esac
met=$(awk "BEGIN { print ($dice >= $target) ? \"true\" : \"false\" }")
cldice=$(number "$out/judged.json" '"cldice": {' mean)
cat > "$out/summary.json" << END
{
  "system": "$name",
  "data": "synthetic",
  "network": "$(sed -n 's/.*"name": "\([^"]*\)".*/\1/p' "$out/run.json" | head -n 1)",
  "steps": $(number "$out/run.json" '"figures"' steps),
  "parameters": $(number "$out/run.json" '"figures"' parameters),
  "training_seconds": $(number "$out/run.json" '"figures"' training_seconds),
  "peak_memory_mb": $(number "$out/run.json" '"peak_memory_mb"' peak_memory_mb),
  "threads": $threads,
  "dice": $dice,
  "cldice": ${cldice:-null},
  "target": $target,
  "met": $met,
  "seconds_per_case": $(number "$out/judged.json" '"seconds_per_case"' seconds_per_case)
}
END
cat "$out/summary.json"
[ "$met" = true ] || { echo "Dice $dice is below the target, $target" >&2; exit 1; }
