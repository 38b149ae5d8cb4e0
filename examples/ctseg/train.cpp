// ctseg train: a configuration file, or a plan, becomes a model file. Data are read and prepared as the recipe says, so that
// training sees what segmenting will see.
#include <ctseg/data/split.hpp>
#include <ctseg/nnunet/model_recipe.hpp>
#include <ctseg/nnunet/plan_dataset.hpp>
#include <ctseg/nnunet/plan_training.hpp>
#include <ctseg/report/run.hpp>
#include <ctseg/train/log.hpp>
#include <ctseg/train/validate.hpp>

#include "commands.hpp"
#include "learning.hpp"
#include "models.hpp"

namespace cli {

namespace nn = ctseg::nnunet;

namespace {

/// What the configuration says beside the recipe.
struct DataConfig {
  std::string folder{}, layout = "ct_scans_masks";
  double validation = 0.2;   // share of the patients
};
struct TrainingConfig {
  Index steps = 1000, batch = 2;
  std::vector<Index> patch{};   // z, y, x, or y, x; unset: the recipe's window
  double learning_rate = 1e-3, weight_decay = 1e-4, clip_norm = 0;
  std::string schedule = "cosine";
  Index warm_up = 10;
  double positive = 1, negative = 1;
  bool by_component = false;                                       // large and small connected pieces of foreground alike
  Index off_centre = 0;                                            // voxels that a patch may lie beside its middle
  Index validate_every = 0, checkpoint_every = 500, workers = 0;   // validate_every: 0 is at the end only
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
template <class F> void fields(TrainingConfig& t, F& f) {
  f("steps", t.steps, cs::json::Range{1, 1e8});
  f("batch", t.batch, cs::json::Range{1, 1024});
  f("patch", t.patch, cs::json::Range{1, 4096});
  f("learning_rate", t.learning_rate, cs::json::Range{0, 100});
  f("weight_decay", t.weight_decay, cs::json::Range{0, 100});
  f("clip_norm", t.clip_norm, cs::json::Range{0, 1e9});
  f("schedule", t.schedule);
  f("warm_up", t.warm_up, cs::json::Range{0, 1e8});
  f("positive", t.positive, cs::json::Range{0, 1e6});
  f("negative", t.negative, cs::json::Range{0, 1e6});
  f("by_component", t.by_component);
  f("off_centre", t.off_centre, cs::json::Range{0, 4096});
  f("validate_every", t.validate_every, cs::json::Range{0, 1e8});
  f("checkpoint_every", t.checkpoint_every, cs::json::Range{1, 1e8});
  f("workers", t.workers, cs::json::Range{0, 256});
}
template <class F> void fields(TrainConfig& c, F& f) {
  f.required("recipe", c.recipe);
  f.required("data", c.data);
  f("training", c.training);
}

cs::ScheduleKind schedule_of(const std::string& file, const std::string& name) {
  return one_of<cs::ScheduleKind>(
      file + ": training.schedule", name,
      {{"constant", cs::ScheduleKind::constant}, {"cosine", cs::ScheduleKind::cosine}, {"poly", cs::ScheduleKind::poly}});
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

/// Lines of progress: on a terminal one that changes, else one now and then.
class Lines final : public cs::FitObserver {
 public:
  explicit Lines(Console& console) : console_(console) {}
  void on_step(const cs::FitProgress& p) override {
    if (p.step == p.steps || p.step % 20 == 0) console_.note(text(p));
  }
  void on_score(const cs::FitScore& s) override {
    console_.note(text("step ", s.step, "  validation Dice ", s.score, s.best ? ", the best so far" : ""));
  }

 private:
  Console& console_;
};

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
  schedule_of(a.config, config.training.schedule);   // a misspelt one is told before scans are read
  task.recipe = recipe_of(config, a.config);
  if (const auto axes = std::ssize(config.training.patch); axes > 0 && axes != cs::dim_of(task.recipe.network))
    throw cs::Error(cs::Code::bad_input, a.config,
                    text("training.patch has ", axes, " extents for a network of ", cs::dim_of(task.recipe.network), " axes."));
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

struct Setting {
  const TrainArguments& arguments;
  const Task& task;
  const std::vector<cs::Case>& held_out;
};

template <class S> cs::PatchSamplerOptions<S::kDim> sampling_of(const Setting& s) {
  const TrainingConfig& t = s.task.config.training;
  const auto& window = std::get<cs::SlidingWindowOptions<S::kDim>>(s.task.recipe.sliding_window);
  if (s.task.preset) return nn::training_sampling(*s.task.preset, window.window);
  cs::PatchSamplerOptions<S::kDim> sampling{.patch = window.window,
                                            .positive = t.positive,
                                            .negative = t.negative,
                                            .by_component = t.by_component,
                                            .off_centre = t.off_centre};
  sampling.outside = window.outside;
  if (t.patch.empty()) return sampling;
  auto patch = sampling.patch.value;
  std::copy(t.patch.begin(), t.patch.end(), patch.begin());
  sampling.patch = patch;
  return sampling;
}

template <class S> cs::FitOptions<S> fit_options_of(const Setting& s) {
  if (s.task.preset) return nn::training_options<S>(*s.task.preset);
  const TrainingConfig& t = s.task.config.training;
  cs::FitOptions<S> options{.steps = t.steps, .batch = t.batch};
  options.schedule = {.kind = schedule_of(s.arguments.config, t.schedule), .warm_up = t.warm_up};
  options.clip_norm = t.clip_norm;
  return options;
}

/// Trains one network, of either rank, and leaves it with its best weights.
template <class Net> cs::FitResult train_network(cs::Context<cs::Cpu>& ctx, Net& net, std::vector<cs::Case> cases,
                                                 const Setting& s, Console& console) {
  using S = typename Net::Spec;
  const TrainingConfig& t = s.task.config.training;
  cs::PatchSamplerOptions<S::kDim> sampling = sampling_of<S>(s);
  sampling.executor = &ctx.executor();
  const cs::PatchSampler<S> patches(std::move(cases), sampling);

  const fs::path out = s.arguments.output;
  Lines lines(console);
  cs::TextLog csv(out / "log.csv", cs::TextLogFormat::csv);
  cs::LearningCurve curve(out / "log.csv");
  std::vector<cs::FitObserver*> observers{&lines, &csv, &curve};
  std::optional<cs::DiceValidation<Net>> dice;
  if (!s.held_out.empty())
    observers.push_back(
        &dice.emplace(ctx, net, s.held_out, std::get<cs::SlidingWindowOptions<S::kDim>>(s.task.recipe.sliding_window)));
  cs::FitObservers all(observers);
  cs::FitOptions<S> options = fit_options_of<S>(s);
  const Index steps = options.epochs > 0 ? options.epochs * options.steps_per_epoch : options.steps;
  options.workers = static_cast<int>(t.workers);
  options.validate_every = dice ? (t.validate_every > 0 ? t.validate_every : steps) : 0;
  options.checkpoints = {.folder = out / "checkpoints", .every = t.checkpoint_every, .resume = s.arguments.resume};
  options.observer = &all;
  const auto run = [&](auto optimizer) { return cs::fit(ctx, net, optimizer, patches, options); };
  const cs::FitResult result = s.task.preset
                                   ? run(cs::Sgd<S>(net.parameters(), nn::training_sgd()))
                                   : run(cs::AdamW<S>(net.parameters(), {.learning_rate = static_cast<float>(t.learning_rate),
                                                                         .weight_decay = static_cast<float>(t.weight_decay)}));
  curve.write(out / "curve.svg");
  if (const fs::path best = out / "checkpoints" / "best.safetensors"; dice && fs::exists(best)) cs::io::load_weights(best, net);
  return result;
}

}   // namespace

void train(const TrainArguments& a, Console& console) {
  const bool by_plan = !a.plan.empty();
  if (by_plan == !a.config.empty() || by_plan == a.data.empty())
    throw cs::Error(cs::Code::bad_argument, "train", "takes CONFIG, or --plan with --data; either of the two.");
  expect_folder_name(a.output, "model.safetensors, checkpoints and logs");
  const std::string source = by_plan ? a.plan : a.config;
  cs::RunRecord run{.command = "train", .inputs = {source}, .accuracy = "standard", .seed = a.seed};
  cs::RunClock clock(run);
  const Task task = by_plan ? planned(a, console) : configured(a, console);
  const cs::ModelRecipe& recipe = task.recipe;
  class_of_id(recipe, source);   // an error before anything is read

  cs::Context<cs::Cpu> ctx{
      {.threads = console.common().threads, .seed = a.seed, .cancel = console.cancel(), .log = console.log()}};
  run.threads = ctx.executor().threads(), run.isa = text(ctx.traits().isa);
  cs::AnyModel model = cs::make_model(recipe.network);
  model.check_window(cs::model_file::window_of(recipe));   // else found when the model is saved, after the training
  if (!task.config.training.patch.empty()) model.check_window({task.config.training.patch});
  fs::create_directories(a.output);
  model.initialize(ctx);
  std::vector<cs::Case> cases = prepare_all(task.split.train, recipe, console, ctx.executor());
  const std::vector<cs::Case> held_out = prepare_all(task.split.val, recipe, console, ctx.executor());
  clock.stage("read");
  console.note(text(text(model.config()), ", ", model.parameter_count(), " parameters, ", cases.size(), " cases to train on, ",
                    held_out.size(), " to validate"));
  const Setting setting{a, task, held_out};
  const cs::FitResult fitted =
      model.visit([&](auto& net) { return train_network(ctx, net, std::move(cases), setting, console); });
  clock.stage("train");

  const fs::path out = a.output;
  cs::save_model(out / "model.safetensors", model, recipe);
  clock.stage("write");
  clock.finish();
  run.model = (out / "model.safetensors").string(), run.model_name = recipe.about.name;
  run.figures = {{"steps", static_cast<double>(fitted.last_step)}, {"loss", fitted.loss}, {"best_dice", fitted.best_score}};
  run.warnings = console.warnings();
  for (const char* name : {"model.safetensors", "log.csv", "curve.svg", "run.json"})
    run.outputs.push_back((out / name).string());
  const std::string json = write_record(out / "run.json", run, fitted.last_step > fitted.first_step);
  if (console.common().json) return console.result(json);
  for (const std::string& path : run.outputs) console.result(path + "\n");
}

}   // namespace cli
