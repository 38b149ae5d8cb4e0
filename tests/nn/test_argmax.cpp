// Labels from logits, and from the convolution that would have made them.
#include <doctest/doctest.h>

#include <ctseg/core/tensor.hpp>
#include <ctseg/nn/init.hpp>
#include <ctseg/nn/layers.hpp>
#include <ctseg/nn/run.hpp>
#include <ctseg/ops/cpu.hpp>

using namespace ctseg;

namespace {
template <AnySpec S> std::vector<std::uint8_t> bytes(View<const std::uint8_t, S::kDim> y) {
  std::vector<std::uint8_t> out;
  for (Index r = 0; r < y.rows(); ++r) out.push_back(*y.row(r));
  return out;
}
/// The rule itself, on the logits of a plan of their own.
template <class T, int Dim> std::vector<std::uint8_t> largest(View<const T, Dim> logits) {
  std::vector<std::uint8_t> out;
  for (Index r = 0; r < logits.rows(); ++r) {
    const T* row = logits.row(r);
    Index best = 0;
    for (Index c = 1; c < logits.shape.c; ++c)
      if (row[c] > row[best]) best = c;
    out.push_back(static_cast<std::uint8_t>(best));
  }
  return out;
}
template <AnySpec S> void check_head(Index channels, Index classes, int threads, Isa isa) {
  Context<Cpu> ctx{{.threads = threads, .isa = isa}};
  Conv<S> head({.in_channels = channels, .out_channels = classes, .kernel = 1});
  initialize_default(head, 3);
  Shape<S::kDim> shape{.n = 2, .c = channels, .space = {}};
  shape.space.fill(11);
  shape.space.back() = 29;
  Tape<S> tape(Mode::infer, ctx.traits());
  const auto x = tape.input(shape);
  const auto logits = head(x), labels = argmax(logits);
  CHECK(tape.nodes()[at(labels.id)].op->name() == "Conv+Argmax");
  const Plan<S> of_logits(tape, {.outputs = {logits}}), of_labels(tape, {.outputs = {labels}});
  CHECK(of_labels.arena_bytes() < of_logits.arena_bytes() + 16 * 512 * classes * 8);
  Run<S> a(of_logits, ctx), b(of_labels, ctx);
  for (Index r = 0; r < shape.n * shape.voxels(); ++r)
    for (Index c = 0; c < channels; ++c)
      a.input(x).row(r)[c] = b.input(x).row(r)[c] = static_cast<typename S::T>(std::sin(static_cast<double>(r * 31 + c * c)));
  a.forward(), b.forward();
  const auto found = bytes<S>(b.template output_as<std::uint8_t>(labels));
  CHECK((found == largest<typename S::T, S::kDim>(a.output(logits))));
  CHECK(std::count(found.begin(), found.end(), found[0]) < std::ssize(found));
}
}   // namespace

TEST_CASE("Labels of a head are those of its stored logits, on every path and for any number of threads") {
  for (const Isa isa : kIsas) {
    if (!available(isa)) continue;
    for (const int threads : {1, 3}) {
      check_head<Spec<float, 3, Cpu>>(32, 2, threads, isa);
      check_head<Spec<float, 3, Cpu>>(7, 21, threads, isa);
      check_head<Spec<float, 2, Cpu>>(5, 3, threads, isa);
    }
  }
  check_head<Spec<double, 3, Cpu>>(5, 3, 2, detect_isa());
}

TEST_CASE("Argmax takes the first of equals, and a NaN for the largest") {
  using S = Spec<float, 2, Cpu>;
  Context<Cpu> ctx{{.threads = 1}};
  Tensor<float, 2> x({.n = 1, .c = 3, .space = {1, 4}});
  const float values[12] = {1, 1, 0, 0, 2, 2, -1, NAN, 5, NAN, 9, NAN};
  std::copy_n(values, 12, x.view().data);
  Tape<S> tape(Mode::infer, ctx);
  const auto labels = argmax(tape.input(x.view()));
  CHECK(tape.nodes().back().op->name() == "Argmax");
  CHECK((bytes<S>(tape.value(labels).as<const std::uint8_t>()) == std::vector<std::uint8_t>{0, 1, 1, 0}));
  CHECK((labels.shape() == Shape<2>{.n = 1, .c = 1, .space = {1, 4}}));
}

TEST_CASE("labels do not lie over the source that other tasks still read") {
  using S = Spec<float, 3, Cpu>;
  Tape<S> tape(Mode::infer);
  Conv<S> first({.in_channels = 1, .out_channels = 32}), head({.in_channels = 32, .out_channels = 100, .kernel = 1});
  const auto labels = argmax(head(first(tape.input({.n = 1, .c = 1, .space = {48, 48, 48}}))));
  CHECK(tape.nodes()[at(labels.id)].info.ahead == 0);
}

TEST_CASE("Argmax refuses what labels cannot be") {
  using S = Spec<float, 3, Cpu>;
  Tape<S> tape(Mode::train);
  const auto x = tape.input({.n = 1, .c = 300, .space = {2, 2, 2}});
  CHECK_THROWS_WITH_AS((void)argmax(x), doctest::Contains("300 classes; labels of u8 hold 256"), Error);
  const ConvOp<S> wide{.in_channels = 300, .out_channels = 2};
  CHECK_THROWS_WITH_AS((void)ArgmaxOp<S>{wide}.infer({}), doctest::Contains("kernel 3x3x3"), Error);
  Context<Cpu> ctx{{.threads = 1}};
  Tape<S> eager(Mode::train, ctx);
  Conv<S> head({.in_channels = 1, .out_channels = 2, .kernel = 1});
  Gradients<S> gradients({});
  const auto labels = argmax(head(eager.input({.n = 1, .c = 1, .space = {2, 2, 2}})));
  CHECK_THROWS_AS(eager.backward(labels, gradients), Error);
}
