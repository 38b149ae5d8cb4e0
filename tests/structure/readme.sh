#!/bin/sh
# README's programs, the ```cpp blocks after the lines <!-- readme: program --> and <!-- readme: embed -->, compile and run, one
# after the other. If README shows a g++ command, that very command is used, in a folder that holds main.cpp (the program) and
# ctseg (this checkout).
. "$(dirname "$0")/../support/check.sh"

[ -f "$root/README.md" ] || fail "README.md is missing"
command=$(awk '/^```/ { shell = $0 == "```sh"; next }
               shell && (more || /^g[+][+] /) { more = sub(/\\$/, ""); printf "%s", $0; if (!more) exit }' "$root/README.md")
cd "$scratch"
ln -s "$root" ctseg

try() {   # try NAME: the block after <!-- readme: NAME -->
  awk -v mark="<!-- readme: $1 -->" '
    index($0, mark) == 1 { marked = 1; next }
    marked && /^```cpp/ { inside = 1; next }
    /^```/ { if (inside) exit }
    inside { print }' "$root/README.md" > main.cpp
  [ -s main.cpp ] || fail "README.md has no \`\`\`cpp block after the line <!-- readme: $1 -->"
  rm -f program
  case $command in
    '') $cxx -std=c++20 -O2 $plain_includes main.cpp -o program $plain_libraries ;;
    *)  echo "$command"
        sh -c "$cxx ${command#g++ }" ;;
  esac || fail "README's $1 does not compile"
  program=$(find . -maxdepth 1 -type f -perm -u+x | head -n 1)
  [ -n "$program" ] || fail "README's g++ command made no program"
  timeout 300 "$program" || fail "README's $1 ended with status $?"
}
try program
if echo '#include <xtensor/xsort.hpp>' | $cxx -std=c++20 -E -x c++ - > /dev/null 2>&1; then
  try embed
else
  echo "left out: README's embed, for <xtensor/xsort.hpp> is not installed"
fi
