// Convolutions of the card beside those of the CPU in double, on the same rounded values: forward, all gradients, channel
// ranges of wider values, groups, both ranks and three scalars. Outputs hold NaN before, gradients of weights hold ones.
#include <doctest/doctest.h>

#include <cmath>
#include <ctseg/core/tensor.hpp>
#include <ctseg/cuda.hpp>
#include <ctseg/nn/parameter.hpp>
#include <ctseg/ops/cpu/conv.hpp>
#include <limits>

using namespace ctseg;

namespace {

template <int Dim> using Exact = Spec<double, Dim, Cpu>;

template <int Dim> struct Setting {
  ConvOp<Exact<Dim>> op;
  Shape<Dim> x;
  bool bias = true;
  Index before = 0, behind = 0;   // channels beside the operands, in their buffers
};

/// Values on the host in double, and on the card as a channel range of a buffer that is NaN elsewhere.
template <class T, int Dim> struct Value {
  Tensor<double, Dim> host;
  Tensor<T, Dim> buffer;
  Memory<Cuda> memory;
  Index before;

  template <class Fill> Value(const Context<Cuda>& ctx, const Shape<Dim>& shape, const Setting<Dim>& c, Fill fill)
      : host(shape), buffer(shape.with_channels(shape.c + c.before + c.behind)), before(c.before) {
    std::fill_n(buffer.data(), buffer.shape().elements(), T(std::numeric_limits<float>::quiet_NaN()));
    for (Index r = 0; r < host.view().rows(); ++r)
      for (Index k = 0; k < shape.c; ++k) {
        T& value = buffer.view().row(r)[before + k];
        value = T(static_cast<float>(fill()));
        host.view().row(r)[k] = static_cast<double>(static_cast<float>(value));
      }
    memory = ctx.allocate(bytes_of<T>(buffer.shape().elements()));
    ctx.upload(std::as_const(buffer).view(), whole());
  }
  View<T, Dim> whole() { return {reinterpret_cast<T*>(memory.data()), buffer.shape(), buffer.shape().c}; }
  View<T, Dim> view() { return whole().channels(before, host.shape().c); }

  /// The largest difference from `host`, against its largest value; throws off if something else was written.
  double error(const Context<Cuda>& ctx) {
    ctx.download(View<const T, Dim>(whole()), buffer.view());
    double most = 1e-30, apart = 0;
    for (Index r = 0; r < host.view().rows(); ++r)
      for (Index k = 0; k < buffer.shape().c; ++k) {
        const auto value = static_cast<double>(static_cast<float>(buffer.view().row(r)[k]));
        const Index c = k - before;
        if (c < 0 || c >= host.shape().c) {
          if (!std::isnan(value)) return 1e30;
          continue;
        }
        if (std::isnan(value)) return 1e31;
        most = std::max(most, std::abs(host.view().row(r)[c]));
        apart = std::max(apart, std::abs(host.view().row(r)[c] - value));
      }
    return apart / most;
  }
};

/// Gradients of weights on the card, all 1 at first, beside the CPU's.
struct Gradient {
  std::vector<double> host;
  Memory<Cuda> memory;
  Gradient(const Context<Cuda>& ctx, Index count)
      : host(static_cast<std::size_t>(count), 1.0), memory(ctx.allocate(4 * count)) {
    const std::vector<float> ones(host.size(), 1.f);
    if (count > 0) cuda::copy_to_device(ctx.stream(), memory.data(), ones.data(), 4 * count);
  }
  std::span<float> span() { return {reinterpret_cast<float*>(memory.data()), host.size()}; }
  double error(const Context<Cuda>& ctx) {
    std::vector<float> values(host.size());
    if (!host.empty()) cuda::copy_to_host(ctx.stream(), values.data(), memory.data(), 4 * std::ssize(values));
    ctx.synchronize();
    double most = 1e-30, apart = 0;
    for (std::size_t i = 0; i < host.size(); ++i) {
      most = std::max(most, std::abs(host[i]));
      apart = std::max(apart, std::abs(host[i] - static_cast<double>(values[i])));
    }
    return apart / most;
  }
};

template <class T, int Dim> struct Both {
  using S = Spec<T, Dim, Cuda>;
  using E = Exact<Dim>;
  const Setting<Dim>& c;
  Context<Cuda> ctx{{.threads = 1}};
  Context<Cpu> cpu{{.threads = 1}};
  RandomStream random{{.seed = 11}};
  ConvOp<S> op;
  Shape<Dim> to;
  Value<T, Dim> x, y, dy, dx;
  Parameter<S> w, b;
  std::vector<double> w_exact, b_exact;
  Gradient dw, db;

  explicit Both(const Setting<Dim>& k)
      : c(k),
        op{k.op.in_channels,          k.op.out_channels,   k.op.kernel.value, k.op.stride.value, k.op.padding.value,
           k.op.output_padding.value, k.op.dilation.value, k.op.groups,       k.op.transposed},
        to(k.op.infer_shape(k.x)),
        x(ctx, k.x, k, [&] { return random.normal(); }),
        y(ctx, to, k, [] { return std::numeric_limits<double>::quiet_NaN(); }),
        dy(ctx, to, k, [&] { return random.normal(); }),
        dx(ctx, k.x, k, [] { return std::numeric_limits<double>::quiet_NaN(); }),
        w({.shape = {op.kernel.product() * op.in_channels / op.groups * op.out_channels}}),
        b(k.bias ? Parameter<S>({.shape = {op.out_channels}}) : Parameter<S>()),
        dw(ctx, w.size()),
        db(ctx, b.size()) {
    for (float& v : w.edit()) v = static_cast<float>(T(static_cast<float>(random.normal())));
    for (float& v : b.edit()) v = static_cast<float>(random.normal());
    w_exact.assign(w.values().begin(), w.values().end()), b_exact.assign(b.values().begin(), b.values().end());
  }

  void on_cpu() {
    const std::array<Weights<E>, 2> weights = {Weights<E>{w_exact.data(), w.size(), nullptr},
                                               Weights<E>{b_exact.data(), b.size(), nullptr}};
    const ValueInfo<Dim> info{c.x, Dtype::f64};
    const auto needs = c.op.infer({{&info, 1}, weights, Mode::train, cpu.traits()});
    Memory<Cpu> scratch(std::max(needs.forward_scratch, needs.backward_scratch));
    const AnyView<Dim> in(x.host.view()), out(y.host.view()), to_in(dx.host.view()), from_out(dy.host.view());
    c.op.forward({cpu, Mode::train, needs.choice, {&in, 1}, weights, out, {}, {scratch.data()}, {}, {}});
    const std::array<std::span<double>, 2> gradients = {dw.host, db.host};
    c.op.backward(
        {cpu, Mode::train, needs.choice, {&in, 1}, weights, out, from_out, {&to_in, 1}, gradients, {}, {scratch.data()}, {}});
  }
  void on_card(bool want_dx = true, bool want_dw = true) {
    const std::array<Weights<S>, 2> weights = {w, b};
    bring<S>(ctx, weights);
    const ValueInfo<Dim> info{c.x, dtype_of<T>()};
    const auto needs = op.infer({{&info, 1}, weights, Mode::train, ctx.traits()});
    Memory<Cuda> scratch = ctx.allocate(std::max(needs.forward_scratch, needs.backward_scratch));
    Memory<Cuda> prepared = ctx.allocate(needs.prepared);
    CHECK(needs.reads_prepared);
    if (needs.prepared > 0) op.prepare({ctx, needs.choice, {&info, 1}, weights, {prepared.data()}});
    const AnyView<Dim> in(x.view()), out(y.view()), from_out(dy.view());
    AnyView<Dim> to_in(dx.view());
    op.forward({ctx, Mode::train, needs.choice, {&in, 1}, weights, out, {}, {scratch.data()}, {prepared.data()}, {}});
    std::array<std::span<float>, 2> gradients = {dw.span(), db.span()};
    if (!want_dx) to_in.data = nullptr;
    if (!want_dw) gradients = {};
    op.backward({ctx,
                 Mode::train,
                 needs.choice,
                 {&in, 1},
                 weights,
                 out,
                 from_out,
                 {&to_in, 1},
                 gradients,
                 {},
                 {scratch.data()},
                 {},
                 false,
                 {prepared.data()}});
    ctx.synchronize();
  }
};

template <class T, int Dim> void check(const Setting<Dim>& c) {
  INFO(c.op.name() << " " << text(c.x) << " of " << text(dtype_of<T>()));
  Both<T, Dim> both(c);
  both.on_cpu();
  both.on_card();
  const double tolerance = std::is_same_v<T, float> ? 2e-6 : std::is_same_v<T, half> ? 2e-3 : 1.2e-2;
  CHECK(both.y.error(both.ctx) <= tolerance);
  CHECK(both.dx.error(both.ctx) <= tolerance);
  CHECK(both.dw.error(both.ctx) <= tolerance);
  CHECK(both.db.error(both.ctx) <= 2e-6);   // float sums, whatever is stored
}
template <int Dim> void check_all(const std::vector<Setting<Dim>>& cases) {
  for (const auto& c : cases) check<float>(c), check<bf16>(c), check<half>(c);
}

}   // namespace

