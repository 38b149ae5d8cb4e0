// Whole networks on the card beside the CPU's: logits and loss, eager and planned, and the gradients of a training step.
#include <doctest/doctest.h>

#include <ctseg/cuda.hpp>
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/models/plain_conv_unet.hpp>
#include <ctseg/models/residual_unet.hpp>
#include <ctseg/models/unet.hpp>
#include <ctseg/models/vnet.hpp>
#include <ctseg/nn/run.hpp>
#include <ctseg/ops/cpu.hpp>

using namespace ctseg;

namespace {

constexpr std::uint64_t kSeed = 5;

template <int Dim> Tensor<float, Dim> image(const Shape<Dim>& shape) {
  Tensor<float, Dim> x(shape);
  RandomStream random({.seed = 11});
  for (Index i = 0; i < shape.elements(); ++i) x.data()[i] = static_cast<float>(std::round(random.normal() * 16) / 16);
  return x;
}
template <int Dim> Tensor<std::uint8_t, Dim> labels(const Shape<Dim>& shape) {
  Tensor<std::uint8_t, Dim> y(shape.with_channels(1));
  RandomStream random({.seed = 12});
  for (Index i = 0; i < y.shape().elements(); ++i) y.data()[i] = static_cast<std::uint8_t>(random.below(2));
  return y;
}
template <class T, int Dim> Tensor<T, Dim> converted(const Tensor<float, Dim>& from) {
  Tensor<T, Dim> to(from.shape());
  for (Index i = 0; i < from.shape().elements(); ++i) to.data()[i] = T(from.data()[i]);
  return to;
}

/// What a step of training gives: logits, the loss, all gradients.
struct Step {
  std::vector<double> logits, gradients;
  double loss = 0;
};

template <AnySpec S, class Net> std::vector<double> in_order(Net& net, Gradients<S>& gradients) {
  std::vector<double> all;
  visit(net, [&](const std::string&, Parameter<S>& p) {
    if constexpr (std::is_same_v<typename S::Device, Cpu>) {
      for (const float g : gradients.of(p)) all.push_back(double(g));
    } else {
      if (p.present())
        for (const float g : gradients.download(p)) all.push_back(double(g));
    }
  });
  return all;
}
template <AnySpec S> std::vector<double> numbers_of(const Tensor<typename S::T, S::kDim>& t) {
  std::vector<double> all;
  for (Index i = 0; i < t.shape().elements(); ++i) all.push_back(static_cast<double>(static_cast<float>(t.data()[i])));
  return all;
}

template <AnySpec S, class Net> Step eager(Net& net, const Shape<S::kDim>& shape) {
  Context<typename S::Device> ctx({.threads = 1, .seed = kSeed});
  Tape<S> tape(Mode::train, ctx);
  const auto x = converted<typename S::T>(image(shape));
  const auto y = labels(shape);
  const Var<S> input = tape.input(View<const typename S::T, S::kDim>(x));   // as in planned(): dropout draws by place in the list
  const Var<S> truth = tape.input(View<const std::uint8_t, S::kDim>(y));
  const Var<S> logits = net.forward(input), loss = dice_ce(logits, truth);
  Gradients<S> gradients(parameters_of<S>(net));
  tape.backward(loss, gradients);
  return {numbers_of<S>(logits.tensor()), in_order<S>(net, gradients), loss.scalar()};
}
/// The same by a plan, twice over: the second time on memory that the first has used.
template <AnySpec S, class Net> Step planned(Net& net, const Shape<S::kDim>& shape) {
  Context<typename S::Device> ctx({.threads = 1, .seed = kSeed});
  Tape<S> tape(Mode::train, ctx.traits());
  const Var<S> x = tape.input(shape), y = tape.input(shape.with_channels(1), Dtype::u8);
  const Var<S> logits = net.forward(x), loss = dice_ce(logits, y);
  const Plan<S> plan(tape, {.outputs = {logits}, .loss = loss});
  Run<S> run(plan, ctx);
  Gradients<S> gradients(parameters_of<S>(net));
  const auto image_there = converted<typename S::T>(image(shape));
  const auto labels_there = labels(shape);
  Step step;
  for (int pass = 0; pass < 2; ++pass) {
    gradients.zero();
    ctx.resume_at(0);
    from_host<S>(ctx, View<const typename S::T, S::kDim>(image_there), run.input(x));
    from_host<S>(ctx, View<const std::uint8_t, S::kDim>(labels_there), run.template input_as<std::uint8_t>(y));
    run.forward();
    step.logits = numbers_of<S>(run.tensor(logits));
    step.loss = run.scalar(loss);
    run.backward(gradients);
    step.gradients = in_order<S>(net, gradients);
  }
  return step;
}

double apart(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) difference += (a[i] - b[i]) * (a[i] - b[i]), size += b[i] * b[i];
  return std::sqrt(difference / size);
}
void check(const Step& got, const Step& expected, double tolerance) {
  CHECK(apart(got.logits, expected.logits) <= tolerance);
  CHECK(std::abs(got.loss - expected.loss) <= tolerance * std::abs(expected.loss));
  CHECK(apart(got.gradients, expected.gradients) <= 10 * tolerance);
}

