// What losses do with the logits and labels of one voxel on the CPU.
#pragma once
#include "../segmentation_loss.hpp"
#include "softmax.hpp"

namespace ctseg::cpu {

inline double loss_weight(const std::vector<double>& weights, Index channel) {
  return weights.empty() ? 1 : weights[weights.size() == 1 ? 0 : static_cast<std::size_t>(channel)];
}

/// log(1 + exp(x)), which is -log(1 - p) of a logit x.
inline double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }
inline double logistic(double x) {
  const double e = std::exp(-std::abs(x));
  return (x >= 0 ? 1 : e) / (1 + e);
}
inline double power(double base, double exponent) {
  return exponent == 0 ? 1 : exponent == 1 ? base : exponent == 2 ? base * base : std::pow(base, exponent);
}

/// p = sigmoid(x) or softmax(x) of one voxel; for the softmax returns log(sum(exp(x))).
template <class X> double probabilities(const X* x, Index channels, bool sigmoid, double* p) {
  if (!sigmoid) return softmax(x, channels, p);
  using Wide = std::conditional_t<std::is_same_v<X, double>, double, float>;
  for (Index c = 0; c < channels; ++c) p[c] = logistic(static_cast<double>(Wide(x[c])));
  return 0;
}

/// The labels of one voxel: 1, 0 or, ignored, -1 for every channel of the logits.
struct VoxelLabels {
  Index one = -1;   // a class: this channel is 1 and the others are 0. -1: as q says
  std::int8_t q[kMostClasses];
  int operator()(Index c) const { return one >= 0 ? c == one : q[c]; }
};

/// Labels of a whole image or batch, whatever form they have.
template <int Dim> class Targets {
 public:
  Targets(const SegmentationLossOptions& o, const AnyView<Dim>& labels, Index classes)
      : labels_(labels), name_(o.name), classes_(classes), ignored_(o.ignore_label.value_or(-1)) {}

  /// False if nothing of this voxel counts.
  bool read(Index row, VoxelLabels& v) const {
    if (labels_.shape.c > 1) return read_wide(row, v.q);
    const Index label = at(row, 0);
    if (label == ignored_) return false;
    if (label >= std::max<Index>(classes_, 2)) refuse(row, label);
    if (classes_ == 1)
      v.q[0] = static_cast<std::int8_t>(label);
    else
      v.one = label;
    return true;
  }

 private:
  Index at(Index row, Index c) const {
    const Index place = row * labels_.pitch + c;
    return labels_.dtype == Dtype::u8 ? Index{reinterpret_cast<const std::uint8_t*>(labels_.data)[place]}
                                      : Index{reinterpret_cast<const std::uint16_t*>(labels_.data)[place]};
  }
  bool read_wide(Index row, std::int8_t* q) const {
    bool any = false;
    for (Index c = 0; c < classes_; ++c) {
      const Index label = at(row, c);
      q[c] = static_cast<std::int8_t>(label == ignored_ ? -1 : label);
      if (label == ignored_) continue;
      if (label > 1) refuse(row, label);
      any = true;
    }
    return any;
  }
  [[noreturn]] void refuse(Index row, Index label) const {
    const Index voxels = labels_.shape.voxels(), image = row / voxels;
    const std::string where = text("label ", label, " at voxel ", row % voxels, " of image ", image, "; ");
    if (labels_.shape.c > 1 || classes_ == 1)
      throw Error(Code::bad_input, name_,
                  text(where, "each of the ", classes_, " channels of the logits asks for 0 or 1",
                       ". Hint: map the labels, or set ignore_label."));
    throw Error(Code::bad_input, name_,
                text(where, "the logits have ", classes_, " classes, 0 .. ", classes_ - 1,
                     ". Hint: set out_channels = ", label + 1, ", or map the labels."));
  }

  AnyView<Dim> labels_;
  std::string_view name_;
  Index classes_, ignored_;
};

