// What the library asks of the driver: memory, copies, streams, recorded graphs. Declarations only; kernels/ holds the
// definitions (ctseg::cuda), and a second set that runs everything on the host, for tests on machines without a card.
#pragma once
#include <string>

#include "../../core/dtype.hpp"

struct CUstream_st;      // CUDA's own names: no header of its toolkit is needed here
struct CUgraphExec_st;
struct CUevent_st;

namespace ctseg::cuda {

/// A queue of work in order; null is none. Context<Cuda> owns one.
using Stream = CUstream_st*;

/// 0 where there is no driver, no card, or none that this build has code for; never throws.
int device_count() noexcept;
/// Why device_count() is 0, in one sentence; empty where it is not.
std::string why_no_device();
/// True in the library that runs everything on the host.
bool emulated() noexcept;

struct DeviceFacts {
  std::string name;
  int capability = 0;   // 90: sm_90
  int multiprocessors = 0;
  Index memory = 0, l2_bytes = 0;
  int shared_bytes_per_block = 0;   // with opt-in
};
DeviceFacts device_facts(int device);
/// Of the current device, now.
struct MemoryFacts {
  Index free = 0, total = 0;
};
MemoryFacts memory_facts();

/// All of these throw Code::device for what the driver reports, and allocate Code::out_of_memory with the numbers.
void use_device(int device);
Stream make_stream();
void release_stream(Stream) noexcept;
void* allocate(Index bytes);   // on 256 bytes; not initialised
void release(void*) noexcept;
void* allocate_pinned(Index bytes);   // of the host, for copies that overlap
void release_pinned(void*) noexcept;

/// In stream order. From or to pageable memory of the host they return when that memory may be used again.
void copy_to_device(Stream, void* to, const void* from, Index bytes);
void copy_to_host(Stream, void* to, const void* from, Index bytes);
void copy_on_device(Stream, void* to, const void* from, Index bytes);
void clear(Stream, void* to, Index bytes);   // to zero bytes
void synchronize(Stream);

/// Rows of bytes that lie apart: what a view with a pitch is.
struct RowCopy {
  void* to = nullptr;
  Index to_pitch = 0;
  const void* from = nullptr;
  Index from_pitch = 0;
  Index row_bytes = 0, rows = 0;
};
void copy_rows(Stream, const RowCopy&);     // on the device
void upload(Stream, const RowCopy&);        // from any memory of the host, which may be used again when it returns
void download(Stream, const RowCopy&);      // to the host: it is there when it returns

/// A place in a stream that another waits for.
using Event = CUevent_st*;
Event make_event();
void release_event(Event) noexcept;
void record_event(Stream, Event);
void wait_event(Stream, Event);   // what the stream is given from here on comes behind the event; the host does not wait

/// What is launched between begin and end is not run but recorded; launch_recording runs it as often as wanted. Meanwhile this
/// thread may not allocate, release, synchronize, or copy from or to pageable memory of the host.
void begin_recording(Stream);
CUgraphExec_st* end_recording(Stream);
void launch_recording(Stream, CUgraphExec_st*);
void release_recording(CUgraphExec_st*) noexcept;

}   // namespace ctseg::cuda
