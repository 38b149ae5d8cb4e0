// What NcclWorld says where it cannot begin, and, where there is a card, a world of one process.
#include <doctest/doctest.h>

#include <ctseg/cuda.hpp>
#include <ctseg/train/nccl.hpp>

using namespace ctseg;

namespace {

std::string message_of(const NcclOptions& o) {
  try {
    NcclWorld world(o);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}   // namespace

TEST_CASE("NcclWorld says what is missing") {
  CHECK(message_of({.place = {}, .library = "libnccl_that_is_not_there.so"}).find("install NCCL 2") != std::string::npos);
  CHECK(message_of({.place = {1, 2, 1}}).find("2 processes, and no folder where they find each other") != std::string::npos);
  CHECK(message_of({.place = {2, 2, 0}, .rendezvous = "."}).find("rank 2 of 2 processes") != std::string::npos);
  if (cuda::device_count() == 0) {
    const std::string message = message_of({.place = {}});   // NCCL may be there or not
    CHECK((message.find("no CUDA device") != std::string::npos || message.find("install NCCL 2") != std::string::npos));
  }
  CHECK(message_of({.place = {}, .library = "libm.so.6"}).find("has no ncclGetVersion") != std::string::npos);
}

TEST_CASE("a world of one process sums on its card") {
  if (cuda::emulated() || cuda::device_count() == 0) {
    MESSAGE("SKIP: NCCL needs a card");
    return;
  }
  NcclWorld world({.place = {}});
  CHECK(world.version() >= 20400);
  CHECK(world.size() == 1);
  Context<Cuda> ctx({.group = &world, .cuda = {.device = world.device()}});
  const std::vector<float> three = {1, 2, 3};
  Memory<Cuda> there = ctx.allocate(3 * sizeof(float));
  auto* values = reinterpret_cast<float*>(there.data());
  cuda::copy_to_device(ctx.stream(), values, three.data(), 3 * sizeof(float));
  world.begin_sum_on_device({values, 3}, ctx.stream());
  world.finish_on_device(ctx.stream());
  CHECK(ctx.read(values + 2) == 3);
}
