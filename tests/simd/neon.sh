#!/bin/sh
# The NEON path, on any machine: a cross compiler makes one fmla for each vector and spills none, qemu runs the tests of the
# engine and a training step, whose results are those of this machine to 1e-5. On a 64-bit ARM machine neither is needed.
. "$(dirname "$0")/../support/check.sh"

case $($cxx -dumpmachine) in
  aarch64-*) cross=$cxx emulate='' dump=objdump ;;
  *)
    cross=aarch64-linux-gnu-g++ dump=aarch64-linux-gnu-objdump
    emulate=$(command -v qemu-aarch64 || command -v qemu-aarch64-static || :)
    command -v $cross > /dev/null || skip "$cross is not installed (package g++-aarch64-linux-gnu)"
    [ -n "$emulate" ] || skip "qemu-aarch64 is not installed (package qemu-user)"
    ;;
esac
command -v $dump > /dev/null || skip "$dump is not installed"

# The host's doctest, and nothing else of the host.
doctest=$(echo '#include <doctest/doctest.h>' | $cxx -x c++ -M - | grep -o '/[^ ]*/doctest/doctest\.h' | head -n 1)
[ -n "$doctest" ] || skip "doctest is not installed"
mkdir "$scratch/include"
ln -s "${doctest%/doctest.h}" "$scratch/include/doctest"
for_arm() {   # for_arm FLAGS AND FILES...
  env -u CPATH -u LIBRARY_PATH $cross -std=c++20 -Wall -Wextra -I"$root/include" -I"$root/tests" -I"$scratch/include" \
    -DCTSEG_SOURCE_DIR=\"$root\" "$@" || fail "$cross $*"
}

for_arm -O2 -Werror -c "$root/tests/ops/test_simd_paths.cpp" -o "$scratch/paths.o"
$dump -d -C --no-show-raw-insn "$scratch/paths.o" > "$scratch/paths.s"
awk -v isa=neon -v tiles=18 -v fma='fmla[ \t]+v[0-9]+[.]4s' -v spill='[ \t]st[pr][ \t]+q.*[[]sp' \
    -f "$root/tests/simd/tiles.awk" "$scratch/paths.s" || fail "$cross: see above"

for_arm -O0 -c "$root/tests/support/main.cpp" -o "$scratch/main.o"
for_arm -O2 "$root/tests/ops/test_simd_conv.cpp" "$root/tests/ops/test_simd_winograd.cpp" "$scratch/paths.o" "$scratch/main.o" \
  -o "$scratch/tests" -static -pthread
# Not all cases, for qemu is slow: these have edges, strides and partial vectors on every path.
$emulate "$scratch/tests" -m -tc='*kernels 1*,*largest tiles*,*whole numbers*,*has the tiles*,*winograd: long rows*' ||
  fail "the tests of the engine"

for_arm -O2 "$root/tests/consumer/step.cpp" -o "$scratch/step_arm" -static -pthread
$cxx -std=c++20 -O0 -I"$root/include" "$root/tests/consumer/step.cpp" -o "$scratch/step" -pthread || fail "step here"
neon=$($emulate "$scratch/step_arm" neon) || fail "the training step on neon"
best=$(CTSEG_ISA='' $emulate "$scratch/step_arm")
here=$("$scratch/step")
echo "neon: $neon here: $here"
[ "$neon" = "$best" ] || fail "neon is not what the processor's best path is: $best"
echo "$neon $here" | awk '
  function off(a, b) { d = a - b; return !((d < 0 ? -d : d) <= 1e-5 * b) }   # a NaN is off
  { exit off($1, $4) || off($2, $5) }' || fail "neon and this machine differ by more than 1e-5"
if $emulate "$scratch/step_arm" avx2 2> "$scratch/refused"; then fail "an ARM processor took avx2"; fi
grep 'has no avx2; its best is neon' "$scratch/refused" || fail "avx2 is refused with: $(cat "$scratch/refused")"
