// Lesson 6: ctseg inside your program: your arrays (xtensor), your threads, your stop button, your log, and what it says when
// something is wrong. The library prints nothing, starts no thread where it is given some, and never ends the program.
// docs/pitfalls.md has the rest.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>

#include <ctseg/interop/xtensor.hpp>
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/nn/predictor.hpp>
#include <ctseg/nn/summary.hpp>
#include <ctseg/ops/cpu.hpp>

#if __has_include(<xtensor/generators/xrandom.hpp>)
#include <xtensor/containers/xarray.hpp>
#include <xtensor/generators/xrandom.hpp>
#include <xtensor/misc/xsort.hpp>
#else
#include <xtensor/xarray.hpp>
#include <xtensor/xrandom.hpp>
#include <xtensor/xsort.hpp>
#endif

using S = ctseg::Spec<float, 3, ctseg::Cpu>;

/// The program's own threads; a thread pool or a task system would stand here.
class MyThreads : public ctseg::Executor {
 public:
  int threads() const override { return 2; }
  void run(ctseg::Index count, void (*task)(void*, ctseg::Index), void* data) override {
    thread_local bool inside = false;   // a call from inside a task stays on its thread
    std::atomic<ctseg::Index> next{0};
    const auto work = [&] {
      const bool outer = std::exchange(inside, true);
      for (ctseg::Index i = next++; i < count; i = next++) task(data, i);
      inside = outer;
    };
    const auto second = inside ? std::jthread() : std::jthread(work);
    work();
  }
};

/// The program's log: lines come without their end, and not from several threads at once.
struct MyLog {
  std::vector<std::string> lines{};
  ctseg::LogSink sink() {
    return {[](void* user, std::string_view line) { static_cast<MyLog*>(user)->lines.emplace_back(line); }, this};
  }
};

int main() try {
  MyThreads threads;
  MyLog log;
  std::stop_source stop;
  ctseg::Context<ctseg::Cpu> ctx({.seed = 1, .executor = &threads, .cancel = stop.get_token(), .log = log.sink()});
  ctseg::BasicUNet<S> net({.out_channels = 3, .features = {8, 8, 16, 16, 16, 8}});
  net.initialize(ctx);   // or ctseg::io::load_weights; const from now on: any thread may use it, each with its own context

  // Arrays: no copies on either side. N, C, D, H, W; the logits are valid until the next call, what is kept is copied.
  const xt::xarray<float> ct = xt::random::rand<float>({1, 1, 16, 32, 32});
  ctseg::Predictor predict(ctx, net, ctseg::view_of<3>(ct).shape);
  const auto logits = ctseg::as_xtensor(predict(ctseg::view_of<3>(ct)));
  const xt::xarray<std::uint8_t> labels = xt::argmax(logits, 1);
  std::printf("labels %zu x %zu x %zu, the first is %d\n", labels.shape()[1], labels.shape()[2], labels.shape()[3], labels[0]);

  // The log: here a table of the network, line by line.
  ctseg::print_summary(net, {1, 1, {16, 32, 32}}, log.sink());
  std::printf("the log has %zu lines, the last is: %s\n", log.lines.size(), log.lines.back().c_str());

  // Errors: what the caller did is said with numbers, the code is for the program. Everything stays usable.
  const xt::xarray<float> narrow = xt::zeros<float>({1, 1, 16, 32, 24});
  try {
    predict(ctseg::view_of<3>(narrow));
  } catch (const ctseg::Error& e) {
    std::printf("%s: %s\n", e.code() == ctseg::Code::shape_mismatch ? "shape_mismatch" : "?", e.what());
  }

  // The stop button: from any thread. The call under way ends within an op or so with Code::cancelled.
  const std::jthread user([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    stop.request_stop();
  });
  for (;;) predict(ctseg::view_of<3>(ct));
} catch (const ctseg::Error& e) {
  std::printf("%s\n", e.what());
  return e.code() == ctseg::Code::cancelled ? 0 : 1;
}
