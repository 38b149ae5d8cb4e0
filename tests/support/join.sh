#!/bin/sh
# join.sh OUT FILE...: makes one translation unit of several test files, each in a namespace of its own. What they include comes
# before them, so that their own #include lines find it done.
set -eu
out=$1
shift
for file; do
  grep '^#include' "$file" | while read -r _ name _; do
    beside=${name#\"}
    beside=${file%/*}/${beside%\"}
    case $name in '"'*) [ ! -e "$beside" ] || name="\"$beside\"" ;; esac
    echo "#include $name"
  done
done | awk '!seen[$0]++' > "$out.new"
count=0
for file; do
  count=$((count + 1))
  printf 'namespace file_%d {\n#include "%s"\n}\n' $count "$file"
done >> "$out.new"
mv "$out.new" "$out"
