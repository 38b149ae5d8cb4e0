// The vertebrae in a CT, each under its own name, by a V-Net of 26 outputs.
//   ctseg_spine prepare | train | evaluate | segment | labels --phantom      README.md beside this file has the whole story
#include <ctseg/io/preview.hpp>
#include <ctseg/report/distribution.hpp>

#include "../common/system.hpp"

namespace {

using namespace systems;
using cs::report::brief, cs::report::cell;

constexpr cs::WindowHu kBoneHu{.low = -200, .high = 800};

/// Groups of the tables: parts of the spine, and sizes, for small vertebrae are the hard part.
std::string region_of(const std::string& name) {
  return name[0] == 'C' ? "cervical" : name[0] == 'T' ? "thoracic" : name[0] == 'L' ? "lumbar" : "other";
}
std::string size_of(double volume_ml) { return volume_ml < 15 ? "small" : volume_ml < 40 ? "medium" : "large"; }

/// id, name, part of the spine; all 26 outputs, C7 among them.
std::string id_table(const cs::ModelRecipe& recipe) {
  std::string out = "id,name,region,color\n";
  for (const cs::LabelInfo& l : recipe.labels)
    out += text(l.id, ",", cell(l.name), ",", l.id == 0 ? "" : region_of(l.name), ",", l.color.value_or(""), "\n");
  return out;
}
void labels(Job& job) { job.console.result(id_table(job.config.recipe)); }

/// One slice of each plane, through the most of the mask; of the truth a white outline.
template <class Folder> void write_planes(Folder& folder, const Scan& scan, const cs::Volume<std::uint8_t>& mask,
                                          const cs::Volume<std::uint8_t>* truth) {
  using cs::io::View;
  for (const auto& [name, view] : {std::pair("axial.png", View::axial), std::pair("coronal.png", View::coronal),
                                   std::pair("sagittal.png", View::sagittal)})
    cs::io::write_png(folder / name,
                      cs::io::overlay(scan.volume, mask,
                                      {.view = view, .look = {.window_hu = kBoneHu, .panel_pixels = 600, .truth = truth}}));
}

/// Dice of one class over the test patients.
struct ClassScore {
  int id;
  std::string name;
  double volume_ml;   // of the truth, mean
  cs::Summary dice;
};
std::vector<ClassScore> class_scores(const cs::EvaluationReport& report, const cs::ModelRecipe& recipe) {
  std::vector<ClassScore> all;
  for (const cs::LabelInfo& l : recipe.labels) {
    if (l.id == 0) continue;
    const auto id = static_cast<std::uint8_t>(l.id);
    all.push_back({int{id}, l.name, cs::summarize(report, id, &cs::LabelScores::truth_volume_ml).mean,
                   cs::summarize(report, id, &cs::LabelScores::dice)});
  }
  return all;
}

/// Means of the classes' means, by any way to group them.
template <class Group> cs::Json group_means(const std::vector<ClassScore>& classes, Group group) {
  std::map<std::string, std::vector<double>> groups;
  for (const ClassScore& c : classes)
    if (c.dice.used > 0) groups[group(c)].push_back(c.dice.mean);
  cs::Json out = cs::Json::object();
  for (const auto& [name, dice] : groups) {
    const cs::Summary s = cs::summarize(dice);
    out[name] = {{"classes", s.used}, {"dice", s.mean}, {"std", s.std}};
  }
  return out;
}

void evaluate(Job& job) {
  const cs::LoadedModel model = load(job, job.model());
  const fs::path out = job.output() / "evaluation";
  double seconds = 0;
  EvaluateOptions how{.files = judged(find_cases(job)), .scores = {.empty = cs::EmptyPolicy::nnunet, .surfaces = false}};
  for (const cs::LabelInfo& l : model.recipe.labels)
    if (l.id > 0) how.scores.labels.push_back(static_cast<std::uint8_t>(l.id));
  how.each = [&](const Judged& j) {
    const fs::path folder = out / j.files.name;
    fs::create_directories(folder);
    write_planes(folder, j.scan, j.mask, &j.truth);
    seconds += j.made.seconds.total;
  };
  const cs::EvaluationReport report = evaluate_cases(job, model, how);
  const std::vector<ClassScore> classes = class_scores(report, model.recipe);

  std::string table = "id,name,region,size,volume_ml,cases,dice,std\n";
  std::vector<double> means;
  cs::Json dice = cs::Json::object();
  for (const ClassScore& c : classes) {
    table += text(c.id, ",", cell(c.name), ",", region_of(c.name), ",", size_of(c.volume_ml), ",", brief(c.volume_ml, 1), ",",
                  c.dice.used, ",", brief(c.dice.mean), ",", brief(c.dice.std), "\n");
    means.push_back(c.dice.mean);
    dice[c.name] = cs::is_finite(c.dice.mean) ? cs::Json(c.dice.mean) : cs::Json();
  }
  const cs::Json summary{{"dice_mean", cs::summarize(means).mean},
                         {"classes", dice},
                         {"regions", group_means(classes, [](const ClassScore& c) { return region_of(c.name); })},
                         {"sizes", group_means(classes, [](const ClassScore& c) { return size_of(c.volume_ml); })},
                         {"seconds_per_case", seconds / static_cast<double>(report.cases.size())}};
  write_text(out / "classes.csv", table);
  write_text(out / "cases.csv", cs::to_csv(report));
  write_text(out / "evaluation.json", text_of(summary));
  write_text(out / "distribution.svg", cs::distribution_svg(report));
  job.console.result(job.console.common().json ? text_of(summary) : table);
}

/// One scan: its mask, the vertebrae that were found with their volumes, and a picture of each plane.
void segment(Job& job) {
  cli::Staging out = results_of(job);
  Segmented s = segment_scan(job, load(job, job.model()));
  std::string found = "id,name,voxels,volume_ml,x_lps_mm,y_lps_mm,z_lps_mm\n";
  for (const cs::LabelMeasure& m : s.run.labels)
    found += text(int{m.label}, ",", cell(m.name), ",", m.voxels, ",", brief(m.volume_ml), ",", brief(m.centroid_mm.x, 1), ",",
                  brief(m.centroid_mm.y, 1), ",", brief(m.centroid_mm.z, 1), "\n");
  out.write("vertebrae.csv", found);
  out.write("ids.csv", id_table(s.recipe));
  write_planes(out, s.scan, s.mask(), nullptr);
  write_results(out, s, kBoneHu);
  job.console.result(job.console.common().json ? cs::to_json(s.run) : found);
  for (const std::string& path : out.outputs()) job.console.note(path);
}

/// VerSe's layout, below train/, val/ and test/.
std::pair<fs::path, fs::path> phantom_files(const std::string& part, Index patient) {
  const std::string name = text("sub-phantom", patient);
  return {fs::path(part) / "rawdata" / name / (name + "_ct.nii.gz"),
          fs::path(part) / "derivatives" / name / (name + "_seg-vert_msk.nii.gz")};
}

}   // namespace

int main(int argc, char** argv) {
  return run({.name = "spine",
              .what = "The vertebrae in a CT, each under its name, by a V-Net",
              .phantoms = {.region = cs::Region::whole_spine,
                           .mask = [](const cs::Phantom& p) { return p.vertebrae; },
                           .files = phantom_files},
              .commands = {{"prepare", "read, check and preprocess DATA, in VerSe's layout", prepare_all, "--seed"},
                           {"train", "train; log.csv, curve.svg and board/ are the learning curves", train,
                            "--device --resume --seed --json"},
                           {"evaluate", "Dice of each class, part of the spine and size; overlays of each plane", evaluate,
                            "--model --device --seed --json"},
                           {"segment", "segment one scan", segment, "CASE --model --device --seed --json"},
                           {"labels", "print the table of ids", labels, ""}}},
             argc, argv);
}
