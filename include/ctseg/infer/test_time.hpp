// More than one look at a window: mirrored, by several networks, at several scales. Each wrapper takes what a sliding window
// takes, any callable from windows to logits, and is one itself, so they can be put into each other.
#pragma once
#include <numeric>
#include <optional>

#include "../core/context.hpp"
#include "../core/tensor.hpp"
#include "../nn/functional.hpp"
#include "../nn/predictor.hpp"
#include "scores.hpp"

namespace ctseg {

/// What is averaged, of all wrappers: logits as nnU-Net does with mirrored windows and folds, or probabilities made of each
/// callable's logits, as nnUNetv2_ensemble and MONAI's MeanEnsemble behind Activations do. With probabilities, probabilities
/// come out: tell whoever decides (ToOriginalOptions::given).
struct MirrorOptions {
  std::vector<int> axes{};   // of the tensor, the first (z in 3-D) is 0; empty: all
  Scores average = Scores::logits;
};
struct EnsembleOptions {
  std::vector<double> weights{};   // of the callables; empty: all the same
  Scores average = Scores::logits;
};
struct MultiScaleOptions {
  std::vector<double> scales{1};
  Index divisor = 1;   // extents of a resized window are rounded to multiples of it (divisor(net))
  Scores average = Scores::logits;
};

namespace test_time {

/// Which axes are turned round.
template <int Dim> using Flips = std::array<bool, Dim>;

/// The line that lies where this one does after turning: lines run along the last axis, images and outer axes count them.
template <int Dim> Index turned_line(const Shape<Dim>& shape, Index line, const std::type_identity_t<Flips<Dim>>& flips) {
  Index at = 0, scale = 1;
  for (std::size_t d = Dim - 1; d-- > 0; scale *= shape.space[d], line /= shape.space[d]) {
    const Index i = line % shape.space[d];
    at += scale * (flips[d] ? shape.space[d] - 1 - i : i);
  }
  return at + scale * line;
}
/// f(row, turned row) for all voxels of all images; each row once, so f may write to it. A task has a copy of f,
/// so f may have a buffer.
template <int Dim, class F>
void for_turned_rows(Context<Cpu>& ctx, const Shape<Dim>& shape, const std::type_identity_t<Flips<Dim>>& flips, const F& f) {
  const Index width = shape.space.back();
  parallel_blocks(ctx.executor(), shape.n * shape.voxels() / width, 64, [&](Index first, Index last) {
    auto task = f;
    for (Index line = first; line < last; ++line) {
      const Index turned = turned_line(shape, line, flips) * width;
      for (Index x = 0; x < width; ++x) task(line * width + x, turned + (flips.back() ? width - 1 - x : x));
    }
  });
}

/// Errors    shape_mismatch for logits that are not of the windows' size, or have other channels than those before (0: none yet).
template <int Dim> void check_scores(const Shape<Dim>& logits, const Shape<Dim>& windows, Index channels) {
  if (logits.n != windows.n || logits.space != windows.space || (channels > 0 && logits.c != channels))
    throw Error(Code::shape_mismatch, "test_time",
                text("predict made ", logits, " of windows ", windows,
                     "; it must keep their size, and the number of channels of the others."));
}

/// The weighted mean of scores, summed in float in the order they come.
template <AnySpec S, class Device = typename S::Device> class ScoreMean;
template <AnySpec S> class ScoreMean<S, Cpu> {
 public:
  using T = typename S::T;
  static constexpr int kDim = S::kDim;

  ScoreMean(Context<Cpu>& ctx, Scores kind) : ctx_(&ctx), kind_(kind) {}

  /// Windows of this shape are looked at from now on.
  void start(const Shape<kDim>& windows) { windows_ = windows, weight_ = 0, begun_ = false; }
  /// Errors    of check_scores.
  void add(In<S> logits, const Flips<kDim>& flips = {}, double weight = 1) {
    check_scores(logits.shape, windows_, begun_ ? sum_.shape().c : 0);
    if (sum_.shape() != logits.shape) sum_ = Tensor<float, kDim>(logits.shape);
    const Index channels = logits.shape.c;
    const auto w = static_cast<float>(weight);
    std::vector<float> buffer(static_cast<std::size_t>(channels));
    for_turned_rows(*ctx_, logits.shape, flips, [&, v = std::move(buffer)](Index to, Index from) mutable {
      float* const sum = sum_.data() + to * channels;
      std::transform(logits.row(from), logits.row(from) + channels, v.begin(), [](T x) { return static_cast<float>(x); });
      to_scores(v, kind_, v.data());
      for (Index c = 0; c < channels; ++c) sum[c] = (begun_ ? sum[c] : 0) + w * v[static_cast<std::size_t>(c)];
    });
    begun_ = true;
    weight_ += weight;
  }
  /// Valid until the next start().
  In<S> mean() {
    const auto total = static_cast<float>(weight_);
    float* const sum = sum_.data();
    if constexpr (!std::is_same_v<T, float>)
      if (out_.shape() != sum_.shape()) out_ = Tensor<T, kDim>(sum_.shape());
    parallel_blocks(ctx_->executor(), sum_.shape().elements(), 65536, [&](Index first, Index last) {
      for (Index i = first; i < last; ++i) {
        sum[i] /= total;
        if constexpr (!std::is_same_v<T, float>) out_.data()[i] = T(sum[i]);
      }
    });
    if constexpr (std::is_same_v<T, float>)
      return std::as_const(sum_).view();
    else
      return std::as_const(out_).view();
  }

 private:
  Context<Cpu>* ctx_;
  Scores kind_;
  Shape<kDim> windows_{};
  Tensor<float, kDim> sum_;
  Tensor<T, kDim> out_;   // of other types than float
  double weight_ = 0;
  bool begun_ = false;
};

/// A copy of windows with some axes turned round; valid until the next one.
template <AnySpec S, class Device = typename S::Device> class TurnedWindows;
template <AnySpec S> class TurnedWindows<S, Cpu> {
 public:
  explicit TurnedWindows(Context<Cpu>& ctx) : ctx_(&ctx) {}
  In<S> operator()(In<S> windows, const Flips<S::kDim>& flips) {
    if (turned_.shape() != windows.shape) turned_ = Tensor<typename S::T, S::kDim>(windows.shape);
    for_turned_rows(*ctx_, windows.shape, flips, [&](Index to, Index from) {
      std::copy_n(windows.row(from), windows.shape.c, turned_.data() + to * windows.shape.c);
    });
    return std::as_const(turned_).view();
  }

 private:
  Context<Cpu>* ctx_;
  Tensor<typename S::T, S::kDim> turned_;
};

/// All subsets of the axes in nnU-Net's order: none, single ones, pairs, all; each by the axes' order.
template <int Dim> std::vector<Flips<Dim>> mirrors(std::vector<int> axes) {
  if (axes.empty()) axes.resize(Dim), std::iota(axes.begin(), axes.end(), 0);
  Flips<Dim> known{};
  for (const int a : axes) {
    if (a < 0 || a >= Dim || known[static_cast<std::size_t>(a)])
      throw Error(Code::bad_argument, "mirrored", text("axis ", a, "; must be 0 to ", Dim - 1, ", each at most once."));
    known[static_cast<std::size_t>(a)] = true;
  }
  std::sort(axes.begin(), axes.end());
  std::vector<std::vector<int>> subsets{{}};
  for (std::size_t i = 0; i < subsets.size(); ++i)   // grows: a subset is followed by itself and a later axis
    for (const int a : axes)
      if (subsets[i].empty() || a > subsets[i].back()) subsets.push_back(subsets[i]), subsets.back().push_back(a);
  std::vector<Flips<Dim>> all;
  for (const auto& subset : subsets) {
    all.emplace_back();
    for (const int a : subset) all.back()[static_cast<std::size_t>(a)] = true;
  }
  return all;
}

/// A linear resize as a network, so that a Predictor runs it.
template <AnySpec S> struct ToSize {
  using Spec = S;
  std::array<Index, S::kDim> size;
  Var<S> forward(Var<S> x) const { return upsample(x, {.size = {size}, .mode = UpsampleMode::linear}); }
};

/// Logits of windows that lie in the device's memory. A Predictor takes those of the host, or what is in its input.
template <AnySpec S, class Predict> In<S> logits_of(Context<typename S::Device>& ctx, Predict& predict, In<S> windows) {
  if constexpr (!Memory<typename S::Device>::kOnHost && requires {
                  predict.input_shape();
                  predict.input();
                }) {
    if (windows.shape != predict.input_shape())
      throw Error(Code::shape_mismatch, "predictor",
                  text("windows are ", windows.shape, ", made for ", predict.input_shape(), "."));
    Kernel<Elementwise, S>::copy(ctx, windows, predict.input());
    return predict();
  } else {
    return predict(windows);
  }
}

}   // namespace test_time

/// predict on the windows and on all their mirror images, turned back and averaged.
/// Cost      2^axes calls of predict; one window and one mean of logits in memory.
/// Source    nnU-Net's test-time augmentation.
template <AnySpec S, class Predict> class Mirrored {
 public:
  Mirrored(Context<typename S::Device>& ctx, Predict predict, const MirrorOptions& o)
      : ctx_(&ctx),
        predict_(std::forward<Predict>(predict)),
        flips_(test_time::mirrors<S::kDim>(o.axes)),
        turned_(ctx),
        mean_(ctx, o.average) {}

  /// Valid until the next call.
  In<S> operator()(In<S> windows) {
    mean_.start(windows.shape);
    for (const auto& flips : flips_) mean_.add(test_time::logits_of<S>(*ctx_, predict_, turned_(windows, flips)), flips);
    return mean_.mean();
  }

 private:
  Context<typename S::Device>* ctx_;
  Predict predict_;
  std::vector<test_time::Flips<S::kDim>> flips_;
  test_time::TurnedWindows<S> turned_;
  test_time::ScoreMean<S> mean_;
};

/// The weighted mean of several callables of one type, such as the predictors of a cross validation's folds.
template <AnySpec S, class Predict> class Ensemble {
 public:
  Ensemble(Context<typename S::Device>& ctx, std::vector<Predict> members, const EnsembleOptions& o)
      : ctx_(&ctx), members_(std::move(members)), weights_(o.weights), mean_(ctx, o.average) {
    if (weights_.empty()) weights_.assign(members_.size(), 1);
    const double total = std::accumulate(weights_.begin(), weights_.end(), 0.0);
    if (members_.empty() || weights_.size() != members_.size() || !is_finite(total) || !(total > 0))
      throw Error(Code::bad_argument, "ensemble",
                  text(members_.size(), " members with ", weights_.size(), " weights of sum ", total,
                       "; there must be one member or more, a weight for each or none, and a sum above 0."));
  }
  /// Valid until the next call.
  In<S> operator()(In<S> windows) {
    mean_.start(windows.shape);
    for (std::size_t i = 0; i < members_.size(); ++i)
      mean_.add(test_time::logits_of<S>(*ctx_, members_[i], windows), {}, weights_[i]);
    return mean_.mean();
  }

 private:
  Context<typename S::Device>* ctx_;
  std::vector<Predict> members_;
  std::vector<double> weights_;
  test_time::ScoreMean<S> mean_;
};

struct WindowScale {
  double scale = 1;
  Index divisor = 1;
};
/// Windows at another scale, their extents rounded to multiples of the divisor; at scale 1 as they are.
template <int Dim> Shape<Dim> scaled_window(Shape<Dim> windows, const WindowScale& by) {
  const auto unit = static_cast<double>(by.divisor);
  for (Index& e : windows.space)
    e = by.scale == 1 ? e : by.divisor * std::max<Index>(1, std::llrint(static_cast<double>(e) * by.scale / unit));
  return windows;
}

/// The window at several sizes, each predicted by a callable of its own, logits brought back to the window's size and averaged.
/// Windows are resized linearly, edges on edges (PyTorch's interpolate without align_corners).
template <AnySpec S, class Factory> class MultiScale {
 public:
  static constexpr int kDim = S::kDim;
  using Predict = std::invoke_result_t<Factory&, const Shape<kDim>&>;

  MultiScale(Context<typename S::Device>& ctx, Factory factory, const MultiScaleOptions& o)
      : ctx_(&ctx), factory_(std::forward<Factory>(factory)), options_(o), mean_(ctx, o.average) {
    for (const double s : o.scales)
      if (!is_finite(s) || s <= 0 || s > 16)
        throw Error(Code::bad_argument, "multi_scale", text("a scale of ", s, "; must be above 0 and at most 16."));
    if (o.scales.empty() || o.divisor < 1)
      throw Error(Code::bad_argument, "multi_scale",
                  text(o.scales.size(), " scales, divisor = ", o.divisor, "; must be 1 or more of either."));
  }
  /// Valid until the next call. The first call, and one with windows of another shape, makes the callables.
  In<S> operator()(In<S> windows) {
    if (looks_.empty() || made_for_ != windows.shape) make(windows.shape);
    mean_.start(windows.shape);
    for (Look& look : looks_) {
      const In<S> resized = look.there ? test_time::logits_of<S>(*ctx_, *look.there, windows) : windows;
      const In<S> logits = test_time::logits_of<S>(*ctx_, look.predict, resized);
      if (look.there && !look.back) {
        if (logits.shape.n != look.shape.n || logits.shape.space != look.shape.space)
          throw Error(Code::shape_mismatch, "multi_scale",
                      text("predict made ", logits.shape, " of windows ", look.shape, "; it must keep their size."));
        look.back.emplace(*ctx_, test_time::ToSize<S>{windows.shape.space}, logits.shape);
      }
      mean_.add(look.back ? test_time::logits_of<S>(*ctx_, *look.back, logits) : logits);
    }
    return mean_.mean();
  }

 private:
  struct Look {
    Shape<kDim> shape;
    Predict predict;
    std::optional<Predictor<test_time::ToSize<S>>> there{}, back{};
  };
  void make(const Shape<kDim>& windows) {
    looks_.clear();
    made_for_ = windows;
    for (const double scale : options_.scales) {
      const Shape<kDim> shape = scaled_window(windows, {scale, options_.divisor});
      looks_.push_back({shape, factory_(shape)});
      if (shape != windows) looks_.back().there.emplace(*ctx_, test_time::ToSize<S>{shape.space}, windows);
    }
  }

  Context<typename S::Device>* ctx_;
  Factory factory_;
  MultiScaleOptions options_;
  Shape<kDim> made_for_{};
  std::vector<Look> looks_;
  test_time::ScoreMean<S> mean_;
};

/// `mirrored<S>(ctx, predict)`: a predict that is handed over as an lvalue is referred to and must live on.
template <AnySpec S, class Predict>
Mirrored<S, Predict> mirrored(Context<typename S::Device>& ctx, Predict&& predict, const MirrorOptions& o = {}) {
  return {ctx, std::forward<Predict>(predict), o};
}
/// `ensemble<S>(ctx, std::move(folds))`.
template <AnySpec S, class Predict>
Ensemble<S, Predict> ensemble(Context<typename S::Device>& ctx, std::vector<Predict> members, const EnsembleOptions& o = {}) {
  return {ctx, std::move(members), o};
}
/// `multi_scale<S>(ctx, [&](const Shape<3>& windows) { return Predictor(ctx, net, windows); }, {.scales = {1, 0.75}})`.
template <AnySpec S, class Factory>
MultiScale<S, Factory> multi_scale(Context<typename S::Device>& ctx, Factory&& factory, const MultiScaleOptions& o = {}) {
  return {ctx, std::forward<Factory>(factory), o};
}

}   // namespace ctseg
