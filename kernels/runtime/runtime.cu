// The driver, as ops/cuda/runtime.hpp asks for it. cudart is linked statically, so that a program starts where there is no CUDA.
#include <cuda_runtime.h>

#include "kernels/common/launch.cuh"

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

__global__ void probe() {}   // has code for a card, or has not

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
  cudaFuncAttributes attributes;
  if (const cudaError_t error = cudaFuncGetAttributes(&attributes, probe); error != cudaSuccess) {
    (void)cudaGetLastError();
    int major = 0, minor = 0;
    (void)cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0);
    (void)cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0);
    return {0, text("no CUDA device that this build has code for: device 0 is sm_", major, minor, " (", cudaGetErrorString(error),
                    "). Hint: build with -DCTSEG_CUDA_ARCHITECTURES=", major, minor, ".")};
  }
  return found;
}
const Found& found() {   // asked once: a driver does not change its mind
  static const Found once = find_devices();
  return once;
}

int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, device), "asking for the card's facts");
  return value;
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
