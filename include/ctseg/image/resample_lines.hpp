// Resampling one axis after the other: cubic B-splines, whose filter runs along whole lines, and area means. Lines are worked
// on in bundles that lie beside each other in memory, so that the recursion of the filter is vectorised over the bundle.
#pragma once
#include "resample_rows.hpp"

namespace ctseg::resampling {

constexpr Index kLines = 32;    // lines in a bundle: two cache lines of floats
constexpr Index kMargin = 12;   // voxels that a spline goes on beyond the border, SciPy's number; its error there is 1e-7

/// One axis: out[i] = sum over k of weight[i][k] * in[first[i] + k], of the spline's coefficients where `spline` says so.
struct LineMap {
  Index from = 0, taps = 1;
  bool spline = false;
  std::vector<Index> first{};   // counted from the margin's begin
  std::vector<double> weights{};

  Index to() const { return std::ssize(first); }
};

/// The four coefficients that the spline at coordinate c reads.
struct CubicTap {
  Index first;   // counted from the margin's begin
  std::array<double, 4> weight;
};
inline CubicTap cubic_tap(double c, Index n) {
  c = std::clamp(c, 1.5 - double(kMargin), double(n + kMargin) - 2.5);
  const double f = std::floor(c), t = c - f, s = 1 - t;
  return {static_cast<Index>(f) - 1 + kMargin,
          {s * s * s / 6, 2.0 / 3 - t * t * (2 - t) / 2, 2.0 / 3 - s * s * (2 - s) / 2, t * t * t / 6}};
}

/// The map of a table of taps: cubic, or linear and nearest as the table is.
template <class = void> LineMap line_map(const AxisTaps& axis, Index from, bool cubic) {
  LineMap map{.from = from, .taps = cubic ? 4 : 2, .spline = cubic};
  for (std::size_t i = 0; i < axis.low.size(); ++i)
    if (cubic) {
      const CubicTap tap = cubic_tap(axis.coordinate[i], from);
      map.first.push_back(tap.first);
      map.weights.insert(map.weights.end(), tap.weight.begin(), tap.weight.end());
    } else {
      map.first.push_back(axis.low[i] + kMargin);
      map.weights.insert(map.weights.end(), {1 - axis.weight[i], axis.weight[i]});
    }
  return map;
}

/// Means over the voxels that an output voxel touches, PyTorch's adaptive average and MONAI's Resize(mode="area").
template <class = void> LineMap area_map(Index from, Index to) {
  LineMap map{.from = from};
  const sampling::AxisPair pair{from, to};
  for (Index i = 0; i < to; ++i) map.taps = std::max(map.taps, sampling::area_span(pair, i).count());
  for (Index i = 0; i < to; ++i) {
    const sampling::Span span = sampling::area_span(pair, i);
    map.first.push_back(span.begin + kMargin);
    for (Index k = 0; k < map.taps; ++k) map.weights.push_back(k < span.count() ? 1 / static_cast<double>(span.count()) : 0);
  }
  return map;
}

/// A bundle: line[i * kLines + l] is voxel i of line l. Values become spline coefficients in place, the margins included.
/// Source    Unser, Splines: a perfect fit for signal and image processing, 1999; the start and end are exact for a border that
///           goes on for ever.
template <class = void> void to_coefficients(double* __restrict bundle, Index n) {
  const double pole = std::sqrt(3.0) - 2;
  double* const line = bundle + kMargin * kLines;
  double low[kLines], high[kLines];   // the border's values
  std::copy_n(line, kLines, low);
  std::copy_n(line + (n - 1) * kLines, kLines, high);
  for (Index l = 0; l < kLines; ++l) line[l] = 6 * line[l] + pole * (6 * low[l] / (1 - pole));
  for (Index i = 1; i < n; ++i) {
    double* __restrict const at = line + i * kLines;
    const double* __restrict const before = at - kLines;
    for (Index l = 0; l < kLines; ++l) at[l] = 6 * at[l] + pole * before[l];
  }
  double* const last = line + (n - 1) * kLines;
  for (Index l = 0; l < kLines; ++l) {
    const double far = 6 * high[l] / (1 - pole);
    last[l] = -pole * (far / (1 - pole) + (last[l] - far) / (1 - pole * pole));
  }
  for (Index i = n - 2; i >= 0; --i) {
    double* __restrict const at = line + i * kLines;
    const double* __restrict const after = at + kLines;
    for (Index l = 0; l < kLines; ++l) at[l] = pole * (after[l] - at[l]);
  }
  for (Index i = 1; i <= kMargin; ++i)   // beyond the border coefficients tend to its value
    for (Index l = 0; l < kLines; ++l) {
      line[l - i * kLines] = low[l] + pole * (line[l - (i - 1) * kLines] - low[l]);
      last[l + i * kLines] = high[l] + pole * (last[l + (i - 1) * kLines] - high[l]);
    }
}

/// One output voxel of every line of the bundle.
template <class = void> void weigh(const double* __restrict bundle, const LineMap& map, Index i, double* __restrict out) {
  const double* __restrict at = bundle + map.first[static_cast<std::size_t>(i)] * kLines;
  const double* weight = map.weights.data() + i * map.taps;
  if (map.taps == 4) {
    const double a = weight[0], b = weight[1], c = weight[2], d = weight[3];
    for (Index l = 0; l < kLines; ++l)
      out[l] = a * at[l] + b * at[l + kLines] + c * at[l + 2 * kLines] + d * at[l + 3 * kLines];
    return;
  }
  std::fill_n(out, kLines, 0.0);
  for (Index k = 0; k < map.taps; ++k, at += kLines)
    if (const double w = weight[k]; w != 0)   // a neighbour without weight is not read
      for (Index l = 0; l < kLines; ++l) out[l] += w * at[l];
}

/// The values of a grid, on the way from one axis to the next.
template <class T> struct Lattice {
  Xyz<Index> shape;
  std::vector<T> voxels;
};

/// `count` lines that start at from and to: voxels of a line are from_step and to_step apart, lines from_next and to_next.
template <class T> struct Bundle {
  const T* from;
  T* to;
  Index count, from_step, to_step, from_next, to_next;
};
template <class T> void resample_bundle(const Bundle<T>& b, const LineMap& map, std::vector<double>& buffer) {
  buffer.resize(static_cast<std::size_t>((map.from + 2 * kMargin + map.taps) * kLines));
  double* const line = buffer.data() + kMargin * kLines;
  for (Index i = 0; i < map.from; ++i)
    for (Index l = 0; l < b.count; ++l) line[i * kLines + l] = static_cast<double>(b.from[i * b.from_step + l * b.from_next]);
  if (map.spline) to_coefficients(buffer.data(), map.from);
  double out[kLines];
  for (Index i = 0; i < map.to(); ++i) {
    weigh(buffer.data(), map, i, out);
    for (Index l = 0; l < b.count; ++l) b.to[i * b.to_step + l * b.to_next] = static_cast<T>(out[l]);
  }
}

/// One axis (0 is x) of all lines. Bundles lie side by side along x; those of the x axis itself are rows.
template <class T> Lattice<T> resample_axis(const T* from, Xyz<Index> shape, int axis, const LineMap& map, Executor* executor) {
  Lattice<T> out{shape, {}};
  (axis == 0 ? out.shape.x : axis == 1 ? out.shape.y : out.shape.z) = map.to();
  out.voxels = mask::zeros<T>(out.shape.x * out.shape.y * out.shape.z, executor);
  T* const to = out.voxels.data();
  const Index slice = shape.x * shape.y, to_slice = out.shape.x * out.shape.y;
  const Index tasks = axis == 2 ? shape.y : shape.z;
  for_tasks(executor, tasks, [&](Index t) {
    std::vector<double> buffer;
    if (axis == 0)
      for (Index y = 0; y < shape.y; y += kLines)
        resample_bundle<T>({from + t * slice + y * shape.x, to + t * to_slice + y * out.shape.x, std::min(kLines, shape.y - y),
                            1, 1, shape.x, out.shape.x},
                           map, buffer);
    for (Index x = 0; axis > 0 && x < shape.x; x += kLines) {
      const Index count = std::min(kLines, shape.x - x);
      if (axis == 1)
        resample_bundle<T>({from + t * slice + x, to + t * to_slice + x, count, shape.x, shape.x, 1, 1}, map, buffer);
      else
        resample_bundle<T>({from + t * shape.x + x, to + t * shape.x + x, count, slice, to_slice, 1, 1}, map, buffer);
    }
  });
  return out;
}

/// The three axes, those first that shrink most. An axis whose map is empty stays as it is.
template <class T>
Lattice<T> resample_lines(const T* from, Xyz<Index> shape, const std::array<LineMap, 3>& maps, Executor* executor) {
  std::vector<int> order;
  for (int axis = 0; axis < 3; ++axis)
    if (maps[static_cast<std::size_t>(axis)].to() > 0) order.push_back(axis);
  const auto growth = [&](int axis) {
    const LineMap& m = maps[static_cast<std::size_t>(axis)];
    return static_cast<double>(m.to()) / static_cast<double>(m.from);
  };
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return growth(a) < growth(b); });
  Lattice<T> at{shape, {}};
  if (order.empty()) at.voxels.assign(from, from + shape.x * shape.y * shape.z);
  for (const int axis : order) {
    Lattice<T> next = resample_axis(at.voxels.empty() ? from : at.voxels.data(), at.shape, axis,
                                    maps[static_cast<std::size_t>(axis)], executor);
    at = std::move(next);
  }
  return at;
}

}   // namespace ctseg::resampling
