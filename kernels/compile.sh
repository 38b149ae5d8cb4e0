#!/bin/sh
# compile.sh LOG COMMAND...: runs the compiler, keeps what it says of registers and spills in LOG and shows the rest.
log=$1
shift
status=0
"$@" > "$log" 2>&1 || status=$?
grep -vE '^ptxas info|^ +[0-9]+ bytes stack frame|^ptxas \. info' "$log" >&2
exit $status
