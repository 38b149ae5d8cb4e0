// What the systems share, so that each of them is one short file: a command line, phantoms, cases as their network sees them,
// a training, a segmentation, an evaluation.
#pragma once
#include <functional>

#include <ctseg/data/loader.hpp>
#include <ctseg/data/phantom.hpp>
#include <ctseg/metrics/report.hpp>
#include <ctseg/report/run.hpp>

#include "../../ctseg/console.hpp"
#include "../../ctseg/device.hpp"
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

/// One run of one command: what it was told, where it may speak, and what its networks run on.
struct Job {
  Arguments arguments;
  Config config;
  Console& console;
  cli::Device device;
  cs::Context<cs::Cpu>& ctx;   // the CPU's, for all but networks

  /// How train comes by its cases; a system that prepares in its own way puts other functions here.
  cs::CaseSplit (*find)(const Job&);
  std::vector<cs::Case> (*read)(Job&, const std::vector<cs::CaseFiles>&);

  Job(Arguments a, Config c, Console& console);
  /// Into its record, once its networks have run: on what, with how many threads, how exactly.
  void describe(cs::RunRecord& run) const;
  fs::path output() const { return arguments.output; }
  /// The data set.
  /// Errors    bad_argument where none was named.
  fs::path data() const;
  /// The model that the arguments name, else the one that `train` wrote.
  fs::path model() const { return arguments.model.empty() ? output() / "model.safetensors" : fs::path(arguments.model); }
};

struct Command {
  const char *name, *help;
  void (*run)(Job&);
  /// Of CASE, --model, --device (and --accuracy), --resume, --seed, --json and the system's extras those that it takes, with a
  /// space between them. Any other is wrong usage: an option that changed nothing would be worse.
  const char* takes;
};
/// An option that one system alone has; `takes` of its commands names it.
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
  void (*note)(const cs::Phantom&, const fs::path& data, const fs::path& scan) = nullptr;   // keeps what else is known
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

/// The data set's cases, in parts.
cs::CaseSplit find_cases(const Job& job);
/// Whom a model is judged by: patients that were kept from all of the training, else those that chose its weights.
inline std::vector<cs::CaseFiles> judged(const cs::CaseSplit& parts) { return parts.test.empty() ? parts.val : parts.test; }
/// Cases as the network sees them, with labels as its classes; kept in OUTPUT/prepared for the next time.
std::vector<cs::Case> prepare_cases(Job& job, const std::vector<cs::CaseFiles>& files);
/// Prepares all parts and says what there is: grids, ranges, voxels of each class.
void prepare_all(Job& job);

/// Beside a model: the cases that it was trained on, one a line.
inline constexpr const char* kTrainedOn = "trained_on.txt";
/// Warns where cases to judge a model by have names of those that it was trained on: another --seed draws another split.
void warn_of_seen(const Job& job, const fs::path& model, const std::vector<cs::CaseFiles>& files);

struct Trained {
  cs::RunRecord run;   // of this call
  std::string json;    // run.json: of the last call that had something to do
  double seconds;      // of all calls, as far as their steps are in the model
};
/// Trains the configuration's network and writes model.safetensors, trained_on.txt, log.csv, curve.svg, board/ (TensorBoard),
/// checkpoints/ and run.json into the output folder. The model is that of the best validation, if there is any.
Trained train_model(Job& job);
/// The same as a command: the files that were written are its result.
void train(Job& job);

/// A model file of ctseg, or weights (PyTorch's too) with a recipe beside them; an ONNX file without a recipe has that of the
/// configuration. Labels of other names are worth a warning.
/// Errors    bad_input if their ids are not the configuration's.
cs::LoadedModel load(Job& job, const fs::path& file);

/// One scan and what a model made of it.
struct Segmented {
  Scan scan;
  cs::ModelRecipe recipe;
  cs::Segmentation made;
  cs::RunRecord run;   // times, labels with their volumes

  const cs::Volume<std::uint8_t>& mask() const { return *made.labels; }
};
/// Where no scan is named: the first of those that were held out.
std::string first_scan(const std::vector<cs::CaseFiles>& files);
/// The scan that the arguments name, with --phantom and no name the first test patient.
Segmented segment_scan(Job& job, const cs::LoadedModel& model);
/// The same scan's folder_of for its results, made before the work: errors come early.
/// Errors    those of expect_own_results; io if the folder cannot be written to.
cli::Staging results_of(Job& job);
/// OUTPUT/NAME: where the results of a scan go. A file's name loses the ending of a volume; that of a DICOM folder stays whole,
/// for the points in it may be those of a UID, and a slash behind it makes no difference.
fs::path folder_of(const Job& job, const fs::path& scan);
/// Whether results may go where this run.json is: a scan replaces its own, and not those of another patient's with the same name.
/// Errors    bad_argument if it is there and names another input than the scan.
void expect_own_results(const fs::path& record, const fs::path& scan);
/// Moves results to their place, the last of them run.json.
/// Errors    those of expect_own_results.
void commit_results(cli::Staging& out, const cs::RunRecord& run);
/// mask.nii.gz, preview.png and, last, run.json. Results appear together; others may be staged before. An answer becomes
/// result.json, and is given the "outputs": where all of them are.
void write_results(cli::Staging& out, Segmented& s, cs::WindowHu window, cs::Json* answer = nullptr);

/// The true mask of a case in the recipe's ids, on the scan's grid.
cs::Volume<std::uint8_t> read_truth(Job& job, const fs::path& file, const Scan& scan);

/// One case that was segmented and compared.
struct Judged {
  const cs::CaseFiles& files;
  const Scan& scan;
  const cs::Volume<std::uint8_t>&truth, &mask;
  const cs::Segmentation& made;
  const cs::CaseScores& scores;
};
struct EvaluateOptions {
  std::vector<cs::CaseFiles> files{};
  cs::EvaluationOptions scores{};
  std::function<void(const Judged&)> each{};   // called after each case
};
/// Segments cases and compares them with their masks.
cs::EvaluationReport evaluate_cases(Job& job, const cs::LoadedModel& model, const EvaluateOptions& options);

/// JSON for stdout and files. Names of files need not be UTF-8: U+FFFD stands for what is none.
inline std::string text_of(const cs::Json& j) { return j.dump(2, ' ', false, cs::Json::error_handler_t::replace) + "\n"; }
/// The file whole or not at all; its folder is made.
void write_text(const fs::path& file, std::string_view words);

}   // namespace systems
