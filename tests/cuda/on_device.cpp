// Linked into the tests that run on a real card: where there is none they are skipped, and say why.
#include <cstdio>
#include <cstdlib>

#include <ctseg/cuda.hpp>

namespace {

const bool there_is_one = [] {
  if (ctseg::cuda::device_count() > 0) return true;
  std::printf("SKIP: no CUDA device (%s)\n", ctseg::cuda::why_no_device().c_str());
  std::exit(77);
}();

}   // namespace