/// T: of the card; gradients of a tiny network in 16 bits are mostly rounding, so there only logits and loss are compared.
template <class T, int Dim, template <class> class Net, class Options>
void check_network(const Options& options, const Shape<Dim>& shape) {
  using C = Spec<float, Dim, Cpu>;
  using G = Spec<T, Dim, Cuda>;
  Net<C> host(options);
  Net<G> card(options);
  host.initialize(Context<Cpu>({.threads = 1, .seed = kSeed}));
  card.initialize(Context<Cuda>({.threads = 1, .seed = kSeed}));
  const Step expected = eager<C>(host, shape);
  for (const Step& got : {eager<G>(card, shape), planned<G>(card, shape)}) {
    if (sizeof(T) == 4) {
      check(got, expected, 1e-4);
    } else {
      CHECK(apart(got.logits, expected.logits) <= 5e-2);
      CHECK(std::abs(got.loss - expected.loss) <= 2e-2 * expected.loss);
    }
  }
}

constexpr Shape<3> kCube{1, 1, {16, 16, 32}};

}   // namespace

TEST_CASE("card: BasicUNet") { check_network<float, 3, BasicUNet>(BasicUNetOptions{.features = {4, 4, 6, 8, 8, 4}}, kCube); }
TEST_CASE("card: BasicUNet in bf16") {
  check_network<bf16, 3, BasicUNet>(BasicUNetOptions{.features = {8, 8, 8, 8, 8, 8}}, kCube);
}
TEST_CASE("card: UNet") { check_network<float, 3, UNet>(UNetOptions{.out_channels = 2, .features = {4, 6, 8}}, {2, 1, {8, 8, 12}}); }
TEST_CASE("card: ResidualUNet") {
  check_network<float, 3, ResidualUNet>(
      ResidualUNetOptions<3>{.channels = {4, 6, 8}, .strides = {2, 2}, .num_res_units = 2, .norm = NormKind::batch}, {2, 1, {8, 8, 8}});
}
TEST_CASE("card: V-Net") {
  check_network<float, 3, VNet>(VNetOptions{.units_down = {1, 1, 1, 1}, .units_up = {1, 1, 1, 1}, .width = 2}, {1, 1, {16, 16, 32}});
}
TEST_CASE("card: PlainConvUNet") {
  check_network<float, 2, PlainConvUNet>(PlainConvUNetOptions<2>{.features_per_stage = {4, 6, 8}, .kernel_sizes = {3, 3, 3}, .strides = {1, 2, 2}},
                                         {2, 1, {16, 12}});
}
