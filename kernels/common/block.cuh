// What a kernel body may ask of the threads around it. A body is an ordinary function object that is called once per thread;
// nvcc compiles it for the card, and g++ compiles the same source for tests that run every thread on the host
// (kernels/emulated/). So bodies use this and no CUDA built-in of their own.
#pragma once
#include <cmath>
#include <cstdint>

#include "ctseg/core/error.hpp"

#if defined(__CUDACC__)
#define CTSEG_DEVICE __device__ __forceinline__
#define CTSEG_UNROLL _Pragma("unroll")   // before a loop over a small array, which else may leave registers for the stack
#else
#define CTSEG_DEVICE inline
#define CTSEG_UNROLL
#endif

namespace ctseg::cuda {

inline constexpr int kWarp = 32;

#if defined(__CUDACC__)

extern __shared__ __align__(128) unsigned char dynamic_shared[];

/// The thread's place, and its ways to talk to the others of its block.
struct Block {
  CTSEG_DEVICE int thread() const { return static_cast<int>(threadIdx.x); }
  CTSEG_DEVICE int threads() const { return static_cast<int>(blockDim.x); }
  CTSEG_DEVICE int lane() const { return thread() % kWarp; }
  CTSEG_DEVICE int warp() const { return thread() / kWarp; }
  CTSEG_DEVICE Index index() const { return blockIdx.x; }   // of Grid::blocks
  CTSEG_DEVICE Index row() const { return blockIdx.y; }     // of Grid::rows
  CTSEG_DEVICE Index blocks() const { return gridDim.x; }
  CTSEG_DEVICE Index rows() const { return gridDim.y; }

  CTSEG_DEVICE void sync() const { __syncthreads(); }
  CTSEG_DEVICE void sync_warp() const { __syncwarp(); }
  /// The block's Grid::shared_bytes, from `offset` bytes on.
  template <class T> CTSEG_DEVICE T* shared(int offset = 0) const { return reinterpret_cast<T*>(dynamic_shared + offset); }

  /// Of the lane `distance` further / with the number `lane() ^ mask` / number `from`. All lanes of the warp must call.
  template <class T> CTSEG_DEVICE T shuffle_down(T value, int distance) const {
    return __shfl_down_sync(0xffffffffu, value, static_cast<unsigned>(distance));
  }
  template <class T> CTSEG_DEVICE T shuffle_xor(T value, int mask) const { return __shfl_xor_sync(0xffffffffu, value, mask); }
  template <class T> CTSEG_DEVICE T shuffle(T value, int from) const { return __shfl_sync(0xffffffffu, value, from); }

  /// Adds 1 to a counter in device memory and returns what it was; what the thread wrote before is seen by whoever
  /// increments it later. To be called by one thread, after sync(): the last block of a grid then finds all partial results.
  CTSEG_DEVICE unsigned arrive(unsigned* counter) const {
    __threadfence();
    const unsigned was = atomicAdd(counter, 1u);
    __threadfence();
    return was;
  }
};

#else

/// One block of threads on the host: kernels/emulated/launch.cpp.
struct EmulatedBlock;
struct Block {
  EmulatedBlock* emulated;
  int thread_, threads_;
  Index index_, row_, blocks_, rows_;

  int thread() const { return thread_; }
  int threads() const { return threads_; }
  int lane() const { return thread_ % kWarp; }
  int warp() const { return thread_ / kWarp; }
  Index index() const { return index_; }
  Index row() const { return row_; }
  Index blocks() const { return blocks_; }
  Index rows() const { return rows_; }

  void sync() const;        // other threads of the block go on; a body that calls it says kSyncs = true
  void sync_warp() const;   // those of the warp
  template <class T> T* shared(int offset = 0) const { return reinterpret_cast<T*>(shared_bytes() + offset); }

  template <class T> T shuffle_down(T value, int distance) const {
    return lane() + distance < kWarp ? exchange(value, lane() + distance) : (exchange(value, lane()), value);
  }
  template <class T> T shuffle_xor(T value, int mask) const { return exchange(value, lane() ^ mask); }
  template <class T> T shuffle(T value, int from) const { return exchange(value, from); }
  unsigned arrive(unsigned* counter) const { return (*counter)++; }

 private:
  unsigned char* shared_bytes() const;
  unsigned char* lane_slot(int lane) const;   // 16 bytes for every lane of this warp
  template <class T> T exchange(T value, int from) const {
    static_assert(sizeof(T) <= 16);
    __builtin_memcpy(lane_slot(lane()), &value, sizeof value);
    sync_warp();
    T other;
    __builtin_memcpy(&other, lane_slot(from), sizeof other);
    sync_warp();
    return other;
  }
};

#endif

/// Sum over the 32 lanes, the same bits in each; in pairs, so the order is fixed.
template <class T> CTSEG_DEVICE T warp_sum(const Block& b, T value) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) value += b.shuffle_xor(value, mask);
  return value;
}

}   // namespace ctseg::cuda
