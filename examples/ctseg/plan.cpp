// ctseg plan: nnU-Net's fingerprint and automatic configuration of a data set, as files that nnU-Net reads and as a table.
#include <ctseg/nnunet/plan_dataset.hpp>
#include <ctseg/nnunet/plan_json.hpp>

#include "commands.hpp"

namespace cli {

namespace nn = ctseg::nnunet;

namespace {

/// 1x2x2, or 1.5 x 0.8 x 0.8 with another mark between.
template <class Row> std::string joined(const Row& row, const char* mark = "x") {
  std::string out;
  for (const auto v : row) out += (out.empty() ? "" : mark) + text(v);
  return out;
}
std::string padded(std::string words, std::size_t width) {
  words.resize(std::max(words.size() + 2, width), ' ');
  return words;
}

using Configurations = std::vector<const nn::PlannedConfiguration*>;
using Cell = std::string (*)(const nn::PlannedConfiguration&);
struct Row {
  const char* name;
  Cell cell;
};
std::string lists(const std::vector<std::vector<Index>>& stages) {
  std::string out;
  for (const auto& stage : stages) out += (out.empty() ? "" : " ") + joined(stage, "");
  return out;
}
constexpr Row kRows[] = {
    {"spacing, mm", [](const nn::PlannedConfiguration& c) { return joined(c.spacing, " x "); }},
    {"median image", [](const nn::PlannedConfiguration& c) { return joined(c.median_image_size_in_voxels, " x "); }},
    {"patch", [](const nn::PlannedConfiguration& c) { return joined(c.network.patch_size, " x "); }},
    {"batch", [](const nn::PlannedConfiguration& c) { return text(c.batch_size); }},
    {"stages", [](const nn::PlannedConfiguration& c) { return text(c.network.stages()); }},
    {"features", [](const nn::PlannedConfiguration& c) { return joined(nn::features_of(c.network), " "); }},
    {"strides", [](const nn::PlannedConfiguration& c) { return lists(c.network.strides); }},
    {"kernels", [](const nn::PlannedConfiguration& c) { return lists(c.network.kernel_sizes); }},
    {"batch Dice", [](const nn::PlannedConfiguration& c) { return std::string(c.batch_dice ? "yes" : "no"); }},
};

/// A row per property, a column per configuration. Axes are in the network's order: z y x, unless the plan transposes.
std::string table(const nn::ExperimentPlan& plan) {
  Configurations all;
  for (const auto* c : {&plan.plan_2d, &plan.plan_3d_lowres, &plan.plan_3d_fullres})
    if (*c) all.push_back(&**c);
  std::vector<std::string> lines{padded("", 14)};
  for (const Row& row : kRows) lines.push_back(padded(row.name, 14));
  for (const nn::PlannedConfiguration* c : all) {
    std::size_t width = 0;
    std::vector<std::string> cells{c->name};
    for (const Row& row : kRows) cells.push_back(row.cell(*c));
    for (const std::string& cell : cells) width = std::max(width, cell.size() + 2);
    for (std::size_t i = 0; i < lines.size(); ++i) lines[i] += padded(cells[i], width);
  }
  std::string out;
  for (std::string& line : lines) {
    line.resize(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

std::string summary(const nn::ExperimentPlan& plan) {
  const nn::DatasetFacts& d = plan.dataset;
  std::string out = text(d.name, ": ", d.training_cases, " cases, ", d.labels, " labels; planned as ",
                         nn::planning::budget_of(plan.options.preset).planner, "\n");
  for (std::size_t k = 0; k < d.channel_names.size(); ++k) {
    const nn::IntensityProperties& p = plan.fingerprint.foreground[k];
    out += text("channel ", k, " \"", d.channel_names[k], "\": ", plan.normalization_schemes[k],
                plan.use_mask_for_norm[k] ? " inside the mask" : "", "; foreground mean ", p.mean, ", sd ", p.std, ", 0.5 % ",
                p.percentile_00_5, ", 99.5 % ", p.percentile_99_5, "\n");
  }
  out += "axes ";
  for (const std::size_t axis : plan.transpose_forward) out += std::string(1, "zyx"[axis]) + " ";
  out += text("of the files, in this order; ",
              plan.plan_3d_lowres ? "patches see little of a case: 3d_lowres and a cascade are planned too\n" : "no cascade\n");
  return out + "\n" + table(plan);
}

nn::DatasetFingerprint extract(const nn::RawDataset& data, Console& console) {
  nn::FingerprintCollector collector(std::ssize(data.facts.channel_names), std::ssize(data.cases));
  Progress progress(console, "cases read", std::ssize(data.cases));
  Index done = 0;
  for (const nn::RawCase& c : data.cases) {
    console.check_cancelled();
    console.reading(c.label);
    for (const fs::path& image : c.images) console.reading(image);
    collector.add(nn::read_raw_case(c, {.log = console.log()}));
    progress.done(++done);
  }
  return collector.finish();
}

/// Names of files need not be UTF-8: U+FFFD stands for what is none.
std::string text_of(const cs::Json& j, int indent) {
  return j.dump(indent, ' ', false, cs::Json::error_handler_t::replace) + "\n";
}

nn::DatasetFingerprint fingerprint_of(const PlanArguments& a, const nn::RawDataset& data, Console& console) {
  if (a.fingerprint.empty()) return extract(data, console);
  const auto bytes = cs::io::read_file(a.fingerprint, {.max_bytes = Index{256} << 20});
  const std::string_view words(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return nn::fingerprint_from_json(cs::json::parse(words, a.fingerprint), a.fingerprint);
}

}   // namespace

void plan(const PlanArguments& a, Console& console) {
  nn::PlannerOptions options{.gpu_memory_gb = a.gpu_memory_gb, .plans_name = a.name};
  for (const auto& n : names_of(options.preset))
    if (a.preset == n.name) options.preset = n.value;
  if (!a.spacing_mm.empty()) options.spacing_mm = {a.spacing_mm[2], a.spacing_mm[1], a.spacing_mm[0]};
  const std::string plans = nn::planning::plans_name(options) + ".json";
  if (plans == "dataset.json" || plans == "dataset_fingerprint.json" || plans != fs::path(plans).filename())
    throw cs::Error(cs::Code::bad_argument, "--name", text(a.name, " makes the file ", plans, "; another name is needed."));
  console.keep(fs::path(a.dataset) / "dataset.json");
  if (!a.fingerprint.empty()) console.keep(a.fingerprint);
  for (const std::string& name : {std::string("dataset_fingerprint.json"), std::string("dataset.json"), plans})
    console.expect_output(fs::path(a.output) / name);
  expect_folder_name(a.output, "the plans, the fingerprint and dataset.json");
  const nn::RawDataset data = nn::read_raw_dataset(a.dataset);
  Staging out(a.output, console);
  const nn::DatasetFingerprint fingerprint = fingerprint_of(a, data, console);
  const nn::ExperimentPlan planned = nn::plan_experiment(fingerprint, data.facts, options);
  const cs::Json json = to_json(planned);
  out.write("dataset_fingerprint.json", text_of(to_json(fingerprint), 4));
  out.write(plans, text_of(json, 4));
  out.write("dataset.json", text_of(data.json, 4));
  console.check_cancelled();
  out.commit();
  if (console.common().json) {
    console.result(text_of(cs::Json{{"outputs", out.outputs()}, {"plans", json}}, 2));
    return;
  }
  console.result(summary(planned) + "\n");
  for (const std::string& path : out.outputs()) console.result(path + "\n");
}

}   // namespace cli
