// Starts a kernel body on a grid of blocks: on the card, or, compiled by g++, thread after thread on the host.
#pragma once
#include <type_traits>

#include "block.cuh"
#include "ctseg/ops/cuda/runtime.hpp"

namespace ctseg::cuda {

struct Grid {
  Index blocks = 1, rows = 1;   // x and y; at most 2^31 - 1 and 65535
  int shared_bytes = 0;
};

/// A body has
///   static constexpr int kThreads;           threads of a block, a multiple of 32
///   static constexpr bool kSyncs;            whether it calls sync, sync_warp or a shuffle
///   static constexpr const char* kName;      for errors and tables: "norm_apply"
///   static constexpr int kResident;          if it likes: blocks of a multiprocessor at once that ptxas must leave registers for;
///                                            without it ptxas sometimes spills to make room for more of them
///   CTSEG_DEVICE void operator()(const Block&) const;
/// and its members are its arguments: plain values and device pointers.

#if defined(__CUDACC__)

void check_launch(const char* name);                           // throws what the driver reports
void allow_shared(const void* kernel, const char* name, int bytes);   // above 48 KB

template <class Body> constexpr int resident() {
  if constexpr (requires { Body::kResident; })
    return Body::kResident;
  else
    return 0;
}
template <class Body> __global__ void __launch_bounds__(Body::kThreads, resident<Body>()) run_body(const Body body) {
  body(Block{});
}

template <class Body> void launch(Stream stream, const Grid& grid, const Body& body) {
  static_assert(std::is_trivially_copyable_v<Body>);
  if (grid.blocks <= 0 || grid.rows <= 0) return;
  if (grid.shared_bytes > 48 << 10) allow_shared(reinterpret_cast<const void*>(&run_body<Body>), Body::kName, grid.shared_bytes);
  const dim3 blocks(static_cast<unsigned>(grid.blocks), static_cast<unsigned>(grid.rows));
  run_body<Body><<<blocks, Body::kThreads, static_cast<std::size_t>(grid.shared_bytes), stream>>>(body);
  check_launch(Body::kName);
}

#else

struct EmulatedLaunch {
  Stream stream;
  Index blocks, rows;
  int threads, shared_bytes;
  bool syncs;
  void (*run)(const void* body, const Block&);
  const void* body;
  std::size_t body_bytes;
  const char* name;
};
/// Runs all blocks, one after the other; threads of one that syncs take turns. While the stream records, it keeps a copy instead.
void run_emulated(const EmulatedLaunch&);

template <class Body> void launch(Stream stream, const Grid& grid, Body body) {
  static_assert(std::is_trivially_copyable_v<Body>);
#if __has_builtin(__builtin_clear_padding)
  // What lies between members must not look like an address of the host. Of an array of structs g++ 12 clears the wrong bytes if
  // there is padding within these: arguments have none of that kind.
  __builtin_clear_padding(&body);
#endif
  run_emulated({stream, grid.blocks, grid.rows, Body::kThreads, grid.shared_bytes, Body::kSyncs,
                [](const void* b, const Block& block) { (*static_cast<const Body*>(b))(block); }, &body, sizeof body, Body::kName});
}

#endif

/// f(i) for i in [0, count), one thread each and as many rounds as it takes. F has kName, is trivially copyable, and its
/// operator()(Index) is CTSEG_DEVICE.
template <class F> struct Each {
  static constexpr int kThreads = 256;
  static constexpr bool kSyncs = false;
  static constexpr const char* kName = F::kName;
  F f;
  Index count;
  CTSEG_DEVICE void operator()(const Block& b) const {
    for (Index i = b.index() * kThreads + b.thread(); i < count; i += b.blocks() * kThreads) f(i);
  }
};
inline constexpr Index kMostBlocks = 132 * 16;   // enough to fill any card of today; further work is more rounds
template <class F> void for_each(Stream stream, Index count, const F& f) {
  const Index blocks = (count + Each<F>::kThreads - 1) / Each<F>::kThreads;
  launch(stream, {.blocks = blocks < kMostBlocks ? blocks : kMostBlocks}, Each<F>{f, count});
}

}   // namespace ctseg::cuda
