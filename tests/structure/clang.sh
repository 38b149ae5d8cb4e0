#!/bin/sh
# clang accepts the umbrella header and a training step without a warning, where clang is installed.
. "$(dirname "$0")/../support/check.sh"

command -v clang++ > /dev/null || skip "clang++ is not installed"
printf '#include <ctseg/ctseg.hpp>\nint main() {}\n' > "$scratch/umbrella.cpp"
for source in "$scratch/umbrella.cpp" "$root/tests/consumer/step.cpp"; do
  clang++ -std=c++20 -fsyntax-only $user_warnings -I"$root/include" -isystem /usr/include/eigen3 -isystem /usr/include/nifti \
    "$source" || fail "clang++ does not accept $source"
done
