// Inside a program with threads of its own: how many threads a context starts, and how many of them work at a time.
#include <doctest/doctest.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include <ctseg/core/context.hpp>

using namespace ctseg;

namespace {

/// Threads of this process, as Linux counts them.
int process_threads() {
  int count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) ++count;
  return count;
}

/// Counts who works at the same time.
struct Crowd {
  std::atomic<int> now{0}, most{0};
  void task() {
    const int here = ++now;
    for (int seen = most; here > seen && !most.compare_exchange_weak(seen, here);) {}
    std::this_thread::sleep_for(std::chrono::microseconds(200));
    --now;
  }
};

template <class F> void on_host_threads(int count, F f) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) threads.emplace_back(f);
  for (auto& t : threads) t.join();
}

}   // namespace

#if defined(__linux__)
TEST_CASE("a context starts threads - 1, none with one thread or an executor, and ends them") {
  const int before = process_threads();
  {
    const Context<Cpu> ctx({.threads = 3});
    CHECK(process_threads() == before + 2);
    ThreadPool pool(2);
    CHECK(process_threads() == before + 3);
    const Context<Cpu> alone({.threads = 1}), guest({.threads = 8, .executor = &pool});
    CHECK(process_threads() == before + 3);
  }
  CHECK(process_threads() == before);
}
#endif

TEST_CASE("contexts of several host threads on one executor: no more tasks at a time than it has threads") {
  ThreadPool pool(3);
  Crowd crowd;
  std::atomic<int> done = 0;
  on_host_threads(6, [&] {
    Context<Cpu> ctx({.executor = &pool});
    for (int repeat = 0; repeat < 5; ++repeat) parallel_for(ctx.executor(), 20, [&](Index) { crowd.task(), ++done; });
  });
  CHECK(done == 6 * 5 * 20);
  CHECK(crowd.most <= 3);
  CHECK(crowd.most > 1);
}

TEST_CASE("contexts of one thread each: the host's threads and no others") {
  Crowd crowd;
  std::atomic<int> elsewhere = 0;
  on_host_threads(4, [&] {
    Context<Cpu> ctx({.threads = 1});
    const auto here = std::this_thread::get_id();
    parallel_for(ctx.executor(), 20, [&](Index) { crowd.task(), elsewhere += std::this_thread::get_id() != here; });
  });
  CHECK(elsewhere == 0);
  CHECK(crowd.most <= 4);
}

TEST_CASE("a context used inside a task of another keeps to that task's thread") {
  Context<Cpu> outer({.threads = 3});
  Crowd crowd;
  std::atomic<int> elsewhere = 0;
  parallel_for(outer.executor(), 6, [&](Index) {
    Context<Cpu> inner({.threads = 4});
    const auto here = std::this_thread::get_id();
    parallel_for(inner.executor(), 20, [&](Index) { crowd.task(), elsewhere += std::this_thread::get_id() != here; });
  });
  CHECK(elsewhere == 0);
  CHECK(crowd.most <= 3);
}

TEST_CASE("large memory begins on a large page, small memory on a cache line; both keep what is written") {
  for (const Index bytes : {Index{1}, Index{100}, (Index{4} << 20) - 64, Index{4} << 20, (Index{9} << 20) + 1}) {
    Memory<Cpu> memory(bytes);
    const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
    CHECK(address % (bytes >= Index{4} << 20 ? std::size_t{2} << 20 : 64) == 0);
    memory.data()[0] = memory.data()[memory.bytes() - 1] = std::byte{7};
    const std::byte* at = memory.data();
    const Memory<Cpu> moved = std::move(memory);
    CHECK(moved.data() == at);
    CHECK(moved.data()[moved.bytes() - 1] == std::byte{7});
  }
}
