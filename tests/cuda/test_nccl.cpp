// What NcclWorld says where it cannot begin; what it does when the others are gone, on the emulated card and with an NCCL that is
// this program; and, where there is a card, a world of one process.
#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include <ctseg/cuda.hpp>
#include <ctseg/train/nccl.hpp>

#include "io/temp_folder.hpp"

using namespace ctseg;

namespace {

std::atomic<int> the_error{0}, sums{0}, aborted{0}, destroyed{0};

std::string message_of(const NcclOptions& o) {
  try {
    NcclWorld world(o);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

/// A world of two, the other of which has come and gone.
template <class F> void with_world(double limit, F f) {
  const TempFolder folder;
  the_error = sums = aborted = destroyed = 0;
  const auto options = [&](int rank) {
    return NcclOptions{.place = {rank, 2, 0}, .rendezvous = folder.path, .limit_seconds = limit, .library = ""};
  };
  std::thread other([&] { NcclWorld world(options(1)); });
  {
    NcclWorld world(options(0));
    other.join();
    CHECK(destroyed == 1);
    f(world);
  }
  CHECK(aborted + destroyed == 2);
}
template <class F> std::string device_error(F f) {
  try {
    f();
  } catch (const Error& error) {
    CHECK(error.code() == Code::device);
    return error.what();
  }
  return "";
}
/// While it lives, nothing that the card was given ends.
struct Stuck {
  Stuck() { ::setenv("CTSEG_EMULATED_STUCK", "1", 1); }
  ~Stuck() { ::unsetenv("CTSEG_EMULATED_STUCK"); }
};

}   // namespace

// As dlopen("") finds them, in the program that runs on the emulated card.
extern "C" {
int ncclGetVersion(int* version) { return *version = 22809, 0; }
const char* ncclGetErrorString(int) { return "remote process exited"; }
int ncclGetUniqueId(void*) { return 0; }
int ncclCommInitRank(void** comm, int, char (&)[128], int) { return *comm = &sums, 0; }
int ncclCommDestroy(void*) { return ++destroyed, 0; }
int ncclCommAbort(void*) { return ++aborted, 0; }
int ncclCommGetAsyncError(void*, int* error) { return *error = the_error, 0; }
int ncclAllReduce(const void*, void*, std::size_t, int, int, void*, void*) { return ++sums, 0; }
int ncclBroadcast(const void*, void*, std::size_t, int, int, void*, void*) { return ++sums, 0; }
}

TEST_CASE("NcclWorld says what is missing") {
  CHECK(message_of({.place = {}, .library = "libnccl_that_is_not_there.so"}).find("install NCCL 2") != std::string::npos);
  CHECK(message_of({.place = {1, 2, 1}}).find("2 processes, and no folder where they find each other") != std::string::npos);
  CHECK(message_of({.place = {2, 2, 0}, .rendezvous = "."}).find("rank 2 of 2 processes") != std::string::npos);
  if (!cuda::emulated() && cuda::device_count() == 0) {
    const std::string message = message_of({.place = {}});   // NCCL may be there or not
    CHECK((message.find("no CUDA device") != std::string::npos || message.find("install NCCL 2") != std::string::npos));
  }
  CHECK(message_of({.place = {}, .library = "libm.so.6"}).find("has no ncclGetVersion") != std::string::npos);
  CHECK(message_of({.place = {}, .limit_seconds = 0}).find("limit_seconds = 0; must be above 0") != std::string::npos);
}

TEST_CASE("NcclWorld gives up a sum that the others do not come to, and says so again and again") {
  if (!cuda::emulated()) return;
  std::vector<float> three = {1, 2, 3};
  std::vector<std::byte> bytes(5);
  with_world(600, [&](NcclWorld& world) {
    world.sum(std::span(three));
    world.begin_sum(std::span(three));
    world.finish();
    world.broadcast(bytes);
    CHECK(sums == 3);
  });
  CHECK(aborted == 0);
  with_world(0.02, [&](NcclWorld& world) {
    const Stuck stuck;
    const auto waited = device_error([&] { world.sum(std::span(three)); });
    CAPTURE(waited);
    CHECK(waited.find("rank 0 of 2 has waited 0.02 s for the others") != waited.npos);
    CHECK(aborted == 1);
    CHECK(device_error([&] { world.broadcast(bytes); }) == waited);
    CHECK(sums == 1);
  });
  with_world(600, [&](NcclWorld& world) {
    const Stuck stuck;
    the_error = 6;
    CHECK(device_error([&] { world.broadcast(bytes); }).find("connection of rank 0 is broken: remote process exited (6)") !=
          std::string::npos);
  });
}

TEST_CASE("NcclWorld gives up sums on the card, which nobody waits for") {
  if (!cuda::emulated()) return;
  Context<Cuda> ctx;
  Memory<Cuda> there = ctx.allocate(12);
  const std::span<float> values(reinterpret_cast<float*>(there.data()), 3);
  const auto step = [&](NcclWorld& world) {
    world.begin_sum_on_device(values, ctx.stream());
    world.finish_on_device(ctx.stream());
  };
  with_world(600, [&](NcclWorld& world) {
    for (int k = 0; k < 3; ++k) step(world);
    CHECK(sums == 3);
  });
  CHECK(aborted == 0);
  with_world(0.02, [&](NcclWorld& world) {
    const Stuck stuck;
    std::string error;
    for (int k = 0; k < 200 && error.empty(); ++k) {
      error = device_error([&] { step(world); });
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    CHECK(error.find("has waited 0.02 s for the others") != std::string::npos);
    CHECK(aborted == 1);
  });
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
