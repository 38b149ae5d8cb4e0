// What the systems share, so that each of them is one short file: a command line, phantoms, cases as their network sees them,
// a training, a segmentation, an evaluation.
#pragma once
#include <functional>

#include <ctseg/data/loader.hpp>
#include <ctseg/data/phantom.hpp>
#include <ctseg/metrics/report.hpp>
#include <ctseg/recipe/segment.hpp>
#include <ctseg/report/run.hpp>
#include <ctseg/train/fit_options.hpp>

#include "../../ctseg/console.hpp"
#include "../../ctseg/models.hpp"
#include "../../ctseg/volumes.hpp"
#include "config.hpp"

namespace systems {

using cli::Console, cli::Scan;

/// What every command may be told.
struct Arguments {
  std::string command{}, input{}, config{}, data{}, output{}, model{};
  std::string device = "auto", accuracy = "standard";
  bool phantom = false, resume = false;
  std::uint64_t seed = 0;
};

struct Command {
  const char *name, *help;
  void (*run)(const Arguments&, const Config&, Console&);
};
/// An option that one system alone has.
struct Extra {
  const char* flag;
  std::string* value;
  const char* help;
};
/// What phantoms show, and where scan and mask of patient number i lie in the data folder; `part` is train, val or test.
struct PhantomSet {
  cs::Region region;
  cs::Volume<std::uint8_t> (*mask)(const cs::Phantom&);
  std::pair<fs::path, fs::path> (*files)(const std::string& part, Index patient);
};
struct System {
  const char *name, *what;
  PhantomSet phantoms;
  std::vector<Command> commands;
  std::vector<Extra> extras{};
};

/// The main function of a system: reads the command line and the configuration, makes the phantoms that --phantom asks for and
/// that are not there yet, runs the command. stdout gets results only; exit status as ctseg has them.
int run(const System& system, int argc, const char* const* argv);

/// Options of a context: threads, Ctrl-C, where warnings go. `seed` is that of the arguments.
cs::ContextOptions context_options(const Arguments& a, Console& console);

/// Cases as the network sees them, with labels as its classes; kept in OUTPUT/prepared for the next time.
std::vector<cs::Case> prepare_cases(const std::vector<cs::CaseFiles>& files, const Arguments& a, const Config& config,
                                    Console& console);
/// A table of prepared cases: grid, range, voxels of each class that occurs.
std::string table_of(const std::vector<cs::Case>& cases);

/// Trains the configuration's network and writes model.safetensors, log.csv, curve.svg, board/ (TensorBoard), checkpoints/
/// and run.json, which it returns, into the output folder. The model is the one of the best validation, where there is any.
cs::RunRecord train_model(const Arguments& a, const Config& config, const cs::CaseSplit& cases, Console& console);

/// What a run wrote, a path a line; with --json all of its record.
std::string shown(const cs::RunRecord& run, const Console& console);

/// The model file that the arguments name, else OUTPUT/model.safetensors: of ctseg, or weights with a recipe beside them.
fs::path model_file(const Arguments& a);
cs::LoadedModel load(const fs::path& model, cs::Context<cs::Cpu>& ctx);

/// The true mask of a case in the recipe's ids, on the scan's grid.
cs::Volume<std::uint8_t> read_truth(const cs::CaseFiles& files, const Scan& scan, const Config& config, Console& console);

/// The scan that the arguments name (with --phantom and no name: the first one of the test patients) by their model.
struct Segmented {
  Scan scan;
  cs::ModelRecipe recipe;
  cs::Segmentation made;
  cs::RunRecord run;   // times, labels with their volumes

  const cs::Volume<std::uint8_t>& mask() const { return *made.labels; }
};
Segmented segment_scan(cs::Context<cs::Cpu>& ctx, const cs::LoadedModel& model, const Arguments& a, const Config& config,
                       Console& console);
/// OUTPUT/NAME, with the name of the scan: where its results go.
fs::path folder_of(const Arguments& a, const Segmented& s);
/// mask.nii.gz, preview.png and, last, run.json. Results appear together; others may be staged before.
void write_results(cli::Staging& out, Segmented& s, cs::WindowHu window, Console& console);

/// One case that was segmented.
struct Judged {
  const cs::CaseFiles& files;
  const Scan& scan;
  const cs::Volume<std::uint8_t>&truth, &mask;
  const cs::Segmentation& made;
  const cs::CaseScores& scores;
};
struct EvaluateCases {
  cs::EvaluationOptions options{};
  std::function<void(const Judged&)> each{};   // called after each case
};
/// Segments cases and compares them with their masks.
cs::EvaluationReport evaluate_cases(cs::Context<cs::Cpu>& ctx, const cs::LoadedModel& model,
                                    const std::vector<cs::CaseFiles>& files, const Config& config, const EvaluateCases& how,
                                    Console& console);

/// Names of labels 0, 1, ... of a recipe.
std::vector<std::string> label_names(const cs::ModelRecipe& recipe);

/// The file whole or not at all.
void write_text(const fs::path& file, std::string_view words);

}   // namespace systems
