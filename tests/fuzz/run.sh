#!/bin/sh
# run.sh [SECONDS] [NAME...]: runs each fuzzer of build/fuzz for so long, from its seeds; stops at the first finding.
# Needs clang++ with libFuzzer (Debian: clang, libclang-rt-14-dev) and cmake --build --preset fuzz.
# An input must take at most 1 s on an idle machine (5 s are allowed here) and 512 MB. What was found lies in build/fuzz/found.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-60}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- nifti metaimage npy safetensors torch gzip dicom dicom_pixels config upload
found=$PWD/build/fuzz/found
memory=/dev/shm
[ -w $memory ] || memory=${TMPDIR:-/tmp}
scratch=$(mktemp -d "$memory/ctseg-fuzz-run-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$found"
for name; do
  corpus=build/fuzz/corpus/$name
  mkdir -p "$corpus"
  words=
  [ ! -f "tests/fuzz/$name.dict" ] || words=-dict=tests/fuzz/$name.dict
  TMPDIR=$scratch ASAN_OPTIONS=quarantine_size_mb=16 "build/fuzz/bin/ctseg_fuzz_$name" -max_total_time="$seconds" -timeout=5 \
    -rss_limit_mb=512 -max_len=4096 -print_final_stats=1 -artifact_prefix="$found/$name-" $words \
    "$corpus" "tests/fuzz/seeds/$name" > "$scratch/log" 2>&1 ||
    { tail -n 60 "$scratch/log"; echo "fuzz $name: FAILED"; exit 1; }
  awk -v name="$name" '/number_of_executed_units/ { runs = $2 } /peak_rss_mb/ { rss = $2 } / cov: / { cov = $4 }
    END { print "fuzz " name ": " runs " executions, coverage " cov ", peak " rss " MB" }' "$scratch/log"
done
