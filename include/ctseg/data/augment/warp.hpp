// One resampling pass: a map of coordinates, as many steps as it may be made of, and the table of taps that image and label
// share. Flips and quarter turns are recognised in the matrix and copy voxels.
#pragma once
#include <cmath>
#include <cstring>

#include "../../image/sampling_rules.hpp"
#include "patch.hpp"

namespace ctseg {

/// Beyond the border, as in PyTorch's grid_sample: the border voxel, the image mirrored at the voxel edge, or zeros
/// (PatchSource::outside, to be exact; zeros fade in over one voxel).
enum class Border { border, reflection, zeros };
inline std::string text(Border b) { return b == Border::border ? "border" : b == Border::reflection ? "reflection" : "zeros"; }

/// nearest (MONAI), or linear (nnU-Net): the label with the most weight among the eight neighbours, of two alike the nearest.
enum class LabelSampling { nearest, linear };
inline std::string text(LabelSampling l) { return l == LabelSampling::nearest ? "nearest" : "linear"; }

namespace augment {

/// An affine map of coordinates in order z, y, x. Not Eigen's: three loops compile in a tenth of the time.
struct Move {
  double at[3][4] = {{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}};

  double& operator()(int r, int c) { return at[r][c]; }
  double operator()(int r, int c) const { return at[r][c]; }
  /// First b, then a.
  friend Move operator*(const Move& a, const Move& b) {
    Move out;
    for (int r = 0; r < 3; ++r)
      for (int c = 0; c < 4; ++c) {
        out(r, c) = c == 3 ? a(r, 3) : 0;
        for (int k = 0; k < 3; ++k) out(r, c) += a(r, k) * b(k, c);
      }
    return out;
  }
};
inline Move scaling(double z, double y, double x) { return {{{z, 0, 0, 0}, {0, y, 0, 0}, {0, 0, x, 0}}}; }

/// Coordinates in order z, y, x about the middle of the patch: source = before * (after * target + offset(target)).
struct Warp {
  Move before{}, after{};
  const float* offsets = nullptr;   // voxels along z, then y, then x, each a patch; none: an affine map
  Border border = Border::zeros;
  LabelSampling labels = LabelSampling::nearest;
};

/// The map from target index to source index, without the offsets.
inline Move index_map(const Warp& warp, const Extent& size, const PatchSource& source) {
  Move to_middle, back;
  for (int d = 0; d < 3; ++d) {
    const auto k = static_cast<std::size_t>(d);
    const double middle = static_cast<double>(size[k] - 1) / 2;
    to_middle(d, 3) = -middle;
    back(d, 3) = middle + static_cast<double>(source.corner[k]);
  }
  return back * (warp.before * warp.after) * to_middle;
}

/// Copies, if every target voxel is a source voxel: where voxel 0 lies and how far apart its neighbours are.
struct Permutation {
  bool exact = false;
  Index first = 0;
  moves::Steps steps{};
};
inline Permutation permutation_of(const Move& map, const Extent& size, const Extent& source) {
  const Index stride[3] = {source[1] * source[2], source[2], 1};
  Permutation p{.steps = {size, {}, {size[1] * size[2], size[2]}}};
  for (int r = 0; r < 3; ++r) {
    const auto k = static_cast<std::size_t>(r);
    double low = map(r, 3), high = map(r, 3);
    for (int c = 0; c < 3; ++c) {
      const double m = map(r, c);
      if (m != 0 && m != 1 && m != -1) return {};
      const double reach = m * static_cast<double>(size[static_cast<std::size_t>(c)] - 1);
      (reach < 0 ? low : high) += reach;
      p.steps.step[static_cast<std::size_t>(c)] += static_cast<Index>(m) * stride[k];
    }
    if (low < 0 || high > static_cast<double>(source[k] - 1) || low != std::floor(low)) return {};
    p.first += static_cast<Index>(map(r, 3)) * stride[k];
  }
  p.exact = true;
  return p;
}

/// Mirrored at -1/2 and n - 1/2 as often as it takes.
inline double reflected(double c, double n) {
  const double period = 2 * n;
  double r = std::fmod(c + 0.5, period);
  if (r < 0) r += period;
  return (r < n ? r : period - r) - 0.5;
}

/// The rows of one pass, in pieces of kTile voxels: the piece below one in the next row reads almost the same pages of memory,
/// the rest of a long oblique row others.
class RowSampler {
 public:
  static constexpr Index kTile = 32;