/// The voxel term of one voxel: its value, its share of the mean, its derivatives.
template <class X> class VoxelTerm {
 public:
  VoxelTerm(const VoxelTermOptions& o, Index classes)
      : o_(o),
        classes_(classes),
        first_(classes > 1 && !o.include_background ? 1 : 0),
        sigmoid_(o.sigmoid || classes == 1),
        rest_(o.label_smoothing / static_cast<double>(sigmoid_ ? 2 : classes)) {}

  bool sigmoid() const { return sigmoid_; }

  struct Share {
    double loss = 0, count = 0;
  };
  /// p and log_sum are the softmax's; the sigmoid reads the logits alone.
  Share share(const X* x, const VoxelLabels& q, const double* p, double log_sum) const {
    Share out;
    if (sigmoid_) {
      for (Index c = first_; c < classes_; ++c) {
        if (q(c) < 0) continue;
        const double t = target(q(c)), v = logit(x[c]);
        out.loss += loss_weight(o_.positive, c) * t * hard(-v) + loss_weight(o_.negative, c) * (1 - t) * hard(v);
        out.count += 1;
      }
      return out;
    }
    for (Index c = first_of(q), end = end_of(q); c < end; ++c)
      out.loss += loss_weight(o_.positive, c) * target(q(c)) * power(1 - p[c], o_.gamma) * (log_sum - logit(x[c]));
    if (!o_.weighted_mean)
      out.count = static_cast<double>(classes_ - first_);
    else if (q.one >= first_)
      out.count = loss_weight(o_.positive, q.one);
    return out;
  }
  /// d[c] += scale * d(loss)/d(x[c]).
  void add_derivatives(const X* x, const VoxelLabels& q, const double* p, double log_sum, double scale, double* d) const {
    if (sigmoid_) {
      for (Index c = first_; c < classes_; ++c) {
        if (q(c) < 0) continue;
        const double t = target(q(c)), v = logit(x[c]);
        d[c] += scale * (loss_weight(o_.negative, c) * (1 - t) * slope(v) - loss_weight(o_.positive, c) * t * slope(-v));
      }
      return;
    }
    double sum = 0;   // of p[c] d(loss)/d(p[c])
    for (Index c = first_of(q), end = end_of(q); c < end; ++c) {
      const double wrong = 1 - p[c], weight = scale * loss_weight(o_.positive, c) * target(q(c));
      double by_p = power(wrong, o_.gamma);
      if (o_.gamma > 0 && wrong > 0) by_p += o_.gamma * p[c] * power(wrong, o_.gamma - 1) * (log_sum - logit(x[c]));
      d[c] -= weight * by_p;
      sum += weight * by_p;
    }
    for (Index c = 0; c < classes_; ++c) d[c] += p[c] * sum;
  }

 private:
  static double logit(X x) { return static_cast<double>(std::conditional_t<std::is_same_v<X, double>, double, float>(x)); }
  /// The channels that cost something in a softmax: the label's alone, or with smoothing all.
  Index first_of(const VoxelLabels& q) const { return o_.label_smoothing == 0 ? std::max(q.one, first_) : first_; }
  Index end_of(const VoxelLabels& q) const { return o_.label_smoothing == 0 ? q.one + 1 : classes_; }
  double target(int q) const { return q * (1 - o_.label_smoothing) + rest_; }
  /// -p^gamma * log(1 - p) of a logit v, and its derivative.
  double hard(double v) const { return (o_.gamma > 0 ? power(logistic(v), o_.gamma) : 1) * softplus(v); }
  double slope(double v) const {
    const double p = logistic(v);
    if (o_.gamma == 0) return p;
    return power(p, o_.gamma) * (o_.gamma * logistic(-v) * softplus(v) + p);
  }

  const VoxelTermOptions& o_;
  Index classes_, first_;
  bool sigmoid_;
  double rest_;
};

}   // namespace ctseg::cpu
