// One step of an optimizer, and the moving average of weights: every block takes a piece of one parameter, four values (16
// bytes) a thread and access. Parameters are not moved into an arena for this: a table of pieces costs 40 bytes for 4096 values.
// Gradients are unscaled and clipped on the way in, by a factor that another launch left in device memory, and a step whose
// gradients are not finite ends before its first value: so no number comes to the host between backward and the new weights.
//
// Numerics: float throughout. A running mean moves by (1 - beta) (x - mean), not beta mean + (1 - beta) x: rounding beta to
// float would change its weight by 1e-5. Decay is part of the step that is subtracted, as w (1 - rate decay) would round to w.
//
// Bytes per value: AdamW 28 (w, m, v read and written, g read), SGD with momentum 20, average 12. Speed: not measured yet.
#include "../common/launch.cuh"
#include "../common/values.cuh"
#include "ctseg/optim/cuda/launch.hpp"

namespace ctseg::cuda {
namespace {

constexpr int kThreads = 256;
using Four = Pack<float, 4>;

/// f(first value of four, how many of them count) for this thread's share of a piece.
template <class F> CTSEG_DEVICE void each_four(const Block& b, Index count, const F& f) {
  const int all = static_cast<int>(count);
  for (int i = 4 * b.thread(); i < all; i += 4 * kThreads) f(i, all - i < 4 ? all - i : 4);
}
CTSEG_DEVICE Four load(const float* at, int count) {
  if (count == 4) return *reinterpret_cast<const Four*>(at);
  Four values{};
  for (int j = 0; j < count; ++j) values.at[j] = at[j];
  return values;
}
CTSEG_DEVICE void store(float* at, const Four& values, int count) {
  if (count == 4) {
    *reinterpret_cast<Four*>(at) = values;
    return;
  }
  for (int j = 0; j < count; ++j) at[j] = values.at[j];
}

/// The factor of gradients; false: no step.
CTSEG_DEVICE bool may_step(const GradientFacts* facts, float& factor) {
  factor = 1;
  if (!facts || facts->binding == 0) return true;
  factor = facts->factor;
  return facts->bad == 0;
}

struct Adam {
  static constexpr int kMoments = 2;
  static constexpr const char* kName = "adam";
  float rate, follow1, follow2, eps, decay, penalty, inverse1, inverse2;

  CTSEG_DEVICE explicit Adam(const float* n)
      : rate(n[0]), follow1(n[1]), follow2(n[2]), eps(n[3]), decay(n[4]), penalty(n[5]), inverse1(n[6]), inverse2(n[7]) {}

  CTSEG_DEVICE float operator()(float w, float g, float* moment) const {
    const float d = g + penalty * w;
    moment[0] += follow1 * (d - moment[0]);
    moment[1] += follow2 * (d * d - moment[1]);
    const float direction = moment[0] * inverse1 / (std::sqrt(moment[1]) * inverse2 + eps);
    return w - rate * (direction + decay * w);
  }
};

struct Sgd {
  static constexpr int kMoments = 1;
  static constexpr const char* kName = "sgd";
  float rate, slowing, decay;
  bool nesterov;

