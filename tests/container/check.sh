#!/bin/sh
# The steps of ../../Dockerfile without a container engine: two bare folders stand for its two images, what `RUN` and `COPY` say
# happens in them by chroot, and the size of the second one is told as a registry would store it. Run by hand, as root: it loads
# some 300 MB of packages and compiles the program (about ten minutes on two cores; --cuda about twice that).
#
#   tests/container/check.sh FOLDER            (empty or not there; removed by whoever asked for it)
#   tests/container/check.sh FOLDER PROGRAM    the second image alone, with a ctseg built on this machine, the same Debian
#   tests/container/check.sh --cuda FOLDER     the variant for NVIDIA's cards
#
# With --cuda the folders are bare Ubuntu, and what NVIDIA's images have beyond that is copied from this machine's CUDA toolkit
# ($CUDA_HOME or /usr/local/cuda) to where NVIDIA's packages have it. No card is needed; none is tried.
#
# $OPTIONS are further options of the build: -DCTSEG_CUDA_ARCHITECTURES=90 halves the kernels' time. Where debootstrap does not
# know the distribution or lacks its keys, lay bare folders of it at FOLDER/build and FOLDER/run.
set -eu

cuda=
if [ "${1:-}" = --cuda ]; then cuda=yes && shift; fi
folder=${1:?usage: check.sh [--cuda] FOLDER [PROGRAM]}
program=${2:-}
source=$(cd "$(dirname "$0")/../.." && pwd)
fail() { echo "FAILED: $*" >&2; exit 1; }
[ -z "$cuda" ] || [ -z "$program" ] || fail "--cuda builds its program itself"
# argument NAME: what the Dockerfile says, or its comment for the cards.
argument() {
  if [ -z "$cuda" ]; then sed -n "s/^ARG $1=//p" "$source/Dockerfile"
  else sed -n "s/^#.* --build-arg $1=\([^ ]*\).*/\1/p" "$source/Dockerfile"; fi
}
images="$(argument BUILD) $(argument RUN)"
version=
environment=
case $images in
  'debian:12-slim debian:12-slim') suite=bookworm ;;
  nvidia/cuda:*-cudnn-devel-ubuntu24.04' 'nvidia/cuda:*-cudnn-runtime-ubuntu24.04)
    suite=noble
    version=$(echo "$images" | sed 's/^[^:]*:\([0-9.]*\)-.*/\1/')
    # As `docker inspect` shows it of these images.
    environment="PATH=/usr/local/nvidia/bin:/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
      LD_LIBRARY_PATH=/usr/local/nvidia/lib:/usr/local/nvidia/lib64:/usr/local/cuda/lib64
      CUDA_VERSION=$version" ;;
  *) fail "what $images are made of is not known here" ;;
esac
user=$(sed -n 's/^USER //p' "$source/Dockerfile")
[ "$(sed -n 's/^COPY //p' "$source/Dockerfile")" = ". ." ] || fail "the Dockerfile copies something that this script does not"
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
server=
trap '[ -z "$server" ] || kill $server 2> /dev/null || :' EXIT

