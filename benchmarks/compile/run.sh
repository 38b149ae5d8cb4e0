#!/bin/sh
# What a file that uses ctseg costs to compile, beside #include <Eigen/Core> in the same run: run.sh [ROUNDS] [COMPILER...].
# Median of the compiler's own CPU time (user + system) over rounds in which every file has its turn, and its peak memory.
. "$(dirname "$0")/../../tests/support/check.sh"

rounds=${1:-5}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- g++ clang++

header() { echo "#include <$2>" > "$scratch/$1.cpp"; }
: > "$scratch/empty.cpp"
header eigen Eigen/Core
header core ctseg/core/context.hpp
header conv ctseg/ops/cpu/conv_float.hpp
header nn ctseg/nn/run.hpp
header image ctseg/image/preprocess.hpp
header io ctseg/io/volume.hpp
header train ctseg/train/fit.hpp
header umbrella ctseg/ctseg.hpp
cp "$root/benchmarks/compile/infer.cpp" "$scratch/hello_infer.cpp"
cp "$root/tests/consumer/step.cpp" "$scratch/hello_train.cpp"
awk '/^<!-- readme: program -->/ { marked = 1; next }
     marked && /^```cpp/ { inside = 1; next }
     /^```/ { if (inside) exit }
     inside { print }' "$root/README.md" > "$scratch/readme.cpp"

# name, file, flags: "prebuilt" is what a program linked to ctseg::prebuilt compiles
cat > "$scratch/table" <<'LIST'
empty file|empty|
Eigen/Core|eigen|
core/context.hpp|core|
ops/cpu/conv_float.hpp|conv|
nn/run.hpp|nn|
image/preprocess.hpp|image|
io/volume.hpp|io|
train/fit.hpp|train|
ctseg.hpp|umbrella|
ctseg.hpp, prebuilt|umbrella|-DCTSEG_PREBUILT=extern
hello world, inference|hello_infer|
hello world, inference, prebuilt|hello_infer|-DCTSEG_PREBUILT=extern
hello world, training|hello_train|
hello world, training, prebuilt|hello_train|-DCTSEG_PREBUILT=extern
README's program|readme|
README's program, prebuilt|readme|-DCTSEG_PREBUILT=extern
LIST

if [ -x /usr/bin/time ]; then memory="/usr/bin/time -f %M -o $scratch/memory"; else memory=; fi
echo 0 > "$scratch/memory"

measure() {   # measure FILE FLAGS: a line "seconds kilobytes"
  ( $memory $compiler -std=c++20 -O2 $plain_includes $2 -c "$scratch/$1.cpp" -o "$scratch/object.o" && times ) \
    > "$scratch/times" || fail "$compiler $1"
  awk -v kb="$(tail -n 1 "$scratch/memory")" '
    function seconds(t) { split(t, part, "[ms]"); return 60 * part[1] + part[2] }
    NR == 2 { printf "%.2f %d\n", seconds($1) + seconds($2), kb }' "$scratch/times"
}

for compiler in "$@"; do
  command -v "$compiler" > /dev/null || { echo "left out: $compiler is not installed"; continue; }
  round=0
  while [ $round -lt "$rounds" ]; do
    round=$((round + 1))
    row=0
    while IFS='|' read -r name file flags; do
      row=$((row + 1))
      measure "$file" "$flags" >> "$scratch/$compiler.$row"
    done < "$scratch/table"
  done
  echo
  "$compiler" --version | head -n 1
  echo "-O2, median of $rounds rounds, CPU seconds (user + system)"
  printf '%-36s %8s %8s %8s\n' file seconds ratio "peak MB"
  eigen=$(sort -n "$scratch/$compiler.2" | awk '{ t[NR] = $1 } END { print t[int((NR + 1) / 2)] }')
  row=0
  while IFS='|' read -r name file flags; do
    row=$((row + 1))
    sort -n "$scratch/$compiler.$row" | awk -v name="$name" -v eigen="$eigen" '
      { t[NR] = $1; if ($2 > most) most = $2 }
      END { s = t[int((NR + 1) / 2)]; printf "%-36s %8.2f %8.2f %8.0f\n", name, s, s / eigen, most / 1024 }'
  done < "$scratch/table"
done
