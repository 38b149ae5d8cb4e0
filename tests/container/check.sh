#!/bin/sh
# The steps of ../../Dockerfile without a container engine: two bare Debian folders stand for its two images, what `RUN` and
# `COPY` say happens in them by chroot, and the size of the second one is told as a registry would store it. Run by hand, as
# root: it loads some 300 MB of packages and compiles the program (about ten minutes on two cores).
#
#   tests/container/check.sh FOLDER            (empty or not there; removed by whoever asked for it)
#   tests/container/check.sh FOLDER PROGRAM    the second image alone, with a ctseg that was built on this machine, the same Debian
set -eu

folder=${1:?usage: check.sh FOLDER [PROGRAM]}
program=${2:-}
source=$(cd "$(dirname "$0")/../.." && pwd)
fail() { echo "FAILED: $*" >&2; exit 1; }
suite=$(sed -n 's/^ARG BUILD=debian:\(.*\)-slim$/\1/p' "$source/Dockerfile")
[ "$suite" = 12 ] && suite=bookworm
user=$(sed -n 's/^USER //p' "$source/Dockerfile")
[ "$(sed -n 's/^COPY //p' "$source/Dockerfile")" = ". ." ] || fail "the Dockerfile copies something that this script does not"
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
server=
trap '[ -z "$server" ] || kill $server 2> /dev/null || :' EXIT

# As Debian's slim images are made: no documents, no manuals, no translations.
bare() {   # bare FOLDER
  [ -e "$1/bin/sh" ] || debootstrap --variant=minbase "$suite" "$1" > "$folder/debootstrap.log" 2>&1 ||
    { tail -n 5 "$folder/debootstrap.log"; exit 1; }
  printf 'path-exclude /usr/share/%s/*\n' doc man locale > "$1/etc/dpkg/dpkg.cfg.d/slim"
  rm -rf "$1"/usr/share/doc/* "$1"/usr/share/man/* "$1"/usr/share/locale/* "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*
  rm -f "$1"/var/log/*.log "$1"/var/log/apt/*
}

# steps N: the RUN commands of stage N (1 or 2), joined, one a line.
steps() {
  awk -v wanted="$1" '
    /^FROM / { stage++ }
    /^#/ { next }
    going { line = line " " $0 }
    !going && /^RUN / { line = substr($0, 5); going = 1 }
    going { going = sub(/\\$/, "", line); if (!going && stage == wanted) { sub(/--mount=[^ ]* */, "", line); print line } }
  ' "$source/Dockerfile"
}

in_image() {   # in_image FOLDER WORKDIR COMMAND
  chroot "$1" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
    $(sed -n 's/^ARG \(OPTIONS=.*\)/\1/p' "$source/Dockerfile") sh -ec "cd '$2'; $3"
}
run_steps() {   # run_steps STAGE FOLDER WORKDIR
  steps "$1" > "$folder/steps.$1"
  [ -s "$folder/steps.$1" ] || fail "the Dockerfile has no steps of stage $1"
  while read -r command; do
    echo "stage $1: $(echo "$command" | cut -c 1-100) ..."
    in_image "$2" "$3" "$command" < /dev/null > "$folder/step.log" 2>&1 || { tail -n 20 "$folder/step.log"; exit 1; }
  done < "$folder/steps.$1"
}
as_user() { chroot --userspec="$user" "$folder/run" /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin sh -ec "cd /data; $1"; }

# --- the first image ---------------------------------------------------------------------------------------------------

rm -rf "$folder/result"
if [ -z "$program" ]; then
  bare "$folder/build"
  mkdir -p "$folder/build/source"
  kept=$(sed -n 's/^!//p' "$source/.dockerignore")
  (cd "$source" && for name in $kept; do [ ! -e "$name" ] || echo "$name"; done | tar -cf - -T -) |
    tar -xf - -C "$folder/build/source"
  run_steps 1 "$folder/build" /source
  cp -r "$folder/build/result" "$folder/result"