  RowSampler(const Warp& warp, const Patch& patch, const PatchSource& source)
      : warp_(warp),
        source_(source),
        size_(patch.size),
        map_(index_map(warp, patch.size, source)),
        kernels_(kernels(patch.isa)) {
    constexpr std::size_t n = kTile;
    at_.resize(3 * n);
    numbers_.resize(4 * n);
    whole_.resize(2 * n);
    row_.extent = source.size;
    row_.stride = {source.size[1] * source.size[2], source.size[2], 1};
    for (std::size_t d = 0; d < 3; ++d) {
      row_.at[d] = at_.data() + d * n;
      row_.weight[d] = numbers_.data() + d * n;
    }
    row_.inside = numbers_.data() + 3 * n;
    row_.offset = whole_.data();
    row_.nearest = whole_.data() + n;
  }

  /// Target voxels first .. first + count of a row; count is at most kTile.
  void sample(const Extent& first, Index count, Patch& patch) {
    fades_ = place(first, count) && warp_.border == Border::zeros;
    kernels_.row_taps(row_, kTile);
    if (fades_) kernels_.row_inside(row_, kTile);
    const Index row = (first[0] * size_[1] + first[1]) * size_[2] + first[2];
    const Index from = voxels_of(source_.size), to = voxels_of(size_);
    for (Index c = 0; c < source_.channels; ++c) {
      float* values = patch.spare_image.data() + c * to + row;
      kernels_.trilinear(row_, source_.image + c * from, values, count);
      for (Index x = 0; fades_ && x < count; ++x)
        if (row_.inside[x] < 1) values[x] = source_.outside + row_.inside[x] * (values[x] - source_.outside);
    }
    if (!source_.label) return;
    std::uint8_t* labels = patch.spare_label.data() + row;
    if (warp_.labels == LabelSampling::linear) {
      for (Index x = 0; x < count; ++x) labels[x] = linear_label(x);
    } else {
      kernels_.row_nearest(row_, kTile);
      for (Index x = 0; x < count; ++x) labels[x] = source_.label[row_.nearest[x]];
      for (Index x = 0; fades_ && x < count; ++x) labels[x] = nearest_label(x);
    }
  }

 private:
  /// Coordinates of the voxels; true if one lies beyond the outer voxel centres.
  bool place(const Extent& first, Index count) {
    bool out = false;
    for (int d = 0; d < 3; ++d) {
      const auto k = static_cast<std::size_t>(d);
      double* at = at_.data() + d * kTile;
      const double start = map_(d, 3) + map_(d, 0) * static_cast<double>(first[0]) + map_(d, 1) * static_cast<double>(first[1]);
      kernels_.ramp({start, map_(d, 2), first[2]}, at, kTile);
      if (warp_.offsets) add_offsets(d, first, count);
      const double last = static_cast<double>(source_.size[k] - 1);
      const auto is_beyond = [&](Index x) { return !(at[x] >= 0 && at[x] <= last); };
      bool beyond = is_beyond(0) || is_beyond(count - 1);   // enough for a straight row
      for (Index x = 1; warp_.offsets && x < count && !beyond; ++x) beyond = is_beyond(x);
      if (beyond && warp_.border == Border::reflection)
        for (Index x = 0; x < count; ++x)
          if (is_beyond(x)) at[x] = reflected(at[x], last + 1);
      out = out || beyond;
    }
    return out;
  }
  void add_offsets(int d, const Extent& first, Index count) {
    const Index row = (first[0] * size_[1] + first[1]) * size_[2] + first[2], all = voxels_of(size_);
    double* at = at_.data() + d * kTile;
    for (int e = 0; e < 3; ++e) {
      const double m = warp_.before(d, e);
      const float* offset = warp_.offsets + e * all + row;
      for (Index x = 0; m != 0 && x < count; ++x) at[x] += m * static_cast<double>(offset[x]);
    }
  }

  std::uint8_t nearest_label(Index x) const {
    Index from = 0;
    for (std::size_t d = 0; d < 3; ++d) {
      const double last = static_cast<double>(source_.size[d] - 1), at = std::nearbyint(row_.at[d][x]);
      if (fades_ && !(at >= 0 && at <= last)) return 0;
      from += static_cast<Index>(at > 0 ? std::min(at, last) : 0.0) * row_.stride[d];
    }
    return source_.label[from];
  }