TEST_CASE("convolutions of the card are the CPU's, 3-D") {
  check_all<3>({
      {{.in_channels = 3, .out_channels = 5}, {2, 3, {4, 5, 3}}},
      {{.in_channels = 8, .out_channels = 16, .stride = 2}, {2, 8, {5, 4, 6}}, false, 8, 8},   // pitches that the library takes
      {{.in_channels = 1, .out_channels = 4, .kernel = 5, .padding = 2}, {1, 1, {5, 4, 7}}},
      {{.in_channels = 33, .out_channels = 2, .kernel = 1, .padding = 0},
       {1, 33, {3, 4, 2}},
       true,
       1,
       2},   // and that it does not
      {{.in_channels = 33, .out_channels = 40, .kernel = {1, 3, 3}, .padding = {0, 1, 1}}, {1, 33, {2, 3, 4}}},
      {{.in_channels = 4, .out_channels = 6, .padding = 2, .dilation = 2, .groups = 2}, {1, 4, {4, 3, 5}}},
  });
}
TEST_CASE("transposed convolutions of the card are the CPU's, 3-D") {
  check_all<3>({
      {{.in_channels = 4, .out_channels = 3, .kernel = 2, .stride = 2, .padding = 0, .transposed = true}, {2, 4, {3, 2, 3}}},
      {{.in_channels = 7, .out_channels = 8, .kernel = 2, .stride = 2, .padding = 0, .transposed = true},
       {1, 7, {2, 3, 2}},
       true,
       3,
       5},
      {{.in_channels = 3, .out_channels = 2, .stride = 2, .output_padding = 1, .transposed = true}, {1, 3, {3, 2, 4}}},
      {{.in_channels = 4, .out_channels = 4, .stride = {1, 2, 2}, .groups = 4, .transposed = true}, {1, 4, {2, 3, 3}}, false},
  });
}
TEST_CASE("convolutions of the card are the CPU's, 2-D") {
  check_all<2>({
      {{.in_channels = 3, .out_channels = 8, .stride = {2, 1}}, {2, 3, {7, 6}}, true, 5, 0},
      {{.in_channels = 8, .out_channels = 4, .kernel = 2, .stride = 2, .padding = 0, .transposed = true}, {2, 8, {3, 4}}},
      {{.in_channels = 3, .out_channels = 3, .groups = 3}, {1, 3, {6, 5}}, false},
  });
}

