// What the two halves of the emulation know of each other.
#pragma once
#include <functional>
#include <vector>

#include "kernels/common/launch.cuh"

/// A queue whose work is done at once, or kept.
struct CUstream_st {
  bool recording = false;
  std::vector<std::function<void()>> recorded;
};
struct CUgraphExec_st {
  std::vector<std::function<void()>> work;
};
struct CUevent_st {};

namespace ctseg::cuda {

/// While one lives, device memory can be read and written.
class Access {
 public:
  Access();
  ~Access();
  Access(const Access&) = delete;
};

/// Of a block: an H200's, or less where a test of other cards asks for it.
int shared_memory();
/// Does it now, or keeps it while the stream records.
void enqueue(Stream, std::function<void()> work);
/// Throws where a word of a body's arguments is the address of memory on the host.
void check_arguments(const char* name, const void* body, std::size_t bytes);
/// Throws where somebody wrote outside of what was allocated.
void check_borders(const char* name);

}   // namespace ctseg::cuda
