// The driver, as ops/cuda/runtime.hpp asks for it. cudart is linked statically, so that a program starts where there is no CUDA.
#include <cuda_runtime.h>

#include <algorithm>
#include <iterator>

#include "kernels/common/launch.cuh"
#include "kernels/nccl/event.hpp"

namespace ctseg::cuda {
namespace {

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  (void)cudaGetLastError();   // one that can be forgiven is not to be found by the next launch
  throw Error(Code::device, "cuda", text(what, ": ", cudaGetErrorString(error), " (", cudaGetErrorName(error), ")."));
}
/// Of what gives back and cannot throw: its error is not to be found by the next launch either.
void forgive(cudaError_t error) noexcept {
  if (error != cudaSuccess) (void)cudaGetLastError();
}
std::size_t size(Index bytes) { return static_cast<std::size_t>(bytes); }

/// What nvcc was told to compile for, ascending, and PTX of the last. To ask the driver instead (cudaFuncGetAttributes) makes a
/// context on card 0, in every process and whichever card it wants.
constexpr int kArchitectures[] = {__CUDA_ARCH_LIST__};
bool has_code_for(int major, int minor) {
  const int card = major * 100 + minor * 10, last = *(std::end(kArchitectures) - 1);
  return card >= last || std::any_of(std::begin(kArchitectures), std::end(kArchitectures),
                                     [&](int arch) { return arch / 100 == major && arch <= card; });
}
int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, device), "asking for the card's facts");
  return value;
}
/// Empty where this build has code for it.
std::string why_not(int device) {
  const int major = attribute(cudaDevAttrComputeCapabilityMajor, device);
  const int minor = attribute(cudaDevAttrComputeCapabilityMinor, device);
  if (has_code_for(major, minor)) return {};
  return text("device ", device, " is sm_", major, minor, ", for which this build has no code. Hint: build with ",
              "-DCTSEG_CUDA_ARCHITECTURES=", major, minor, ".");
}

struct Found {
  int count = 0;
  std::string why;
};
Found find_devices() {
  Found found;
  if (const cudaError_t error = cudaGetDeviceCount(&found.count); error != cudaSuccess) {
    (void)cudaGetLastError();
    return {0, text("no CUDA device: ", cudaGetErrorString(error), ".")};
  }
  if (found.count == 0) return {0, "no CUDA device: the driver knows none."};
  std::string first;
  for (int device = 0; device < found.count; ++device) {
    const std::string why = why_not(device);
    if (why.empty()) return found;   // use_device refuses the others
    if (device == 0) first = why;
  }
  return {0, "no CUDA device: " + first};
}
const Found& found() {   // asked once: a driver does not change its mind
  static const Found once = find_devices();
  return once;
}

}   // namespace

int device_count() noexcept try { return found().count; } catch (...) {
  return 0;
}
std::string why_no_device() { return found().why; }
bool emulated() noexcept { return false; }

DeviceFacts device_facts(int device) {
  cudaDeviceProp p;
  check(cudaGetDeviceProperties(&p, device), "asking for the card's facts");
  return {.name = p.name,
          .capability = p.major * 10 + p.minor,
          .multiprocessors = p.multiProcessorCount,
          .memory = static_cast<Index>(p.totalGlobalMem),
          .l2_bytes = p.l2CacheSize,
          .shared_bytes_per_block = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device)};
}

MemoryFacts memory_facts() {
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "asking for the card's memory");
  return {static_cast<Index>(free), static_cast<Index>(total)};
}

void use_device(int device) {
  thread_local bool chosen = false;   // else even card 0, where threads begin, has no context here that a library would find
  int current = -1;                   // asked, not kept: the program may have chosen another one meanwhile
  if (chosen) check(cudaGetDevice(&current), "asking for the card in use");
  if (current == device) return;
  if (const std::string why = why_not(device); !why.empty()) throw Error(Code::device, "cuda", why);
  check(cudaSetDevice(device), "choosing the card");
  chosen = true;
}

Stream make_stream() {
  Stream stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream");
  return stream;
}
void release_stream(Stream stream) noexcept { forgive(cudaStreamDestroy(stream)); }

void* allocate(Index bytes) {
  void* p = nullptr;
  const cudaError_t error = cudaMalloc(&p, size(bytes));
  if (error == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();
    const MemoryFacts now = memory_facts();
    throw Error(Code::out_of_memory, "cuda",
                text("cannot allocate ", (bytes + (1 << 20) - 1) >> 20, " MiB; of the card's ", now.total >> 20, " MiB ",
                     now.free >> 20, " are free. Hint: smaller patches or batches, or bf16."));
  }
  check(error, "allocating memory");
  return p;
}
void release(void* p) noexcept { forgive(cudaFree(p)); }

void* allocate_pinned(Index bytes) {
  void* p = nullptr;
  const cudaError_t error = cudaMallocHost(&p, size(bytes));
  if (error == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();
    throw Error(Code::out_of_memory, "cuda", text("cannot allocate ", (bytes + (1 << 20) - 1) >> 20, " MiB of pinned memory."));
  }
  check(error, "allocating pinned memory");
  return p;
}
void release_pinned(void* p) noexcept { forgive(cudaFreeHost(p)); }

void copy_to_device(Stream stream, void* to, const void* from, Index bytes) {
  check(cudaMemcpyAsync(to, from, size(bytes), cudaMemcpyHostToDevice, stream), "copying to the card");
}
void copy_to_host(Stream stream, void* to, const void* from, Index bytes) {
  check(cudaMemcpyAsync(to, from, size(bytes), cudaMemcpyDeviceToHost, stream), "copying from the card");
}
void copy_on_device(Stream stream, void* to, const void* from, Index bytes) {
  check(cudaMemcpyAsync(to, from, size(bytes), cudaMemcpyDeviceToDevice, stream), "copying on the card");
}
void clear(Stream stream, void* to, Index bytes) { check(cudaMemsetAsync(to, 0, size(bytes), stream), "clearing memory"); }
void synchronize(Stream stream) { check(cudaStreamSynchronize(stream), "waiting for the card"); }

Event make_event() {
  Event event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "making an event");
  return event;
}
void release_event(Event event) noexcept { forgive(cudaEventDestroy(event)); }
void record_event(Stream stream, Event event) { check(cudaEventRecord(event, stream), "recording an event"); }
bool event_done(Event event) {
  const cudaError_t error = cudaEventQuery(event);
  if (error == cudaErrorNotReady) return (void)cudaGetLastError(), false;
  check(error, "asking for an event");
  return true;
}
void wait_event(Stream stream, Event event) { check(cudaStreamWaitEvent(stream, event, 0), "waiting for an event"); }

void begin_recording(Stream stream) {
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "beginning to record");
}
CUgraphExec_st* end_recording(Stream stream) {
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(stream, &graph), "recording");
  cudaGraphExec_t playable = nullptr;
  const cudaError_t error = cudaGraphInstantiate(&playable, graph, 0);
  (void)cudaGraphDestroy(graph);
  check(error, "making a recording playable");
  return playable;
}
void launch_recording(Stream stream, CUgraphExec_st* recording) {
  check(cudaGraphLaunch(recording, stream), "playing a recording");
}
void release_recording(CUgraphExec_st* recording) noexcept { forgive(cudaGraphExecDestroy(recording)); }

void check_launch(const char* name) { check(cudaGetLastError(), name); }
void allow_shared(const void* kernel, const char* name, int bytes) {
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes), name);
}

}   // namespace ctseg::cuda
