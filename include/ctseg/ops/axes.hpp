// One number per spatial axis, or one for all of them.
#pragma once
#include <algorithm>
#include <initializer_list>

#include "../core/shape.hpp"
#include "window.hpp"

namespace ctseg {

/// Kernel sizes, strides, paddings and dilations in order z, y, x (or y, x): `.kernel = 3` or `.kernel = {1, 3, 3}`.
template <int Dim> struct Axes {
  std::array<Index, Dim> value{};

  static constexpr Index kMost = Index{1} << 20;   // no volume is that long; sums and products of a few of them do not overflow

  Axes(Index all) { value.fill(checked(all)); }
  Axes(std::initializer_list<Index> each) {
    if (each.size() != Dim)
      throw Error(Code::bad_argument, "axes",
                  text(each.size(), " numbers for ", Dim, " axes. Hint: give one for all, or one each."));
    std::copy(each.begin(), each.end(), value.begin());
    for (const Index v : value) checked(v);
  }
  Axes(const std::array<Index, Dim>& each) : value(each) {
    for (const Index v : value) checked(v);
  }

  Index operator[](int d) const { return value[static_cast<std::size_t>(d)]; }
  Index product() const {
    Index p = 1;
    for (Index v : value) p *= v;
    return p;
  }
  bool operator==(const Axes&) const = default;

 private:
  static Index checked(Index v) {
    if (v > kMost || v < -kMost) throw Error(Code::bad_argument, "axes", text(v, "; must be at most ", kMost, "."));
    return v;
  }
};
template <int Dim> std::string text(const Axes<Dim>& a) {
  std::string out = text(a[0]);
  for (int d = 1; d < Dim; ++d) out.append("x").append(text(a[d]));
  return out;
}

/// How a window slides over an axis: taps lie `dilation` apart, results `stride` apart.
template <int Dim> struct Sliding { Axes<Dim> kernel = 1, stride = 1, padding = 0, dilation = 1; };

/// The three-axis window of a 2-D or 3-D op.
template <int Dim>
ConvWindow make_window(const std::array<Index, Dim>& input, const std::array<Index, Dim>& output, const Sliding<Dim>& s) {
  ConvWindow w{};
  for (std::size_t d = 0; d < Dim; ++d) {
    const std::size_t to = d + 3 - Dim;
    w.input[to] = input[d];
    w.output[to] = output[d];
    w.kernel[to] = s.kernel.value[d];
    w.stride[to] = s.stride.value[d];
    w.padding[to] = s.padding.value[d];
    w.dilation[to] = s.dilation.value[d];
  }
  return w;
}

}   // namespace ctseg
