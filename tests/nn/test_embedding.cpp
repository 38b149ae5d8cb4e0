// What a program brings along for the library to use: threads, memory, log, stop button. And what the library never takes by
// itself: the terminal.
#include <doctest/doctest.h>

#include <unistd.h>
#include <cstdio>
#include <memory_resource>
#include <string>

#include <ctseg/models/basic_unet.hpp>
#include <ctseg/nn/predictor.hpp>
#include <ctseg/ops/cpu.hpp>

#include "../support/plan_checks.hpp"

using namespace ctseg;
using ctseg::test::same_bits;

namespace {
using S = Spec<float, 2, Cpu>;
BasicUNetOptions small_net() { return {.out_channels = 3, .features = {4, 4, 8, 8, 8, 4}}; }

/// Counts what is asked of it, and fails on request.
class Counting : public std::pmr::memory_resource {
 public:
  std::size_t calls = 0, held = 0, most = 0, limit = ~std::size_t{0};

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    if (held + bytes > limit) throw std::bad_alloc();
    ++calls, held += bytes;
    most = std::max(most, held);
    return std::pmr::new_delete_resource()->allocate(bytes, alignment);
  }
  void do_deallocate(void* p, std::size_t bytes, std::size_t alignment) override {
    held -= bytes;
    std::pmr::new_delete_resource()->deallocate(p, bytes, alignment);
  }
  bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }
};

/// Runs tasks last to first on the calling thread; raises a stop token after a number of calls.
struct Backwards final : Executor {
  int calls = 0, stop_after = -1;
  std::stop_source stop{};
  int threads() const override { return 1; }
  void run(Index count, void (*task)(void*, Index), void* data) override {
    if (++calls == stop_after) stop.request_stop();
    for (Index i = count; i-- > 0;) task(data, i);
  }
};

/// What reaches stdout and stderr, below all streams, while it lives.
class Terminal {
 public:
  Terminal() {
    std::fflush(nullptr);
    for (const int at : {0, 1}) {
      old_[at] = dup(at + 1);
      dup2(fileno(file_), at + 1);
    }
  }
  ~Terminal() { close(), std::fclose(file_); }
  long close() {
    std::fflush(nullptr);
    for (const int at : {0, 1})
      if (old_[at] >= 0) dup2(old_[at], at + 1), ::close(std::exchange(old_[at], -1));
    return std::fseek(file_, 0, SEEK_END) == 0 ? std::ftell(file_) : -1;
  }

 private:
  std::FILE* file_ = std::tmpfile();
  int old_[2] = {-1, -1};
};
}   // namespace

TEST_CASE("arena, prepared weights and eager values come from the caller's memory") {
  Counting memory;
  {
    Context<Cpu> ctx({.threads = 1, .seed = 1, .memory = &memory});
    BasicUNet<S> net(small_net());
    net.initialize(ctx);
    CHECK(memory.calls == 0);
    Predictor predict(ctx, net, {1, 1, {32, 32}});
    const MemoryEstimate needs = predict.memory();
    CHECK(memory.held >= static_cast<std::size_t>(needs.arena + needs.prepared));
    CHECK(memory.held < static_cast<std::size_t>(needs.arena + needs.prepared) + 4096);
    const std::size_t calls = memory.calls;
    const Tensor<float, 2> image({1, 1, {32, 32}});
    predict(image.view()), predict(image.view());
    CHECK(memory.calls == calls);   // a run asks for nothing more

    const std::size_t planned = memory.held;
    {
      Tape<S> eager(Mode::infer, ctx);
      net.forward(eager.input(image.view()));
      CHECK(memory.held - planned == static_cast<std::size_t>(eager.bytes()));
    }
    CHECK(memory.held == planned);

    memory.limit = planned + 1000;
    try {
      Predictor second(ctx, net, {1, 1, {32, 32}});
      FAIL("expected an error");
    } catch (const Error& e) {
      CHECK(e.code() == Code::out_of_memory);
    }
    CHECK(memory.held == planned);
  }
  CHECK(memory.held == 0);
}

TEST_CASE("a run works on the caller's threads alone, stops when asked, and the model goes on with another context") {
  Context<Cpu> own({.threads = 3, .seed = 2});
  BasicUNet<S> net(small_net());
  net.initialize(own);
  Tensor<float, 2> image({1, 1, {48, 40}});
  for (Index i = 0; i < image.shape().elements(); ++i) image.data()[i] = static_cast<float>(i % 17) - 8;
  Predictor reference(own, net, image.shape());
  const In<S> expected = reference(image.view());

  Backwards mine;
  Context<Cpu> ctx({.executor = &mine, .cancel = mine.stop.get_token()});
  Predictor predict(ctx, net, image.shape());
  CHECK(same_bits<S>(predict(image.view()), expected));
  CHECK(mine.calls > 10);

  mine.stop_after = mine.calls + 10;   // in the middle of the network
  try {
    predict(image.view());
    FAIL("expected an error");
  } catch (const Error& e) {
    CHECK(e.code() == Code::cancelled);
  }
  const int calls = mine.calls;
  CHECK(calls >= mine.stop_after);
  CHECK_THROWS_AS(predict(image.view()), Error);
  CHECK(mine.calls <= calls + 1);   // the copy of the input; no op
  CHECK(same_bits<S>(reference(image.view()), expected));
}

TEST_CASE("nothing is printed by a training step, an error or a log line without a sink") {
  Context<Cpu> ctx({.threads = 2, .seed = 3});
  std::string said;
  long printed = -1;
  {
    Terminal terminal;
    BasicUNet<S> net(small_net());
    net.initialize(ctx);
    Tape<S> tape(Mode::train, ctx.traits());
    const auto x = tape.input({2, 1, {32, 32}}), y = net.forward(x);
    const Plan<S> plan(tape, {.loss = y});
    said = plan.summary();
    Run<S> run(plan, ctx);
    Gradients<S> gradients(parameters_of<S>(net));
    std::fill_n(run.input(x).data, 2 * 32 * 32, 0.5f);
    run.forward();
    run.backward(gradients);
    ctx.log("nobody hears");
    try {
      net.forward(tape.input({1, 2, {32, 32}}));
    } catch (const Error& e) {
      said += e.what();
    }
    printed = terminal.close();
  }
  CHECK(printed == 0);
  CHECK(said.find("expects in_channels = 1") != std::string::npos);
  Terminal terminal;
  std::fputs("seen", stderr), std::puts("");
  CHECK(terminal.close() == 5);   // the check itself sees what is printed
}
