// Training of any network of a recipe, on 2-D slices or in 3-D.
#include <ctseg/data/augment/recipes.hpp>
#include <ctseg/report/run.hpp>
#include <ctseg/train/log.hpp>
#include <ctseg/train/validate.hpp>

#include "system.hpp"

namespace systems {

namespace {

/// A slightly turned and scaled patient under slightly other values. Nobody is mirrored: that would be safe for few organs.
cs::Recipe light_recipe() {
  return {{
      cs::RandAffine{.probability = 0.5, .degrees = cs::all_axes(cs::symmetric(10)), .scale = cs::all_axes(cs::symmetric(0.1))},
      cs::RandScaleIntensity{.probability = 0.3, .factor = cs::symmetric(0.1)},
      cs::RandShiftIntensity{.probability = 0.3, .offset = cs::symmetric(0.05)},
      cs::RandGaussianNoise{.probability = 0.3, .std = 0.03},
  }};
}
/// The augmentation by its name, after the move away from the middle: a network that never saw a nodule elsewhere than in the
/// middle of a patch looks for it there alone.
cs::Recipe augmentation(const TrainingConfig& t) {
  cs::Recipe r = one_of<cs::Recipe (*)()>("training.augment", t.augment,
                                          {{"none", [] { return cs::Recipe{}; }},
                                           {"light", light_recipe},
                                           {"coronary", [] { return cs::coronary_recipe(); }},
                                           {"lung_nodules", [] { return cs::lung_nodule_recipe(); }},
                                           {"liver_slices", [] { return cs::liver_slice_recipe(); }}})();
  if (t.off_centre > 0)
    r.transforms.insert(r.transforms.begin(),
                        cs::RandAffine{.probability = 1, .translate_voxels = cs::all_axes(cs::symmetric(t.off_centre))});
  return r;
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

/// As the configuration says, for patches of the network's rank.
template <cs::AnySpec S> cs::PatchSampler<S> sampler_of(Job& job) {
  const TrainingConfig& t = job.config.training;
  const auto& window = std::get<cs::SlidingWindowOptions<S::kDim>>(job.config.recipe.sliding_window);
  auto patch = window.window.value;
  if (!t.patch.empty() && t.patch.size() != patch.size())
    throw cs::Error(cs::Code::bad_input, job.arguments.config,
                    text("training.patch has ", t.patch.size(), " extents for a network of ", patch.size(), " axes."));
  std::copy(t.patch.begin(), t.patch.end(), patch.begin());
  return {job.read(job, job.find(job).train),
          {.patch = patch,
           .positive = t.positive,
           .negative = t.negative,
           .class_weights = t.sampling,
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
  o.checkpoints = {.folder = job.output() / "checkpoints", .every = t.checkpoint_every, .resume = job.arguments.resume};
  return o;
}

template <class Net> cs::FitResult fit_network(Job& job, Net& net) {
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

  Lines lines(job.console);
  cs::TextLog csv(out / "log.csv", cs::TextLogFormat::csv);
  cs::TensorBoardLog board(out / "board");
  cs::LearningCurve curve(out / "log.csv");
  std::vector<cs::FitObserver*> observers{&lines, &csv, &board, &curve};
  std::optional<cs::DiceValidation<Net>> dice;
  const auto& window = std::get<cs::SlidingWindowOptions<S::kDim>>(job.config.recipe.sliding_window);
  if (!held_out.empty()) observers.push_back(&dice.emplace(job.ctx, net, held_out, window));
  cs::FitObservers all(observers);
  cs::FitOptions<S> options = options_of<S>(job, std::ssize(patches.cases()), dice.has_value());
  options.observer = &all;
  const cs::FitResult fitted = cs::fit(job.ctx, net, optimizer, patches, options);
  curve.write(out / "curve.svg");
  if (const fs::path best = out / "checkpoints" / "best.safetensors"; dice && fs::exists(best)) cs::io::load_weights(best, net);
  return fitted;
}

}   // namespace

constexpr const char* kTrainingFiles[] = {"model.safetensors", kTrainedOn, "log.csv", "curve.svg", "run.json"};

cs::RunRecord train_model(Job& job) {
  const fs::path out = job.output();
  cli::expect_fresh(out / "checkpoints", job.arguments.resume);
  job.console.keep(job.arguments.config);
  for (const char* name : kTrainingFiles) job.console.expect_output(out / name);
  cli::class_of_id(job.config.recipe, job.arguments.config);   // errors before anything is read
  schedule_of(job.config.training), augmentation(job.config.training);
  cs::RunRecord run{.command = "train", .inputs = {job.arguments.config, job.arguments.data}};
  run.accuracy = job.arguments.accuracy, run.seed = job.arguments.seed;
  run.threads = job.ctx.executor().threads(), run.isa = text(job.ctx.traits().isa);
  cs::RunClock clock(run);
  fs::create_directories(out);
  cs::AnyModel model = cs::make_model(job.config.recipe.network);
  model.initialize(job.ctx);
  job.console.note(text(text(model.config()), ", ", model.parameter_count(), " parameters"));
  const cs::FitResult fitted = model.visit([&](auto& net) { return fit_network(job, net); });
  clock.stage("prepare and train");
  cs::save_model(out / "model.safetensors", model, job.config.recipe);
  std::string patients;
  for (const cs::CaseFiles& f : job.find(job).train) patients += f.name + "\n";
  write_text(out / kTrainedOn, patients);
  clock.finish();
  run.warnings = job.console.warnings();
  run.model = (out / "model.safetensors").string(), run.model_name = job.config.recipe.about.name;
  run.figures = {{"steps", static_cast<double>(fitted.last_step)},
                 {"parameters", static_cast<double>(model.parameter_count())},
                 {"training_seconds", fitted.seconds},
                 {"loss", fitted.loss},
                 {"best_dice", fitted.best_score}};
  for (const char* name : kTrainingFiles) run.outputs.push_back((out / name).string());
  write_text(out / "run.json", cs::to_json(run));
  return run;
}

void train(Job& job) {
  const cs::RunRecord run = train_model(job);
  if (job.console.common().json) return job.console.result(cs::to_json(run));
  for (const std::string& path : run.outputs) job.console.result(path + "\n");
}

}   // namespace systems
