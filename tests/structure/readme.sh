#!/bin/sh
# README's program, the ```cpp block after the line <!-- readme: program -->, compiles and runs. If README shows a g++
# command, that very command is used, in a folder that holds main.cpp (the program) and ctseg (this checkout).
. "$(dirname "$0")/../support/check.sh"

[ -f "$root/README.md" ] || fail "README.md is missing"
awk '/^<!-- readme: program -->/ { marked = 1; next }
     marked && /^```cpp/ { inside = 1; next }
     /^```/ { if (inside) exit }
     inside { print }' "$root/README.md" > "$scratch/main.cpp"
[ -s "$scratch/main.cpp" ] || fail 'README.md has no ```cpp block after the line <!-- readme: program -->'

command=$(awk '/^```/ { shell = $0 == "```sh"; next }
               shell && (more || /^g[+][+] /) { more = sub(/\\$/, ""); printf "%s", $0; if (!more) exit }' "$root/README.md")
cd "$scratch"
ln -s "$root" ctseg
case $command in
  '') $cxx -std=c++20 -O2 $plain_includes main.cpp -o program $plain_libraries ;;
  *)  echo "$command"
      sh -c "$cxx ${command#g++ }" ;;
esac || fail "README's program does not compile"
program=$(find . -maxdepth 1 -type f -perm -u+x | head -n 1)
[ -n "$program" ] || fail "README's g++ command made no program"
timeout 300 "$program" || fail "README's program ended with status $?"
