// The command train: a configuration's network, trained on the job's cases.
#include "../../ctseg/training.hpp"
#include "system.hpp"

namespace systems {

constexpr const char* kTrainingFiles[] = {"model.safetensors", kTrainedOn, "log.csv", "curve.svg", "run.json"};

Trained train_model(Job& job) {
  const fs::path out = job.output();
  cli::expect_fresh(out / "checkpoints", job.arguments.resume);
  job.console.keep(job.arguments.config);
  for (const char* name : kTrainingFiles) job.console.expect_output(out / name);
  cli::class_of_id(job.config.recipe, job.arguments.config);   // errors before anything is read
  cs::RunRecord run{.command = "train", .inputs = {job.arguments.config, job.arguments.data}};
  run.seed = job.arguments.seed;
  cs::RunClock clock(run);
  cs::AnyModel model = cs::make_model(job.config.recipe.network);
  model.initialize(job.ctx);
  job.console.note(text(text(model.config()), ", ", model.parameter_count(), " parameters, on ", job.device.name()));
  const cli::TrainingTask task{.recipe = job.config.recipe,
                               .config = job.config.training,
                               .output = out,
                               .resume = job.arguments.resume,
                               .cases = [&] { return job.read(job, job.find(job).train); },
                               .held_out = [&] { return job.read(job, job.find(job).val); }};
  const cs::FitResult fitted = cli::fit_model(task, job.device, job.console, model);
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
