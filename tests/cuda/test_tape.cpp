// A tape, a plan and a run whose values lie on a card: what comes from the host and goes back there, and that eager and planned
// agree with the CPU's.
#include <doctest/doctest.h>

#include <ctseg/cuda.hpp>
#include <ctseg/nn/functional.hpp>
#include <ctseg/nn/run.hpp>
#include <ctseg/ops/cpu.hpp>

using namespace ctseg;

namespace {

template <class Device> using Of = Spec<float, 2, Device>;
const Shape<2> kShape{2, 3, {5, 7}};

Tensor<float, 2> image() {
  Tensor<float, 2> x(kShape);
  for (Index i = 0; i < kShape.elements(); ++i) x.data()[i] = static_cast<float>(i % 13 - 6) / 4;
  return x;
}
std::vector<float> values(const Tensor<float, 2>& t) { return {t.data(), t.data() + t.shape().elements()}; }
template <AnySpec S> Var<S> network(Var<S> x) {
  const Var<S> a = leaky_relu(x), b = add(a, x, -0.5f);
  return concat(slice_channels(b, 1, 2), sigmoid(b));
}
template <class Device> std::vector<float> eager(Context<Device>& ctx) {
  Tape<Of<Device>> tape(Mode::infer, ctx);
  return values(network(tape.input(View<const float, 2>(image()))).tensor());
}

}   // namespace

TEST_CASE("an eager tape takes values of the host and gives them back") {
  Context<Cpu> cpu;
  Context<Cuda> card;
  const auto expected = eager(cpu), got = eager(card);
  REQUIRE(got.size() == expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) CHECK(got[i] == doctest::Approx(expected[i]).epsilon(1e-6));
}

TEST_CASE("a channel range of the host, and labels, go to the card") {
  Context<Cuda> ctx;
  using S = Of<Cuda>;
  Tape<S> tape(Mode::infer, ctx);
  const auto x = image();
  const Var<S> part = tape.input(x.view().channels(1, 2));
  const auto back = part.tensor();
  for (Index r = 0; r < 70; ++r)
    for (Index c = 0; c < 2; ++c) REQUIRE(back.view().row(r)[c] == x.view().row(r)[c + 1]);
  Tensor<std::uint8_t, 2> labels(kShape.with_channels(1));
  for (Index i = 0; i < 70; ++i) labels.data()[i] = static_cast<std::uint8_t>(i);
  const Var<S> l = tape.input(View<const std::uint8_t, 2>(labels));
  const auto there = tape.tensor<std::uint8_t>(l);
  for (Index i = 0; i < 70; ++i) REQUIRE(there.data()[i] == i);
  CHECK(tape.bytes() > 0);
}

TEST_CASE("a plan for a card is made without one, and runs on one as the tape does") {
  using S = Of<Cuda>;
  Context<Cuda> ctx;
  Tape<S> shapes(Mode::infer, ctx.traits());
  const Var<S> x = shapes.input(kShape), y = network(x);
  const Plan<S> plan(shapes, {.outputs = {y}});
  Run<S> run(plan, ctx);
  const auto host = image();
  for (int k = 0; k < 2; ++k) {
    from_host<S>(ctx, View<const float, 2>(host), run.input(x));
    run.forward();
    CHECK(values(run.tensor(y)) == eager(ctx));
  }
  Tape<S> other(Mode::infer, DeviceTraits<Cuda>{.capability = 10});
  const Var<S> of_other = network(other.input(kShape));
  const Plan<S> foreign(other, {.outputs = {of_other}});
  CHECK_THROWS_AS((Run<S>(foreign, ctx)), Error);
}

TEST_CASE("recorded work of a run plays again on new input") {
  using S = Of<Cuda>;
  Context<Cuda> ctx;
  Tape<S> shapes(Mode::infer, ctx.traits());
  const Var<S> x = shapes.input(kShape), y = network(x);
  const Plan<S> plan(shapes, {.outputs = {y}});
  Run<S> run(plan, ctx);
  run.forward();   // allocates what it must
  ctx.begin_recording();
  run.forward();
  const cuda::Recording recording = ctx.end_recording();
  const auto host = image();
  from_host<S>(ctx, View<const float, 2>(host), run.input(x));
  recording.play(ctx.stream());
  CHECK(values(run.tensor(y)) == eager(ctx));
}
