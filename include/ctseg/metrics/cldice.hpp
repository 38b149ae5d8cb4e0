// Centre-line Dice, for vessels and airways: does the centre line of each mask lie in the other one? A broken branch costs as
// much as it is long, however thin it is. The loss of the same name is loss/cldice.hpp.
#pragma once
#include "../image/skeleton.hpp"
#include "label_scan.hpp"

namespace ctseg {

/// The two halves of clDice, each a share of voxels of a centre line. NaN where there is no centre line.
struct CenterlineOverlap {
  Index predicted = 0, predicted_inside = 0;   // voxels of the prediction's centre line; those in the truth
  Index present = 0, present_inside = 0;       // of the truth's; those in the prediction

  double precision() const { return ratio(predicted_inside, predicted); }
  double sensitivity() const { return ratio(present_inside, present); }
  /// Harmonic mean of both; 0 if both are 0.
  double cldice() const {
    const double p = precision(), s = sensitivity();
    return p + s == 0 ? 0 : 2 * p * s / (p + s);
  }

 private:
  static double ratio(Index part, Index whole) {
    return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : std::numeric_limits<double>::quiet_NaN();
  }
};

/// Centre lines of one label, each held against the other mask.
/// Cost      that of two skeletons (skeletonize) in the box that holds both masks.
/// Source    Shit et al., clDice, CVPR 2021, with hard masks and the skeletons of skeletonize.
inline CenterlineOverlap centerline_overlap(const MaskPair& pair) {
  CenterlineOverlap out;
  const Xyz<Index> n = pair.box.shape();
  if (n.x <= 0) return out;
  const auto cut = [&](const std::uint8_t* voxels) {
    std::vector<std::uint8_t> flags;
    flags.reserve(static_cast<std::size_t>(n.x * n.y * n.z));
    for (Index z = pair.box.begin.z; z < pair.box.end.z; ++z)
      for (Index y = pair.box.begin.y; y < pair.box.end.y; ++y)
        for (Index x = pair.box.begin.x; x < pair.box.end.x; ++x)
          flags.push_back(voxels[(z * pair.shape.y + y) * pair.shape.x + x] == pair.label);
    return flags;
  };
  const auto count = [&](const std::vector<std::uint8_t>& of, const std::vector<std::uint8_t>& other, Index& all,
                         Index& inside) {
    const std::vector<std::uint8_t> line = skeletonize(of.data(), n);
    for (std::size_t i = 0; i < line.size(); ++i) all += line[i], inside += line[i] & other[i];
  };
  const std::vector<std::uint8_t> prediction = cut(pair.prediction), truth = cut(pair.truth);
  count(prediction, truth, out.predicted, out.predicted_inside);
  count(truth, prediction, out.present, out.present_inside);
  return out;
}
/// Errors    shape_mismatch unless both lie on one grid.
inline CenterlineOverlap centerline_overlap(const Volume<std::uint8_t>& prediction, const Volume<std::uint8_t>& truth,
                                            std::uint8_t label = 1) {
  return centerline_overlap(mask_pair(prediction, truth, label));
}

}   // namespace ctseg