  CTSEG_DEVICE explicit Sgd(const float* n) : rate(n[0]), slowing(n[1]), decay(n[2]), nesterov(n[3] != 0) {}
  CTSEG_DEVICE float operator()(float w, float g, float* moment) const {
    const float d = g + decay * w;
    moment[0] = moment[0] - slowing * moment[0] + d;
    return w - rate * (nesterov ? d + (moment[0] - slowing * moment[0]) : moment[0]);
  }
};
struct PlainSgd {
  static constexpr int kMoments = 0;
  static constexpr const char* kName = "sgd_plain";
  float rate, decay;
  CTSEG_DEVICE explicit PlainSgd(const float* n) : rate(n[0]), decay(n[1]) {}
  CTSEG_DEVICE float operator()(float w, float g, float*) const { return w - rate * (g + decay * w); }
};

template <class Rule> struct Descend {
  static constexpr int kThreads = cuda::kThreads;
  static constexpr bool kSyncs = false;
  static constexpr const char* kName = Rule::kName;
  Step step;

  CTSEG_DEVICE void operator()(const Block& b) const {
    float factor;
    if (!may_step(step.facts, factor)) return;
    const Piece p = step.pieces.at[b.index()];
    if (p.average_rate >= 0) return follow_statistics(b, p);
    const Rule rule(step.numbers);
    each_four(b, p.count, [&](int i, int count) {
      Four w = load(p.values + i, count);
      const Four g = load(p.gradient + i, count);
      Four moment[Rule::kMoments + 1];   // one more: there are no arrays of none
      float* at[Rule::kMoments + 1];
      for (int m = 0; m < Rule::kMoments; ++m) {
        at[m] = step.moments + m * step.stride + p.place + i;
        moment[m] = *reinterpret_cast<const Four*>(at[m]);   // padded to whole fours
      }
      for (int j = 0; j < 4; ++j) {
        float own[Rule::kMoments + 1];
        for (int m = 0; m < Rule::kMoments; ++m) own[m] = moment[m].at[j];
        w.at[j] = rule(w.at[j], g.at[j] * factor, own);
        for (int m = 0; m < Rule::kMoments; ++m) moment[m].at[j] = own[m];
      }
      store(p.values + i, w, count);
      for (int m = 0; m < Rule::kMoments; ++m) *reinterpret_cast<Four*>(at[m]) = moment[m];
    });
  }
  CTSEG_DEVICE void follow_statistics(const Block& b, const Piece& p) const {
    for (int i = b.thread(); i < p.count; i += kThreads) p.values[i] -= p.average_rate * p.gradient[i];
  }
};

struct Follow {
  static constexpr int kThreads = cuda::kThreads;
  static constexpr bool kSyncs = false;
  static constexpr const char* kName = "follow_statistics";
  Pieces pieces;
  CTSEG_DEVICE void operator()(const Block& b) const {
    const Piece p = pieces.at[b.index()];
    if (p.average_rate < 0) return;
    for (int i = b.thread(); i < p.count; i += kThreads) p.gradient[i] *= 1 - p.average_rate;
  }
};

struct Average {
  static constexpr int kThreads = cuda::kThreads;
  static constexpr bool kSyncs = false;
  static constexpr const char* kName = "weight_average";
  Averaging averaging;
  CTSEG_DEVICE void operator()(const Block& b) const {
    float factor;
    if (!may_step(averaging.facts, factor)) return;
    const Piece p = averaging.pieces.at[b.index()];
    const float share = p.average_rate < 0 ? averaging.share : 1;
    each_four(b, p.count, [&](int i, int count) {
      const Four w = load(p.values + i, count);
      Four* to = reinterpret_cast<Four*>(averaging.averages + p.place + i);
      Four mean = *to;
      for (int j = 0; j < 4; ++j) mean.at[j] = share == 1 ? w.at[j] : mean.at[j] + share * (w.at[j] - mean.at[j]);
      *to = mean;
    });
  }
};

struct Exchange {
  static constexpr int kThreads = cuda::kThreads;
  static constexpr bool kSyncs = false;
  static constexpr const char* kName = "exchange_weights";
  Pieces pieces;
  float* averages;
  CTSEG_DEVICE void operator()(const Block& b) const {
    const Piece p = pieces.at[b.index()];
    each_four(b, p.count, [&](int i, int count) {
      Four* average = reinterpret_cast<Four*>(averages + p.place + i);
      const Four w = load(p.values + i, count);
      store(p.values + i, *average, count);
      *average = w;
    });
  }
};

template <class Rule> void run(Stream stream, const Step& step) {
  launch(stream, {.blocks = step.pieces.count}, Descend<Rule>{step});
}

}   // namespace

// In the order in which the rules above read them.
DeviceRule device_rule(const AdamRule& r) {
  return {DeviceRule::adam,
          {static_cast<float>(r.learning_rate), static_cast<float>(1 - r.beta1), static_cast<float>(1 - r.beta2),
           static_cast<float>(r.eps), static_cast<float>(r.decoupled ? r.weight_decay : 0),
           static_cast<float>(r.decoupled ? 0 : r.weight_decay), static_cast<float>(1 / r.correction1),
           static_cast<float>(1 / std::sqrt(r.correction2))}};
}
DeviceRule device_rule(const SgdRule& r) {
  const auto rate = static_cast<float>(r.learning_rate), decay = static_cast<float>(r.weight_decay);
  if (r.momentum == 0) return {DeviceRule::plain_sgd, {rate, decay}};
  return {DeviceRule::sgd, {rate, static_cast<float>(1 - r.momentum), decay, r.nesterov ? 1.f : 0.f}};
}

void descend(Stream stream, const Step& step) {
  switch (step.rule) {
    case DeviceRule::adam: return run<Adam>(stream, step);
    case DeviceRule::sgd: return run<Sgd>(stream, step);
    case DeviceRule::plain_sgd: return run<PlainSgd>(stream, step);
  }
}

void follow(Stream stream, const Pieces& pieces) { launch(stream, {.blocks = pieces.count}, Follow{pieces}); }
void average(Stream stream, const Averaging& a) { launch(stream, {.blocks = a.pieces.count}, Average{a}); }
void exchange(Stream stream, const Pieces& pieces, float* averages) {
  launch(stream, {.blocks = pieces.count}, Exchange{pieces, averages});
}

}   // namespace ctseg::cuda
