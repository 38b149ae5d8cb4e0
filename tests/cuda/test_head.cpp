// The fused end of a network (1x1x1 convolution, softmax, overlap term, cross entropy) against the same in double: logits by
// plain loops, loss and slopes by the CPU's loss.
#include <ctseg/loss/dice.hpp>
#include <ctseg/ops/cpu.hpp>
#include <ctseg/ops/cuda/head.hpp>

#include "own_conv.hpp"

using namespace ctseg;
using test::OnCard;

namespace {

struct HeadCase {
  Index n = 1, channels = 8, classes = 2;
  std::array<Index, 3> space{3, 4, 5};
  Index gap = 0;
  bool bias = true, wide_labels = false, batch = false, background = true, squared = false;
  Index ignore = -1;
  std::vector<double> weights{};
};

SegmentationLossOptions options_of(const HeadCase& c) {
  SegmentationLossOptions o;
  o.overlap.weight = 0.7, o.overlap.batch = c.batch, o.overlap.include_background = c.background;
  o.overlap.squared_pred = c.squared, o.overlap.class_weights = c.weights;
  o.voxel.weight = 1.3, o.voxel.weighted_mean = true, o.voxel.positive = c.weights;
  if (c.ignore >= 0) o.ignore_label = c.ignore;
  return o;
}

template <class T> struct HeadRun {
  using D = Spec<double, 3, Cpu>;
  explicit HeadRun(const HeadCase& c)
      : options(options_of(c)),
        x(c.n, c.space, c.channels, c.gap, false),
        dx(c.n, c.space, c.channels, c.gap, true),
        w(numbers(c.channels * c.classes, 0.5f)),
        bias(numbers(c.classes, 0.3f)),
        dw(std::vector<float>(w.values.size(), 1.f)),
        db(std::vector<float>(bias.values.size(), 1.f)),
        loss({NAN}),
        seed({1.5f}),
        small(labels<std::uint8_t>(c)),
        large(labels<std::uint16_t>(c)) {
    head = {x.array, {}, w.data(), c.bias ? bias.data() : nullptr, c.classes};
    head.labels = {c.wide_labels ? reinterpret_cast<std::byte*>(large.data()) : reinterpret_cast<std::byte*>(small.data()),
                   c.n,
                   1,
                   c.space,
                   1,
                   c.wide_labels ? Dtype::u16 : Dtype::u8};
  }

  void run() {
    const auto bytes = cuda::head_loss_memory(head);
    Memory<Cuda> saved(bytes.saved), scratch(std::max(bytes.forward_scratch, bytes.backward_scratch));
    auto* const doubles = reinterpret_cast<double*>(saved.data());
    cuda::head_loss_forward(nullptr, options, head, {loss.data(), doubles, scratch.data()});
    cuda::head_loss_backward(nullptr, options, head, {seed.data(), doubles, dx.array, dw.data(), db.data(), scratch.data()});
    loss.fetch(), dw.fetch(), db.fetch(), dx.card.fetch();
  }

  void check() {
    run();
    std::vector<double> z, slopes;
    const double want = reference(z, slopes);
    CHECK(static_cast<double>(loss.values[0]) == doctest::Approx(want).epsilon(2e-6));
    test::Worst of_x{test::rounding<T>()}, of_w{0}, of_b{0};
    bool untouched = true;
    for (Index r = 0; r < x.rows; ++r) {
      for (Index c = 0; c < x.c; ++c) {
        double sum = 0;
        for (Index k = 0; k < head.classes; ++k) sum += slopes[at(r, k)] * static_cast<double>(w.values[at(c, k)]);
        of_x.add(dx.at(r, c), sum);
      }
      for (Index c = 0; c < dx.gap; ++c)
        untouched = untouched && std::isnan(dx.at(r, c < dx.first() ? c - dx.first() : c + x.c - dx.first()));
    }
    for (Index k = 0; k < head.classes; ++k) {
      double sum = 1;
      for (Index r = 0; r < x.rows; ++r) sum += slopes[at(r, k)];
      of_b.add(static_cast<double>(db.values[static_cast<std::size_t>(k)]), sum);
      for (Index c = 0; c < x.c; ++c) {
        double by_w = 1;
        for (Index r = 0; r < x.rows; ++r) by_w += slopes[at(r, k)] * x.at(r, c);
        of_w.add(static_cast<double>(dw.values[at(c, k)]), by_w);
      }
    }
    CHECK(of_x.value() <= 1e-5);
    CHECK(of_w.value() <= 1e-5);
    CHECK(of_b.value() <= 1e-5);
    CHECK(untouched);
  }

  SegmentationLossOptions options;
  test::Activation<T> x, dx;
  OnCard<float> w, bias, dw, db, loss, seed;
  OnCard<std::uint8_t> small;
  OnCard<std::uint16_t> large;
  cuda::HeadLoss head;

 private:
  std::size_t at(Index row, Index k) const { return static_cast<std::size_t>(row * head.classes + k); }
  static std::vector<float> numbers(Index count, float scale) {
    std::vector<float> v;
    for (Index i = 0; i < count; ++i) v.push_back(scale * test::number(i + 4242));
    return v;
  }
  template <class L> static std::vector<L> labels(const HeadCase& c) {
    std::vector<L> v;
    for (Index i = 0; i < c.n * c.space[0] * c.space[1] * c.space[2]; ++i)
      v.push_back(static_cast<L>(c.ignore >= 0 && i % 5 == 2 ? c.ignore : (i * i + i / 3) % c.classes));
    return v;
  }

  /// The loss; fills logits and 1.5 times its derivatives by them.
  double reference(std::vector<double>& z, std::vector<double>& slopes) {
    z.assign(static_cast<std::size_t>(x.rows * head.classes), 0), slopes = z;
    for (Index r = 0; r < x.rows; ++r)
      for (Index k = 0; k < head.classes; ++k) {
        z[at(r, k)] = head.bias ? static_cast<double>(bias.values[static_cast<std::size_t>(k)]) : 0;
        for (Index c = 0; c < x.c; ++c) z[at(r, k)] += x.at(r, c) * static_cast<double>(w.values[at(c, k)]);
      }
    const Shape<3> shape{head.x.n, head.classes, head.x.space};
    const View<double, 3> logits{z.data(), shape, head.classes}, by_logits{slopes.data(), shape, head.classes};
    const View<std::uint8_t, 3> q{small.values.data(), shape.with_channels(1), 1};
    double value = 0, one = 1.5;
    const View<double, 3> result{&value, {1, 1, {1, 1, 1}}, 1}, gradient{&one, {1, 1, {1, 1, 1}}, 1};
    using Losses = Kernel<SegmentationLosses, D>;
    const auto bytes = Losses::memory(shape);
    Context<Cpu> ctx;
    const auto saved = ctx.allocate(bytes.saved), scratch = ctx.allocate(bytes.scratch);
    const std::vector<AnyView<3>> inputs{logits, q}, gradients{by_logits, {}};
    auto* const kept = const_cast<std::byte*>(saved.data());
    auto* const room = const_cast<std::byte*>(scratch.data());
    Losses::forward(options, Forward<D>{ctx, Mode::train, 0, inputs, {}, result, {kept}, {room}, {}, {}});
    Losses::backward(options,
                     Backward<D>{ctx, Mode::train, 0, inputs, {}, result, gradient, gradients, {}, {kept}, {room}, {}});
    return value;
  }
};

}   // namespace

