// Max pooling of float on every path: values, winners and gradients against plain loops in double, with equals and NaN.
#include "moves_cases.hpp"
#include "support/op_checks.hpp"

using namespace ctseg;
using namespace ctseg::test;
using S = Spec<float, 3, Cpu>;

namespace {
/// Values of a few kinds, so that windows have equals, and now and then a NaN.
void fill(Room<3>& room, RandomStream& random) {
  for (Index i = 0; i < room.elements(); ++i)
    room.at<float>(i) =
        random.below(40) == 0 ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(random.below(5)) - 2;
}
/// The first of equals, the first NaN; dx from the winners alone.
void check(const MaxPoolOp<S>& op, OpRun<S>& run) {
  const Shape<3>&in = run.x[0].info().shape, &out = run.y.info().shape;
  std::vector<double> dx(static_cast<std::size_t>(in.elements()));
  for (Index i = 0; i < out.elements(); ++i) {
    const Index c = i % out.c, r = i / out.c, x = r % out.space[2], y = r / out.space[2] % out.space[1];
    const Index z = r / out.space[2] / out.space[1] % out.space[0], n = r / out.voxels();
    Index best = -1;
    for (Index t = 0; t < op.kernel.product(); ++t) {
      const Index tz = z * op.stride[0] + t / op.kernel[2] / op.kernel[1],
                  ty = y * op.stride[1] + t / op.kernel[2] % op.kernel[1];
      const Index at =
          ((n * in.voxels() + (tz * in.space[1] + ty) * in.space[2] + x * op.stride[2] + t % op.kernel[2])) * in.c + c;
      const float v = run.x[0].at<float>(at);
      if (best < 0 || (!std::isnan(run.x[0].at<float>(best)) && (std::isnan(v) || v > run.x[0].at<float>(best)))) best = at;
    }
    const float wanted = run.x[0].at<float>(best), got = run.y.at<float>(i);
    REQUIRE((std::isnan(wanted) ? std::isnan(got) : got == wanted));
    dx[static_cast<std::size_t>(best)] += double{run.dy.at<float>(i)};
  }
  for (Index i = 0; i < in.elements(); ++i)
    REQUIRE(std::abs(double{run.dx[0].at<float>(i)} - dx[static_cast<std::size_t>(i)]) < 1e-5);
  CHECK(run.guards_intact());
}
}   // namespace

TEST_CASE("max pool of float: every path has the first of equals and the first NaN") {
  RandomStream random({.seed = 4});
  for (const Isa isa : kIsas) {
    if (!available(isa)) continue;
    INFO(text(isa));
    Context<Cpu> ctx({.threads = 2, .isa = isa});
    for (const Index channels : {1, 3, 8, 19, 32})
      for (const MaxPoolOp<S>& op : {MaxPoolOp<S>{}, MaxPoolOp<S>{3, 2}, MaxPoolOp<S>{2, 1}, MaxPoolOp<S>{1, 2}}) {
        const OpCase<S> c{.name = "pool", .op = op, .inputs = {activations<S>({2, channels, {5, 7, 6}})}};
        OpRun<S> run(c, ctx, {.seed = 1});
        fill(run.x[0], random);
        run.forward(), run.backward();
        check(op, run);
      }
  }
}
