#!/bin/sh
# Three real CTs of lung tumours (lung_tumour of CTSEG_TEST_DATA), two to train on and one to judge by. The tumours are balls here,
# as LUNA16's nodules are: centre and diameter of a ball as large as the contoured tumour. Two patients teach little: this shows the
# way, not a result. Goes on where it was stopped.
#   CTSEG_TEST_DATA=DIR sh examples/systems/lung_nodules/real.sh [BIN = build/release/bin] [OUT = build/systems/lung_real] [THREADS]
set -eu
bin=${1:-build/release/bin} out=${2:-build/systems/lung_real} threads=${3:-2}
mkdir -p "$out/data/subset0"
for patient in 1 2 3; do
  ln -sfn "$CTSEG_TEST_DATA/lung_tumour/lungpat${patient}_ct.nii.gz" "$out/data/subset0/patient_$patient.nii.gz"
done
cat > "$out/data/annotations.csv" << END
seriesuid,coordX,coordY,coordZ,diameter_mm
patient_1,-74.5,16.3,-18.7,88.2
patient_2,-70.3,23.2,-533.6,23.1
patient_3,43.5,16.9,-371.3,28.1
END
run() { "$bin/ctseg_lung_nodules" "$@" -c real -d "$out/data" -o "$out" --threads "$threads"; }
run preprocess > /dev/null
[ -e "$out/model.safetensors" ] || run train --resume --seed 7 > /dev/null   # holds patient 3 out
run validate --seed 7
