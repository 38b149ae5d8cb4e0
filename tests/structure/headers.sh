#!/bin/sh
# Every header compiles alone, included twice, whatever came before it, and without a warning. Left out: the kernel
# bodies (_body) that are compiled once per instruction set inside another header.
. "$(dirname "$0")/../support/check.sh"

cd "$root"
find include/ctseg -name '*.hpp' ! -name '*_body.*' | sort > "$scratch/headers"
if ! echo '#include <xtensor/xtensor_config.hpp>' | $cxx -E -x c++ - > /dev/null 2>&1 &&
   ! echo '#include <xtensor/core/xtensor_config.hpp>' | $cxx -E -x c++ - > /dev/null 2>&1; then
  grep -v /interop/ "$scratch/headers" > "$scratch/some"
  mv "$scratch/some" "$scratch/headers"
  echo "left out, xtensor is not installed: include/ctseg/interop"
fi
if ! echo '#include <nlohmann/json.hpp>' | $cxx -E -x c++ - > /dev/null 2>&1; then
  grep -v -e /nnunet/ -e /recipe/.*json -e /recipe/recipe -e /recipe/model_file -e /recipe/segment -e /recipe/cuda "$scratch/headers" > "$scratch/some"
  mv "$scratch/some" "$scratch/headers"
  echo "left out, nlohmann-json is not installed: what reads recipes in include/ctseg/recipe"
fi
# A third of the compiler's runs is enough: a header can follow others in one where it includes all of them anyway. And what many
# of them begin with is precompiled.
bases='include/ctseg/core/error.hpp include/ctseg/core/context.hpp include/ctseg/image/volume.hpp include/ctseg/nn/functional.hpp'
echo "$bases" | tr ' ' '\n' > "$scratch/bases"
find include/ctseg -name '*.hpp' -exec awk -v LIST="$scratch/headers" -v BASES="$bases" -f tests/structure/chains.awk {} + \
  > "$scratch/chains"
sed 's/^[^ ]* //' "$scratch/chains" | tr ' ' '\n' | sort | cmp - "$scratch/headers" || fail "chains.awk lost a header"
cat > "$scratch/chain.sh" <<'END'
flags="-std=c++20 $WARNINGS -Iinclude -isystem /usr/include/eigen3 -isystem /usr/include/nifti"
twice() { for header in "$@" "$@"; do echo "#include <${header#include/}>"; done; }
set -- $1
begin=$SCRATCH/$(basename "$1")
if [ $# -eq 1 ]; then   # a base; if it does not compile, the chains that begin with it will say so
  twice "$1" > "$begin"
  $CXX $flags -x c++-header "$begin" -o "$begin.gch" 2> /dev/null || rm -f "$begin.gch"
  exit 0
fi
[ "$1" = - ] || with="-include $begin"
shift
twice "$@" | $CXX $flags -fsyntax-only ${with:-} -x c++ - 2> /dev/null && exit
for header; do
  twice "$header" | $CXX $flags -fsyntax-only -x c++ - || echo "FAILED: $header does not compile alone" >&2
done
echo "FAILED in one translation unit: $*" >&2
exit 1
END

# Compiling them all takes a while: do it again only when a header or the compiler changed.
stamp=${CTSEG_BINARY_DIR:-$scratch}/headers.passed
{ $cxx --version; echo "$user_warnings"; cat "$0" "$scratch/chains"; find include/ctseg -type f | sort | xargs cat; } | cksum > "$scratch/now"
if cmp -s "$scratch/now" "$stamp"; then
  echo "unchanged since they passed: $(wc -l < "$scratch/headers") headers"
  exit 0
fi
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
export WARNINGS="$user_warnings" SCRATCH="$scratch" CXX="$cxx"
for list in bases chains; do
  xargs -P "$jobs" -I '{}' sh "$scratch/chain.sh" '{}' < "$scratch/$list" || fail "a header does not compile alone"
done
$cxx -std=c++20 -fsyntax-only $user_warnings -Iinclude tests/consumer/step.cpp || fail "a training step warns"
cp "$scratch/now" "$stamp" 2>/dev/null || :
echo "$(wc -l < "$scratch/headers") headers compile alone"
