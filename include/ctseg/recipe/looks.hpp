// All looks that a segmentation takes at a window: by every model of an ensemble, at every scale, mirrored.
#pragma once
#include "../image/geometry.hpp"
#include "../infer/test_time.hpp"
#include "any_model.hpp"

namespace ctseg {

/// What is averaged over models, scales, mirror images and windows.
enum class Averaged { logits, probabilities };

struct LookOptions {
  Xyz<bool> mirror{};             // a 2-D network has no z
  std::vector<double> scales{};   // of the window; empty: 1
  Scores average = Scores::logits;
};

/// Networks of one rank as one callable from windows in the device's memory to mean logits, or to mean probabilities. A single
/// network with nothing to average is called as it is. Networks must outlive it; it stays where it was made.
/// Errors    cancelled between two calls of a network; those of the wrappers in test_time.hpp.
template <AnySpec S> class Looks {
 public:
  using Net = AnyNetwork<S>;
  using Ctx = Context<typename S::Device>;

  Looks(Ctx& ctx, const std::vector<const Net*>& nets, const LookOptions& o) : ctx_(&ctx), nets_(nets) {
    const std::vector<int> axes = mirrored_axes(o.mirror);
    if (!o.scales.empty()) scales_ = o.scales;
    mirrors_ = Index{1} << axes.size();
    if (count() == 1 && scales_[0] == 1 && o.average == Scores::logits) return;
    std::vector<OneModel> members;
    for (const Net* net : nets)
      members.emplace_back(ctx, Make{&ctx, net}, MultiScaleOptions{scales_, divisor_of(*net), o.average});
    all_.emplace(ctx, std::move(members), EnsembleOptions{});   // of what the members made
    if (!axes.empty()) mirrored_.emplace(ctx, *all_, MirrorOptions{axes});
  }
  Looks(const Looks&) = delete;

  /// Calls of a network for each window.
  Index count() const { return mirrors_ * std::ssize(scales_) * std::ssize(nets_); }
  Index mirrors() const { return mirrors_; }
  std::string words() const {
    std::string all;
    if (mirrors_ > 1) all += " mirrored";
    if (scales_ != std::vector<double>{1}) all += text(all.empty() ? " " : ", ", "at ", scales_.size(), " scale(s)");
    if (nets_.size() > 1) all += text(all.empty() ? " " : ", ", "by ", nets_.size(), " networks");
    return all;
  }
  /// f(network, shape of its input) for every network and scale, for such batches of windows.
  template <class F> void each(const Shape<S::kDim>& windows, F f) const {
    for (const Net* net : nets_)
      for (const double scale : scales_) f(*net, scaled_window(windows, {scale, divisor_of(*net)}));
  }
  /// Memory of the means, for such scores of a batch.
  Index mean_bytes(const Shape<S::kDim>& scores) const {
    const Index buffers = std::ssize(nets_) * (1 + 2 * std::ssize(scales_)) + 2;
    return all_ ? buffers * scores.elements() * Index{sizeof(float)} : 0;
  }

  In<S> operator()(In<S> windows) {
    if (mirrored_) return (*mirrored_)(windows);
    if (all_) return (*all_)(windows);
    if (!look_) look_.emplace(Make{ctx_, nets_[0]}(windows.shape));
    return (*look_)(windows);
  }

 private:
  struct Look {
    Ctx* ctx;
    Predictor<Net> predict;
    In<S> operator()(In<S> windows) {
      ctx->check_cancelled("segment");
      return test_time::logits_of<S>(*ctx, predict, windows);
    }
  };
  struct Make {
    Ctx* ctx;
    const Net* net;
    Look operator()(const Shape<S::kDim>& windows) const { return {ctx, Predictor<Net>(*ctx, *net, windows)}; }
  };
  using OneModel = MultiScale<S, Make>;
  using AllModels = Ensemble<S, OneModel>;

  static Index divisor_of(const Net& net) {
    Index all = 1;
    for (const Index d : net.divisor()) all = std::lcm(all, d);
    return all;
  }
  static std::vector<int> mirrored_axes(const Xyz<bool>& mirror) {
    std::vector<int> axes;
    if (S::kDim == 3 && mirror.z) axes.push_back(0);
    if (mirror.y) axes.push_back(S::kDim - 2);
    if (mirror.x) axes.push_back(S::kDim - 1);
    return axes;
  }

  Ctx* ctx_;
  std::vector<const Net*> nets_;
  std::vector<double> scales_{1};
  Index mirrors_ = 1;
  std::optional<Look> look_{};
  std::optional<AllModels> all_{};
  std::optional<Mirrored<S, AllModels&>> mirrored_{};
};

}   // namespace ctseg
