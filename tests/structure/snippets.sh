#!/bin/sh
# The C++ in docs/*.md compiles, all pages in one translation unit. What is compiled stands behind one of these lines:
#   <!-- compile: file -->        the next ```cpp block, at namespace scope; its includes go to the top
#   <!-- compile: given ... -->   the parameters that every later snippet of this page may use
#   <!-- compile -->              the next ```cpp block, as the body of a function
#   <!-- compile: table -->       the `code;` in the last column of the next table, each row as the body of a function
. "$(dirname "$0")/../support/check.sh"

cd "$root"
: > "$scratch/includes"
for page in docs/*.md; do
  grep -q '^<!-- compile' "$page" || continue
  name=$(basename "$page" .md)
  echo "$name" >> "$scratch/pages"
  awk -v page="$page" -v name="$name" -v includes="$scratch/includes" '
    function place() { print "#line " NR " \"" page "\"" }
    function open_body() { print "void snippet_" ++count "(" given ") {{" }
    BEGIN { print "namespace " name " {" }
    /^<!-- compile: file -->$/ { next_is = "file"; next }
    /^<!-- compile -->$/ { next_is = "body"; next }
    /^<!-- compile: table -->$/ { next_is = "table"; row = 0; next }
    /^<!-- compile: given .* -->$/ { given = $0; sub(/^<!-- compile: given /, "", given); sub(/ -->$/, "", given); next }
    /^<!-- compile/ { print "#error " page ":" NR " has a marker that tests/structure/snippets.sh does not know"; next }
    /^```/ {
      if (inside == "body") print "}}"
      if (inside == "" && $0 == "```cpp" && next_is != "table") { inside = next_is; next_is = "" } else inside = ""
      if (inside == "body") open_body()
      if (inside != "") print "#line " NR + 1 " \"" page "\""
      next
    }
    inside == "file" && /^#include/ { print >> includes; print ""; next }
    inside != "" { print; next }
    next_is == "table" && /^\|/ {
      if (++row <= 2) next   # the head, and the line below it
      cell = $0
      sub(/ *\| *$/, "", cell)
      sub(/.*\| */, "", cell)
      if (cell !~ /[;}]`/) next
      open_body()
      parts = split(cell, part, "`")
      for (i = 2; i <= parts; i += 2)
        if (part[i] ~ /[;}]$/) { place(); print part[i] }   # else a name in a sentence
      print "}}"
      next
    }
    next_is == "table" && row > 0 { next_is = "" }
    END {
      if (next_is != "" && next_is != "table") print "#error " page " ends with a marker and nothing behind it"
      print "}   // namespace " name
    }' "$page" >> "$scratch/body"
done
[ -f "$scratch/pages" ] || fail "no page in docs/ has a marked snippet"
if grep -q xtensor "$scratch/includes" &&
   ! printf '#include <ctseg/interop/xtensor.hpp>\n' | $cxx -std=c++20 -fsyntax-only $plain_includes -x c++ - 2> /dev/null; then
  skip "xtensor is not installed"
fi
{ sort -u "$scratch/includes"; cat "$scratch/body"; } > "$scratch/snippets.cpp"
$cxx -std=c++20 -fsyntax-only -Wall -Wextra -Werror -Wno-unused -Wno-unused-parameter $plain_includes "$scratch/snippets.cpp" ||
  fail "a snippet in docs/ does not compile"
echo "$(grep -c '^void snippet_' "$scratch/snippets.cpp") snippets compile"
