// Networks drawn at random: what breaks a plan is rarely in a network that somebody drew by hand.
#pragma once
#include <deque>

#include <ctseg/nn/init.hpp>
#include <ctseg/nn/layers.hpp>

namespace ctseg::test {

/// Convolutions, blocks and norms with and without a residual, activations, dropout, sums, gates, slices, detours over a finer
/// grid and concatenations of whatever came before, in several scopes.
/// Values may be used many times or never; a scope may be entered again.
template <AnySpec S> class RandomNet {
 public:
  explicit RandomNet(std::uint64_t seed) : random_({.seed = seed, .op = 8}) {
    channels_ = {1 + random_.below(3)};
    const Index steps = 4 + random_.below(14);
    Index scope = 0;
    for (Index i = 0; i < steps; ++i) {
      if (random_.below(3) == 0) scope = random_.below(5);
      draw(scope);
    }
    head_.emplace_back(ConvOptions<S::kDim>{.in_channels = channels_.back(), .out_channels = 3, .kernel = 1});
    initialize_default(*this, seed);
    visit(*this, [&](const std::string&, Parameter<S>& p) {
      for (auto& v : p.edit()) v += static_cast<typename S::Acc>(random_.uniform(-0.05, 0.05));
    });
  }

  Index in_channels() const { return channels_[0]; }
  /// All values in the order of their making; the last are the logits.
  std::vector<Var<S>> forward(Var<S> x) const {
    std::vector<Var<S>> value = {x};
    for (const Step& step : steps_) {
      const auto scope = x.tape->scope("s" + std::to_string(step.scope));
      value.push_back(run(step, value));
    }
    value.push_back(head_[0](value.back()));
    return value;
  }
  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    int at = 0;
    const auto name = [&] { return prefix + std::to_string(at++) + "."; };
    for (auto& layer : self.convs_) Conv<S>::each(layer, name(), f);
    for (auto& layer : self.blocks_) Block<S>::each(layer, name(), f);
    for (auto& layer : self.norms_) Norm<S>::each(layer, name(), f);
    for (auto& slope : self.slopes_) f(name() + "slope", slope);
    for (auto& layer : self.head_) Conv<S>::each(layer, prefix + "head.", f);
  }

 private:
  enum Kind { conv, block, norm, slope, activation, drop, soft, sum, join, gate, cut, detour };
  struct Step {
    Kind kind;
    std::size_t a, b, layer;
    Index scope;
    float number;
  };

  void draw(Index scope) {
    const auto pick = [&] {   // mostly recent values
      const Index count = std::ssize(channels_),
                  back = random_.below(3) ? random_.below(std::min<Index>(count, 3)) : random_.below(count);
      return static_cast<std::size_t>(count - 1 - back);
    };
    Step step{static_cast<Kind>(random_.below(12)), pick(), pick(), 0, scope, static_cast<float>(random_.uniform(0.1, 0.6))};
    Index out = channels_[step.a];
    if (step.kind == sum)
      for (int attempt = 0; attempt < 8 && channels_[step.b] != out; ++attempt) step.b = pick();
    if (step.kind == sum && channels_[step.b] != out) step.b = step.a;
    if (step.kind == join && channels_[step.a] + channels_[step.b] > 24) step.kind = conv;
    switch (step.kind) {
      case conv:
        out = 1 + random_.below(6);
        step.layer = convs_.size();
        convs_.emplace_back(ConvOptions<S::kDim>{.in_channels = channels_[step.a],
                                                 .out_channels = out,
                                                 .kernel = random_.below(2) ? 3 : 1,
                                                 .dilation = 1 + out % 2,
                                                 .bias = random_.below(2) == 0,
                                                 .groups = channels_[step.a] % 2 == 0 && out % 2 == 0 ? 2 : 1});
        break;
      case block:
        out = 1 + random_.below(6);
        step.layer = blocks_.size();
        blocks_.emplace_back(BlockOptions<S::kDim>{.conv = {.in_channels = channels_[step.a], .out_channels = out},
                                                   .norm = norm_kind(),
                                                   .activation = any_activation()});
        break;
      case norm:
        step.layer = norms_.size();
        norms_.emplace_back(
            NormOptions{.channels = out, .kind = norm_kind(), .affine = random_.below(2) == 0, .activation = any_activation()});
        break;
      case slope:
        step.layer = slopes_.size();
        slopes_.emplace_back(ParameterOptions{.shape = {random_.below(2) ? 1 : out}, .fill = 0.25});
        break;
      case join:
        out = channels_[step.a] + channels_[step.b];
        break;
      case cut:
        out = (out + 1) / 2;
        break;
      default:
        break;
    }
    steps_.push_back(step);
    channels_.push_back(out);
  }
  Activation any_activation() {
    return {kActivationKinds[static_cast<std::size_t>(random_.below(std::ssize(kActivationKinds)))], 0.2f};
  }
  NormKind norm_kind() {
    constexpr NormKind kinds[] = {NormKind::instance, NormKind::batch, NormKind::group};
    return kinds[random_.below(3)];
  }

  Var<S> run(const Step& step, const std::vector<Var<S>>& value) const {
    const Var<S> a = value[step.a], b = value[step.b];
    switch (step.kind) {
      case conv:
        return convs_[step.layer](a);
      case block:
        return blocks_[step.layer].conv.op().out_channels == b.shape().c ? blocks_[step.layer](a, b) : blocks_[step.layer](a);
      case norm:
        return a.shape().c == b.shape().c && step.number < 0.4f ? norms_[step.layer](a, b) : norms_[step.layer](a);
      case slope:
        return prelu(a, slopes_[step.layer]);
      case activation:
        return activate(a, step.number < 0.3f ? relu() : step.number < 0.5f ? sigmoid() : leaky_relu(step.number));
      case drop:
        return step.number < 0.3f ? channel_dropout(a, step.number) : dropout(a, step.number);
      case soft:
        return softmax(a);
      case sum:
        return add(a, b, step.number);
      case join:
        return concat(a, b);
      case gate:   // of as many channels, or of one
        return multiply(a, a.shape().c == b.shape().c ? b : slice_channels(sigmoid(b), 0, 1));
      case cut:
        return slice_channels(a, a.shape().c / 2, (a.shape().c + 1) / 2);
      case detour:
        return average_pool(upsample(a, {.mode = step.number < 0.3f ? UpsampleMode::nearest : UpsampleMode::linear}));
    }
    return a;
  }

  RandomStream random_;
  std::vector<Index> channels_;
  std::vector<Step> steps_;
  std::deque<Conv<S>> convs_;
  std::deque<Block<S>> blocks_;
  std::deque<Norm<S>> norms_;
  std::deque<Parameter<S>> slopes_;
  std::deque<Conv<S>> head_;
};

}   // namespace ctseg::test
