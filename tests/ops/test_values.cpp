// What pooling, padding, softmax and dropout compute, against plain loops and by their definition.
#include "moves_cases.hpp"
#include "support/op_reference.hpp"

using namespace ctseg;
using namespace ctseg::test;

using S = Spec<double, 3, Cpu>;

static Volume5 forward_of(OpRun<S>& run) {
  run.forward();
  return volume_of(run.y.view().as<double>());
}

TEST_CASE("max pool equals plain loops") {
  Context<Cpu> ctx({.threads = 1});
  for (std::uint64_t round = 0; round < 20; ++round) {
    Draw draw({.seed = round});
    const auto c = MakePool{}(S{}, draw);
    const auto& op = *c.op.get<MaxPoolOp<S>>();
    OpRun<S> run(c, ctx, {.seed = round, .grid = true});
    check_equal(forward_of(run),
                max_pool_reference(volume_of(run.x[0].view().as<double>()), three(op.kernel, 1), three(op.stride, 1)), 0);
  }
}

TEST_CASE("max pool: the first of equals gets the gradient, a NaN wins") {
  Context<Cpu> ctx({.threads = 1});
  const OpCase<S> c{.name = "pool", .op = MaxPoolOp<S>{}, .inputs = {activations<S>({1, 1, {2, 2, 2}})}};
  OpRun<S> run(c, ctx, {});
  for (Index i = 0; i < 8; ++i) run.x[0].at<double>(i) = i == 3 || i == 5 ? 2 : -1;
  run.forward(), run.backward();
  for (Index i = 0; i < 8; ++i) CHECK(run.dx[0].at<double>(i) == (i == 3 ? run.dy.at<double>(0) : 0));
  run.x[0].at<double>(4) = NAN;
  run.forward(), run.backward();
  CHECK(std::isnan(run.y.at<double>(0)));
  CHECK(run.dx[0].at<double>(4) == run.dy.at<double>(0));
}

TEST_CASE("pad repeats the border") {
  Context<Cpu> ctx({.threads = 1});
  for (std::uint64_t round = 0; round < 30; ++round) {
    Draw draw({.seed = round});
    const auto c = MakePad{}(S{}, draw);
    const auto& op = *c.op.get<PadOp<S>>();
    if (op.mode != PadMode::replicate) continue;
    OpRun<S> run(c, ctx, {.seed = round});
    const Volume5 x = volume_of(run.x[0].view().as<double>()), y = forward_of(run);
    CHECK(y.d == x.d + op.low[0] + op.high[0]);
    y.each([&](Index n, Index channel, Index z, Index r, Index w) {
      const auto nearest = [](Index at, Index low, Index size) { return std::min(std::max<Index>(at - low, 0), size - 1); };
      REQUIRE(y(n, channel, z, r, w) ==
              x(n, channel, nearest(z, op.low[0], x.d), nearest(r, op.low[1], x.h), nearest(w, op.low[2], x.w)));
    });
  }
}

TEST_CASE("softmax: positive, sums to one, does not overflow") {
  Context<Cpu> ctx({.threads = 1});
  const OpCase<S> c{.name = "softmax", .op = SoftmaxOp<S>{}, .inputs = {activations<S>({1, 3, {1, 1, 2}})}};
  OpRun<S> run(c, ctx, {});
  const double logits[] = {1000, 1001, 999, -1000, 0, 1};
  for (Index i = 0; i < 6; ++i) run.x[0].at<double>(i) = logits[i];
  run.forward();
  const double sum = 1 + std::exp(1.0) + std::exp(-1.0), other = 1 + std::exp(1.0);
  const double expected[] = {1 / sum, std::exp(1.0) / sum, std::exp(-1.0) / sum, 0, 1 / other, std::exp(1.0) / other};
  for (Index i = 0; i < 6; ++i) CHECK(run.y.at<double>(i) == doctest::Approx(expected[i]).epsilon(1e-14));
}

TEST_CASE("dropout keeps the expectation, drops whole channels if told, and does nothing outside training") {
  Context<Cpu> ctx({.threads = 1});
  for (bool channelwise : {false, true}) {
    const Shape<3> shape = channelwise ? Shape<3>{8, 500, {2, 2, 2}} : Shape<3>{2, 8, {12, 12, 12}};
    OpCase<S> c{.name = "dropout", .op = DropoutOp<S>{0.3f, channelwise}, .inputs = {activations<S>(shape)}};
    OpRun<S> run(c, ctx, {});
    for (Index i = 0; i < run.x[0].elements(); ++i) run.x[0].at<double>(i) = 1, run.dy.at<double>(i) = 1;
    run.forward(), run.backward();
    const Volume5 y = volume_of(run.y.view().as<double>());
    double sum = 0;
    Index zeros = 0, mixed = 0;
    y.each([&](Index n, Index channel, Index z, Index r, Index w) {
      const double v = y(n, channel, z, r, w);
      REQUIRE((v == 0 || v == doctest::Approx(1 / 0.7).epsilon(1e-6)));
      sum += v, zeros += v == 0, mixed += v != y(n, channel, 0, 0, 0);
    });
    const auto count = static_cast<double>(shape.elements());
    CHECK(sum / count == doctest::Approx(1).epsilon(0.03));
    CHECK(static_cast<double>(zeros) / count == doctest::Approx(0.3).epsilon(0.07));
    CHECK((mixed == 0) == channelwise);
    CHECK((run.dx[0].packed() == run.y.packed()));   // the same mask, on ones
    OpRun<S> other(c, ctx, {});
    other.key.run += 1;
    other.forward();
    CHECK((other.y.packed() != run.y.packed()));
    c.mode = Mode::infer;
    OpRun<S> quiet(c, ctx, {});
    quiet.forward();
    CHECK((quiet.y.packed() == quiet.x[0].packed()));
  }
}
