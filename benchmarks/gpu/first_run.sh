#!/bin/sh
# What a card has to say: is everything right, how fast is each kernel, how fast are the networks, and how fast is PyTorch on the
# same card in the same run. Made for a machine without compiler and internet that one has for minutes: programs are built and
# packed elsewhere, every part has a limit of its own, runs alone, and keeps what it found when a later one fails or is killed.
#   first_run.sh [--parts PART,...] [FOLDER]   results in FOLDER (gpu_results), a summary at the end and in FOLDER/summary.txt
#   first_run.sh --pack ARCHIVE.tar.xz         builds the programs and packs them with the libraries that they need; no card needed
#   first_run.sh --dry [...]                   on the emulated card with tiny shapes: tests this script, not a card
# Parts, in this order (all of them by default; limits in seconds):
#   smoke 60         machine and card; one small family of tests. If that fails, nothing else is tried
#   correctness 480  every kernel against the CPU's: each family of tests in a process of its own, failed cases once more alone
#   curves 240       50 steps of five networks beside the CPU's: losses within 1e-3 (float), 1e-2 (bf16)
#   sanitizer 560    compute-sanitizer over the kernels of this project
#   ladder 300       every op beside the card's own copy
#   networks 300     five networks, forward and step
#   torch 580        the same in PyTorch; begins with what matters most, goes on where an earlier call into FOLDER ended
#   again 120        networks once more: a drift above 2 % voids the comparison
# Environment: CTSEG_GPU_BUILT, an archive of --pack or a folder with bin/ (else it is built in CTSEG_GPU_BUILD, build/gpu);
# RESULTS, a file.tar.gz that gets FOLDER after every part; PYTHON; SECONDS_EACH=0.5 per measurement; NETS, TYPES, ARMS, SIZE, BATCH;
# JOBS=4 families at once; LIMIT_<part>.
# Exit status: 0 all good, 1 something failed, 77 no card.
set -u
cd "$(dirname "$0")/../.."
root=$PWD

dry=no pack= parts=smoke,correctness,curves,sanitizer,ladder,networks,torch,again
while [ $# -gt 0 ]; do
  case $1 in
    --dry) dry=yes ;;
    --parts) parts=$2; shift ;;
    --pack) pack=$2; shift ;;
    -*) echo "no such option: $1" >&2; exit 2 ;;
    *) break ;;
  esac
  shift
