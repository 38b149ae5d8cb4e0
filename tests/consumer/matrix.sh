#!/bin/sh
# One training step compiled as users may compile it: both compilers, C++20 and C++23, each level. Same bits wherever floating
# point means the same, 1e-5 elsewhere; docs/pitfalls.md says which flags are which.
. "$(dirname "$0")/../support/check.sh"

case $cxx in *clang*) other=g++ ;; *) other=clang++ ;; esac
command -v "$other" > /dev/null || { echo "left out: $other is not installed"; other=; }

# step NAME COMPILER FLAGS...: results in $scratch/NAME.best (the processor's vector path) and $scratch/NAME.scalar
step() {
  name=$1
  shift
  "$@" -I"$root/include" "$root/tests/consumer/step.cpp" -o "$scratch/$name" -pthread || fail "$*"
  CTSEG_ISA= "$scratch/$name" > "$scratch/$name.best" || fail "run of: $*"
  "$scratch/$name" scalar > "$scratch/$name.scalar" || fail "scalar run of: $*"
  echo "$name: $(cat "$scratch/$name.best") scalar $(cat "$scratch/$name.scalar")"
}
# both NAME FLAGS...: NAME.20 and NAME.23 with $compiler, side by side
both() {
  level=$1
  shift
  step "$level.20" "$compiler" -std=c++20 "$@" &
  step "$level.23" "$compiler" -std=c++2b -fno-rtti "$@"
  wait $! || exit 1
  for path in best scalar; do same_bits "$level.20.$path" "$level.23.$path"; done
}
same_bits() { cmp -s "$scratch/$1" "$scratch/$2" || fail "$1 and $2 differ: $(cat "$scratch/$1") | $(cat "$scratch/$2")"; }
near() {
  paste "$scratch/$1" "$scratch/$2" | awk '
    function off(a, b) { d = a - b; return !((d < 0 ? -d : d) <= 1e-5 * b) }   # a NaN is off
    { exit off($1, $4) || off($2, $5) }' || fail "$1 and $2 differ by more than 1e-5"
}
rules_on_nan() {
  "$compiler" -std=c++20 -O2 -ffast-math $plain_includes "$root/tests/consumer/fast_math.cpp" -o "$scratch/fast_math" \
    -pthread || fail "$compiler -ffast-math"
  "$scratch/fast_math" || fail "$compiler -ffast-math"
}

for compiler in "$cxx" $other; do
  tag=$(basename "$compiler")
  rules_on_nan &   # beside the others: no processor waits for one program
  rules=$!
  both "$tag.O2" -O2
  both "$tag.O0" -O0
  both "$tag.native" -O3 -march=native
  both "$tag.fast" -O2 -ffast-math
  base=$(basename "$cxx").O2.20
  same_bits "$tag.O2.20.best" "$base.best"
  same_bits "$tag.O2.20.scalar" "$base.scalar"
  same_bits "$tag.O0.20.scalar" "$base.scalar"
  near "$tag.O0.20.best" "$base.best"   # g++ makes multiply-adds of a * b + c from -O2 on
  for level in native fast; do
    near "$tag.$level.20.best" "$base.best"
    near "$tag.$level.20.scalar" "$base.scalar"
  done
  near "$base.best" "$base.scalar"
  wait $rules || exit 1
done
