// Threads: every task once, whoever runs it.
#include <doctest/doctest.h>

#include <atomic>
#include <string>

#include <ctseg/core/parallel.hpp>

using namespace ctseg;

TEST_CASE("every task runs once, for any number of threads and tasks") {
  for (int threads : {1, 2, 4, 7}) {
    ThreadPool pool(threads);
    CHECK(pool.threads() == threads);
    for (Index count : {0, 1, 2, 3, 100, 1000})
      for (int repeat = 0; repeat < 20; ++repeat) {
        std::vector<std::atomic<int>> runs(static_cast<std::size_t>(count));
        parallel_for(pool, count, [&](Index i) { ++runs[static_cast<std::size_t>(i)]; });
        for (const auto& r : runs) REQUIRE(r == 1);
      }
  }
}

TEST_CASE("blocks cover the range, cut by count and grain alone") {
  ThreadPool pool(3);
  for (Index count : {0, 1, 5, 64, 65})
    for (Index grain : {0, 1, 4, 64, 1000}) {
      std::vector<std::atomic<int>> seen(static_cast<std::size_t>(count));
      std::atomic<int> blocks = 0;
      parallel_blocks(pool, count, grain, [&](Index first, Index last) {
        ++blocks;
        CHECK(first < last);
        CHECK(first % std::max<Index>(grain, 1) == 0);
        for (Index i = first; i < last; ++i) ++seen[static_cast<std::size_t>(i)];
      });
      for (const auto& s : seen) REQUIRE(s == 1);
      const Index g = std::max<Index>(grain, 1);
      CHECK(blocks == (count + g - 1) / g);
    }
}

TEST_CASE("a task may start tasks: they stay on its thread") {
  ThreadPool pool(4), other(2);
  std::atomic<Index> sum = 0, moved = 0;
  parallel_for(pool, 16, [&](Index i) {
    const auto here = std::this_thread::get_id();
    for (ThreadPool* inner : {&pool, &other})
      parallel_for(*inner, 10, [&](Index k) {
        sum += i * 10 + k;
        moved += std::this_thread::get_id() != here;
      });
  });
  CHECK(sum == 2 * 160 * 159 / 2);
  CHECK(moved == 0);
}

TEST_CASE("the exception of the lowest task comes back, and the pool goes on") {
  ThreadPool pool(4);
  for (int repeat = 0; repeat < 50; ++repeat) {
    std::atomic<int> ran = 0;
    try {
      parallel_for(pool, 100, [&](Index i) {
        ++ran;
        if (i % 10 == 7) throw Error(Code::bad_input, "task", text(i));
      });
      FAIL("expected an error");
    } catch (const Error& e) {
      REQUIRE(std::string(e.what()) == "task: 7");
    }
    REQUIRE(ran == 100);
  }
  int ran = 0;
  CHECK_THROWS_AS(parallel_for(pool, 1, [&](Index) { throw 3; }), int);
  parallel_for(pool, 1, [&](Index) { ++ran; });
  CHECK(ran == 1);
}

TEST_CASE("two threads may share a pool") {
  ThreadPool pool(3);
  std::atomic<Index> sum = 0;
  const auto work = [&] {
    for (int repeat = 0; repeat < 100; ++repeat) parallel_for(pool, 50, [&](Index i) { sum += i; });
  };
  std::thread a(work), b(work);
  a.join(), b.join();
  CHECK(sum == 2 * 100 * 50 * 49 / 2);
}
