// Results made ahead: their order, how many there may be at once, errors at their turn, ends of every kind.
#include <doctest/doctest.h>
#include <atomic>
#include <chrono>
#include <ctseg/data/prefetch.hpp>
#include <set>
#include <string>

using namespace ctseg;

namespace {

void wait_for(const std::atomic<Index>& value, Index wanted) {   // a test that is wrong fails, and does not hang
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (value < wanted && std::chrono::steady_clock::now() < end) std::this_thread::yield();
}
void dawdle(Index i) {   // results become ready out of order
  for (Index k = 0; k < (i * 7919) % 13; ++k) std::this_thread::yield();
}

TEST_CASE("results come in order, once each, the same for any number of workers") {
  for (const int workers : {0, 1, 2, 3, 8})
    for (const Index in_flight : {Index{0}, Index{1}, Index{2}, Index{17}}) {
      CAPTURE(workers);
      CAPTURE(in_flight);
      std::vector<std::atomic<int>> calls(105);
      Prefetch<std::string> prefetch(
          [&](Index i) {
            dawdle(i);
            ++calls[static_cast<std::size_t>(i)];
            return text("r", i);
          },
          {.workers = workers, .in_flight = in_flight, .first = 5, .count = 100});
      for (Index i = 5; i < 105; ++i) REQUIRE(prefetch.next() == text("r", i));
      CHECK_FALSE(prefetch.next().has_value());
      CHECK_FALSE(prefetch.next().has_value());
      for (std::size_t i = 0; i < calls.size(); ++i) CHECK(calls[i] == (i < 5 ? 0 : 1));
    }
}

TEST_CASE("several make at the same time") {
  std::atomic<Index> inside{0};
  Prefetch<Index> prefetch(
      [&](Index i) {
        ++inside;
        wait_for(inside, 3);   // each waits for the two others
        return i;
      },
      {.workers = 3, .count = 3});
  CHECK(prefetch.next() == 0);
  CHECK(prefetch.next() == 1);
}

TEST_CASE("no more than in_flight results exist beside those that were taken") {
  struct Counted {
    explicit Counted(std::atomic<Index>* n) : alive(n, [](std::atomic<Index>* count) { --*count; }) {}
    std::shared_ptr<std::atomic<Index>> alive;
  };
  std::atomic<Index> alive{0}, most{0}, begun{0};
  {
    Prefetch<Counted> prefetch(
        [&](Index) {
          ++begun;
          const Index now = ++alive;
          for (Index old = most; now > old && !most.compare_exchange_weak(old, now);) {}
          return Counted(&alive);
        },
        {.workers = 4, .in_flight = 6});
    wait_for(begun, 6);
    for (int i = 0; i < 200; ++i) std::this_thread::yield();
    CHECK(begun == 6);
    for (Index i = 1; i <= 50; ++i) {
      { const auto taken = prefetch.next(); }
      wait_for(begun, 6 + i);   // each one taken makes room for one, and is not waited for
      CHECK(begun <= 6 + i);
    }
    CHECK(most <= 7);   // six, and the one in the caller's hands
  }
  CHECK(alive == 0);
}

TEST_CASE("an error comes at its turn, also if a later one was thrown before; the next call goes on") {
  for (const int workers : {0, 1, 4}) {
    CAPTURE(workers);
    std::atomic<Index> thrown{0};
    Prefetch<Index> prefetch(
        [&](Index i) -> Index {
          if (workers == 4 && i == 2) wait_for(thrown, 1);   // number 3 fails first
          if (i == 2) throw Error(Code::bad_input, "scan2.nii", "is damaged.");
          if (i == 3) {
            ++thrown;
            throw 3;
          }
          return i;
        },
        {.workers = workers, .count = 5});
    CHECK(prefetch.next() == 0);
    CHECK(prefetch.next() == 1);
    CHECK_THROWS_WITH_AS(prefetch.next(), "scan2.nii: is damaged.", Error);
    CHECK_THROWS_AS(prefetch.next(), int);
    CHECK(prefetch.next() == 4);
    CHECK_FALSE(prefetch.next().has_value());
  }
}

TEST_CASE("it ends at once when nobody wants more, full, empty or at work") {
  std::atomic<Index> begun{0}, running{0};
  for (int round = 0; round < 50; ++round) {
    begun = 0;
    Prefetch<int> prefetch(
        [&](Index i) {
          ++running;
          ++begun;
          dawdle(i);
          --running;
          return 1;
        },
        {.workers = 3, .in_flight = 3});
    if (round % 3 > 0) wait_for(begun, round % 3);
  }
  CHECK(running == 0);
  Prefetch<int> none([](Index) { return 1; }, {.workers = 2, .count = 0});
  CHECK_FALSE(none.next().has_value());
}

TEST_CASE("a stop token ends the wait of the caller and the work") {
  for (const int workers : {0, 1, 3}) {
    CAPTURE(workers);
    std::stop_source stop;
    std::atomic<Index> begun{0};
    Prefetch<int> prefetch(
        [&](Index i) {
          ++begun;
          if (i == 4) stop.request_stop();   // from inside a worker, with or without the caller asleep
          return 1;
        },
        {.workers = workers, .in_flight = 2, .cancel = stop.get_token()});
    Index got = 0;
    Code code = Code::io;
    try {
      for (; got < 100; ++got) prefetch.next();
    } catch (const Error& error) {
      code = error.code();
    }
    CHECK(code == Code::cancelled);
    CHECK(got <= 5);
    CHECK(begun <= 7);
    CHECK_THROWS_AS(prefetch.next(), Error);
  }
  std::stop_source raised;
  raised.request_stop();
  std::atomic<Index> begun{0};
  Prefetch<int> prefetch([&](Index) { return static_cast<int>(++begun); }, {.cancel = raised.get_token()});
  CHECK_THROWS_AS(prefetch.next(), Error);
  CHECK(begun == 0);
}

TEST_CASE("a caller asleep hears the stop before the workers are done") {
  std::stop_source stop;
  std::atomic<Index> begun{0}, released{0};
  Prefetch<int> prefetch(
      [&](Index) {
        ++begun;
        wait_for(released, 1);
        return 1;
      },
      {.workers = 2, .cancel = stop.get_token()});
  std::thread other([&] {
    wait_for(begun, 2);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));   // the caller most likely sleeps by now
    stop.request_stop();
  });
  const auto start = std::chrono::steady_clock::now();
  CHECK_THROWS_AS(prefetch.next(), Error);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(5));
  ++released;
  other.join();
}