done
out=${1:-gpu_results}
case $out in /*) ;; *) out=$root/$out ;; esac
build=${CTSEG_GPU_BUILD:-$root/build/gpu}
python=${PYTHON:-python3} seconds=${SECONDS_EACH:-0.5} nets=${NETS:-basic_unet,residual_unet,vnet,plain_conv_unet,unet}
types=${TYPES:-bf16,tf32,f32} size=${SIZE:-128} batch=${BATCH:-1} jobs=${JOBS:-4}
emulated= tiny= steps=50
tests=ctseg_test_cuda_device
if [ $dry = yes ]; then
  emulated=_emulated tiny=--tiny steps=2 seconds=0 jobs=1 size=32 types=${TYPES:-bf16} nets=${NETS:-residual_unet}
  tests=ctseg_test_cuda
fi

say() { printf '\n== %s\n' "$*"; }
has() { command -v "$1" > /dev/null 2>&1; }
limit_of() {
  eval "chosen=\${LIMIT_$1:-}"
  case $1 in
    smoke) echo "${chosen:-60}" ;; correctness) echo "${chosen:-480}" ;; curves) echo "${chosen:-240}" ;;
    sanitizer) echo "${chosen:-560}" ;; ladder) echo "${chosen:-300}" ;; networks) echo "${chosen:-300}" ;;
    torch) echo "${chosen:-580}" ;; again) echo "${chosen:-120}" ;;
    *) echo "no such part: $1" >&2; return 1 ;;
  esac
}
for part in $(echo "$parts" | tr , ' '); do limit_of "$part" > /dev/null || exit 2; done

# --- programs ---------------------------------------------------------------------------------------------------------
architecture() {
  found=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2> /dev/null | head -n 1 | tr -d .) || found=
  case $found in [0-9]*) echo "$found" ;; *) echo 90 ;; esac
}
build_all() {   # into $build/bin
  log=$build/first_run_build.txt
  mkdir -p "$build"
  if [ $dry = yes ]; then cuda=OFF; else cuda=ON; fi
  say "building in $build (a long while the first time)"
  cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCTSEG_PREBUILT=ON -DCTSEG_CUDA=$cuda \
    -DCTSEG_CUDA_ARCHITECTURES="$(architecture)" > "$log" 2>&1 &&
    cmake --build "$build" --target $tests ctseg_bench_gpu$emulated ctseg_gpu_curves$emulated >> "$log" 2>&1 ||
    { tail -n 30 "$log"; echo "FAILED: the build, see $log"; exit 1; }
}
if [ -n "$pack" ]; then
  [ $dry = no ] || { echo "--pack is for a real card" >&2; exit 2; }
  [ -n "${CTSEG_GPU_BUILT:-}" ] || build_all
  stage=$build/packed
  rm -rf "$stage" && mkdir -p "$stage/bin" "$stage/lib"
  for program in $tests ctseg_bench_gpu ctseg_gpu_curves; do
    strip -o "$stage/bin/$program" "${CTSEG_GPU_BUILT:-$build}/bin/$program" || exit 1
    # What a machine may lack: all but the C and C++ libraries, which are to be those of that machine.
    ldd "$stage/bin/$program" | awk '$3 ~ /^\// && $1 !~ /^(libc|libm|libdl|librt|libpthread|libstdc\+\+|libgcc_s)\.so/ { print $3 }' |
      while read -r library; do cp -L "$library" "$stage/lib/"; done
  done
  # The programs hold the same kernels: a window of compression over all of them finds that.
  git log -1 --format='commit %h %ad' > "$stage/commit" 2> /dev/null
  tar cf - -C "$stage" bin lib commit | xz -T1 --lzma2=preset=2,dict=192MiB > "$pack" || exit 1
  ls -l "$pack"
  exit 0
fi
programs=${CTSEG_GPU_BUILT:-$build}
case $programs in /*) ;; *) programs=$root/$programs ;; esac
if [ -z "${CTSEG_GPU_BUILT:-}" ]; then
  build_all
elif [ -f "$programs" ]; then
  unpacked=${TMPDIR:-/tmp}/ctseg_gpu_$(cksum < "$programs" | cut -d' ' -f1)
  [ -d "$unpacked/bin" ] || { mkdir -p "$unpacked.part" &&
    { tar xJf "$programs" -C "$unpacked.part" 2> /dev/null ||
      "$python" -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$programs" "$unpacked.part"; } &&
    mv "$unpacked.part" "$unpacked"; } || { echo "FAILED: $programs cannot be unpacked"; exit 1; }
  programs=$unpacked
fi
[ -x "$programs/bin/$tests" ] || { echo "FAILED: there is no $programs/bin/$tests"; exit 1; }
# cuDNN and NCCL as PyTorch has them, where there is one: both sides are to use the same.
if [ $dry = no ]; then
  wheels=$("$python" -c 'import nvidia; print(list(nvidia.__path__)[0])' 2> /dev/null) || wheels=
  for folder in ${wheels:+"$wheels"/*/lib}; do [ ! -d "$folder" ] || LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder; done
  if [ -n "$wheels" ] && [ -f "$wheels/cudnn/lib/libcudnn.so.9" ]; then export CTSEG_CUDNN="${CTSEG_CUDNN:-$wheels/cudnn/lib}"; fi
  export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$programs/lib"
fi

# --- parts ------------------------------------------------------------------------------------------------------------
mkdir -p "$out/tests"
summary=$out/summary.txt failed=0
note() { echo "$*" >> "$summary"; }   # a line that begins with FAILED is one
keep_results() { [ -z "${RESULTS:-}" ] || tar czf "$RESULTS" -C "$(dirname "$out")" "$(basename "$out")"; }
limited() { limit=$1; shift; timeout -k 10 "$limit" "$@"; }
# verdict STATUS WHAT FILE
verdict() {
  case $1 in
    0) note "ok: $2" ;;
    124 | 137) note "FAILED: $2: ran past its limit or was killed, see $3" ;;
    *) note "FAILED: $2 (status $1), see $3" ;;
  esac
}

smoke() {
  {
    date -u
    cat "$programs/commit" 2> /dev/null || git log -1 --format='commit %h %ad' 2> /dev/null
    uname -srm; nproc; grep -m1 'model name' /proc/cpuinfo
    has nvidia-smi && nvidia-smi --query-gpu=name,driver_version,compute_cap,memory.total,clocks.sm,clocks.max.sm,clocks.mem,temperature.gpu,power.limit --format=csv
    has nvidia-smi && nvidia-smi -q -d CLOCK,TEMPERATURE,PERFORMANCE
    has nvcc && nvcc --version | tail -n 2
    echo "cuDNN: ${CTSEG_CUDNN:-as the system has it}"
    ldd "$programs/bin/$tests" | grep 'not found'
  } > "$out/machine.txt" 2>&1
  sed -n 1,8p "$out/machine.txt"
  limited "$1" "$programs/bin/$tests" -sf='*test_runtime.cpp' > "$out/smoke.txt" 2>&1
  status=$?
  tail -n 4 "$out/smoke.txt"
  if [ $status = 77 ]; then note "SKIPPED: no CUDA device"; return; fi
  verdict $status "smoke (memory, copies, streams)" smoke.txt
}

