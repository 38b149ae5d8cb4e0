#!/bin/sh
# kill.sh [KILLS = 12]: a training that is killed (SIGKILL) at random moments, saves included, and started again until it is
# through, ends with the bits of the straight one. The program is built by CMake.
set -eu
kills=${1:-12}
program=$CTSEG_BINARY_DIR/bin/ctseg_kill_training
folder=$(mktemp -d "${TMPDIR:-/tmp}/ctseg-kill-XXXXXX")
trap 'rm -rf "$folder"' EXIT
"$program" "$folder/straight" "$folder/straight.safetensors" > /dev/null
killed=0 runs=0 round=0
while [ "$killed" -lt "$kills" ]; do
  round=$((round + 1))
  rm -rf "$folder/run"
  while :; do
    "$program" "$folder/run" "$folder/run.safetensors" > /dev/null 2> "$folder/log" &
    pid=$!
    runs=$((runs + 1))
    sleep "0.$(od -An -N2 -tu2 /dev/urandom | awk '{ printf "%03d", 10 + $1 % 400 }')"
    if kill -9 "$pid" 2> /dev/null; then
      killed=$((killed + 1))
      wait "$pid" 2> /dev/null || :
      [ "$killed" -lt "$kills" ] || break
    else
      wait "$pid" || { cat "$folder/log"; echo "kill: a resumed training failed"; exit 1; }
      break
    fi
  done
  "$program" "$folder/run" "$folder/run.safetensors" > /dev/null   # the rest, undisturbed
  cmp "$folder/straight.safetensors" "$folder/run.safetensors" ||
    { echo "kill: round $round ended with other weights"; exit 1; }
  left=$(find "$folder/run" -name '.ctseg-*' | wc -l)
  [ "$left" -eq 0 ] || { echo "kill: $left unfinished files were left"; exit 1; }
done
echo "kill: $killed kills in $round trainings, $runs starts: every one went on, every end had the bits of the straight run"
