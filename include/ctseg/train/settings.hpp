// What must be the same where a training goes on, as names and values: kept in its checkpoints and compared.
#pragma once
#include "../core/tensor.hpp"
#include "training_step.hpp"

namespace ctseg::detail {

inline std::string text_of(const Schedule& s) {
  constexpr const char* kKinds[] = {"constant", "step", "exponential", "cosine", "poly", "two_phase"};
  std::string out = kKinds[static_cast<std::size_t>(s.kind)];
  const bool stairs = s.kind == ScheduleKind::step || s.kind == ScheduleKind::exponential;
  const bool smooth = s.kind == ScheduleKind::cosine || s.kind == ScheduleKind::poly;
  if (s.warm_up > 0) out += text(", warm_up ", s.warm_up);
  if (stairs || smooth) out += text(", every ", s.every);
  if (stairs || s.kind == ScheduleKind::two_phase) out += text(", factor ", s.factor);
  if (s.kind == ScheduleKind::two_phase) out += text(", change ", s.change);
  if (s.kind == ScheduleKind::poly) out += text(", power ", s.power);
  if (s.kind == ScheduleKind::cosine) out += text(", last ", s.last);
  return out + (s.unit == ScheduleUnit::epoch ? ", by epoch" : ", by step");
}

/// A loss is any callable, so it is known by what it says: its value for made-up logits, which moves with each of its options.
/// NaN if it does not take such small ones. Without group and cancel token: rank 0 may ask alone, and gets the same answer.
template <class Net>
double probe(Context<typename Net::Spec::Device>& ctx, const Loss<typename Net::Spec>& loss, const TrainingStep<Net>& step) {
  using S = typename Net::Spec;
  constexpr Index kExtent = 16;
  ContextOptions alone = ctx.options();
  alone.group = nullptr, alone.cancel = {};
  Context<typename S::Device> own(alone);
  Tape<S> tape(Mode::train, own);
  RandomStream random({0x70726f6265});
  std::vector<Var<S>> heads;
  const Shape<S::kDim> finest = step.outputs.front().shape();
  for (const Var<S>& head : step.outputs) {
    Shape<S::kDim> shape = head.shape();
    shape.n = 2;
    for (std::size_t d = 0; d < S::kDim; ++d)
      shape.space[d] = std::max<Index>(1, kExtent * head.shape().space[d] / finest.space[d]);
    Tensor<typename S::T, S::kDim> logits(shape);
    for (Index i = 0; i < shape.elements(); ++i) {
      const double amplitude = i < shape.elements() / 2 ? 1 : 3;   // two unlike images: sums over both are something else
      logits.data()[i] = typename S::T(static_cast<float>(amplitude * random.normal()));
    }
    heads.push_back(tape.input(std::as_const(logits).view()));
  }
  Shape<S::kDim> shape{.n = 2, .c = 1, .space = {}};
  shape.space.fill(kExtent);
  Tensor<std::uint8_t, S::kDim> labels(shape);
  const Index most = std::max<Index>(2, std::min<Index>(step.classes, 256));
  for (Index i = 0; i < shape.elements(); ++i) {
    const Index band = i / 3 % kExtent * most / kExtent, rare = i % 5 == 0 ? most - 1 : 0;
    labels.data()[i] = static_cast<std::uint8_t>(i < shape.elements() / 2 ? band : rare);
  }
  try {
    return loss(heads, tape.input(std::as_const(labels).view())).scalar();
  } catch (const Error&) {
    return std::numeric_limits<double>::quiet_NaN();
  }
}

/// What must be the same in all processes of a group: other numbers of steps or validations would leave some of them waiting
/// for ever, other rates would part their weights.
template <class Optimizer, AnySpec S> std::string shared_settings(const Optimizer& optimizer, const FitOptions<S>& o) {
  std::string all = text(o.steps, " steps in epochs of ", o.steps_per_epoch, ", validate_every ", o.validate_every,
                         ", patience ", o.early_stop.patience, ", min_delta ", exact(o.early_stop.min_delta), ", smoothing ",
                         exact(o.smoothing), ", schedule ", text_of(o.schedule), ", clip_norm ", exact(o.clip_norm),
                         ", average ", o.average ? exact(o.average->options().decay) : "none", ", ", optimizer.name());
  for (const auto& [name, value] : optimizer.settings()) all += text(" ", name, " ", exact(value));
  return all;
}

template <class Net, class Optimizer, class Sampler>
std::map<std::string, std::string> settings_of(Context<typename Net::Spec::Device>& ctx, Optimizer& optimizer,
                                               const Sampler& sampler, const FitOptions<typename Net::Spec>& o,
                                               const TrainingStep<Net>& step) {
  using S = typename Net::Spec;
  std::map<std::string, std::string> all;
  if (ctx.group() && ctx.group()->size() > 1) all["processes"] = text(ctx.group()->size());
  all["storage"] = text(dtype_of<typename S::T>());
  all["schedule"] = text_of(o.schedule);
  if (o.schedule.kind == ScheduleKind::cosine || o.schedule.kind == ScheduleKind::poly) all["steps"] = text(o.steps);
  if (o.schedule.unit == ScheduleUnit::epoch) all["steps_per_epoch"] = text(o.steps_per_epoch);
  if (const double value = probe(ctx, o.loss, step); is_finite(value)) all["loss (of made-up logits)"] = exact(value);
  all["clip_norm"] = exact(o.clip_norm);
  all["smoothing"] = exact(o.smoothing);
  all["average"] = o.average ? exact(o.average->options().decay) : "none";
  if (o.loss_scaler) all["loss_scaler"] = o.loss_scaler->enabled ? "on" : "off";
  for (const auto& [name, value] : optimizer.settings()) all["optimizer " + std::string(name)] = exact(value);
  all["sampler patch"] = text(Axes<S::kDim>(sampler.shape(1).space));
  if constexpr (requires { sampler.settings(); })
    for (const auto& [name, value] : sampler.settings()) all["sampler " + name] = value;
  return all;
}

}   // namespace ctseg::detail
