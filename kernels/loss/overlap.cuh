// The overlap term of a loss, from the sums of all voxels to its value and its slopes by M = sum p q and P = sum p: in double,
// by one block. The formulas are those of ops/segmentation_loss.hpp.
#pragma once
#include "../common/finish.cuh"
#include "voxel.cuh"

namespace ctseg::cuda {

struct OverlapLoss {
  bool on, sigmoid, squared, batch, negative;
  VolumeWeight volume_weight;
  double weight, smooth_numerator, smooth_denominator, least_denominator;
  OverlapRatioOptions ratio;
  const float* class_weights;   // [classes], or none
  int first, classes;           // channels that count
};
inline OverlapLoss overlap_loss(const OverlapTermOptions& o, int classes, const float* class_weights) {
  return {o.weight > 0,
          o.sigmoid || classes == 1,
          o.squared_pred,
          o.batch,
          o.negative,
          o.volume_weight,
          o.weight,
          o.smooth_numerator,
          o.smooth_denominator,
          o.least_denominator,
          o.ratio,
          o.class_weights.empty() ? nullptr : class_weights,
          classes > 1 && !o.include_background ? 1 : 0,
          classes};
}

/// M, P and Q of an image's classes, `classes` apart, and where their slopes go.
struct OverlapSums {
  const double* sums;
  double *by_meet, *by_p;
};

/// kVolumes: generalized, one ratio for all classes; else one of each.
template <bool kVolumes> class OverlapClose {
 public:
  CTSEG_DEVICE explicit OverlapClose(const OverlapLoss& o) : o_(o) {}

  /// Terms of the mean for each image.
  CTSEG_DEVICE Index terms() const { return kVolumes ? 1 : o_.classes - o_.first; }
  /// Term `term` of an image, which leaves its slopes for `images` images, times `scale`.
  CTSEG_DEVICE double term(Index term, const OverlapSums& s, Index images, double scale) const {
    if constexpr (kVolumes)
      return all_classes(s, images, scale);
    else
      return one_class(o_.first + term, s, images, scale);
  }

 private:
  struct Ratio {
    double numerator, inverse;   // one division, and no second one for slopes: they cost registers
    bool clipped;
    CTSEG_DEVICE Ratio(const OverlapLoss& o, double above, double below)
        : numerator(above + o.smooth_numerator), clipped(below + o.smooth_denominator < o.least_denominator) {
      inverse = 1 / (clipped ? o.least_denominator : below + o.smooth_denominator);
    }
    CTSEG_DEVICE double value(const OverlapLoss& o) const { return (o.negative ? 0 : 1) - numerator * inverse; }
    CTSEG_DEVICE double slope(double above, double below) const {
      return ((clipped ? 0 : below * numerator * inverse) - above) * inverse;
    }
  };
  CTSEG_DEVICE void leave(Index c, const OverlapSums& s, Index images, double by_meet, double by_p) const {
    CTSEG_KEEP_LOOP for (Index n = 0; n < images; ++n) s.by_meet[n * o_.classes + c] = by_meet,
                                                                                  s.by_p[n * o_.classes + c] = by_p;
  }
  CTSEG_DEVICE double below(const OverlapSums& s, Index c) const {
    const OverlapRatioOptions& k = o_.ratio;
    return k.meet * s.sums[c] + k.predicted * s.sums[o_.classes + c] + k.labelled * s.sums[2 * o_.classes + c];
  }
  CTSEG_DEVICE double one_class(Index c, const OverlapSums& s, Index images, double scale) const {
    const OverlapRatioOptions& k = o_.ratio;
    const double weight = o_.class_weights && o_.classes - o_.first > 1 ? static_cast<double>(o_.class_weights[c]) : 1.0;
    const Ratio ratio(o_, k.numerator * s.sums[c], below(s, c));
    leave(c, s, images, scale * weight * ratio.slope(k.numerator, k.meet), scale * weight * ratio.slope(0, k.predicted));
    return weight * ratio.value(o_);
  }
  /// Generalized: the weight of an empty class would be infinite; it gets the largest of the others.
  CTSEG_DEVICE double volume(const OverlapSums& s, Index c) const { return s.sums[2 * o_.classes + c]; }
  CTSEG_DEVICE double smallest_volume(const OverlapSums& s) const {
    double smallest = 0;
    CTSEG_KEEP_LOOP for (Index c = o_.first; c < o_.classes;
                         ++c) if (volume(s, c) > 0 && (smallest == 0 || volume(s, c) < smallest)) smallest = volume(s, c);
    return smallest;
  }
  CTSEG_DEVICE double weight_of(double volume) const {
    if (o_.volume_weight == VolumeWeight::uniform) return 1;
    return volume == 0 ? 0 : 1 / (o_.volume_weight == VolumeWeight::square ? volume * volume : volume);
  }
  CTSEG_DEVICE double all_classes(const OverlapSums& s, Index images, double scale) const {
    const OverlapRatioOptions& k = o_.ratio;
    const double smallest = smallest_volume(s);
    double above = 0, under = 0;
    CTSEG_KEEP_LOOP for (Index c = o_.first; c < o_.classes; ++c) {
      const double weight = weight_of(volume(s, c) > 0 ? volume(s, c) : smallest);
      above += weight * k.numerator * s.sums[c], under += weight * below(s, c);
      s.by_meet[c] = weight;   // until its slope is known
    }
    const Ratio ratio(o_, above, under);
    CTSEG_KEEP_LOOP for (Index c = o_.first; c < o_.classes; ++c) {
      const double weight = s.by_meet[c];
      leave(c, s, images, scale * ratio.slope(weight * k.numerator, weight * k.meet),
            scale * ratio.slope(0, weight * k.predicted));
    }
    return ratio.value(o_);
  }

  const OverlapLoss& o_;
};

/// Sums of blocks [images, chunks, width]: M, P, Q of every class, then the voxel term's loss and divisor; and a label that is
/// no class, or -1.
struct LossPartials {
  float* sums;
  int* bad;
};

struct LossToClose {
  LossTiles tiles;
  OverlapLoss overlap;
  double voxel_weight;
  LossPartials partials;
  double* sums;   // [images, width]
  double *by_meet, *by_p, *count;
  float* loss;
};
/// The last step of the forward pass; close.cu.
void close_loss(Stream, const LossToClose&);

}   // namespace ctseg::cuda
