#!/bin/sh
# clang accepts the umbrella header without a warning, where clang is installed.
. "$(dirname "$0")/../support/check.sh"

command -v clang++ > /dev/null || skip "clang++ is not installed"
printf '#include <ctseg/ctseg.hpp>\nint main() {}\n' > "$scratch/umbrella.cpp"
clang++ -std=c++20 -fsyntax-only -Wall -Wextra -Werror $plain_includes "$scratch/umbrella.cpp" ||
  fail "clang++ does not accept ctseg/ctseg.hpp"
