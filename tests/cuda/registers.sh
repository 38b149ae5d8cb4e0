#!/bin/sh
# What ptxas said of every kernel while ctseg::cuda was built: none spills or keeps a stack, and none takes so many registers
# that too few of its blocks fit a multiprocessor. Prints the table of kernels/README.md with --table.
. "$(dirname "$0")/../support/check.sh"

most_registers=168   # 65536 / 168 = 390 threads at least; the tensor-core kernels need that many
logs=$(find "${CTSEG_BINARY_DIR:-/nowhere}/kernels" -name '*.ptxas' 2> /dev/null | sort)
[ -n "$logs" ] || skip "ctseg::cuda is not built here"
command -v c++filt > /dev/null && names=c++filt || names=cat
cat $logs | $names | sed -e 's/(anonymous namespace):://g' -e "s/void ctseg::cuda::run_body<\(.*\)>([^']*)/\1/" -e 's/ctseg::cuda:://g' | awk -v most=$most_registers -v table="${1:-}" '
  /Compiling entry function/ { split($0, part, "\047"); name = part[2]; arch = part[4] }
  /bytes stack frame/ { stack = $1; stores = $5; loads = $9 }
  /Used [0-9]+ registers/ {
    match($0, /Used [0-9]+/); used = substr($0, RSTART + 5, RLENGTH - 5) + 0
    ++kernels
    if (table == "--table") print arch "\t" used "\t" name
    if (stack + stores + loads > 0) { print "FAILED: " name " (" arch "): stack " stack ", spills " stores " / " loads " bytes"; bad = 1 }
    if (used > most) { print "FAILED: " name " (" arch "): " used " registers, at most " most; bad = 1 }
    if (used > peak) { peak = used; where = name }
    stack = stores = loads = 0
  }
  END {
    print kernels + 0 " kernels, none spills; at most " peak + 0 " registers: " where
    exit bad || kernels == 0
  }' || fail "a kernel spills or takes too many registers (or none was found)"
