// A training of any network of a recipe, 2-D or 3-D, on the CPU or on a card: compiled for the one by training.cpp, for the other
// by training_on.cpp where ctseg::cuda is built.
#pragma once
#include <functional>

#include <ctseg/loss/cldice.hpp>
#include <ctseg/loss/distance.hpp>
#include <ctseg/loss/focal.hpp>
#include <ctseg/loss/tversky.hpp>
#include <ctseg/nnunet/plan_training.hpp>
#include <ctseg/recipe/any_model.hpp>
#include <ctseg/train/log.hpp>
#include <ctseg/train/validate.hpp>

#include "console.hpp"
#include "device.hpp"
#include "training_config.hpp"

namespace cli {

/// What is trained, on what, how, and where its files go.
struct TrainingTask {
  const cs::ModelRecipe& recipe;
  const TrainingConfig& config;
  fs::path output;
  bool resume = false;
  /// As the network sees them; asked for again where the CPU takes over from a card.
  std::function<std::vector<cs::Case>()> cases, held_out;
  /// nnU-Net's way: of `config` only memory, workers and the intervals count then.
  std::optional<cs::nnunet::TrainingPreset> preset{};
};

/// Trains the model's weights, on the device's card if there is one; what that refuses before the first step, most often for want
/// of memory, the CPU trains. The model then has the weights of the best validation, or where there is none the last ones.
/// Writes log.csv, curve.svg, board/ (TensorBoard) and checkpoints/.
cs::FitResult fit_model(const TrainingTask& task, Device& device, Console& console, cs::AnyModel& model);

/// One training as it runs.
struct Training {
  const TrainingTask& task;
  Device& device;
  Console& console;
  Index steps = 0;        // done in this call
  bool reading = false;   // cases: what is wrong with them no other device mends
};
/// Trains the model's weights on the card.
cs::FitResult fit_on_card(Training& training, cs::AnyModel& model);

/// On a terminal or in a log, a line now and then.
class Lines final : public cs::FitObserver {
 public:
  explicit Lines(Training& training) : training_(training) {}
  void on_plan(const cs::FitPlan& p) override { training_.console.note(text(p)); }
  void on_step(const cs::FitProgress& p) override {
    ++training_.steps;
    if (p.step == p.steps || p.step % 20 == 0) training_.console.note(text(p));
  }
  void on_score(const cs::FitScore& s) override {
    training_.console.note(text("step ", s.step, "  validation Dice ", s.score, s.best ? ", the best so far" : ""));
  }

 private:
  Training& training_;
};

/// The sum that a configuration asks for.
struct ConfiguredLoss {
  LossConfig weights;

