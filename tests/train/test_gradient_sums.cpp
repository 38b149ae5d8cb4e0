// Sums of gradients over processes, with a group that is one process and writes down what it is asked.
#include <doctest/doctest.h>

#include <ctseg/models/unet.hpp>
#include <ctseg/ops/cpu.hpp>
#include <ctseg/train/gradient_sums.hpp>

using namespace ctseg;

namespace {

/// Stands for `size` processes that all have the same gradients.
class Twins final : public ProcessGroup {
 public:
  explicit Twins(int size) : size_(size) {}
  int rank() const override { return 0; }
  int size() const override { return size_; }
  void sum(std::span<float> values) override {
    for (float& v : values) v *= static_cast<float>(size_);
  }
  void sum(std::span<double> values) override {
    for (double& v : values) v *= size_;
  }
  void begin_sum(std::span<float> values) override {
    for (float& v : values) v *= static_cast<float>(size_);
    begun.push_back(values.size());
  }
  void begin_sum(std::span<double> values) override {
    for (double& v : values) v *= size_;
    begun.push_back(values.size());
  }
  void advance() override { ++advanced; }
  void finish() override { finished_after.push_back(begun.size()); }
  void broadcast(std::span<std::byte>) override {}

  std::vector<std::size_t> begun, finished_after;
  int advanced = 0;

 private:
  int size_;
};

using S = Spec<float, 3, Cpu>;

}   // namespace

TEST_CASE("every gradient is summed once, the last layers' while backward still runs") {
  Context<Cpu> ctx({.threads = 1, .seed = 5});
  UNet<S> net({.features = {4, 8}});
  net.initialize(ctx);
  Tape<S> tape(Mode::train, ctx.traits());
  const auto x = tape.input({2, 1, {8, 8, 8}});
  const auto labels = tape.input({2, 1, {8, 8, 8}}, Dtype::u8);
  const auto loss = dice_ce(net.forward(x), labels);
  const Plan<S> plan(tape, {.loss = loss});
  Run<S> run(plan, ctx);
  const auto fill = [&] {
    for (Index i = 0; i < 2 * 512; ++i) {
      run.input(x).data[i] = static_cast<float>(i % 7) / 7;
      run.input_as<std::uint8_t>(labels).data[i] = static_cast<std::uint8_t>(i % 2);
    }
    ctx.resume_at(0);
    run.forward();
  };
  const auto parameters = net.parameters();
  Gradients<S> plain(parameters), summed(parameters);
  fill();
  run.backward(plain);

  Twins twins(3);
  GradientSums<S> sums(plan, summed, twins, 1024);
  CHECK(sums.buckets() > 3);
  summed.zero();
  fill();
  run.backward(summed, 1, sums.during_backward());
  const std::size_t early = twins.begun.size();
  CHECK(early == sums.buckets());   // the first layer's, after the last step
  CHECK(twins.advanced > 3);
  sums.finish();
  CHECK(twins.finished_after == std::vector<std::size_t>{sums.buckets()});
  std::size_t total = 0;
  for (const std::size_t n : twins.begun) total += n;
  CHECK(total == summed.flat().size());
  for (std::size_t i = 0; i < plain.flat().size(); ++i) REQUIRE(summed.flat()[i] == 3 * plain.flat()[i]);

  // Without telling backward: all of it in finish().
  summed.zero();
  fill();
  run.backward(summed);
  GradientSums<S> late(plan, summed, twins);
  late.finish();
  for (std::size_t i = 0; i < plain.flat().size(); ++i) REQUIRE(summed.flat()[i] == 3 * plain.flat()[i]);
}
