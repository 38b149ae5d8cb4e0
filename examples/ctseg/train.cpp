// ctseg train: a configuration file, or a plan, becomes a model file. Data are read and prepared as the recipe says, so that
// training sees what segmenting will see.
#include <ctseg/data/split.hpp>
#include <ctseg/nnunet/model_recipe.hpp>
#include <ctseg/nnunet/plan_dataset.hpp>
#include <ctseg/report/run.hpp>

#include "commands.hpp"
#include "learning.hpp"
#include "models.hpp"
#include "training.hpp"

namespace cli {

namespace nn = ctseg::nnunet;

namespace {

/// What the configuration says beside the recipe.
struct DataConfig {
  std::string folder{}, layout = "ct_scans_masks";
  double validation = 0.2;   // share of the patients
};
struct TrainConfig {
  cs::Json recipe{};   // the recipe itself, or its path from the configuration's folder
  DataConfig data{};
  TrainingConfig training{};
};
template <class F> void fields(DataConfig& d, F& f) {
  f.required("folder", d.folder);
  f("layout", d.layout);
  f("validation", d.validation, cs::json::Range{0, 0.9});
}
template <class F> void fields(TrainConfig& c, F& f) {
  f.required("recipe", c.recipe);
  f.required("data", c.data);
  f("training", c.training);
}

cs::ModelRecipe recipe_of(const TrainConfig& config, const fs::path& file) {
  if (config.recipe.is_string()) return cs::read_recipe(file.parent_path() / config.recipe.get<std::string>());
  return cs::recipe_from_json(config.recipe, file.string());
}

/// Cases as the network sees them, with their labels as classes.
std::vector<cs::Case> prepare_all(const std::vector<cs::CaseFiles>& files, const cs::ModelRecipe& recipe, Console& console,
                                  cs::Executor& threads) {
  std::vector<cs::Case> out;
  Progress progress(console, "cases read", std::ssize(files));
  for (const cs::CaseFiles& f : files) {
    console.check_cancelled();
    const Scan scan = read_scan({f.image.string()}, console);
    out.push_back(prepared_case(f.name, scan, read_mask_on(scan.volume.grid(), {f.label.string()}, console), recipe, threads));
    progress.done(std::ssize(out));
  }
  return out;
}

/// What is trained on which cases; with a preset, in nnU-Net's way.
struct Task {
  TrainConfig config{};
  cs::ModelRecipe recipe{};
  cs::CaseSplit split{};
  std::optional<nn::TrainingPreset> preset{};
};

/// Before anything is read that takes time.
void check_output(const TrainArguments& a, const Console& console) {
  expect_fresh(fs::path(a.output) / "checkpoints", a.resume);
  for (const char* name : {"model.safetensors", "log.csv", "curve.svg", "run.json"})
    console.expect_output(fs::path(a.output) / name);
}

/// By a configuration file.
Task configured(const TrainArguments& a, Console& console) {
  Task task;
  TrainConfig& config = task.config;
  const auto bytes = cs::io::read_file(a.config, {.max_bytes = Index{4} << 20});
  cs::json::Reader::take(cs::json::parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, a.config), {a.config},
                         config);
  console.keep(a.config);
  if (config.recipe.is_string()) console.keep(fs::path(a.config).parent_path() / config.recipe.get<std::string>());
  check_output(a, console);
  task.recipe = recipe_of(config, a.config);
  check(config.training, task.recipe.network, a.config);
  const fs::path folder = fs::path(a.config).parent_path() / config.data.folder;
  std::vector<cs::CaseFiles> files = cs::find_cases(folder, layout_named(a.config + ": data.layout", config.data.layout));
  task.split.train = files;
  if (config.data.validation > 0)
    task.split = cs::split(files, {.train = 1 - config.data.validation, .test = 0, .seed = a.seed});
  return task;
}

/// The cases of a raw data set: all to train on, or all but those that nnU-Net's fold keeps.
cs::CaseSplit fold_of(const nn::RawDataset& data, const std::string& fold) {
  cs::CaseSplit split;
  for (const nn::RawCase& c : data.cases) split.train.push_back({c.name, c.name, c.images[0], c.label});
  if (fold == "all") return split;
  const auto kept = nn::validation_folds(data.cases.size())[static_cast<std::size_t>(fold[0] - '0')];
  for (const std::size_t i : kept) split.val.push_back(split.train[i]);
  for (auto i = kept.rbegin(); i != kept.rend(); ++i) split.train.erase(split.train.begin() + static_cast<std::ptrdiff_t>(*i));
  return split;
}

/// By a plans file and the data set that it was made for.
Task planned(const TrainArguments& a, Console& console) {
  console.keep(a.plan), console.keep(fs::path(a.data) / "dataset.json");
  check_output(a, console);
  const nn::RawDataset data = nn::read_raw_dataset(a.data);
  const std::string about = (fs::path(a.data) / "dataset.json").string();
  const nn::TrainedPlans plans = nn::read_plans(a.plan);
  const nn::TrainedConfiguration configuration = plans.configuration(a.configuration);
  const nn::DatasetJson dataset = nn::dataset_from_json(data.json, about);
  const auto refuse = [&](const std::string& words) { throw cs::Error(cs::Code::unsupported, about, words); };
  if (data.facts.channel_names.size() != 1)
    refuse(text("has ", data.facts.channel_names.size(), " channels; train takes scans of one."));
  if (dataset.has_regions() || data.json["labels"].contains("ignore"))
    refuse("has regions or an ignored label; train takes labels that exclude each other.");
  if (!configuration.previous_stage.empty())
    refuse(text(a.configuration, " is trained on masks of ", configuration.previous_stage, "; train makes single networks."));
  nn::CheckpointInfo info{.configuration = a.configuration, .trainer_name = "nnUNetTrainer"};
  for (Index axis = 0; axis < configuration.dim(); ++axis) info.mirroring_axes.push_back(axis);
  Task task{.recipe = nn::recipe_of({plans, dataset, info, a.plan}), .split = fold_of(data, a.fold)};
  task.config.training.workers = 1;
  task.preset = nn::TrainingPreset{.batch = configuration.members().get<Index>("batch_size", {1, 4096}),
                                   .classes = cs::out_channels_of(task.recipe.network),
                                   .batch_dice = configuration.members().get<bool>("batch_dice"),
                                   .epochs = a.epochs,
                                   .steps_per_epoch = a.steps_per_epoch};
  return task;
}

}   // namespace

