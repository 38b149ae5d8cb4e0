#!/bin/sh
# What a card has to say, in one go: is everything right, how fast is each kernel, how fast are the networks, and how fast is
# PyTorch on the same card in the same run. Builds what is missing.
#   benchmarks/gpu/first_run.sh [FOLDER]     results in FOLDER (default: gpu_results); about 25 minutes on an H200
#   benchmarks/gpu/first_run.sh --dry        the same on the emulated card with tiny shapes: tests this script, not a card
# Environment: PYTHON with PyTorch for CUDA (else that part is left out); SECONDS_EACH=1 per measurement; NETS, SIZE, BATCH.
set -u
cd "$(dirname "$0")/../.."
root=$PWD

dry=no
[ "${1:-}" != --dry ] || { dry=yes; shift; }
out=${1:-$root/gpu_results}
mkdir -p "$out"
build=${CTSEG_GPU_BUILD:-$root/build/gpu}
nets=${NETS:-basic_unet,residual_unet,vnet,plain_conv_unet,unet}
size=${SIZE:-128} batch=${BATCH:-1} seconds=${SECONDS_EACH:-1} python=${PYTHON:-python3}
failed=0

say() { printf '\n== %s\n' "$*"; }
keep() { tee "$out/$1"; }
fail() { echo "FAILED: $*" >&2; failed=1; }
has() { command -v "$1" > /dev/null 2>&1; }

say "the machine"
{
  date -u
  git log -1 --format='commit %h %ad' 2> /dev/null
  has nvidia-smi && nvidia-smi --query-gpu=name,driver_version,compute_cap,memory.total,clocks.sm,clocks.max.sm,clocks.mem,temperature.gpu,power.limit --format=csv
  has nvcc && nvcc --version | tail -n 2
} 2>&1 | keep machine.txt

say "building"
arch=90
if has nvidia-smi; then
  found=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2> /dev/null | head -n 1 | tr -d .)
  case $found in [0-9]*) arch=$found ;; esac
fi
if [ $dry = yes ]; then cuda=OFF tests=ctseg_test_cuda bench=ctseg_bench_gpu_emulated tiny=--tiny
else cuda=ON tests=ctseg_test_cuda_device bench=ctseg_bench_gpu tiny=; fi
if [ -z "${CTSEG_GPU_BUILT:-}" ]; then   # set: the programs are in $build/bin already
  cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCTSEG_PREBUILT=ON -DCTSEG_CUDA=$cuda -DCTSEG_CUDA_ARCHITECTURES=$arch \
    -DCTSEG_BUILD_EXAMPLES=OFF -DCTSEG_BUILD_BENCHMARKS=ON > "$out/build.txt" 2>&1 &&
    cmake --build "$build" --target $tests $bench >> "$out/build.txt" 2>&1 || { tail -n 30 "$out/build.txt"; exit 1; }
fi

say "correctness: every kernel against the CPU's"
"$build/bin/$tests" > "$out/tests.txt" 2>&1
status=$?
tail -n 4 "$out/tests.txt"
[ $status = 0 ] || fail "$tests ended with $status, see $out/tests.txt"
if has compute-sanitizer && [ $dry = no ]; then
  for tool in memcheck racecheck synccheck; do
    timeout 300 compute-sanitizer --tool $tool --error-exitcode 9 "$build/bin/$tests" -tc='*block*,*rows of any width*,card: max pool,card: instance norm,card: softmax' \
      > "$out/sanitizer_$tool.txt" 2>&1 || fail "compute-sanitizer $tool, see $out/sanitizer_$tool.txt"
  done
fi

say "the ladder: every op beside the card's own copy"
"$build/bin/$bench" $tiny --part copy,ops --types f32,bf16 --seconds "$seconds" --json "$out/ops.jsonl" | keep ops.txt

say "networks, ours and PyTorch's, one after the other, ours again at the end"
ours() { "$build/bin/$bench" $tiny --part copy,nets --nets "$nets" --size "$size" --batch "$batch" --seconds "$seconds" --json "$out/$1.jsonl" | keep $1.txt; }
if [ $dry = yes ]; then size=32 nets=${NETS:-basic_unet} seconds=0; ours ours_first; exit $failed; fi
ours ours_first
if "$python" -c 'import torch; assert torch.cuda.is_available()' 2> /dev/null; then
  "$python" benchmarks/gpu/torch_arms.py --nets "$nets" --size "$size" --batch "$batch" --seconds "$seconds" --json "$out/torch.jsonl" |
    keep torch.txt
  ours ours_again
  "$python" benchmarks/gpu/table.py "$out" | keep table.md
else
  echo "PyTorch for CUDA is not at hand: left out" | keep torch.txt
fi

say "results are in $out; put ops.txt into kernels/README.md and table.md into benchmarks/results/gpu.md"
exit $failed