TEST_CASE("workers that sleep because the caller is slow hear the stop too") {
  std::stop_source stop;
  std::atomic<Index> begun{0};
  Prefetch<int> prefetch([&](Index) { return static_cast<int>(++begun); },
                         {.workers = 2, .in_flight = 2, .cancel = stop.get_token()});
  wait_for(begun, 2);
  stop.request_stop();
  CHECK_THROWS_AS(prefetch.next(), Error);
  CHECK(begun == 2);
}

TEST_CASE("results may be move-only and without a default") {
  struct Heavy {
    explicit Heavy(Index i) : value(std::make_unique<Index>(i)) {}
    std::unique_ptr<Index> value;
  };
  Prefetch<Heavy> prefetch([own = std::make_unique<Index>(10)](Index i) { return Heavy(*own + i); },
                           {.workers = 2, .count = 2});
  CHECK(*prefetch.next()->value == 10);
  CHECK(*prefetch.next()->value == 11);
}

TEST_CASE("options that mean nothing are refused") {
  const auto make = [](Index) { return 1; };
  CHECK_THROWS_AS(Prefetch<int>(make, {.workers = -1}), Error);
  CHECK_THROWS_AS(Prefetch<int>(make, {.in_flight = -1}), Error);
  CHECK_THROWS_AS(Prefetch<int>(make, {.first = -1}), Error);
  CHECK_THROWS_AS(Prefetch<int>(make, {.count = -2}), Error);
}

}   // namespace