TEST_CASE("gradients that nobody wants are not touched") {
  const Setting<3> c{{.in_channels = 2, .out_channels = 3}, {1, 2, {3, 3, 3}}};
  Both<float, 3> both(c);
  both.on_cpu();
  both.on_card(false, false);
  CHECK(both.y.error(both.ctx) <= 2e-6);
  CHECK(both.dx.error(both.ctx) == 1e31);   // NaN still
  std::fill(both.dw.host.begin(), both.dw.host.end(), 1.0), std::fill(both.db.host.begin(), both.db.host.end(), 1.0);
  CHECK(both.dw.error(both.ctx) == 0);
  CHECK(both.db.error(both.ctx) == 0);
}

TEST_CASE("sums over many voxels keep their digits, and their bits") {
  const Setting<3> c{{.in_channels = 1, .out_channels = 9, .kernel = 1, .padding = 0}, {1, 1, {20, 21, 9}}};
  Both<float, 3> one(c), other(c);
  one.on_cpu(), one.on_card(), other.on_card();
  CHECK(one.db.error(one.ctx) <= 1e-6);
  CHECK(one.dw.error(one.ctx) <= 1e-6);
  other.db.host.clear();
  std::vector<float> a(9), b(9);
  cuda::copy_to_host(one.ctx.stream(), a.data(), one.db.memory.data(), 36);
  cuda::copy_to_host(other.ctx.stream(), b.data(), other.db.memory.data(), 36);
  one.ctx.synchronize(), other.ctx.synchronize();
  CHECK(a == b);
}
