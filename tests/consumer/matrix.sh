#!/bin/sh
# One training step compiled as users may compile it. Same bits wherever floating point means the same, 1e-5 elsewhere;
# docs/pitfalls.md says which flags are which.
. "$(dirname "$0")/../support/check.sh"

run_both() {   # run_both NAME COMPILER FLAGS...: results in $scratch/NAME.best and $scratch/NAME.scalar
  name=$1
  shift
  "$@" -I"$root/include" "$root/tests/consumer/step.cpp" -o "$scratch/step" -pthread || fail "$*"
  CTSEG_ISA= "$scratch/step" > "$scratch/$name.best" || fail "run of: $*"
  "$scratch/step" scalar > "$scratch/$name.scalar" || fail "scalar run of: $*"
  echo "$name: $(cat "$scratch/$name.best") scalar $(cat "$scratch/$name.scalar")"
}
same_bits() { cmp -s "$scratch/$1" "$scratch/$2" || fail "$1 and $2 differ: $(cat "$scratch/$1") | $(cat "$scratch/$2")"; }
near() {
  paste "$scratch/$1" "$scratch/$2" | awk '
    function off(a, b) { d = a - b; return !((d < 0 ? -d : d) <= 1e-5 * b) }   # a NaN is off
    { exit off($1, $4) || off($2, $5) }' || fail "$1 and $2 differ by more than 1e-5"
}

run_both base "$cxx" -std=c++20 -O2
near base.best base.scalar
run_both o0 "$cxx" -std=c++20 -O0
same_bits o0.scalar base.scalar
near o0.best base.best   # g++ makes multiply-adds of a * b + c from -O2 on
run_both newer "$cxx" -std=c++2b -O2 -fno-rtti
same_bits newer.best base.best
same_bits newer.scalar base.scalar
run_both native "$cxx" -std=c++20 -O3 -march=native
near native.best base.best
near native.scalar base.scalar
run_both fast "$cxx" -std=c++20 -O1 -ffast-math
near fast.best base.best
near fast.scalar base.scalar

other=clang++
case $cxx in *clang*) other=g++ ;; esac
command -v "$other" > /dev/null || { echo "left out: $other is not installed"; exit 0; }
run_both other "$other" -std=c++2b -O2 -fno-rtti
same_bits other.best base.best
same_bits other.scalar base.scalar
