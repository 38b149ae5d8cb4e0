#!/bin/sh
# docs/systems.md: what the five systems must do, the command that shows it, and what came out on this machine. Runs the commands of
# systems_rows.txt, which takes as long as they take: docs/make_systems.sh [SYSTEM...] > docs/systems.md
# SYSTEM is S0 .. S4; the page then has those alone. LIMIT=N seconds for each command (3600). FOLDER=DIR to run in, kept: trainings
# that are in it already are gone on with, and their rows then have the time of what was left to do. BIN=DIR has the programs.
# KEEP=FILE: an earlier page, or several in one file; a row whose words and command are still the same, and that showed what it
# should, is taken over from there with its day, and only the others are run.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
wanted="${*:-S0 S1 S2 S3 S4}"
PATH=${BIN:-$root/build/release/bin}:$PATH
ROOT=$root
export PATH ROOT
folder=${FOLDER:-}
if [ -z "$folder" ]; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT INT TERM
fi
mkdir -p "$folder"
: > "$folder/keep.md"
[ -z "${KEEP:-}" ] || cp "$KEEP" "$folder/keep.md"
rows=$(cat "$root/docs/systems_rows.txt")
cd "$folder"

cat << END
# The five systems, row by row

Made by \`docs/make_systems.sh${*:+ $*}\`, $(nproc) processors ($(awk -F ': *' '/^model name/ { print $2; exit }' /proc/cpuinfo)). A row is something that
a system must do, the command that shows it (after \`./run test\` has built it), what it said, the seconds it took by the clock, whatever else
ran, and the day: rows whose command has not changed may be of an earlier one, and of another machine like this. The commands of a system follow each other in one
folder; what it held already was not made again. Data are synthetic where it says \`--phantom\`; networks are then small ones.${*:+
Rows of the other systems are left out here.} What the systems are and what they reached on which data is in [examples/systems](../examples/systems/README.md).

END
system=
failed=0
while IFS='|' read -r name what command result; do
  case $name in '#'* | '') continue ;; esac
  name=${name% } what=$(echo "$what" | sed 's/^ *//; s/ *$//') command=$(echo "$command" | sed 's/^ *//; s/ *$//')
  result=$(echo "$result" | sed 's/^ *//; s/ *$//')
  case " $wanted " in *" ${name%% *} "*) ;; *) continue ;; esac
  if [ "$name" != "$system" ]; then
    [ -z "$system" ] || echo
    printf '## %s\n\n| what | command | result | seconds | day |\n|---|---|---|---|---|\n' "$name"
    system=$name
  fi
  row="| $what | \`$command\` |"
  kept=$(grep -F -e "$row" keep.md | grep -v -F -e '| **' -e '| not built |' | tail -n 1) || true
  if [ -n "$kept" ]; then
    echo "$kept"
    continue
  fi
  echo "$command" >&2
  begin=$(date +%s) status=0
  timeout "${LIMIT:-3600}" sh -c "$command" > out.txt 2> err.txt < /dev/null || status=$?
  seconds=$(($(date +%s) - begin))
  if [ $status -eq 127 ]; then
    said='not built'
  elif [ $status -eq 124 ]; then
    said="**not run to its end**: it was given ${LIMIT:-3600} seconds"
  elif [ $status -ne 0 ]; then
    said="**fails** ($status): $(tail -n 1 err.txt | cut -c 1-160 | tr '|' '/')"
  elif [ "$result" = 'ends well' ]; then
    said='ends well'
  else
    said=$(cat out.txt err.txt | tr -s '[:space:]' ' ' | grep -Eo -e "$result" | tail -n 1 | tr '|' '/')
    [ -n "$said" ] || said='**says nothing of the kind**'
  fi
  case $said in '**'* | 'not built') failed=$((failed + 1)) ;; esac
  echo "$row $said | $seconds | $(date -u +%Y-%m-%d) |"
done << END
$rows
END
echo "$failed rows do not show what they should" >&2
[ $failed -eq 0 ]
