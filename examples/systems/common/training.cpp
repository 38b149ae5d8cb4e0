// Training of any network of a recipe, on 2-D slices or in 3-D.
#include <ctseg/data/augment/recipes.hpp>
#include <ctseg/report/run.hpp>
#include <ctseg/train/log.hpp>
#include <ctseg/train/validate.hpp>

#include "system.hpp"

namespace systems {

namespace {

/// A mirrored, slightly turned and scaled patient under slightly other values: safe for any organ but those that sides tell.
cs::Recipe light_recipe() {
  return {{
      cs::RandAffine{.probability = 0.5, .degrees = cs::all_axes(cs::symmetric(10)), .scale = cs::all_axes(cs::symmetric(0.1))},
      cs::RandScaleIntensity{.probability = 0.3, .factor = cs::symmetric(0.1)},
      cs::RandShiftIntensity{.probability = 0.3, .offset = cs::symmetric(0.05)},
      cs::RandGaussianNoise{.probability = 0.3, .std = 0.03},
  }};
}
cs::Recipe augmentation(const std::string& name) {
  return one_of<cs::Recipe (*)()>("training.augment", name,
                                  {{"none", [] { return cs::Recipe{}; }},
                                   {"light", light_recipe},
                                   {"coronary", [] { return cs::coronary_recipe(); }},
                                   {"lung_nodules", [] { return cs::lung_nodule_recipe(); }},
                                   {"liver_slices", [] { return cs::liver_slice_recipe(); }}})();
}

cs::Schedule schedule_of(const TrainingConfig& t) {
  using Kind = cs::ScheduleKind;
  const Kind kind = one_of<Kind>("training.schedule", t.schedule,
                                 {{"constant", Kind::constant},
                                  {"cosine", Kind::cosine},
                                  {"poly", Kind::poly},
                                  {"exponential", Kind::exponential},
                                  {"step", Kind::step}});
  const bool by_epoch = kind == Kind::exponential || kind == Kind::step;   // as PyTorch's schedulers are called
  return {.kind = kind,
          .unit = by_epoch ? cs::ScheduleUnit::epoch : cs::ScheduleUnit::step,
          .warm_up = t.warm_up,
          .every = t.every,
          .factor = t.factor};
}

/// On a terminal or in a log, a line now and then.
class Lines final : public cs::FitObserver {
 public:
  explicit Lines(const Console& console) : console_(console) {}
  void on_plan(const cs::FitPlan& p) override { console_.note(text(p)); }
  void on_step(const cs::FitProgress& p) override {
    if (p.step == p.steps || p.step % 20 == 0) console_.note(text(p));
  }
  void on_score(const cs::FitScore& s) override {
    console_.note(text("step ", s.step, "  validation Dice ", s.score, s.best ? ", the best so far" : ""));
  }

