// Training of any network of a recipe, on 2-D slices or in 3-D.
#include "training.hpp"

#include <ctseg/data/augment/recipes.hpp>

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

}   // namespace

cs::Recipe augmentation(const TrainingConfig& t) {
  return one_of<cs::Recipe (*)()>("training.augment", t.augment,
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

namespace {

/// On the job's card; what that refuses before the first step, most often for want of memory, the CPU trains.
cs::FitResult fit_model(Job& job, cs::AnyModel& model) {
  try {
    if (job.device.card()) return fit_on_card(job, model);
  } catch (const cs::Error& refusal) {
    if (job.steps > 0) throw;
    job.device.leave_card(refusal);
  }
  return model.visit([&](auto& net) { return fit_network(job, job.ctx, net); });
}

}   // namespace

constexpr const char* kTrainingFiles[] = {"model.safetensors", kTrainedOn, "log.csv", "curve.svg", "run.json"};

Trained train_model(Job& job) {
  const fs::path out = job.output();
  cli::expect_fresh(out / "checkpoints", job.arguments.resume);
  job.console.keep(job.arguments.config);
  for (const char* name : kTrainingFiles) job.console.expect_output(out / name);
  cli::class_of_id(job.config.recipe, job.arguments.config);   // errors before anything is read
  schedule_of(job.config.training), augmentation(job.config.training);
  cs::RunRecord run{.command = "train", .inputs = {job.arguments.config, job.arguments.data}};
  run.seed = job.arguments.seed;
  cs::RunClock clock(run);
  fs::create_directories(out);
  cs::AnyModel model = cs::make_model(job.config.recipe.network);
  model.initialize(job.ctx);
  job.console.note(text(text(model.config()), ", ", model.parameter_count(), " parameters, on ", job.device.name()));
  const cs::FitResult fitted = fit_model(job, model);
  job.describe(run);
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
                 {"training_seconds", fitted.total_seconds},
                 {"loss", fitted.loss},
                 {"best_dice", fitted.best_score}};
  for (const char* name : kTrainingFiles) run.outputs.push_back((out / name).string());
  std::string json = cli::write_record(out / "run.json", run, fitted.last_step > fitted.first_step);
  return {std::move(run), std::move(json), fitted.total_seconds};
}

void train(Job& job) {
  const Trained trained = train_model(job);
  if (job.console.common().json) return job.console.result(trained.json);
  for (const std::string& path : trained.run.outputs) job.console.result(path + "\n");
}

}   // namespace systems
