// What kernels stand on, run on the emulated card: threads of a block that wait for each other and exchange values, blocks that
// count themselves, recordings; and that the emulation refuses what a real card would punish.
#include <doctest/doctest.h>

#include <csignal>
#include <ctseg/cuda.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include "kernels/common/launch.cuh"
#include "kernels/common/values.cuh"

using namespace ctseg;
using cuda::Block;

namespace {

/// Device memory with values, for as long as a test.
template <class T> struct Values {
  explicit Values(const std::vector<T>& of) : count(std::ssize(of)), memory(count * Index{sizeof(T)}) {
    cuda::copy_to_device(nullptr, memory.data(), of.data(), count * Index{sizeof(T)});
  }
  explicit Values(Index n) : count(n), memory(n * Index{sizeof(T)}) {}
  T* data() { return reinterpret_cast<T*>(memory.data()); }
  std::vector<T> get() {
    std::vector<T> host(static_cast<std::size_t>(count));
    cuda::copy_to_host(nullptr, host.data(), memory.data(), count * Index{sizeof(T)});
    return host;
  }
  Index count;
  Memory<Cuda> memory;
};
std::vector<float> numbers(Index count) {
  std::vector<float> v;
  for (Index i = 0; i < count; ++i) v.push_back(static_cast<float>(i % 1000) - 300);
  return v;
}

struct Body {   // what test bodies share
  static constexpr int kThreads = 64;
  static constexpr bool kSyncs = true;
  static constexpr const char* kName = "of_a_test";
};

/// The sum of x: partial sums of blocks, added by whichever block comes last.
struct Sum : Body {
  static constexpr int kThreads = 128;
  const float* x;
  Index count;
  float *partial, *sum;
  unsigned* counter;
  void operator()(const Block& b) const {
    float mine = 0;
    for (Index i = b.index() * kThreads + b.thread(); i < count; i += b.blocks() * kThreads) mine += x[i];
    float* warps = b.shared<float>();
    bool* last = b.shared<bool>(64);
    mine = cuda::warp_sum(b, mine);
    if (b.lane() == 0) warps[b.warp()] = mine;
    b.sync();
    if (b.thread() == 0) {
      partial[b.index()] = warps[0] + warps[1] + warps[2] + warps[3];
      *last = b.arrive(counter) == b.blocks() - 1;
    }
    b.sync();
    if (!*last || b.thread() != 0) return;
    float all = 0;
    for (Index k = 0; k < b.blocks(); ++k) all += partial[k];
    *sum = all;
  }
};

struct Shuffles : Body {
  int* out;   // [3][64]
  void operator()(const Block& b) const {
    const int t = b.thread();
    out[t] = b.shuffle_down(t, 5);
    out[64 + t] = b.shuffle_xor(t, 9);
    out[128 + t] = b.shuffle(t, 31 - b.lane());
  }
};

/// y = x turned round within a block: right with sync, wrong without.
template <bool Waits> struct Turn : Body {
  const float* x;
  float* y;
  void operator()(const Block& b) const {
    float* all = b.shared<float>();
    for (int round = 0; round < 4; ++round) {
      all[b.thread()] = x[b.thread()];
      if (Waits) b.sync();
      y[b.thread()] = all[kThreads - 1 - b.thread()];
      if (Waits) b.sync();
    }
  }
};

struct Leaves : Body {
  int how;
  void operator()(const Block& b) const {
    if (how == 0 && b.thread() != 3) b.sync();
    if (how == 1 && b.lane() < 30) b.sync_warp();
    if (how == 2 && b.lane() < 30) b.sync_warp();
    if (how == 2) b.sync();
  }
};
struct Unannounced : Body {
  static constexpr bool kSyncs = false;
  void operator()(const Block& b) const { b.sync(); }
};
struct Overflow : Body {
  static constexpr bool kSyncs = false;
  void operator()(const Block& b) const { b.shared<char>()[b.thread()] = 0; }
};
struct Writes : Body {
  static constexpr bool kSyncs = false;
  float* at;
  void operator()(const Block& b) const { at[b.thread()] = 1; }
};

struct Doubled {
  static constexpr const char* kName = "doubled";
  float* x;
  void operator()(Index i) const { x[i] *= 2; }
};

template <class F> std::string message_of(F f) {
  try {
    f();
  } catch (const Error& e) {
    CHECK(e.code() == Code::device);
    return e.what();
  }
  return "nothing was refused";
}
bool says(const std::string& message, const char* words) {
  INFO(message);
  return message.find(words) != message.npos;
}

/// The signal that f dies of in a process of its own; 0 if it lives.
template <class F> int death(F f) {
  const pid_t child = fork();
  if (child == 0) {
    for (const int s : {SIGSEGV, SIGBUS}) std::signal(s, SIG_DFL);
    f();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

}   // namespace

TEST_CASE("blocks sum, exchange through shared memory and count themselves") {
  for (const Index count : {1, 31, 1000, 5000}) {
    const auto host = numbers(count);
    Values<float> x(host), partial(7), sum(1);
    Values<unsigned> counter(std::vector<unsigned>{0});
    cuda::launch(nullptr, {.blocks = 7, .shared_bytes = 65}, Sum{{}, x.data(), count, partial.data(), sum.data(), counter.data()});
    double expected = 0;
    for (const float v : host) expected += v;
    CHECK(sum.get()[0] == expected);   // whole numbers
    CHECK(counter.get()[0] == 7);
  }
}

TEST_CASE("lanes give each other values") {
  Values<int> out(3 * 64);
  cuda::launch(nullptr, {}, Shuffles{{}, out.data()});
  const auto got = out.get();
  for (int t = 0; t < 64; ++t) {
    const auto at = [&](int row) { return got[static_cast<std::size_t>(row * 64 + t)]; };
    CHECK(at(0) == (t % 32 < 27 ? t + 5 : t));
    CHECK(at(1) == (t ^ 9));
    CHECK(at(2) == t / 32 * 32 + 31 - t % 32);
  }
}

TEST_CASE("a missing sync shows") {
  const auto host = numbers(64);
  auto turned = host;
  std::reverse(turned.begin(), turned.end());
  Values<float> x(host), y(64), z(64);
  cuda::launch(nullptr, {.shared_bytes = 256}, Turn<true>{{}, x.data(), y.data()});
  cuda::launch(nullptr, {.shared_bytes = 256}, Turn<false>{{}, x.data(), z.data()});
  CHECK(y.get() == turned);
  CHECK(z.get() != turned);
}

TEST_CASE("for_each reaches every index once, whatever their number") {
  for (const Index count : {0, 1, 255, 257, 3 * 256 * 7}) {
    Values<float> x(std::vector<float>(static_cast<std::size_t>(count + 1), 1.5f));
    cuda::for_each(nullptr, count, Doubled{x.data()});
    std::vector<float> expected(static_cast<std::size_t>(count), 3.f);
    expected.push_back(1.5f);
    CHECK(x.get() == expected);
  }
}

TEST_CASE("threads that do not all come are an error, and the next kernel runs") {
  CHECK(says(message_of([] { cuda::launch(nullptr, {}, Leaves{{}, 0}); }), "kernel of_a_test: 63 of 64 threads wait in sync()"));
  CHECK(says(message_of([] { cuda::launch(nullptr, {}, Leaves{{}, 1}); }), "30 lanes of warp 0 wait for the other lanes"));
  CHECK(says(message_of([] { cuda::launch(nullptr, {}, Leaves{{}, 2}); }), "2 wait for the block"));
  CHECK(says(message_of([] { cuda::launch(nullptr, {}, Unannounced{}); }), "kSyncs = false"));
  Values<int> out(3 * 64);
  cuda::launch(nullptr, {}, Shuffles{{}, out.data()});
  CHECK(out.get()[0] == 5);
}

TEST_CASE("kernels that leave their memory are an error") {
  CHECK(says(message_of([] { cuda::launch(nullptr, {.shared_bytes = 63}, Overflow{}); }), "behind its 63 bytes of shared"));
  for (const Index first : {-1, 65}) {
    Values<float> x(128);
    const auto message = message_of([&] { cuda::launch(nullptr, {}, Writes{{}, x.data() + first}); });
    CHECK(says(message, first < 0 ? "before the beginning" : "behind the end of an allocation of 512 bytes"));
  }
  Values<float> x(252);   // 1008 bytes, rounded up to 1024
  int on_the_stack = 0;
  CHECK(says(message_of([&] { cuda::launch(nullptr, {}, Writes{{}, reinterpret_cast<float*>(&on_the_stack)}); }),
             "hold an address of the host"));
  CHECK(says(message_of([&] { cuda::copy_to_host(nullptr, &on_the_stack, &on_the_stack, 4); }), "the host's, not the card's"));
  CHECK(says(message_of([&] { cuda::copy_to_device(nullptr, x.data() + 254, &on_the_stack, 12); }), "not (or not whole) inside"));
}

TEST_CASE("the host cannot touch memory of the card") {
  Values<float> x(numbers(8));
  CHECK(death([&] { *x.data() = 1; }) == SIGSEGV);
  CHECK(death([&] { volatile float got = *x.data(); (void)got; }) == SIGSEGV);
  CHECK(death([&] { (void)x.get(); }) == 0);
}

TEST_CASE("new memory is NaN") {
  Values<float> x(100);
  for (const float v : x.get()) CHECK(v != v);
}

TEST_CASE("a recording keeps its arguments and can be played again") {
  Context<Cuda> ctx;
  Values<float> x(std::vector<float>(300, 1.f));
  ctx.begin_recording();
  cuda::for_each(ctx.stream(), 300, Doubled{x.data()});
  cuda::for_each(ctx.stream(), 100, Doubled{x.data()});
  const cuda::Recording recording = ctx.end_recording();
  CHECK(x.get()[0] == 1);   // nothing has run
  for (int k = 0; k < 3; ++k) recording.play(ctx.stream());
  CHECK(x.get()[99] == 64);
  CHECK(x.get()[100] == 8);
}

TEST_CASE("conversions and random numbers are the host's") {
  static_assert(static_cast<float>(bf16(1.00390625f)) == 1.f);   // to even
  static_assert(static_cast<float>(half(65519.f)) == 65504.f);
  static_assert(philox({0, 0, 0, 0}, {0, 0})[0] == 0x6627e8d5);
  static_assert(RandomKey{.seed = 1, .run = 2, .op = 3}.words(4)[0] != 0);
  CHECK(cuda::key_of({{7, 8, 9}, nullptr}).run == 8);
}