else   # its last step, here: it looks where the libraries of the program come from
  step=$(steps 1 | grep '/result/packages') || fail "no step of stage 1 writes /result/packages"
  sh -ec "$(echo "$step" | sed "s|build/release/bin/ctseg|'$program'|g; s|/result|$folder/result|g")"
fi

# --- the second ---------------------------------------------------------------------------------------------------------

bare "$folder/run"
rm -rf "$folder/run/result"
cp -r "$folder/result" "$folder/run/result"
run_steps 2 "$folder/run" /
rm -rf "$folder/run/result"
echo "packages: $(tr '\n' ' ' < "$folder/result/packages")"
bytes=$(tar -C "$folder/run" --numeric-owner -cf - . | gzip -6 | wc -c)
echo "image: $((bytes / 1000000)) MB compressed, $(du -sm "$folder/run" | cut -f 1) MB unpacked; at most 150 MB compressed are wanted"
[ "$bytes" -le 150000000 ] || fail "the image is too large"

# --- as its user ---------------------------------------------------------------------------------------------------------

mkdir -p "$folder/run/data"
chown "$user" "$folder/run/data"
[ "$(as_user 'id -u')" = "$user" ] || fail "the user is not $user"
[ "$user" != 0 ] && [ "$user" != root ] || fail "the image runs as root"
if as_user 'touch /usr/local/bin/x || touch /etc/x' 2> /dev/null; then fail "the user may write everywhere"; fi
as_user 'ctseg --version'
cat > "$folder/run/data/config.json" <<'END_CONFIG'
{"recipe": {"ctseg_recipe": 1, "about": {"name": "tiny"},
  "network": {"network": "UNet", "dim": 3, "in_channels": 1, "out_channels": 2, "features": [2, 4]},
  "preprocess": [{"step": "Spacing", "spacing_mm": {"x": 12, "y": 12, "z": 12}}, {"step": "WindowHu", "low": -160, "high": 240}],
  "sliding_window": {"window": [16, 16, 16]},
  "labels": [{"id": 0, "name": "background"}, {"id": 1, "name": "liver"}]},
 "data": {"folder": "made", "validation": 0.34}, "training": {"steps": 4, "batch": 1}}
END_CONFIG
as_user 'ctseg phantom abdomen -o made --count 3 --mask liver --shape 80,64,40 --quiet > /dev/null
  ctseg train config.json -o trained --quiet > /dev/null
  ctseg segment made/ct_scans/phantom_0.nii.gz -m trained/model.safetensors -o out --quiet > /dev/null; ls out'

chroot --userspec="$user" "$folder/run" /usr/local/bin/ctseg view /data/made/ct_scans/phantom_0.nii.gz \
  -m /data/trained/model.safetensors --store /data/store > "$folder/address" 2> "$folder/view.log" &
server=$!
waited=0
until grep -q '^http' "$folder/address"; do
  waited=$((waited + 1))
  [ "$waited" -le 300 ] && kill -0 $server 2> /dev/null || { cat "$folder/view.log"; fail "ctseg view printed no address"; }
  sleep 0.1
done
url=$(grep -m1 '^http' "$folder/address")
page=${url%%#*} token=${url##*#}
command -v curl > /dev/null || fail "curl is not installed, so nobody can ask the viewer"
curl -fsS "$page" | grep -q '<title>ctseg</title>' || fail "the viewer's page is not there"
curl -fsS -H "X-Ctseg-Token: $token" "${page}info" | grep -q '"version"' || fail "the viewer does not answer"
[ "$(curl -s -o /dev/null -w '%{http_code}' "${page}info")" = 401 ] || fail "the viewer answers without the token"
kill -INT $server
wait $server || fail "ctseg view ended with status $?"
server=
rm -rf "$folder/run/data"
echo "view: the page and /info answer on loopback, 401 without the token; ended by SIGINT with status 0"
