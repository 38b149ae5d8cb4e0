// One convolution on the card beside plain loops in double: results into poisoned channel ranges of wider arrays, gradients of
// weights on top of ones.
#pragma once
#include <doctest/doctest.h>

#include <cmath>
#include <ctseg/cuda.hpp>
#include <ctseg/ops/cuda/conv_own.hpp>

namespace ctseg::test {

/// Values on the card for as long as a test.
template <class T> struct OnCard {
  explicit OnCard(std::vector<T> of) : values(std::move(of)), memory(bytes()) {
    cuda::copy_to_device(nullptr, memory.data(), values.data(), bytes());
  }
  Index bytes() const { return std::ssize(values) * Index{sizeof(T)}; }
  T* data() { return reinterpret_cast<T*>(memory.data()); }
  const std::vector<T>& fetch() {
    cuda::copy_to_host(nullptr, values.data(), memory.data(), bytes());
    cuda::synchronize(nullptr);
    return values;
  }
  std::vector<T> values;
  Memory<Cuda> memory;
};

inline float number(Index i) {
  const auto u = static_cast<std::uint64_t>(i + 1) * 0x9E3779B97F4A7C15u;
  return static_cast<float>(u >> 40) / 8388608.f - 1;
}

struct OwnConvCase {
  Index n = 1, in = 1, out = 1;
  std::array<Index, 3> space{5, 6, 7};   // of x
  std::array<Index, 3> kernel{3, 3, 3}, stride{1, 1, 1}, padding{1, 1, 1}, dilation{1, 1, 1};
  bool transposed = false;
  Index output_padding = 0, gap = 0;   // gap: channels of others in the same arrays
  bool tf32 = false;
};

inline ConvProblem problem_of(const OwnConvCase& c) {
  ConvProblem p{{}, c.transposed ? Side::input : Side::output, c.n, c.in, c.out};
  ConvWindow& w = p.window;
  w.kernel = c.kernel, w.stride = c.stride, w.padding = c.padding, w.dilation = c.dilation;
  (c.transposed ? w.output : w.input) = c.space;
  for (std::size_t d = 0; d < 3; ++d) {
    const Index reach = c.dilation[d] * (c.kernel[d] - 1) + 1;
    if (c.transposed)
      w.input[d] = (c.space[d] - 1) * c.stride[d] - 2 * c.padding[d] + reach + (c.stride[d] > 1 ? c.output_padding : 0);
    else
      w.output[d] = (c.space[d] + 2 * c.padding[d] - reach) / c.stride[d] + 1;
  }
  return p;
}

/// f(voxel of the input side, voxel of the output side, tap), images of both one after the other.
template <class F> void for_pairs(const ConvProblem& p, F f) {
  const ConvWindow& w = p.window;
  const auto voxel = [](Index n, const std::array<Index, 3>& at, const std::array<Index, 3>& of) {
    return ((n * of[0] + at[0]) * of[1] + at[1]) * of[2] + at[2];
  };
  std::array<Index, 3> o{}, t{}, i{};
  for (Index n = 0; n < p.images; ++n)
    for (o[0] = 0; o[0] < w.output[0]; ++o[0])
      for (o[1] = 0; o[1] < w.output[1]; ++o[1])
        for (o[2] = 0; o[2] < w.output[2]; ++o[2])
          for (t[0] = 0; t[0] < w.kernel[0]; ++t[0])
            for (t[1] = 0; t[1] < w.kernel[1]; ++t[1])
              for (t[2] = 0; t[2] < w.kernel[2]; ++t[2]) {
                bool inside = true;
                for (std::size_t d = 0; d < 3; ++d) {
                  i[d] = o[d] * w.stride[d] + t[d] * w.dilation[d] - w.padding[d];
                  inside = inside && i[d] >= 0 && i[d] < w.input[d];
                }
                if (inside) f(voxel(n, i, w.input), voxel(n, o, w.output), voxel(0, t, w.kernel));
              }
}

/// An activation: a channel range of a wider array on the card, values of which nobody else may change.
template <class T> struct Activation {
  Activation(Index n, const std::array<Index, 3>& space, Index c, Index gap, bool poisoned)
      : card(make(n * space[0] * space[1] * space[2], c + gap, poisoned)),
        rows(n * space[0] * space[1] * space[2]),
        c(c),
        gap(gap) {
    array = {reinterpret_cast<std::byte*>(card.data() + first()), n, c, space, c + gap, dtype_of<T>()};
  }
  static std::vector<T> make(Index count, Index pitch, bool poisoned) {
    std::vector<T> v;
    for (Index i = 0; i < count * pitch; ++i) v.push_back(T(poisoned ? NAN : number(i)));
    return v;
  }
  Index first() const { return gap / 2; }
  double at(Index row, Index channel) const {
    return static_cast<double>(static_cast<float>(card.values[static_cast<std::size_t>(row * (c + gap) + first() + channel)]));
  }
  OnCard<T> card;
  Index rows, c, gap;
  cuda::Array array;
};

/// Of all values the worst |got - want| beyond `relative` |want|, over the largest |want|.
struct Worst {
  double relative, off = 0, largest = 1e-30;
  void add(double got, double want) {
    const double d = std::abs(got - want) - relative * std::abs(want);
    off = std::max(off, d == d ? d : 1e30), largest = std::max(largest, std::abs(want));
  }
  double value() const { return off / largest; }
};

template <class T> double rounding() { return std::is_same_v<T, bf16> ? 0x1p-8 : std::is_same_v<T, half> ? 0x1p-11 : 0x1p-23; }

template <class T> struct OwnConvRun {
  explicit OwnConvRun(const OwnConvCase& c)
      : problem(problem_of(c)),
        x(c.n, c.space, c.in, c.gap, false),
        dx(c.n, c.space, c.in, c.gap, true),
        y(c.n, c.transposed ? problem.window.input : problem.window.output, c.out, c.gap, true),
        dy(c.n, c.transposed ? problem.window.input : problem.window.output, c.out, c.gap, false),
        w(weights(problem.window.taps() * c.in * c.out)),
        bias(weights(c.out)),
        dw(std::vector<float>(w.values.size(), 1.f)),
        db(std::vector<float>(static_cast<std::size_t>(c.out), 1.f)),
        tf32(c.tf32),
        transposed(c.transposed) {}

  cuda::OwnConv call(Activation<T>& of_x, Activation<T>& of_y) {
    return {problem, of_x.array, of_y.array, w.data(), bias.data(), tf32};
  }
  Worst worst() const { return {rounding<T>()}; }

  void check_forward(double tolerance) {
    std::vector<double> want(static_cast<std::size_t>(y.rows * y.c));
    for (Index r = 0; r < y.rows; ++r)
      for (Index o = 0; o < y.c; ++o)
        want[static_cast<std::size_t>(r * y.c + o)] = static_cast<double>(bias.values[static_cast<std::size_t>(o)]);
    for_pairs(problem, [&](Index i, Index o, Index tap) {
      const Index from = transposed ? o : i, to = transposed ? i : o;
      for (Index a = 0; a < x.c; ++a)
        for (Index b = 0; b < y.c; ++b) want[static_cast<std::size_t>(to * y.c + b)] += x.at(from, a) * weight(tap, a, b);
    });
    compare(y, want, tolerance);
  }
  void check_data_gradient(double tolerance) {
    std::vector<double> want(static_cast<std::size_t>(x.rows * x.c));
    for_pairs(problem, [&](Index i, Index o, Index tap) {
      const Index at_x = transposed ? o : i, at_y = transposed ? i : o;
      for (Index a = 0; a < x.c; ++a)
        for (Index b = 0; b < y.c; ++b) want[static_cast<std::size_t>(at_x * x.c + a)] += dy.at(at_y, b) * weight(tap, a, b);
    });
    compare(dx, want, tolerance);
  }
  void check_weight_gradient(double tolerance) {
    std::vector<double> want(w.values.size(), 1.0), want_b(bias.values.size(), 1.0);
    for_pairs(problem, [&](Index i, Index o, Index tap) {
      const Index at_x = transposed ? o : i, at_y = transposed ? i : o;
      for (Index a = 0; a < x.c; ++a)
        for (Index b = 0; b < y.c; ++b)
          want[static_cast<std::size_t>((tap * x.c + a) * y.c + b)] += x.at(at_x, a) * dy.at(at_y, b);
    });
    for (Index r = 0; r < dy.rows; ++r)
      for (Index o = 0; o < y.c; ++o) want_b[static_cast<std::size_t>(o)] += dy.at(r, o);
    Worst of_w{0}, of_b{0};
    dw.fetch(), db.fetch();
    for (std::size_t k = 0; k < want.size(); ++k) of_w.add(static_cast<double>(dw.values[k]), want[k]);
    for (std::size_t k = 0; k < want_b.size(); ++k) of_b.add(static_cast<double>(db.values[k]), want_b[k]);
    CHECK(of_w.value() <= tolerance);
    CHECK(of_b.value() <= 1e-5);
  }

  ConvProblem problem;
  Activation<T> x, dx, y, dy;
  OnCard<float> w, bias, dw, db;
  bool tf32, transposed;

 private:
  static std::vector<float> weights(Index count) {
    std::vector<float> v;
    for (Index i = 0; i < count; ++i) v.push_back(number(i + 77777));
    return v;
  }
  double weight(Index tap, Index a, Index b) const {   // as a tile holds it
    return static_cast<double>(static_cast<float>(T(w.values[static_cast<std::size_t>((tap * x.c + a) * y.c + b)])));
  }
  void compare(Activation<T>& got, const std::vector<double>& want, double tolerance) {
    got.card.fetch();
    Worst all = worst();
    bool untouched = true;
    for (Index r = 0; r < got.rows; ++r) {
      for (Index k = 0; k < got.c; ++k) all.add(got.at(r, k), want[static_cast<std::size_t>(r * got.c + k)]);
      for (Index k = -got.first(); k < got.c + got.gap - got.first(); ++k)
        if (k < 0 || k >= got.c) untouched = untouched && std::isnan(got.at(r, k));
    }
    CHECK(all.value() <= tolerance);
    CHECK(untouched);
  }
};

}   // namespace ctseg::test