void train(const TrainArguments& a, Console& console) {
  const bool by_plan = !a.plan.empty();
  if (by_plan == !a.config.empty() || by_plan == a.data.empty())
    throw cs::Error(cs::Code::bad_argument, "train", "takes CONFIG, or --plan with --data; either of the two.");
  expect_folder_name(a.output, "model.safetensors, checkpoints and logs");
  const std::string source = by_plan ? a.plan : a.config;
  cs::RunRecord run{.command = "train", .inputs = {source}, .accuracy = a.accuracy, .seed = a.seed};
  cs::RunClock clock(run);
  const Task task = by_plan ? planned(a, console) : configured(a, console);
  const cs::ModelRecipe& recipe = task.recipe;
  class_of_id(recipe, source);   // an error before anything is read

  const cs::Accuracy accuracy = accuracy_named(a.accuracy);
  Device device(device_named(a.device), {.threads = console.common().threads,
                                         .seed = a.seed,
                                         .accuracy = accuracy,
                                         .cancel = console.cancel(),
                                         .log = console.log()});
  cs::Context<cs::Cpu>& ctx = device.host();
  run.threads = ctx.executor().threads(), run.isa = text(ctx.traits().isa);
  cs::AnyModel model = cs::make_model(recipe.network);
  model.initialize(ctx);
  console.note(text(text(model.config()), ", ", model.parameter_count(), " parameters, ", task.split.train.size(),
                    " cases to train on, ", task.split.val.size(), " to validate, on ", device.name()));
  const auto prepared = [&](const std::vector<cs::CaseFiles>& files) {
    return [&] { return prepare_all(files, recipe, console, ctx.executor()); };
  };
  const cs::FitResult fitted = fit_model({.recipe = recipe,
                                          .config = task.config.training,
                                          .output = a.output,
                                          .resume = a.resume,
                                          .cases = prepared(task.split.train),
                                          .held_out = prepared(task.split.val),
                                          .preset = task.preset},
                                         device, console, model);
  run.device = device.name(), run.device_reason = device.reason();
  clock.stage("prepare and train");

  const fs::path out = a.output;
  cs::save_model(out / "model.safetensors", model, recipe);
  clock.stage("write");
  clock.finish();
  run.model = (out / "model.safetensors").string(), run.model_name = recipe.about.name;
  run.figures = {{"steps", static_cast<double>(fitted.last_step)},
                 {"parameters", static_cast<double>(model.parameter_count())},
                 {"training_seconds", fitted.total_seconds},
                 {"loss", fitted.loss},
                 {"best_dice", fitted.best_score}};
  run.warnings = console.warnings();
  for (const char* name : {"model.safetensors", "log.csv", "curve.svg", "run.json"})
    run.outputs.push_back((out / name).string());
  const std::string json = write_record(out / "run.json", run, fitted.last_step > fitted.first_step);
  if (console.common().json) return console.result(json);
  for (const std::string& path : run.outputs) console.result(path + "\n");
}

}   // namespace cli
