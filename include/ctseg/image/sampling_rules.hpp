// Which voxels a coordinate reads when only the extents of two grids are known, and which of eight labels wins: rules that
// volumes and patches share.
#pragma once
#include <algorithm>
#include <array>

#include "../core/error.hpp"

namespace ctseg::sampling {

/// From an axis of n voxels to one of m.
struct AxisPair {
  Index n, m;
};
/// PyTorch's legacy nearest, which MONAI has: voxel floor(i * n / m), the ratio and the product rounded to float as there.
inline Index nearest_index(const AxisPair& e, Index i) {
  const float ratio = static_cast<float>(e.n) / static_cast<float>(e.m);
  return std::min(static_cast<Index>(static_cast<float>(i) * ratio), e.n - 1);
}

/// The voxels [begin, end) that target voxel i touches: PyTorch's adaptive average.
struct Span {
  Index begin, end;
  Index count() const { return end - begin; }
};
inline Span area_span(const AxisPair& e, Index i) { return {i * e.n / e.m, ((i + 1) * e.n + e.m - 1) / e.m}; }
/// No span is longer.
inline Index longest_span(const AxisPair& e) { return e.n / e.m + 2; }

/// The weight of every label among the neighbours of a place; eight, and what is beyond the border.
template <class Label, class Weight> class Tally {
 public:
  void add(Label label, Weight weight) {
    std::size_t i = 0;
    while (i < count_ && label_[i] != label) ++i;
    if (i == count_) label_[count_] = label, share_[count_++] = 0;
    share_[i] += weight;
  }
  /// The label with the most, of equals the nearest voxel's, else the smallest. `same`: sums that differ by rounding alone.
  Label heaviest(Label nearest, Weight same) const {
    const Weight most = *std::max_element(share_.begin(), share_.begin() + static_cast<std::ptrdiff_t>(count_));
    return chosen(most - same, [&](Label a, Label b) { return a == nearest || (b != nearest && a < b); });
  }
  /// The largest label that has at least `enough`; 0 if none has.
  Label with_at_least(Weight enough) const {
    return chosen(enough, [](Label a, Label b) { return a > b; });
  }

 private:
  template <class Better> Label chosen(Weight enough, const Better& better) const {
    Label winner = 0;
    bool any = false;
    for (std::size_t i = 0; i < count_; ++i)
      if (share_[i] >= enough && (!any || better(label_[i], winner))) winner = label_[i], any = true;
    return winner;
  }

  std::array<Label, 9> label_;
  std::array<Weight, 9> share_;
  std::size_t count_ = 0;
};

}   // namespace ctseg::sampling