  template <cs::AnySpec S> cs::Var<S> operator()(cs::Var<S> logits, cs::Var<S> labels) const {
    const LossConfig& w = weights;
    std::vector<cs::Var<S>> terms;
    cs::WeightedSumOp<S> sum;
    const auto add = [&](double weight, const auto& loss) {
      if (weight > 0) terms.push_back(loss(logits, labels)), sum.weights.push_back(weight);
    };
    add(w.dice + w.ce > 0 ? 1 : 0, dice_ce());
    add(w.focal, cs::focal_loss({.gamma = w.gamma, .use_softmax = true}));
    add(w.tversky, cs::tversky_loss({.alpha = w.alpha, .beta = w.beta, .include_background = w.background}));
    add(w.boundary, cs::boundary_loss({.include_background = false}));
    add(w.cldice, cs::cldice_loss({.iterations = static_cast<int>(w.iterations), .include_background = w.background}));
    return logits.tape->append(sum, std::span<const cs::Var<S>>(terms), {});
  }
  bool dice_and_ce_alone() const { return weights.focal + weights.tversky + weights.boundary + weights.cldice == 0; }
  cs::DiceCeLoss dice_ce() const {
    return cs::dice_ce({.dice_weight = weights.dice,
                        .ce_weight = weights.ce,
                        .smooth_numerator = weights.smooth,
                        .smooth_denominator = weights.smooth,
                        .include_background = weights.background,
                        .class_weights = weights.class_weights});
  }
};

template <cs::AnySpec S> cs::PatchSampler<S> sampler_of(const Training& training) {
  const TrainingTask& task = training.task;
  const TrainingConfig& t = task.config;
  const auto& window = std::get<cs::SlidingWindowOptions<S::kDim>>(task.recipe.sliding_window);
  cs::PatchSamplerOptions<S::kDim> o{.patch = window.window};
  if (task.preset) {
    o = cs::nnunet::training_sampling(*task.preset, window.window);
  } else {
    std::copy(t.patch.begin(), t.patch.end(), o.patch.value.begin());
    o.positive = t.positive, o.negative = t.negative, o.class_weights = t.sampling;
    o.by_component = t.by_component, o.off_centre = t.off_centre;
    o.outside = window.outside;
    o.augment = augmentation(t);
  }
  o.executor = &training.device.host().executor();
  return {task.cases(), o};
}

template <cs::AnySpec S> cs::FitOptions<S> options_of(const TrainingTask& task, Index cases, bool validates) {
  const TrainingConfig& t = task.config;
  cs::FitOptions<S> o{.steps = t.steps, .batch = t.batch, .epochs = t.epochs, .steps_per_epoch = t.steps_per_epoch};
  if (task.preset) {
    o = cs::nnunet::training_options<S>(*task.preset);
  } else {
    const ConfiguredLoss loss{t.loss};
    o.loss = loss.dice_and_ce_alone() ? cs::Loss<S>(loss.dice_ce()) : cs::Loss<S>(loss);
    o.schedule = schedule_of(t);
    o.clip_norm = t.clip_norm;
  }
  o.max_memory = t.max_memory_mb * 1000000;
  o.workers = static_cast<int>(t.workers);
  if (validates) {
    const Index epoch = o.steps_per_epoch > 0 ? o.steps_per_epoch : (cases + o.batch - 1) / o.batch;
    const Index last = o.epochs > 0 ? o.epochs * epoch : o.steps;
    o.validate_every = t.validate_every > 0 ? t.validate_every : last;
    o.early_stop.patience = t.patience;
  }
  o.checkpoints = {
      .folder = task.output / "checkpoints", .every = t.checkpoint_every > 0 ? t.checkpoint_every : 500, .resume = task.resume};
  return o;
}

template <class Net> cs::FitResult fit_network(Training& training, cs::Context<typename Net::Spec::Device>& ctx, Net& net) {
  using S = typename Net::Spec;
  const TrainingTask& task = training.task;
  const TrainingConfig& t = task.config;
  training.reading = true;
  const cs::PatchSampler<S> patches = sampler_of<S>(training);
  const std::vector<cs::Case> held_out = task.held_out();
  training.reading = false;
  if (held_out.empty() && (t.patience > 0 || t.validate_every > 0))
    training.console.warn("warning: no patient is kept for validation, so patience and validate_every do nothing.");

  Lines lines(training);
  cs::TextLog csv(task.output / "log.csv", cs::TextLogFormat::csv);
  cs::TensorBoardLog board(task.output / "board");
  cs::LearningCurve curve(task.output / "log.csv");
  std::vector<cs::FitObserver*> observers{&lines, &csv, &board, &curve};
  std::optional<cs::DiceValidation<Net>> dice;
  const auto& window = std::get<cs::SlidingWindowOptions<S::kDim>>(task.recipe.sliding_window);
  if (!held_out.empty()) observers.push_back(&dice.emplace(ctx, net, held_out, window));
  cs::FitObservers all(observers);
  cs::FitOptions<S> options = options_of<S>(task, std::ssize(patches.cases()), dice.has_value());
  options.observer = &all;

  const auto run = [&](auto&& optimizer) { return cs::fit(ctx, net, optimizer, patches, options); };
  const auto weights = net.parameters();
  const auto run_by = [&](cs::AdamBase<S>&& adam) { return run(adam); };   // fit is compiled once for the two of them
  const cs::FitResult fitted =
      task.preset ? run(cs::Sgd<S>(weights, cs::nnunet::training_sgd()))
      : t.optimizer == "adam"
          ? run_by(cs::Adam<S>(weights, {.learning_rate = t.learning_rate, .weight_decay = t.weight_decay}))
          : run_by(cs::AdamW<S>(weights, {.learning_rate = t.learning_rate, .weight_decay = t.weight_decay}));
  curve.write(task.output / "curve.svg");
  const fs::path best = task.output / "checkpoints" / "best.safetensors";
  if (dice && fs::exists(best)) cs::io::load_weights(best, net);
  return fitted;
}

}   // namespace cli
