// Memory: owned blocks on cache lines, and bytes somebody else owns, cut front to back (an arena hands these out).
#pragma once
#include <cstddef>
#include <memory>
#include <memory_resource>
#include <new>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "view.hpp"

namespace ctseg {

/// Room for `count` objects, rounded up so that the next one starts on a cache line.
template <class U> constexpr Index bytes_of(Index count) { return (count * Index{sizeof(U)} + 63) / 64 * 64; }
constexpr Index bytes_of(Dtype dtype, Index count) { return (count * size_of(dtype) + 63) / 64 * 64; }

/// Bytes somebody else owns. Passed by value: forward and backward cut the same pieces.
struct Bytes {
  std::byte* next = nullptr;
};
template <class U> U* take(Bytes& from, Index count) {
  return reinterpret_cast<U*>(std::exchange(from.next, from.next + bytes_of<U>(count)));
}
template <AnySpec S> Out<S> packed(Bytes& from, const Shape<S::kDim>& shape) {
  return {take<typename S::T>(from, shape.elements()), shape, shape.c};
}

/// Owned memory on a cache line, not initialised; its address survives a move. Host memory unless a device specialises it.
/// `from` must outlive it; without one it is the system's, in large pages where Linux has them. Nothing is written here: a page
/// comes into being on the thread, and so on the NUMA node, of the task that first writes to it.
template <class Device> class Memory {
 public:
  static constexpr bool kOnHost = true;   // its bytes may be read and written by anyone

  explicit Memory(Index bytes = 0, std::pmr::memory_resource* from = nullptr)
      : bytes_(bytes_of<std::byte>(bytes)), data_(nullptr, Free{from, static_cast<std::size_t>(bytes_)}) {
    if (bytes_ == 0) return;
    data_.reset(static_cast<std::byte*>(allocate(from, static_cast<std::size_t>(bytes_))));
    if (!data_)
      throw Error(Code::out_of_memory, "memory",
                  text("cannot allocate ", (bytes_ + (1 << 20) - 1) >> 20, " MiB. Hint: smaller patches or batches."));
  }
  std::byte* data() { return data_.get(); }
  const std::byte* data() const { return data_.get(); }
  Index bytes() const { return bytes_; }

 private:
  // Large pages: 2 to 4 % of BasicUNet's time, and a quarter of what first touching the memory costs.
  static constexpr std::size_t kLargePage = std::size_t{2} << 20, kLarge = 2 * kLargePage;
  static constexpr std::align_val_t alignment(std::size_t bytes) {
    return std::align_val_t{bytes >= kLarge ? kLargePage : std::size_t{64}};
  }
  static void* allocate(std::pmr::memory_resource* from, std::size_t bytes) {
    if (!from) {
      void* p = ::operator new (bytes, alignment(bytes), std::nothrow);
#if defined(__linux__) && defined(MADV_HUGEPAGE)
      if (p && bytes >= kLarge) (void)madvise(p, bytes, MADV_HUGEPAGE);   // advice: failing is fine
#endif
      return p;
    }
    try {
      return from->allocate(bytes, 64);
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
  }
  struct Free {
    std::pmr::memory_resource* from;
    std::size_t bytes;
    void operator()(std::byte* p) const { from ? from->deallocate(p, bytes, 64) : ::operator delete (p, alignment(bytes)); }
  };
  Index bytes_;
  std::unique_ptr<std::byte, Free> data_;
};

}   // namespace ctseg