TEST_CASE("the fused head: loss and all gradients, for 2 to 8 classes") {
  for (Index classes = 2; classes <= 8; ++classes) HeadRun<float>({.channels = 8, .classes = classes}).check();
  HeadRun<float>({.n = 2, .channels = 7, .classes = 3, .gap = 2}).check();
  HeadRun<float>({.channels = 1, .classes = 2, .bias = false}).check();
  HeadRun<float>({.channels = 64, .classes = 5, .space = {2, 3, 3}}).check();
  HeadRun<bf16>({.n = 2, .channels = 32, .classes = 3, .gap = 32}).check();
  HeadRun<bf16>({.channels = 33, .classes = 2, .wide_labels = true}).check();
  HeadRun<half>({.channels = 24, .classes = 8, .wide_labels = true}).check();
}

TEST_CASE("the fused head: batch, background, weights, ignored voxels, squares") {
  HeadRun<float>({.n = 2, .classes = 3, .batch = true, .background = false}).check();
  HeadRun<float>({.n = 2, .classes = 3, .background = false, .ignore = 255}).check();
  HeadRun<float>({.classes = 4, .squared = true, .weights = {1, 2, 0.5, 3}}).check();
  HeadRun<float>({.n = 3, .classes = 3, .batch = true, .ignore = 9, .weights = {0.5, 2, 1}}).check();
}

TEST_CASE("the fused head: several blocks, the same bits each time") {
  const HeadCase c{.n = 1, .channels = 16, .classes = 3, .space = {9, 13, 11}};
  HeadRun<bf16> one(c), two(c);
  one.check();
  two.run();
  CHECK(one.loss.values == two.loss.values);
  CHECK(one.dw.values == two.dw.values);
}

TEST_CASE("the fused head: frozen weights, no gradient of x, a label that is no class") {
  HeadRun<float> run(HeadCase{});
  const auto bytes = cuda::head_loss_memory(run.head);
  Memory<Cuda> saved(bytes.saved), scratch(std::max(bytes.forward_scratch, bytes.backward_scratch));
  auto* const doubles = reinterpret_cast<double*>(saved.data());
  cuda::head_loss_forward(nullptr, run.options, run.head, {run.loss.data(), doubles, scratch.data()});
  cuda::Array none = run.dx.array;
  none.data = nullptr;
  cuda::head_loss_backward(nullptr, run.options, run.head, {run.seed.data(), doubles, none, nullptr, nullptr, scratch.data()});
  CHECK(std::isnan(run.dx.card.fetch()[0]));
  CHECK(run.dw.fetch()[0] == 1);
  OnCard<std::uint8_t> wrong(std::vector<std::uint8_t>(60, 7));
  run.head.labels.data = reinterpret_cast<std::byte*>(wrong.data());
  cuda::head_loss_forward(nullptr, run.options, run.head, {run.loss.data(), doubles, scratch.data()});
  CHECK(std::isnan(run.loss.fetch()[0]));
}

TEST_CASE("the fused head says what it does not do") {
  SegmentationLossOptions o = options_of({});
  CHECK(cuda::head_loss_supports(o, 32, 8));
  CHECK(!cuda::head_loss_supports(o, 32, 9));
  HeadRun<float> wide({.channels = 65, .space = {1, 1, 2}});
  CHECK_THROWS_WITH(wide.run(), doctest::Contains("these are 65 channels, 2 classes"));
  CHECK(!cuda::head_loss_supports(o, 65, 2));
  CHECK(!cuda::head_loss_supports(o, 32, 1));
  o.voxel.gamma = 2;
  CHECK(!cuda::head_loss_supports(o, 32, 2));
  o = options_of({});
  o.overlap.sigmoid = true;
  CHECK(!cuda::head_loss_supports(o, 32, 2));
}
