#!/bin/sh
# Full-size networks against the libraries they come from: output in inference, with all weights. On demand, not part of the tests:
#   tests/parity/full.sh [NAME...]   SIZE: voxels along each axis (64); PYTHON: with torch, monai, dynamic-network-architectures
# Needs up to 2 GB of memory and 400 MB of disk at a time; prints a line per network and fails if one is too far off.
set -eu
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3} size=${SIZE:-64}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${CXX:-c++}" -std=c++20 -O2 -Iinclude tests/parity/full.cpp -o "$work/full" -pthread -lz
names=$*
[ -n "$names" ] || names=$(cd tests/parity && "$python" -c 'import full; print(*full.NETWORKS)')
failed=0
for name in $names; do
  (cd tests/parity && "$python" full.py "$work" "$size" "$name")
  "$work/full" "$work" "$name" || failed=1
  rm -f "$work"/*.safetensors
done
exit $failed
