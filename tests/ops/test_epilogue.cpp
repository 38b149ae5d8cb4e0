// What a convolution does to its results in the cache: statistics for the norm behind it, or inference's norm, residual and
// activation, on every path and for shapes whose tiles, lines and images do not match.
#include "block_checks.hpp"

using namespace ctseg;
using namespace ctseg::test;
using S = Spec<float, 3, Cpu>;

namespace {
struct Wanted {
  NormKind norm = NormKind::instance;
  Index in = 6, out = 20, kernel = 3, stride = 1, groups = 1, images = 3;
  bool residual = false, transposed = false;
  Mode mode = Mode::train;
  Activation activation = leaky_relu(0.1f);
  std::array<Index, 3> space = {9, 7, 13};
};
OpCase<S> make(const Wanted& w) {
  ConvNormActOp<S> op{{.in_channels = w.in,
                       .out_channels = w.out,
                       .kernel = w.kernel,
                       .stride = w.stride,
                       .padding = w.transposed ? 0 : w.kernel / 2,
                       .groups = w.groups,
                       .transposed = w.transposed},
                      {.kind = w.norm, .affine = w.norm != NormKind::none, .activation = w.activation}};
  if (w.norm == NormKind::group) op.norm.groups = 5;
  OpCase<S> c = conv_case_of<S>(op.conv, {.n = w.images, .c = w.in, .space = w.space}, true);
  const Shape<3> y = op.conv.infer_shape(c.inputs[0].shape);
  const auto norm = norm_case_of<S>(op.norm, y, w.mode, w.out);
  c.name += " + " + norm.name, c.op = op, c.mode = w.mode;
  c.weights.insert(c.weights.end(), norm.weights.begin(), norm.weights.end());
  return w.residual ? with_residual(c, y) : c;
}
/// Every engine of every instruction set.
template <class F> void for_paths(F f) {
  for (const Isa isa : kIsas)
    for (const Accuracy accuracy : {Accuracy::strict, Accuracy::fast})
      if (available(isa)) {
        INFO(text(isa), ", ", text(accuracy));
        f(ContextOptions{.threads = 1, .isa = isa, .accuracy = accuracy});
      }
}
std::vector<std::byte> output(const OpCase<S>& c, const ContextOptions& o) {
  Context<Cpu> ctx(o);
  OpRun<S> run(c, ctx, {.seed = 3});
  run.forward();
  return run.y.packed();
}
}   // namespace

TEST_CASE("Statistics from the convolution's last step are those of a pass of their own") {
  for_paths([](const ContextOptions& o) {
    Context<Cpu> ctx(o);
    for (const NormKind kind : {NormKind::instance, NormKind::batch, NormKind::group})
      for (const Wanted& w : {Wanted{.norm = kind}, Wanted{.norm = kind, .out = 35, .residual = true},
                              Wanted{.norm = kind, .out = 10, .groups = 2}, Wanted{.norm = kind, .kernel = 2, .stride = 2},
                              Wanted{.norm = kind, .out = 5, .kernel = 3, .stride = 2, .transposed = true},
                              Wanted{.norm = kind, .in = 40, .out = 65, .images = 2, .space = {4, 3, 5}}})
        check_against_parts<S>(make(w), ctx, 11, 1e-6);
    for (const NormKind kind : {NormKind::instance, NormKind::batch})   // scattered
      check_against_parts<S>(make({.norm = kind, .in = 20, .out = 3, .stride = 2, .transposed = true}), ctx, 11, 1e-6);
    check_against_parts<S>(make({.in = 32, .out = 35, .stride = 2, .space = {16, 17, 13}}), ctx, 11, 1e-6);   // by phases
  });
}

TEST_CASE("Batch norm of inference is done where the convolution writes, with the bits of a pass of its own") {
  for_paths([](const ContextOptions& o) {
    Context<Cpu> ctx(o);
    for (const Activation& a : {leaky_relu(0.1f), relu(), prelu_per_channel(), elu()})
      for (const bool residual : {false, true}) {
        Wanted w{.norm = NormKind::batch, .out = 35, .images = 2, .residual = residual, .mode = Mode::infer, .activation = a};
        check_against_parts<S>(make(w), ctx, 5, 0);
        w.out = 10, w.groups = 2;   // channels of a group meet other vectors than those of all together
        check_against_parts<S>(make(w), ctx, 5, 1e-6);
        w.groups = 1, w.stride = 2, w.transposed = true, w.space = {3, 4, 5};   // its results come in phases
        check_against_parts<S>(make(w), ctx, 5, 0);
        w.in = 20, w.out = 3;   // scattered
        check_against_parts<S>(make(w), ctx, 5, 0);
      }
  });
}

TEST_CASE("A block without a norm is the same in training, where it keeps its convolution") {
  for (const bool residual : {false, true}) {
    const auto of = [&](Mode mode) {
      return output(make({.norm = NormKind::none, .in = 5, .out = 20, .residual = residual, .mode = mode, .space = {5, 6, 7}}),
                    {.threads = 1, .accuracy = Accuracy::strict});
    };
    CHECK((of(Mode::train) == of(Mode::infer)));
  }
}

TEST_CASE("An epilogue has the same bits for any number of threads") {
  for (const Mode mode : {Mode::train, Mode::infer})
    for (const NormKind kind : {NormKind::instance, NormKind::batch, NormKind::none})
      for (const Accuracy accuracy : {Accuracy::strict, Accuracy::fast}) {
        const OpCase<S> c = make({.norm = kind, .in = 16, .out = 40, .residual = true, .mode = mode, .space = {16, 17, 18}});
        const auto one = output(c, {.threads = 1, .accuracy = accuracy});
        for (const int threads : {2, 4}) CHECK((output(c, {.threads = threads, .accuracy = accuracy}) == one));
      }
}

TEST_CASE("A large mean costs the statistics no digits") {
  for_paths([](const ContextOptions& o) {
    Context<Cpu> ctx(o);
    OpCase<S> c = make({.images = 2, .activation = {}, .space = {11, 12, 21}});
    OpRun<S> near(c, ctx, {.seed = 9}), far(c, ctx, {.seed = 9});
    for (Index k = 0; k < far.x[0].elements(); ++k)   // every other plane of the first image far away: the spread stays
      if (k / (6 * 21 * 12) % 2 == 0) near.x[0].at<float>(k) += 500, far.x[0].at<float>(k) += 500;
    far.w[1].assign(20, 4096), near.w[1].assign(20, 0);
    near.forward(), far.forward();
    check_rooms<S>(far.y, near.y, 3e-5);   // what 4096 + z itself loses
  });
}