# As the distributions' small images are made: no documents, no manuals, no translations.
bare() {   # bare FOLDER
  components=main$([ "$suite" != noble ] || echo ,universe)
  [ -e "$1/bin/sh" ] || debootstrap --variant=minbase --components=$components "$suite" "$1" > "$folder/debootstrap.log" 2>&1 ||
    { tail -n 5 "$folder/debootstrap.log"; exit 1; }
  printf 'path-exclude /usr/share/%s/*\n' doc man locale > "$1/etc/dpkg/dpkg.cfg.d/slim"
  rm -rf "$1"/usr/share/doc/* "$1"/usr/share/man/* "$1"/usr/share/locale/* "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*
  rm -f "$1"/var/log/*.log "$1"/var/log/apt/*
}

# What NVIDIA's images have that Ubuntu's has not: the toolkit in /usr/local/cuda-RELEASE, cuDNN and NCCL among the libraries and
# headers of the system.
toolkit=${CUDA_HOME:-/usr/local/cuda}
release=${version%.*}
nvidia() {   # nvidia FOLDER devel|runtime
  place=$1/usr/local/cuda-$release
  of_system=lib/x86_64-linux-gnu
  rm -rf "$place"
  mkdir -p "$place/lib64"
  ln -sfn "cuda-$release" "$1/usr/local/cuda"
  if [ "$2" = devel ]; then
    "$toolkit/bin/nvcc" --version | grep -q "release $release," || fail "$toolkit has no nvcc of CUDA $release"
    for part in bin include nvvm; do cp -rpL "$toolkit/$part" "$place/"; done
    cp -pL "$toolkit"/lib64/libcud*.a "$place/lib64/"
    mkdir -p "$place/targets/x86_64-linux"
    ln -sfn ../../include "$place/targets/x86_64-linux/include"
    ln -sfn ../../lib64 "$place/targets/x86_64-linux/lib"
    rm -f "$place"/include/cudnn*.h "$place"/include/nccl*.h
    mkdir -p "$1/usr/include/x86_64-linux-gnu"
    find -L "$toolkit/include" /usr/include/x86_64-linux-gnu -maxdepth 1 -name 'cudnn*.h' \
      -exec cp -pL {} "$1/usr/include/x86_64-linux-gnu/" \;
  fi
  for name in libcudart libcublas libcublasLt libnvrtc libnvrtc-builtins libcudnn libnccl; do
    to=$place/lib64
    case $name in libcudnn | libnccl) to=$1/usr/$of_system ;; esac
    for file in "$toolkit/lib64/$name"*.so.[0-9]* "/usr/$of_system/$name"*.so.[0-9]*; do
      [ -e "$file" ] || continue
      cp -L "$file" "$to/"
      [ "$2" = runtime ] || ln -sf "${file##*/}" "$to/$(basename "${file%.so.*}").so"
    done
  done
  chroot "$1" ldconfig
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
  chroot "$1" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root $environment \
    OPTIONS="$(argument OPTIONS) ${OPTIONS:-}" sh -ec "cd '$2'; $3"
}
run_steps() {   # run_steps STAGE FOLDER WORKDIR
  steps "$1" > "$folder/steps.$1"
  [ -s "$folder/steps.$1" ] || fail "the Dockerfile has no steps of stage $1"
  while read -r command; do
    echo "stage $1: $(echo "$command" | cut -c 1-100) ..."
    began=$(date +%s)
    in_image "$2" "$3" "$command" < /dev/null > "$folder/step.log" 2>&1 || { tail -n 20 "$folder/step.log"; exit 1; }
    echo "         $(($(date +%s) - began)) s"
  done < "$folder/steps.$1"
}
as_user() {
  chroot --userspec="$user" "$folder/run" /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin $environment sh -ec "cd /data; $1"
}

# --- the first image ---------------------------------------------------------------------------------------------------

rm -rf "$folder/result"
if [ -z "$program" ]; then
  bare "$folder/build"
  [ -z "$cuda" ] || nvidia "$folder/build" devel
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
[ -z "$cuda" ] || nvidia "$folder/run" runtime
rm -rf "$folder/run/result"
cp -r "$folder/result" "$folder/run/result"
run_steps 2 "$folder/run" /
rm -rf "$folder/run/result"
echo "packages: $(tr '\n' ' ' < "$folder/result/packages")"
not_ours="--exclude=./usr/local/cuda-* --exclude=libcudnn* --exclude=libnccl*"   # of NVIDIA's images
bytes=$(tar -C "$folder/run" --numeric-owner $not_ours -cf - . | gzip -6 | wc -c)
unpacked=$(du -sm $not_ours "$folder/run" | cut -f 1)
echo "image: $((bytes / 1000000)) MB compressed, $unpacked MB unpacked${cuda:+, what is from NVIDIA not counted}; the program:" \
  "$(du -sm "$folder/result/ctseg" | cut -f 1) MB; at most 150 MB compressed are wanted"
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

# Without a card: `auto` computes all the same and says why not there, `cuda` does not.
off='this program was built without ctseg::cuda' on='no CUDA device'
why=$off
[ -z "$program" ] || why="($off|$on)"
if [ -n "$cuda" ]; then
  why=$on
  # What is looked for as the program runs: the loader complains on stderr about what is not there or lacks something.
  complaint=$(as_user 'cd /usr/lib/x86_64-linux-gnu
    LD_PRELOAD="$(echo libcudnn*.so.9) libcublasLt.so.${CUDA_VERSION%%.*} libnvrtc.so.${CUDA_VERSION%%.*}" /bin/true' 2>&1) || :
  [ -z "$complaint" ] || fail "cuDNN cannot be loaded: $complaint"
fi
grep -Eq "\"device_reason\": *\"$why" "$folder/run/data/out/run.json" || fail "run.json does not say why no card was taken: $why"
status=0
said=$(as_user 'ctseg segment made/ct_scans/phantom_0.nii.gz -m trained/model.safetensors -o out2 --device cuda' 2>&1) ||
  status=$?
[ "$status" = 4 ] || fail "--device cuda without a card ends with status $status, not 4"
echo "$said" | grep -Eq "$why" || fail "--device cuda without a card says: $said"
echo "--device auto: the processor; --device cuda: status 4, $(echo "$said" | tail -n 1)"

chroot --userspec="$user" "$folder/run" /usr/bin/env -i $environment \
  /usr/local/bin/ctseg view /data/made/ct_scans/phantom_0.nii.gz -m /data/trained/model.safetensors --store /data/store \
  > "$folder/address" 2> "$folder/view.log" &
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