 private:
  const Console& console_;
};

/// The cases, prepared.
struct Cases {
  std::vector<cs::Case> train, val;
};

template <class Net> cs::FitResult fit_network(cs::Context<cs::Cpu>& ctx, Net& net, const Arguments& a, const Config& config,
                                               Cases cases, Console& console) {
  using S = typename Net::Spec;
  const TrainingConfig& t = config.training;
  const fs::path out = a.output;
  const auto& window = std::get<cs::SlidingWindowOptions<S::kDim>>(config.recipe.sliding_window);
  cs::PatchSamplerOptions<S::kDim> sampling{.patch = window.window,
                                            .positive = t.positive,
                                            .negative = t.negative,
                                            .class_weights = t.sampling,
                                            .outside = window.outside,
                                            .augment = augmentation(t.augment),
                                            .executor = &ctx.executor()};
  if (!t.patch.empty()) {
    auto patch = sampling.patch.value;
    if (t.patch.size() != patch.size())
      throw cs::Error(cs::Code::bad_input, a.config, text("training.patch has ", t.patch.size(), " extents, not ", patch.size()));
    std::copy(t.patch.begin(), t.patch.end(), patch.begin());
    sampling.patch = patch;
  }
  const cs::PatchSampler<S> patches(std::move(cases.train), sampling);

  std::optional<cs::Adam<S>> adam;
  std::optional<cs::AdamW<S>> adamw;
  if (one_of<bool>("training.optimizer", t.optimizer, {{"adam", true}, {"adamw", false}}))
    adam.emplace(net.parameters(), cs::AdamOptions{.learning_rate = t.learning_rate, .weight_decay = t.weight_decay});
  else
    adamw.emplace(net.parameters(), cs::AdamWOptions{.learning_rate = t.learning_rate, .weight_decay = t.weight_decay});
  cs::AdamBase<S>& optimizer = adam ? static_cast<cs::AdamBase<S>&>(*adam) : *adamw;

  Lines lines(console);
  cs::TextLog csv(out / "log.csv", cs::TextLogFormat::csv);
  cs::TensorBoardLog board(out / "board");
  cs::LearningCurve curve;
  std::vector<cs::FitObserver*> observers{&lines, &csv, &board, &curve};
  std::optional<cs::DiceValidation<Net>> dice;
  if (!cases.val.empty()) observers.push_back(&dice.emplace(ctx, net, cases.val, window));
  cs::FitObservers all(observers);

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
  if (dice) {
    const Index epoch = t.steps_per_epoch > 0 ? t.steps_per_epoch : (std::ssize(patches.cases()) + t.batch - 1) / t.batch;
    const Index last = t.epochs > 0 ? t.epochs * epoch : t.steps;
    o.validate_every = t.validate_every > 0 ? t.validate_every : last;
    o.early_stop.patience = t.patience;
  }
  o.checkpoints = {.folder = out / "checkpoints", .every = t.checkpoint_every, .resume = a.resume};
  o.observer = &all;
  const cs::FitResult fitted = cs::fit(ctx, net, optimizer, patches, o);
  curve.write(out / "curve.svg");
  if (const fs::path best = out / "checkpoints" / "best.safetensors"; dice && fs::exists(best)) cs::io::load_weights(best, net);
  return fitted;
}

}   // namespace

cs::RunRecord train_model(const Arguments& a, const Config& config, const cs::CaseSplit& cases, Console& console) {
  const fs::path out = a.output, checkpoints = out / "checkpoints";
  if (!a.resume && fs::exists(checkpoints) && !fs::is_empty(checkpoints))
    throw cs::Error(cs::Code::bad_argument, checkpoints.string(),
                    "holds an earlier training. Hint: --resume goes on with it; -o names another folder for a new one.");
  cs::RunRecord run{.command = "train", .inputs = {a.config, a.data}, .accuracy = a.accuracy, .seed = a.seed};
  cs::RunClock clock(run);
  cs::Context<cs::Cpu> ctx{context_options(a, console)};
  run.threads = ctx.executor().threads(), run.isa = text(ctx.traits().isa);
  fs::create_directories(out);
  cs::AnyModel model = cs::make_model(config.recipe.network);
  model.initialize(ctx);
  Cases prepared{prepare_cases(cases.train, a, config, console), prepare_cases(cases.val, a, config, console)};
  clock.stage("prepare");
  console.note(text(text(model.config()), ", ", model.parameter_count(), " parameters, ", prepared.train.size(),
                    " cases to train on, ", prepared.val.size(), " to validate"));
  const cs::FitResult fitted =
      model.visit([&](auto& net) { return fit_network(ctx, net, a, config, std::move(prepared), console); });
  clock.stage("train");
  cs::save_model(out / "model.safetensors", model, config.recipe);
  clock.finish();
  run.model = (out / "model.safetensors").string(), run.model_name = config.recipe.about.name;
  run.figures = {{"steps", static_cast<double>(fitted.last_step)},
                 {"parameters", static_cast<double>(model.parameter_count())},
                 {"loss", fitted.loss},
                 {"best_dice", fitted.best_score}};
  for (const char* name : {"model.safetensors", "log.csv", "curve.svg", "run.json"})
    run.outputs.push_back((out / name).string());
  write_text(out / "run.json", cs::to_json(run));
  return run;
}

std::string shown(const cs::RunRecord& run, const Console& console) {
  if (console.common().json) return cs::to_json(run);
  std::string lines;
  for (const std::string& path : run.outputs) lines += path + "\n";
  return lines;
}

}   // namespace systems
