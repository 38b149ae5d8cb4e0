// Lung nodules as LUNA16 hands them out: scans, annotations.csv and lung masks in; a model, its scores, and lists of nodules in
// millimetres of the patient out.
//   ctseg_lung_nodules preprocess | train | validate | infer --phantom      README.md beside this file has the whole story
#include "lung_nodules.hpp"

#include <ctseg/data/processed_files.hpp>

namespace {

using namespace lung_nodules;

constexpr Index kEpochs = 5;        // from one checkpoint and validation to the next
constexpr Index kLungMargin = 10;   // prepared voxels that are kept around the lungs

/// The part of a prepared scan that holds the lungs; all of it where no mask says where they are, and of a scan that was
/// brought to one shape, for the network is to see it in that shape.
cs::Volume<float> cut_to_lungs(Job& job, const cs::CaseFiles& files, cs::Preprocessed seen) {
  const auto& steps = job.config.recipe.preprocess;
  const bool shaped = std::any_of(steps.begin(), steps.end(),
                                  [](const cs::PreprocessStep& s) { return std::holds_alternative<cs::Resize>(s); });
  if (files.label.empty() || shaped) return std::move(seen.image);
  const auto lungs = seen.to_prepared(cli::read_mask_on(seen.path.original(), {files.label.string()}, job.console));
  const auto box = cs::bounding_box(lungs, [](std::uint8_t v) { return v > 0; });
  if (!box) return std::move(seen.image);
  const auto [low, high] = *box;
  const cs::Box wide{{low.x - kLungMargin, low.y - kLungMargin, low.z - kLungMargin},
                     {high.x + kLungMargin, high.y + kLungMargin, high.z + kLungMargin}};
  return cs::crop(seen.image, cs::overlap(wide, cs::whole(lungs.shape())));
}

/// Where a prepared scan came from and lies. World coordinates (LPS, as in the annotations) stay true whatever grid a scan is
/// on; voxels are those of the prepared scan.
Json metadata(const cs::CaseFiles& files, const cs::Grid& grid, const std::vector<cs::Nodule>& nodules) {
  Json all = Json::array();
  for (const cs::Nodule& n : nodules)
    all.push_back({{"center_world", xyz(n.centre)},
                   {"center_voxel", zyx(grid.affine.index_of(cs::to_ras(n.centre)))},
                   {"diameter_mm", n.diameter_mm}});
  return {{"seriesuid", files.name},
          {"source", fs::absolute(files.image).string()},
          {"shape", zyx(grid.shape)},
          {"spacing_mm", zyx(grid.spacing_mm())},
          {"origin_world", xyz(cs::to_lps(grid.affine(0, 0, 0)))},
          {"orientation", cs::axis_codes(grid)},
          {"nodules", all}};
}

/// Scans of another preprocessing look like any others: what they were prepared with is written down beside them.
void check_preprocessing(const Job& job) {
  const fs::path file = job.output() / "prepared" / "preprocess.json";
  const std::string own = text_of(cs::to_json(job.config.recipe)["preprocess"]);
  if (!fs::exists(file)) return write_text(file, own);
  const auto bytes = cs::io::read_file(file);
  if (std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()) != own)
    throw cs::Error(cs::Code::bad_argument, file.string(),
                    "says that scans were prepared in another way than the configuration's. Hint: another --output, or delete "
                    "the folder around it.");
}

/// Whether what was prepared is of these annotations and files: neither was changed since.
bool is_current(const fs::path& out, const cs::CaseFiles& files, const std::vector<cs::Nodule>& nodules) {
  const fs::path about = out / "metadata" / (files.name + ".json");
  if (!fs::exists(about)) return false;
  for (const fs::path& from : {files.image, files.label})
    if (!from.empty() && fs::last_write_time(from) > fs::last_write_time(about)) return false;   // `about` is written last
  const auto bytes = cs::io::read_file(about);
  const Json said = cs::json::parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, about.string());
  Json drawn = Json::array(), wanted = Json::array();
  for (const Json& n : said["nodules"]) drawn.push_back({n["center_world"], n["diameter_mm"]});
  for (const cs::Nodule& n : nodules) wanted.push_back({xyz(n.centre), n.diameter_mm});
  return drawn == wanted;
}

/// Scans on the network's grid, masks drawn from the annotations, and what is known of each. A scan is in processed_files.txt
/// once all of it is written, so a run that was stopped goes on there.
void preprocess(Job& job) {
  const fs::path out = job.output() / "prepared";
  const auto place = [](const fs::path& p) { return fs::weakly_canonical(fs::absolute(p)); };   // also of what is not there yet
  const std::string inside = place(job.output()).lexically_relative(place(job.data())).string();
  if (!inside.starts_with(".."))
    throw cs::Error(
        cs::Code::bad_argument, job.output().string(),
        "lies in the data set, where what is prepared would be taken for scans the next time. Hint: another --output.");
  const auto files = cs::find_cases(job.data(), cs::layouts::luna16);
  auto nodules = cs::by_series(annotations(job));
  check_preprocessing(job);
  for (const char* folder : {"images", "labels", "metadata"}) fs::create_directories(out / folder);
  cs::ProcessedFiles done(out / "processed_files.txt");
  cli::Progress progress(job.console, "scans", std::ssize(files));
  for (const cs::CaseFiles& f : files) {
    job.console.check_cancelled();
    if (done.contains(f.name) && is_current(out, f, nodules[f.name])) continue;
    const Scan scan = cli::read_scan({f.image.string()}, job.console);
    const auto image = cut_to_lungs(job, f, cs::apply_steps(scan.volume, job.config.recipe.preprocess, &job.ctx.executor()));
    cs::io::write_volume(out / "images" / (f.name + ".mha"), image);
    cs::io::write_volume(out / "labels" / (f.name + ".mha"), cs::nodule_mask(image.grid(), nodules[f.name]));
    write_text(out / "metadata" / (f.name + ".json"), text_of(metadata(f, image.grid(), nodules[f.name])));
    done.add(f.name);
    progress.done(done.size());
  }
  job.console.result((out / "processed_files.txt").string() + "\n");
}