# One family: the cases of one source file. $2 FILE.cpp $3 LIMIT, in $out/tests; a process of its own, for an error of CUDA stays
# with a process, and whatever comes after it fails too.
family='
  name=$(basename "$2" .cpp)
  timeout --foreground -k 5 "$3" "$1" -sf="*$2" > "$name.txt" 2>&1   # foreground: whoever stops the part stops it too
  status=$?
  echo "$status $name" > "$name.status"
  printf "%-22s %s\n" "$name" "$(grep "test cases:" "$name.txt" || echo "status $status: $(tail -n 1 "$name.txt")")"
'
families() {
  "$programs/bin/$tests" -r=xml -ltc 2> /dev/null | sed -n 's/.*<TestCase name=.* filename="\([^"]*\)".*/\1/p' | sed 's,.*/,,' | sort -u
}
# The names of a file's cases, as -tc takes them.
cases_of() {
  "$programs/bin/$tests" -r=xml -ltc -sf="*$1" 2> /dev/null | sed -n 's/.*<TestCase name="\([^"]*\)" filename=.*/\1/p' |
    sed 's/&quot;/"/g; s/&lt;/</g; s/&gt;/>/g; s/&amp;/\&/g; s/,/\\,/g'
}
correctness() {
  begin=$(date +%s)
  which=$(families)
  if [ $dry = yes ]; then which="test_runtime.cpp test_pool.cpp test_parity_moves.cpp"; fi
  rm -f "$out"/tests/*.status
  (cd "$out/tests" && printf '%s\n' $which | limited "$1" xargs -P "$jobs" -I{} sh -c "$family" family "$programs/bin/$tests" {} "${LIMIT_FAMILY:-150}")
  for name in $(printf '%s\n' $which | sed 's/\.cpp$//'); do
    status=$(cut -d' ' -f1 "$out/tests/$name.status" 2> /dev/null)
    [ "${status:-124}" != 0 ] || continue
    verdict "${status:-124}" "tests of $name" "tests/$name.txt"
    # Which cases, each alone and with every launch waited for: what fails alone is at fault, the rest came behind it.
    cases_of "$name.cpp" > "$out/tests/$name.cases"
    while read -r case; do
      [ $(($(date +%s) - begin)) -lt "$1" ] || { note "   (no time for the rest of $name)"; break; }
      CUDA_LAUNCH_BLOCKING=1 timeout -k 5 60 "$programs/bin/$tests" -tc="$case" > "$out/tests/alone.txt" 2>&1 < /dev/null
      alone=$?
      [ $alone = 0 ] || {
        note "   $case: status $alone: $(grep -E -m1 -A3 'ERROR' "$out/tests/alone.txt" | tr -s ' \n' ' ' | cut -c1-240)"
        { echo "=== $case"; cat "$out/tests/alone.txt"; } >> "$out/tests/failures.txt"
      }
    done < "$out/tests/$name.cases"
  done
  good=$(cat "$out"/tests/*.status | grep -c '^0 ') all=$(printf '%s\n' $which | wc -l)
  verdict "$([ "$good" = "$all" ] && echo 0 || echo 1)" "correctness: $good of $all families" tests/
}

curves() {
  limited "$1" "$programs/bin/ctseg_gpu_curves$emulated" $tiny --nets "$nets" --steps $steps --json "$out/curves.jsonl" > "$out/curves.txt" 2>&1
  status=$?
  cat "$out/curves.txt"
  grep FAILED "$out/curves.txt" >> "$summary"
  verdict $status "curves: $(grep -c ' ok: ' "$out/curves.txt") trainings stay with the CPU's" curves.txt
}

# Only kernels of this project, in the cases that do little else: the tools slow a launch down a hundred times.
sanitizer() {
  if [ $dry = yes ]; then note "ok: sanitizer is left out of a dry run"; return; fi
  has compute-sanitizer || { note "SKIPPED: sanitizer: no compute-sanitizer here"; return; }
  begin=$(date +%s)
  for pair in memcheck:test_runtime memcheck:test_pool memcheck:test_pointwise memcheck:test_norm memcheck:test_conv_own \
    memcheck:test_loss memcheck:test_loss_twins memcheck:test_head memcheck:test_optim memcheck:test_resample memcheck:test_blend \
    memcheck:test_augment racecheck:test_norm racecheck:test_conv_own racecheck:test_loss racecheck:test_loss_twins \
    racecheck:test_head racecheck:test_optim synccheck:test_norm synccheck:test_conv_own synccheck:test_loss_twins; do
    echo "$pair"
  done > "$out/sanitizer.list"
  rm -f "$out/sanitizer.done"
  (cd "$out" && limited "$1" xargs -P "$jobs" -I{} sh -c '
    pair=$1 tool=${1%%:*} name=${1#*:}
    if [ $tool = memcheck ]; then tool_options="--report-api-errors no"; else tool_options=; fi   # some cases ask for too much memory
    timeout -k 5 "$3" compute-sanitizer --tool $tool $tool_options --error-exitcode 9 --print-limit 20 "$2" -sf="*$name.cpp" > "sanitizer_${tool}_$name.txt" 2>&1
    status=$?
    echo "$status $tool $name" >> sanitizer.done
    printf "%-10s %-18s status %s %s\n" $tool $name $status "$(grep -m1 "ERROR SUMMARY\|RACECHECK SUMMARY" "sanitizer_${tool}_$name.txt")"
  ' sanitizer {} "$programs/bin/$tests" "${LIMIT_TOOL:-170}" < sanitizer.list)
  while read -r status tool name; do
    case $status in
      0) ;;
      124 | 137) note "   $tool of $name did not end in time: nothing found so far" ;;
      *) verdict "$status" "$tool of $name" "sanitizer_${tool}_$name.txt" ;;
    esac
  done < "$out/sanitizer.done"
  note "ok: sanitizer: $(grep -c '^0 ' "$out/sanitizer.done") of $(wc -l < "$out/sanitizer.list") clean in $(($(date +%s) - begin)) s"
}

ladder() {
  limited "$1" "$programs/bin/ctseg_bench_gpu$emulated" $tiny --part copy,ops,optim --types f32,bf16 ${only:+--only $only} --seconds "$seconds" --json "$out/ops.jsonl" > "$out/ops.txt" 2>&1
  status=$?
  cat "$out/ops.txt"
  verdict $status "ladder: $(grep -c '^op ' "$out/ops.txt") rows" ops.txt
}

ours() {   # LIMIT NAME
  limited "$1" "$programs/bin/ctseg_bench_gpu$emulated" $tiny --part copy,nets --nets "$nets" --types "$types" --size "$size" --batch "$batch" \
    --seconds "$seconds" --json "$out/$2.jsonl" > "$out/$2.txt" 2>&1
  status=$?
  cat "$out/$2.txt"
  verdict $status "$2: $(grep -c 'ms (' "$out/$2.txt") rows" "$2.txt"
}
networks() { ours "$1" networks; table; }
again() { ours "$1" networks_again; table; }
torch() {
  device=cuda
  [ $dry = no ] || device=cpu
  "$python" -c "import torch; assert '$device' == 'cpu' or torch.cuda.is_available()" 2> /dev/null ||
    { note "SKIPPED: torch: no PyTorch for $device in $python"; return; }
  if [ $dry = yes ]; then arms=eager; else arms=${ARMS:-eager,graph,compile}; fi
  limited "$1" "$python" benchmarks/gpu/torch_arms.py --device $device --nets "$nets" --types "$types" --arms "$arms" --size "$size" --batch "$batch" \
    --seconds "$seconds" --budget $(($1 - 40)) --json "$out/torch.jsonl" > "$out/torch.txt" 2>&1
  status=$?
  cat "$out/torch.txt"
  verdict $status "torch: $(grep -c ' ms (' "$out/torch.txt") rows" torch.txt
  table
}
table() { "$python" benchmarks/gpu/table.py "$out" > "$out/table.md" 2>&1 && cat "$out/table.md"; }

if [ $dry = yes ]; then LIMIT_smoke=600 LIMIT_curves=1200 LIMIT_networks=1200 LIMIT_again=1200 LIMIT_ladder=1200 only=${ONLY:-pool}; else only=${ONLY:-}; fi
: > "$summary"
trap 'echo; cat "$summary"; keep_results' EXIT
trap 'note "FAILED: stopped from outside"; exit 1' INT TERM
for part in $(echo "$parts" | tr , ' '); do
  start=$(date +%s)
  say "$part"
  $part "$(limit_of "$part")"
  note "   $part took $(($(date +%s) - start)) s"
  keep_results
  if grep -q '^SKIPPED: no CUDA device' "$summary"; then exit 77; fi
  if [ $part = smoke ] && grep -q '^FAILED' "$summary"; then exit 1; fi
done
say "results are in $out; put ops.txt into kernels/README.md and table.md into benchmarks/results/gpu.md"
! grep -q '^FAILED' "$summary"
