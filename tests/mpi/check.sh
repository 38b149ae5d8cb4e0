#!/bin/sh
# Two processes that share batches of two have the loss curve of one process, to 1e-5. The program is built by CMake.
set -eu
program=$CTSEG_BINARY_DIR/bin/ctseg_mpi_training
command -v mpirun > /dev/null || { echo "mpirun is not installed"; exit 77; }
folder=$(mktemp -d "${TMPDIR:-/tmp}/ctseg-mpi-XXXXXX")
trap 'rm -rf "$folder"' EXIT
# Open MPI asks for these where there are few processors, or for root; MPICH does not know them.
OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_ALLOW_RUN_AS_ROOT OMPI_ALLOW_RUN_AS_ROOT_CONFIRM OMPI_MCA_rmaps_base_oversubscribe
numbers() { grep -E '^[0-9.e+-]+$' "$1"; }   # UCX says on stdout what it misses in /sys
for loop in own fit; do
  "$program" $loop 2 > "$folder/log"
  numbers "$folder/log" > "$folder/one"
  mpirun -np 2 "$program" $loop 2 > "$folder/log"
  numbers "$folder/log" > "$folder/two"
  [ "$(wc -l < "$folder/one")" -eq 12 ] || { echo "mpi: no 12 steps"; exit 1; }
  paste "$folder/one" "$folder/two" | awk -v loop=$loop '
    { d = $1 - $2; if (d < 0) d = -d; if (d > worst) worst = d; if (d > 1e-5 * $1) bad = 1 }
    END { printf "mpi: %s loop, worst difference %.1e in losses from %.3f down\n", loop, worst, $1; exit bad || NR != 12 }'
done
# Rank 0 has the folder; everybody goes on from its newest checkpoint, here that of step 8.
mpirun -np 2 "$program" fit 2 "$folder/run" > "$folder/log"
numbers "$folder/log" > "$folder/whole"
rm "$folder/run/step_000000012.safetensors"
mpirun -np 2 "$program" fit 2 "$folder/run" > "$folder/log"
numbers "$folder/log" > "$folder/rest"
tail -4 "$folder/whole" | cmp - "$folder/rest" || { echo "mpi: a resumed training has other losses"; exit 1; }
# Options that differ end all processes.
if mpirun -np 1 "$program" fit 4 : -np 1 "$program" fit 6 > "$folder/log" 2>&1; then echo "mpi: unlike batches passed"; exit 1; fi
grep -q "differ from rank 0" "$folder/log" || { cat "$folder/log"; exit 1; }
# An error of one process ends all of them.
status=0
timeout 60 mpirun -np 2 "$program" leave 2 > "$folder/log" 2>&1 || status=$?
if [ $status -eq 0 ] || [ $status -eq 124 ]; then echo "mpi: status $status after one process left"; exit 1; fi
grep -q "rank 1 goes" "$folder/log" || { cat "$folder/log"; exit 1; }
echo "mpi: resumed, and unlike options refused"