std::vector<cs::Case> read_prepared(Job&, const std::vector<cs::CaseFiles>& files) {
  std::vector<cs::Case> cases;
  for (const cs::CaseFiles& f : files) cases.push_back(cs::read_case(f));
  return cases;
}

/// What DATA has and `preprocess` has not seen would quietly be left out.
void check_prepared(const Job& job) {
  const fs::path out = job.output() / "prepared";
  const auto files = cs::find_cases(job.data(), cs::layouts::luna16);
  auto nodules = cs::by_series(annotations(job));
  const cs::ProcessedFiles done(out / "processed_files.txt");
  const auto missing = std::count_if(files.begin(), files.end(), [&](const cs::CaseFiles& f) {
    return !done.contains(f.name) || !is_current(out, f, nodules[f.name]);
  });
  if (missing > 0)
    throw cs::Error(cs::Code::bad_argument, out.string(),
                    text("lacks ", missing, " of ", files.size(), " scans of ", job.data().string(),
                         ", or has them as they were before a change. Hint: preprocess, with the same --data and --output."));
}

void train_nodules(Job& job) {
  if (fs::exists(job.output() / "prepared")) check_preprocessing(job);
  if (!job.arguments.data.empty()) check_prepared(job);   // else what was prepared is all there is
  cli::TrainingConfig& t = job.config.training;
  const Index cases = std::ssize(prepared_files(job).train);
  const Index epoch = t.steps_per_epoch > 0 ? t.steps_per_epoch : (cases + t.batch - 1) / t.batch;
  if (t.validate_every == 0 && !prepared_files(job).val.empty()) t.validate_every = kEpochs * epoch;
  if (t.checkpoint_every == 0) t.checkpoint_every = kEpochs * epoch;
  job.find = prepared_files, job.read = read_prepared;
  train(job);
}

/// A patient's rows of annotations.csv, in place of those it had.
void annotate(const cs::Phantom& phantom, const fs::path& data, const fs::path& scan) {
  const std::string name = scan.stem().string();
  std::vector<cs::Nodule> nodules;
  if (fs::exists(data / "annotations.csv")) nodules = cs::read_luna16_annotations(data / "annotations.csv");
  std::erase_if(nodules, [&](const cs::Nodule& n) { return n.series_uid == name; });
  for (const cs::PhantomNodule& n : phantom.nodule_list) nodules.push_back({name, cs::to_lps(n.center), n.diameter_mm});
  cs::write_luna16_annotations(data / "annotations.csv", nodules);
}

/// subset0/NAME.mhd and seg-lungs-LUNA16/NAME.mhd
std::pair<fs::path, fs::path> phantom_files(const std::string&, Index patient) {
  const std::string name = text("phantom_", patient, ".mhd");
  return {fs::path("subset0") / name, fs::path("seg-lungs-LUNA16") / name};
}

}   // namespace

std::vector<cs::Nodule> lung_nodules::annotations(const Job& job) {
  return cs::read_luna16_annotations(job.data() / "annotations.csv");
}
cs::CaseSplit lung_nodules::prepared_files(const Job& job) {
  std::vector<cs::CaseFiles> files = cs::find_cases(job.output() / "prepared", cs::layouts::pairs);
  if (!job.arguments.data.empty()) {   // of another data set, or taken out of this one, since
    std::set<std::string> there;
    for (const cs::CaseFiles& f : cs::find_cases(job.data(), cs::layouts::luna16)) there.insert(f.name);
    std::erase_if(files, [&](const cs::CaseFiles& f) { return !there.contains(f.name); });
  }
  return cs::split(files, {.train = job.config.data.train, .test = job.config.data.test, .seed = job.arguments.seed});
}

int main(int argc, char** argv) {
  return run(
      {.name = "lung_nodules",
       .what = "Nodules in the lungs (LUNA16), by a residual 3-D U-Net",
       .phantoms = {.region = cs::Region::thorax,
                    .mask = [](const cs::Phantom& p) { return cs::mask_of(p, cs::Organ::lung); },
                    .files = phantom_files,
                    .note = annotate},
       .commands = {{"preprocess", "resample DATA's scans and draw their nodules, into OUTPUT/prepared", preprocess, ""},
                    {"train", "train on what was prepared", train_nodules, "--device --resume --seed --json"},
                    {"validate", "score the model on the patients that were held out", validate,
                     "--model --device --seed --mirror --scales"},
                    {"infer", "find the nodules in one scan", infer, "CASE --model --device --json --mirror --scales --lungs"}},
       .extras = {{"--mirror", &looks.mirror, "axes to mirror as well, such as xy"},
                  {"--scales", &looks.scales, "scales to look at, such as 1,0.8"},
                  {"--lungs", &looks.lungs, "the scan's lung mask; what lies away from it is left out"}}},
      argc, argv);
}
