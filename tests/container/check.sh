#!/bin/sh
# The steps of ../../Dockerfile without a container engine: two bare Debian folders stand for its two images, what `RUN` and
# `COPY` say happens in them by chroot, and the size of the second one is told as a registry would store it. Run by hand, as
# root: it loads some 300 MB of packages and compiles the program (about ten minutes on two cores).
#
#   tests/container/check.sh FOLDER       (empty or not there; removed by whoever asked for it)
set -eu

folder=${1:?usage: check.sh FOLDER}
source=$(cd "$(dirname "$0")/../.." && pwd)
suite=$(sed -n 's/^ARG BUILD=debian:\(.*\)-slim$/\1/p' "$source/Dockerfile")
[ "$suite" = 12 ] && suite=bookworm
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

# As Debian's slim images are made: no documents, no manuals, no translations.
bare() {   # bare FOLDER
  [ -e "$1/bin/sh" ] && return
  debootstrap --variant=minbase "$suite" "$1" > "$folder/debootstrap.log" 2>&1 || { tail -n 5 "$folder/debootstrap.log"; exit 1; }
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
  chroot "$1" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root OPTIONS= \
    sh -ec "cd '$2'; $3"
}
run_steps() {   # run_steps STAGE FOLDER WORKDIR
  steps "$1" > "$folder/steps.$1"
  [ -s "$folder/steps.$1" ] || { echo "the Dockerfile has no steps of stage $1"; exit 1; }
  while read -r command; do
    echo "stage $1: $(echo "$command" | cut -c 1-100) ..."
    in_image "$2" "$3" "$command" < /dev/null > "$folder/step.log" 2>&1 || { tail -n 20 "$folder/step.log"; exit 1; }
  done < "$folder/steps.$1"
}

bare "$folder/build"
mkdir -p "$folder/build/source"
kept=$(sed -n 's/^!//p' "$source/.dockerignore")
(cd "$source" && for name in $kept; do [ ! -e "$name" ] || echo "$name"; done | tar -cf - -T -) | tar -xf - -C "$folder/build/source"
run_steps 1 "$folder/build" /source
bare "$folder/run"
cp -r "$folder/build/result" "$folder/run/result"
run_steps 2 "$folder/run" /
rm -rf "$folder/run/result"

echo "as the image's user:"
user=$(sed -n 's/^USER //p' "$source/Dockerfile")
mkdir -p "$folder/run/data" && chown "$user" "$folder/run/data"
chroot --userspec="$user" "$folder/run" sh -ec 'cd /data; id -u; ctseg --version; ctseg phantom thorax_abdomen -o made --count 1 --quiet
  ctseg info made/*/*.nii.gz > /dev/null 2>&1 || ctseg info $(find made -name "*.nii.gz" | head -n 1) | head -n 5'
if chroot --userspec="$user" "$folder/run" touch /usr/local/bin/x 2> /dev/null; then echo "the user may write everywhere"; exit 1; fi
rm -rf "$folder/run/data"
bytes=$(tar -C "$folder/run" --numeric-owner -cf - . | gzip -6 | wc -c)
echo "image: $((bytes / 1000000)) MB compressed, $(du -sm "$folder/run" | cut -f 1) MB unpacked; at most 150 MB compressed are wanted"
[ "$bytes" -le 150000000 ]
