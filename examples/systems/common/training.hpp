// A training of one network, 2-D or 3-D, on the CPU or on a card: compiled for the one by training.cpp, for the other by
// training_on.cpp where ctseg::cuda is built.
#pragma once
#include <ctseg/train/log.hpp>
#include <ctseg/train/validate.hpp>

#include "system.hpp"

namespace systems {

/// What a configuration says of augmentation and learning rate.
cs::Recipe augmentation(const TrainingConfig& t);
cs::Schedule schedule_of(const TrainingConfig& t);

/// Trains the weights of the model on the job's card.
cs::FitResult fit_on_card(Job& job, cs::AnyModel& model);

/// On a terminal or in a log, a line now and then.
class Lines final : public cs::FitObserver {
 public:
  explicit Lines(Job& job) : job_(job) {}
  void on_plan(const cs::FitPlan& p) override { job_.console.note(text(p)); }
  void on_step(const cs::FitProgress& p) override {
    ++job_.steps;
    if (p.step == p.steps || p.step % 20 == 0) job_.console.note(text(p));
  }
  void on_score(const cs::FitScore& s) override {
    job_.console.note(text("step ", s.step, "  validation Dice ", s.score, s.best ? ", the best so far" : ""));
  }

 private:
  Job& job_;
};

/// As the configuration says, for patches of the network's rank.
template <cs::AnySpec S> cs::PatchSampler<S> sampler_of(Job& job) {
  const TrainingConfig& t = job.config.training;
  const auto& window = std::get<cs::SlidingWindowOptions<S::kDim>>(job.config.recipe.sliding_window);
  auto patch = window.window.value;
  if (!t.patch.empty() && t.patch.size() != patch.size())
    throw cs::Error(cs::Code::bad_input, job.arguments.config,
                    text("training.patch has ", t.patch.size(), " extents for a network of ", patch.size(), " axes."));
  std::copy(t.patch.begin(), t.patch.end(), patch.begin());
  const Index classes = std::max<Index>(2, cs::out_channels_of(job.config.recipe.network));
  if (!t.sampling.empty() && std::ssize(t.sampling) != classes)
    throw cs::Error(cs::Code::bad_input, job.arguments.config,
                    text("training.sampling has ", t.sampling.size(), " numbers for ", classes, " classes with background."));
  return {job.read(job, job.find(job).train),
          {.patch = patch,
           .positive = t.positive,
           .negative = t.negative,
           .class_weights = t.sampling,
           .by_component = t.by_component,
           .off_centre = t.off_centre,
           .outside = window.outside,
           .augment = augmentation(t),
           .executor = &job.ctx.executor()}};
}

template <cs::AnySpec S> cs::FitOptions<S> options_of(Job& job, Index cases, bool validates) {
  const TrainingConfig& t = job.config.training;
  cs::FitOptions<S> o{.steps = t.steps, .batch = t.batch, .epochs = t.epochs, .steps_per_epoch = t.steps_per_epoch};
  o.loss = cs::dice_ce({.dice_weight = t.loss.dice,
                        .ce_weight = t.loss.ce,
                        .smooth_numerator = t.loss.smooth,
                        .smooth_denominator = t.loss.smooth,
                        .include_background = t.loss.background,
                        .class_weights = t.loss.class_weights});
  o.schedule = schedule_of(t);
  o.clip_norm = t.clip_norm;
  o.max_memory = t.max_memory_mb * 1000000;
  o.workers = static_cast<int>(t.workers);
  if (validates) {
    const Index epoch = t.steps_per_epoch > 0 ? t.steps_per_epoch : (cases + t.batch - 1) / t.batch;
    const Index last = t.epochs > 0 ? t.epochs * epoch : t.steps;
    o.validate_every = t.validate_every > 0 ? t.validate_every : last;
    o.early_stop.patience = t.patience;
  }
  o.checkpoints = {.folder = job.output() / "checkpoints", .every = t.checkpoint_every > 0 ? t.checkpoint_every : 500,
                   .resume = job.arguments.resume};
  return o;
}

template <class Net> cs::FitResult fit_network(Job& job, cs::Context<typename Net::Spec::Device>& ctx, Net& net) {
  using S = typename Net::Spec;
  const TrainingConfig& t = job.config.training;
  const fs::path out = job.output();
  const cs::PatchSampler<S> patches = sampler_of<S>(job);
  const std::vector<cs::Case> held_out = job.read(job, job.find(job).val);

  std::optional<cs::Adam<S>> adam;
  std::optional<cs::AdamW<S>> adamw;
  if (one_of<bool>("training.optimizer", t.optimizer, {{"adam", true}, {"adamw", false}}))
    adam.emplace(net.parameters(), cs::AdamOptions{.learning_rate = t.learning_rate, .weight_decay = t.weight_decay});
  else
    adamw.emplace(net.parameters(), cs::AdamWOptions{.learning_rate = t.learning_rate, .weight_decay = t.weight_decay});
  cs::AdamBase<S>& optimizer = adam ? static_cast<cs::AdamBase<S>&>(*adam) : *adamw;

  Lines lines(job);
  cs::TextLog csv(out / "log.csv", cs::TextLogFormat::csv);
  cs::TensorBoardLog board(out / "board");
  cs::LearningCurve curve(out / "log.csv");
  std::vector<cs::FitObserver*> observers{&lines, &csv, &board, &curve};
  std::optional<cs::DiceValidation<Net>> dice;
  const auto& window = std::get<cs::SlidingWindowOptions<S::kDim>>(job.config.recipe.sliding_window);
  if (!held_out.empty()) observers.push_back(&dice.emplace(ctx, net, held_out, window));
  cs::FitObservers all(observers);
  cs::FitOptions<S> options = options_of<S>(job, std::ssize(patches.cases()), dice.has_value());
  options.observer = &all;
  const cs::FitResult fitted = cs::fit(ctx, net, optimizer, patches, options);
  curve.write(out / "curve.svg");
  if (const fs::path best = out / "checkpoints" / "best.safetensors"; dice && fs::exists(best)) cs::io::load_weights(best, net);
  return fitted;
}

}   // namespace systems
