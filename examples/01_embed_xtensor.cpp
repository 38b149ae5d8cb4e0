// ctseg inside another program: its arrays, its threads, its stop button and its log. xtensor in, xtensor out.
#include <cstdio>

#include <ctseg/interop/xtensor.hpp>
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/nn/predictor.hpp>
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

int main() try {
  MyThreads threads;
  std::stop_source stop;   // stop.request_stop() from any thread ends the call under way
  ctseg::Context<ctseg::Cpu> ctx(
      {.seed = 1, .executor = &threads, .cancel = stop.get_token(), .log = {[](void*, std::string_view line) {
                                                                      std::fprintf(stderr, "%.*s\n",
                                                                                   static_cast<int>(line.size()), line.data());
                                                                    }}});
  ctseg::BasicUNet<S> net({.out_channels = 3, .features = {8, 8, 16, 16, 16, 8}});
  net.initialize(ctx);   // or ctseg::io::load_weights

  const xt::xarray<float> ct = xt::random::rand<float>({1, 1, 16, 32, 32});   // N, C, D, H, W
  ctseg::Predictor predict(ctx, net, ctseg::view_of<3>(ct).shape);
  const auto logits = ctseg::as_xtensor(predict(ctseg::view_of<3>(ct)));   // no copies on either side
  const xt::xarray<std::uint8_t> labels = xt::argmax(logits, 1);           // ours to keep
  std::printf("labels %zu x %zu x %zu, the first is %d\n", labels.shape()[1], labels.shape()[2], labels.shape()[3], labels[0]);

  stop.request_stop();
  predict(ctseg::view_of<3>(ct));
} catch (const ctseg::Error& e) {
  std::printf("%s\n", e.what());
  return e.code() == ctseg::Code::cancelled ? 0 : 1;
}
