// The SIMD engines of convolution against plain double loops: NaN beside the channels and an unmapped page behind every array
// catch stray reads, canaries stray writes.
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <limits>
#include <vector>

#include <doctest/doctest.h>
#include <ctseg/ops/cpu/simd/conv.hpp>

namespace ctseg::simd::test {

/// Floats that end where an unmapped page begins.
class Guarded {
 public:
  explicit Guarded(Index count, float value = 0) : size(static_cast<std::size_t>(count)) {
    const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    bytes_ = (size * sizeof(float) + page - 1) / page * page + page;
    base_ = static_cast<char*>(mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    REQUIRE(base_ != MAP_FAILED);
    mprotect(base_ + bytes_ - page, page, PROT_NONE);
    data = reinterpret_cast<float*>(base_ + bytes_ - page) - size;
    for (std::size_t i = 0; i < size; ++i) data[i] = value;
  }
  Guarded(const Guarded&) = delete;
  ~Guarded() { munmap(base_, bytes_); }
  float& operator[](Index i) { return data[i]; }

  std::size_t size, bytes_ = 0;
  char* base_ = nullptr;
  float* data = nullptr;
};

struct Numbers {
  std::uint64_t state;
  float operator()() {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<float>(state >> 40) / 8388608.0f - 1.0f;
  }
};

inline Index voxels(const std::array<Index, 3>& e) { return e[0] * e[1] * e[2]; }
inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN(), kCanary = 12345.0f;

/// Rows of `channels` numbers, `pitch` apart; what lies between is `gap`.
inline void fill_rows(Guarded& a, Index pitch, Index channels, Numbers& next, float gap) {
  for (Index i = 0; i < static_cast<Index>(a.size); ++i) a[i] = i % pitch < channels ? next() : gap;
}

/// f(o, i, tap) for every voxel o of the output side, i of the input side that meet.
template <class F> void for_pairs(const ConvWindow& w, F f) {
  for (Index o = 0; o < voxels(w.output); ++o)
    for (Index t = 0; t < w.taps(); ++t) {
      const Index at[3] = {o / w.output[2] / w.output[1], o / w.output[2] % w.output[1], o % w.output[2]};
      const Index tap[3] = {t / w.kernel[2] / w.kernel[1], t / w.kernel[2] % w.kernel[1], t % w.kernel[2]};
      Index row = 0;
      bool inside = true;
      for (std::size_t d = 0; d < 3; ++d) {
        const Index i = at[d] * w.stride[d] + tap[d] * w.dilation[d] - w.padding[d];
        inside = inside && i >= 0 && i < w.input[d];
        row = row * w.input[d] + i;
      }
      if (inside) f(o, row, t);
    }
}

inline bool close(double got, double want, double scale) { return std::abs(got - want) <= 1e-5 * scale; }
/// What eight points round more than six.
inline double blur(const std::optional<std::array<Tiling, 3>>& tiling) {
  return tiling && std::any_of(tiling->begin(), tiling->end(), [](Tiling t) { return inputs_of(t) == 8; }) ? 5 : 1;
}

struct Sizes {
  Index images = 1, from = 1, to = 1, gap_x = 0, gap_y = 0;
};

inline ConvPlan make_plan(const ConvWindow& window, Side side, const Sizes& s, Isa isa) {
  return {window, side, s.images, s.from, s.to, isa};
}

/// By the direct engine, or by Winograd's with these tiles.
inline void check_gather(const ConvPlan& plan, const Sizes& s, bool flipped, bool with_bias,
                         const std::optional<std::array<Tiling, 3>>& tiling = {}) {
  Numbers next{static_cast<std::uint64_t>(plan.from * 131 + plan.to)};
  const Index x_pitch = s.from + s.gap_x, y_pitch = s.to + s.gap_y, taps = plan.window.taps();
  const Index xs = voxels(plan.source_extent()), ys = voxels(plan.result_extent());
  Guarded x((s.images * xs - 1) * x_pitch + s.from), y((s.images * ys - 1) * y_pitch + s.to, kCanary);
  Guarded w(taps * s.from * s.to), b(s.to);
  const WinogradPlan winograd_plan{plan, tiling.value_or(std::array<Tiling, 3>{})};
  Guarded packed((tiling ? winograd_packed_bytes(winograd_plan) : gather_packed_bytes(plan)) / Index{sizeof(float)}, kNaN);
  Guarded scratch(tiling ? winograd_scratch_bytes(winograd_plan) / Index{sizeof(float)} : 0, kNaN);
  fill_rows(x, x_pitch, s.from, next, kNaN);
  fill_rows(w, 1, 1, next, 0);
  fill_rows(b, 1, 1, next, 0);
  for (Index i = 0; i < static_cast<Index>(y.size); ++i)
    if (i % y_pitch < s.to) y[i] = kNaN;
  ThreadPool pool(2);
  const PackBuffers pack{w.data, flipped, packed.data};
  const GatherBuffers buffers{x.data, x_pitch, packed.data, with_bias ? b.data : nullptr, y.data, y_pitch};
  if (tiling) {
    winograd_pack(pool, winograd_plan, pack);
    winograd(pool, winograd_plan, buffers, scratch.data);
  } else {
    gather_pack(pool, plan, pack);
    gather(pool, plan, buffers);
  }

  std::vector<double> want(static_cast<std::size_t>(s.images * ys * s.to)), scale(want.size(), 1.0);
  for (std::size_t i = 0; i < want.size(); ++i) want[i] = with_bias ? b[static_cast<Index>(i) % s.to] : 0.0;
  for_pairs(plan.window, [&](Index o, Index i, Index t) {
    const Index to_row = plan.side == Side::output ? o : i, from_row = plan.side == Side::output ? i : o;
    for (Index n = 0; n < s.images; ++n)
      for (Index ci = 0; ci < s.from; ++ci)
        for (Index co = 0; co < s.to; ++co) {
          const double weight = w[t * s.from * s.to + (flipped ? co * s.from + ci : ci * s.to + co)];
          const double product = weight * x[(n * xs + from_row) * x_pitch + ci];
          const auto at = static_cast<std::size_t>((n * ys + to_row) * s.to + co);
          want[at] += product, scale[at] += std::abs(product);
        }
  });
  if (tiling)   // a tile's results share their rounding
    std::fill(scale.begin(), scale.end(), blur(tiling) * *std::max_element(scale.begin(), scale.end()));
  int wrong = 0, stray = 0;
  for (Index i = 0; i < static_cast<Index>(y.size); ++i) {
    if (i % y_pitch >= s.to) {
      stray += y[i] != kCanary;
    } else {
      const auto at = static_cast<std::size_t>(i / y_pitch * s.to + i % y_pitch);
      wrong += !close(y[i], want[at], scale[at]);
    }
  }
  CHECK(wrong == 0);
  CHECK(stray == 0);
}

/// By the direct engine, or by Winograd's with these tiles.
inline void check_gradient(const ConvPlan& plan, const Sizes& s, const std::optional<std::array<Tiling, 3>>& tiling = {}) {
  Numbers next{static_cast<std::uint64_t>(plan.from * 17 + plan.to)};
  const Index x_pitch = s.from + s.gap_x, d_pitch = s.to + s.gap_y;
  const Index ds = voxels(plan.result_extent()), xs = voxels(plan.source_extent()), count = plan.window.taps() * s.from * s.to;
  Guarded x((s.images * xs - 1) * x_pitch + s.from), dy((s.images * ds - 1) * d_pitch + s.to), dw(count, 0.5f);
  const WinogradPlan winograd_plan{plan, tiling.value_or(std::array<Tiling, 3>{})};
  Guarded scratch(
      (tiling ? winograd_weights_scratch_bytes(winograd_plan) : weight_gradient_scratch_bytes(plan)) / Index{sizeof(float)},
      kNaN);
  fill_rows(x, x_pitch, s.from, next, kNaN);
  fill_rows(dy, d_pitch, s.to, next, kNaN);
  ThreadPool pool(2);
  const GradientBuffers buffers{x.data, x_pitch, dy.data, d_pitch, dw.data, scratch.data};
  tiling ? winograd_weights(pool, winograd_plan, buffers) : weight_gradient(pool, plan, buffers);
  std::vector<double> want(static_cast<std::size_t>(count), 0.5), scale(want.size(), 1.0);
  for_pairs(plan.window, [&](Index o, Index i, Index t) {
    const Index d_row = plan.side == Side::output ? o : i, x_row = plan.side == Side::output ? i : o;
    for (Index n = 0; n < s.images; ++n)
      for (Index ci = 0; ci < s.from; ++ci)
        for (Index co = 0; co < s.to; ++co) {
          const double product = double(x[(n * xs + x_row) * x_pitch + ci]) * dy[(n * ds + d_row) * d_pitch + co];
          const auto at = static_cast<std::size_t>((t * s.from + ci) * s.to + co);
          want[at] += product, scale[at] += std::abs(product);
        }
  });
  if (tiling)   // the taps share their rounding
    std::fill(scale.begin(), scale.end(), blur(tiling) * *std::max_element(scale.begin(), scale.end()));
  int wrong = 0;
  for (std::size_t i = 0; i < want.size(); ++i) wrong += !close(dw.data[i], want[i], scale[i]);
  CHECK(wrong == 0);
}

inline std::vector<Isa> isas() {
  std::vector<Isa> all;
  for (const Isa isa : kIsas)
    if (available(isa)) all.push_back(isa);
  return all;
}

struct Geometry {
  Index kernel = 1, stride = 1, padding = 0, dilation = 1;
};
/// The window of a convolution over `input`; empty where the kernel does not fit.
inline bool make_window(ConvWindow& w, const std::array<Index, 3>& input, const Geometry& g) {
  w.input = input;
  for (std::size_t d = 0; d < 3; ++d) {
    w.kernel[d] = g.kernel, w.stride[d] = g.stride, w.padding[d] = g.padding, w.dilation[d] = g.dilation;
    const Index room = input[d] + 2 * g.padding - g.dilation * (g.kernel - 1) - 1;
    if (room < 0) return false;
    w.output[d] = room / g.stride + 1;
  }
  return true;
}

}   // namespace ctseg::simd::test
