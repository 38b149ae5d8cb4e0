// Plain loops in double, written for reading: what the kernels must equal. Nothing here shares code or order with the library.
#pragma once
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include <ctseg/core/shape.hpp>

namespace ctseg::test {

/// A value in logical order N, C, D, H, W; 2-D ones have D = 1.
struct Volume5 {
  Index n = 1, c = 1, d = 1, h = 1, w = 1;
  std::vector<double> v{};

  Volume5() = default;
  Volume5(Index n_, Index c_, Index d_, Index h_, Index w_)
      : n(n_), c(c_), d(d_), h(h_), w(w_), v(static_cast<std::size_t>(n * c * d * h * w)) {}
  template <int Dim> explicit Volume5(const Shape<Dim>& s)
      : Volume5(s.n, s.c, Dim == 3 ? s.space[0] : 1, s.space[Dim - 2], s.space[Dim - 1]) {}

  double& operator()(Index i, Index channel, Index z, Index y, Index x) {
    return v[static_cast<std::size_t>((((i * c + channel) * d + z) * h + y) * w + x)];
  }
  double operator()(Index i, Index channel, Index z, Index y, Index x) const {
    return const_cast<Volume5&>(*this)(i, channel, z, y, x);
  }
  bool inside(Index z, Index y, Index x) const { return z >= 0 && y >= 0 && x >= 0 && z < d && y < h && x < w; }
  template <class F> void each(F f) const {
    for (Index i = 0; i < n; ++i)
      for (Index channel = 0; channel < c; ++channel)
        for (Index z = 0; z < d; ++z)
          for (Index y = 0; y < h; ++y)
            for (Index x = 0; x < w; ++x) f(i, channel, z, y, x);
  }
};

using Three = std::array<Index, 3>;
struct Taps {
  Three kernel, stride, padding, dilation, extra;   // extra: output padding of a transposed convolution
  Index groups = 1;

  Index at(std::size_t axis, Index result, Index tap) const {
    return result * stride[axis] + tap * dilation[axis] - padding[axis];
  }
};
/// Weights by (to, from, z, y, x), in any memory order.
template <class W>
Volume5 conv_reference(const Volume5& x, Index out_channels, W weight, const std::vector<double>& bias, const Taps& t) {
  const auto extent = [&](std::size_t a, Index n) {
    return (n + 2 * t.padding[a] - t.dilation[a] * (t.kernel[a] - 1) - 1) / t.stride[a] + 1;
  };
  Volume5 y(x.n, out_channels, extent(0, x.d), extent(1, x.h), extent(2, x.w));
  y.each([&](Index n, Index o, Index z, Index r, Index c) {
    double sum = bias.empty() ? 0 : bias[static_cast<std::size_t>(o)];
    for (Index i = 0; i < x.c; ++i)
      for (Index a = 0; a < t.kernel[0]; ++a)
        for (Index b = 0; b < t.kernel[1]; ++b)
          for (Index e = 0; e < t.kernel[2]; ++e) {
            const Index zi = t.at(0, z, a), ri = t.at(1, r, b), ci = t.at(2, c, e);
            const bool joined = i * t.groups / x.c == o * t.groups / out_channels;
            if (joined && x.inside(zi, ri, ci)) sum += weight(o, i, a, b, e) * x(n, i, zi, ri, ci);
          }
    y(n, o, z, r, c) = sum;
  });
  return y;
}

/// Every input voxel is spread over the kernel's footprint.
template <class W> Volume5 conv_transposed_reference(const Volume5& x, Index out_channels, W weight,
                                                     const std::vector<double>& bias, const Taps& t) {
  const auto extent = [&](std::size_t a, Index n) {
    return (n - 1) * t.stride[a] - 2 * t.padding[a] + t.dilation[a] * (t.kernel[a] - 1) + t.extra[a] + 1;
  };
  Volume5 y(x.n, out_channels, extent(0, x.d), extent(1, x.h), extent(2, x.w));
  if (!bias.empty())
    y.each([&](Index n, Index o, Index z, Index r, Index c) { y(n, o, z, r, c) = bias[static_cast<std::size_t>(o)]; });
  x.each([&](Index n, Index i, Index z, Index r, Index c) {
    for (Index o = 0; o < out_channels; ++o)
      for (Index a = 0; a < t.kernel[0]; ++a)
        for (Index b = 0; b < t.kernel[1]; ++b)
          for (Index e = 0; e < t.kernel[2]; ++e) {
            const Index zo = t.at(0, z, a), ro = t.at(1, r, b), co = t.at(2, c, e);
            const bool joined = i * t.groups / x.c == o * t.groups / out_channels;
            if (joined && y.inside(zo, ro, co)) y(n, o, zo, ro, co) += weight(o, i, a, b, e) * x(n, i, z, r, c);
          }
  });
  return y;
}

/// Mean and biased variance in two passes, of `width` channels from `first` on: of one image, or of all.
struct Moments {
  double mean = 0, variance = 0, count = 0;
};
inline Moments moments(const Volume5& x, Index first, Index image, Index width = 1) {   // image -1: all of them
  Moments m;
  x.each([&](Index n, Index c, Index z, Index y, Index w) {
    if (c >= first && c < first + width && (image < 0 || n == image)) m.mean += x(n, c, z, y, w), m.count += 1;
  });
  m.mean /= m.count;
  x.each([&](Index n, Index c, Index z, Index y, Index w) {
    if (c >= first && c < first + width && (image < 0 || n == image)) m.variance += std::pow(x(n, c, z, y, w) - m.mean, 2);
  });
  m.variance /= m.count;
  return m;
}

inline Volume5 max_pool_reference(const Volume5& x, Three k, Three s) {
  Volume5 y(x.n, x.c, (x.d - k[0]) / s[0] + 1, (x.h - k[1]) / s[1] + 1, (x.w - k[2]) / s[2] + 1);
  y.each([&](Index n, Index o, Index z, Index r, Index c) {
    double best = -std::numeric_limits<double>::infinity();
    for (Index a = 0; a < k[0]; ++a)
      for (Index b = 0; b < k[1]; ++b)
        for (Index e = 0; e < k[2]; ++e) best = std::max(best, x(n, o, z * s[0] + a, r * s[1] + b, c * s[2] + e));
    y(n, o, z, r, c) = best;
  });
  return y;
}

}   // namespace ctseg::test
