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
# A third of the compiler's runs is enough: a header can follow others in one where it includes all of them anyway.
find include/ctseg -name '*.hpp' -exec awk -v LIST="$scratch/headers" -f tests/structure/chains.awk {} + > "$scratch/chains"
tr ' ' '\n' < "$scratch/chains" | sort | cmp - "$scratch/headers" || fail "chains.awk lost a header"
cat > "$scratch/chain.sh" <<'END'
compiles() {   # compiles HEADER...
  printf '#include <%s>\n' "$@" "$@" | $CXX -std=c++20 -fsyntax-only $WARNINGS -Iinclude \
    -isystem /usr/include/eigen3 -isystem /usr/include/nifti -x c++ -
}
set -- $1
names() { for header; do echo "${header#include/}"; done; }
compiles $(names "$@") 2> /dev/null && exit
for header; do
  compiles "${header#include/}" || echo "FAILED: $header does not compile alone" >&2
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
export WARNINGS="$user_warnings"
CXX=$cxx xargs -P "$jobs" -I '{}' sh "$scratch/chain.sh" '{}' < "$scratch/chains" || fail "a header does not compile alone"
$cxx -std=c++20 -fsyntax-only $user_warnings -Iinclude tests/consumer/step.cpp || fail "a training step warns"
cp "$scratch/now" "$stamp" 2>/dev/null || :
echo "$(wc -l < "$scratch/headers") headers compile alone"