  std::uint8_t linear_label(Index x) const {
    const Extent& e = source_.size;
    const Index z = e[0] > 1 ? e[1] * e[2] : 0, y = e[1] > 1 ? e[2] : 0;
    const std::uint8_t* at = source_.label + row_.offset[x];
    std::uint16_t pairs[4];   // two neighbours along x each
    std::memcpy(&pairs[0], at, 2);
    std::memcpy(&pairs[1], at + y, 2);
    std::memcpy(&pairs[2], at + z, 2);
    std::memcpy(&pairs[3], at + z + y, 2);
    const std::uint8_t first = at[0];
    const float inside = fades_ ? row_.inside[x] : 1;
    const bool same = pairs[0] == first * 257 && pairs[1] == pairs[0] && pairs[2] == pairs[0] && pairs[3] == pairs[0];
    if (same && (inside == 1 || first == 0)) return first;
    std::uint8_t around[8];
    std::memcpy(around, pairs, 8);
    const float wz = row_.weight[0][x], wy = row_.weight[1][x], wx = row_.weight[2][x];
    const float zy[4] = {(1 - wz) * (1 - wy), (1 - wz) * wy, wz * (1 - wy), wz * wy};
    float weights[8];
    for (int i = 0; i < 4; ++i) {
      weights[2 * i] = zy[i] * (1 - wx);
      weights[2 * i + 1] = zy[i] * wx;
    }
    sampling::Tally<std::uint8_t, float> tally;
    for (int i = 0; i < 8; ++i) tally.add(around[i], weights[i] * inside);
    if (inside < 1) tally.add(0, 1 - inside);   // what is missing to one belongs to label 0
    return tally.heaviest(nearest_label(x), 1e-6f);
  }

  const Warp& warp_;
  const PatchSource& source_;
  Extent size_;
  Move map_;
  const Kernels& kernels_;
  bool fades_ = false;   // the row reaches zeros
  RowTaps row_{};
  std::vector<double> at_;
  std::vector<float> numbers_;
  std::vector<std::int32_t> whole_;
};

/// Fills the patch from the source, warped. The source may be the patch itself.
inline void warp_patch(Patch& patch, const PatchSource& source, const Warp& warp) {
  check(source, patch.size);
  const auto permutation_from = [&](const PatchSource& from) {
    return warp.offsets ? Permutation{} : permutation_of(index_map(warp, patch.size, from), patch.size, from.size);
  };
  const Permutation p = permutation_from(source);
  if (!p.exact && warp.border == Border::zeros && permutation_from({.size = patch.size}).exact) {
    cut(patch, source);   // the patch hangs over the border
    warp_patch(patch, source_of(patch), warp);
    return;
  }
  if (!p.exact && source.size[2] < 2)
    throw Error(Code::unsupported, "augment",
                text("resampling needs two voxels along x or more; the source has ", list(source.size),
                     ". Hint: flips and quarter turns need no more than one."));
  reserve_spare(patch, source);
  if (p.exact) {
    const Index from = voxels_of(source.size), to = patch.voxels();
    for (Index c = 0; c < source.channels; ++c)
      moves::gather(source.image + c * from + p.first, p.steps, patch.spare_image.data() + c * to);
    if (source.label) moves::gather(source.label + p.first, p.steps, patch.spare_label.data());
  } else {
    constexpr Index kBlock = 8;   // rows of a block, whose source fits the first caches
    RowSampler rows(warp, patch, source);
    const Extent& n = patch.size;
    for (Index z0 = 0; z0 < n[0]; z0 += kBlock)
      for (Index y0 = 0; y0 < n[1]; y0 += kBlock)
        for (Index x = 0; x < n[2]; x += RowSampler::kTile)
          for (Index z = z0; z < std::min(z0 + kBlock, n[0]); ++z)
            for (Index y = y0; y < std::min(y0 + kBlock, n[1]); ++y)
              rows.sample({z, y, x}, std::min(RowSampler::kTile, n[2] - x), patch);
  }
  show_spare(patch, source);
}

}   // namespace augment
}   // namespace ctseg
