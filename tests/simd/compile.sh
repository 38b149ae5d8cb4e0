#!/bin/sh
# The AVX-512 and AVX2 tiles, on any x86-64 machine: plain -O2 makes one multiply-add for each vector and spills none, code for
# every processor has no wide registers. And scalar16, which stands in for avx512 in tests, has its bits where nothing fuses.
. "$(dirname "$0")/../support/check.sh"

case $($cxx -dumpmachine) in x86_64-*) ;; *) skip "$cxx does not compile for x86-64" ;; esac
command -v objdump > /dev/null || skip "objdump is not installed"

look_into() {   # look_into COMPILER
  "$1" -std=c++20 -O2 -Wall -Wextra -Werror -I"$root/include" -c "$root/tests/simd/kernels.cpp" \
    -o "$scratch/kernels.o" || fail "$1"
  objdump -d -C --no-show-raw-insn "$scratch/kernels.o" > "$scratch/kernels.s"
  tiles avx512 20 zmm && tiles avx2 14 ymm || fail "$1: see above"
}
tiles() {   # tiles PATH COUNT REGISTERS
  awk -v isa="$1" -v tiles="$2" -v fma="vfmadd[0-9]+ps.*%$3" -v spill='%[yz]mm[0-9]+,.*[(]%r[sb]p[)]' \
      -v wide='%[yz]mm' -v also_wide='avx2|avx512' -f "$root/tests/simd/tiles.awk" "$scratch/kernels.s"
}

look_into "$cxx"
other=clang++
case $cxx in *clang*) other=g++ ;; esac
if command -v "$other" > /dev/null; then look_into "$other"; else echo "left out: $other is not installed"; fi

$cxx -std=c++20 -O0 -ffp-contract=off -I"$root/include" "$root/tests/consumer/step.cpp" -o "$scratch/step" -pthread ||
  fail "step"
plain=$("$scratch/step" scalar16)
if wide=$("$scratch/step" avx512 2> "$scratch/refused"); then
  [ "$plain" = "$wide" ] || fail "without multiply-adds scalar16 gives $plain, avx512 gives $wide"
else
  grep 'has no avx512' "$scratch/refused" || fail "avx512: $(cat "$scratch/refused")"
fi
