#!/bin/sh
# Training on real CT, ctseg beside MONAI: same scans, network, initial weights, recipe and number of steps. Runs what has no
# line in benchmarks/results/real_ct.jsonl yet, so it may be stopped and called again, and makes the table from it.
#   benchmarks/training/real_ct.sh PROGRAM [STEPS = 500]     PROGRAM is build/release/bin/ctseg_bench_real_ct
# CTSEG_TEST_DATA   folder with verse/ and lung_tumour/
# PYTHON            one with torch, monai and safetensors
# FOLDER            for prepared scans and weights; default build/real_ct
# RESULTS           folder for real_ct.jsonl and real_ct.md; default benchmarks/results
set -eu
program=$(realpath "$1")
steps=${2:-500}
here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
root=$here/../..
python=${PYTHON:-python3}
folder=${FOLDER:-$root/build/real_ct}
results=${RESULTS:-$root/benchmarks/results}
lines=$results/real_ct.jsonl
export OMP_NUM_THREADS=2
export OMP_WAIT_POLICY=passive   # else PyTorch's threads wait busily for a processor that another program has

[ -e "$folder/lung3_label.npy" ] || "$program" prepare "$CTSEG_TEST_DATA" "$folder"

# arm TASK ARM SEED COMMAND...: its line of JSON, with the load of the machine before and after
arm() {
  task=$1 name=$2 seed=$3
  shift 3
  if grep -qs "\"task\": \"$task\", \"arm\": \"$name\", \"seed\": $seed, \"steps\": $steps," "$lines"; then return; fi
  echo "== $task, $name, seed $seed" >&2
  before=$(cut -d ' ' -f 1 /proc/loadavg)
  "$@" "$folder" "$task" "$seed" "$steps" > "$folder/line.json"
  sed "s|}\$|, \"load\": [$before, $(cut -d ' ' -f 1 /proc/loadavg)], \"date\": \"$(date -u +%Y-%m-%d)\"}|" \
    "$folder/line.json" >> "$lines"
  "$python" "$here/real_ct_table.py" "$lines" "$steps" > "$results/real_ct.md"
}
pair() {
  [ -e "$folder/init_$2.safetensors" ] || "$program" init "$folder" "$2"
  arm "$1" ctseg "$2" "$program" train
  arm "$1" MONAI "$2" "$python" "$here/real_ct_monai.py"
}
pair spine_005_007 0
pair lung_12_3 0
pair spine_007_005 0
pair spine_005_007 1
pair spine_005_007 2
cat "$results/real_ct.md"
