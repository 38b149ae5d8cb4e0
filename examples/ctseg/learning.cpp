#include "learning.hpp"

#include <algorithm>

namespace cli {

cs::Layout layout_named(const std::string& where, const std::string& name) {
  using namespace cs::layouts;
  return one_of<cs::Layout>(where, name,
                            {{"ct_scans_masks", ct_scans_masks},
                             {"pairs", pairs},
                             {"decathlon", decathlon},
                             {"nnunet", nnunet},
                             {"lits", lits},
                             {"imagecas", imagecas},
                             {"verse", verse},
                             {"luna16", luna16},
                             {"case_folders", case_folders}});
}

std::vector<std::string> label_names(const cs::ModelRecipe& recipe) {
  std::vector<std::string> names;
  for (const cs::LabelInfo& label : recipe.labels) {
    const auto i = static_cast<std::size_t>(label.id);
    for (std::size_t k = names.size(); k <= i; ++k) names.push_back(text("label ", k));
    if (!label.name.empty()) names[i] = label.name;
  }
  return names;
}

std::array<std::uint8_t, 256> class_of_id(const cs::ModelRecipe& recipe, const std::string& where) {
  std::array<std::uint8_t, 256> classes{};
  const cs::LabelRule& rule = recipe.decision;
  if (rule.kind == cs::Decide::argmax) {
    for (std::size_t c = 0; c < recipe.labels.size(); ++c)
      classes[static_cast<std::size_t>(recipe.labels[c].id)] = static_cast<std::uint8_t>(c);
  } else if (rule.regions_order.size() == 1) {
    classes[static_cast<std::size_t>(rule.regions_order[0])] = 1;
  } else {
    throw cs::Error(cs::Code::unsupported, where,
                    text("the recipe decides ", rule.regions_order.size(),
                         " regions by sigmoid; train takes argmax, or sigmoid of one channel."));
  }
  return classes;
}

namespace {

/// By nnU-Net's resampling the label with the largest share, else the nearest voxel's.
cs::Interpolation interpolation_of_labels(const cs::ModelRecipe& recipe) {
  for (const cs::PreprocessStep& step : recipe.preprocess)
    if (const auto* s = std::get_if<cs::Spacing>(&step); s && s->rule == cs::SizeRule::nnunet)
      return cs::Interpolation::label_most;
  return cs::Interpolation::nearest;
}

}   // namespace

cs::Case prepared_case(const std::string& name, const Scan& scan, const cs::Volume<std::uint8_t>& mask,
                       const cs::ModelRecipe& recipe, cs::Executor& threads) {
  const auto classes = class_of_id(recipe, "recipe");
  cs::Preprocessed seen = cs::apply_steps(scan.volume, recipe.preprocess, &threads);
  cs::Volume<std::uint8_t> label =
      seen.to_prepared(mask, {.interpolation = interpolation_of_labels(recipe), .executor = &threads});
  for (std::uint8_t& v : label.voxels()) v = classes[v];
  return {name, std::move(seen.image), std::move(label)};
}

void expect_fresh(const fs::path& checkpoints, bool resume) {
  if (resume || !fs::exists(checkpoints)) return;
  const auto kept = [](const fs::directory_entry& e) { return e.path().filename() != "training.lock"; };   // of any beginning
  if (std::any_of(fs::directory_iterator(checkpoints), {}, kept))
    throw cs::Error(cs::Code::bad_argument, checkpoints.string(),
                    "holds an earlier training. Hint: --resume goes on with it; -o names another folder for a new one.");
}

std::string write_record(const fs::path& file, const cs::RunRecord& run, bool trained) {
  if (!trained && fs::exists(file)) {
    const auto bytes = cs::io::read_file(file);
    const std::string words(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const cs::Json old = cs::Json::parse(words, nullptr, false);
    for (const auto& [name, value] : run.figures)
      if (name == "steps" && old.is_object() && old.value(cs::Json::json_pointer("/figures/steps"), -1.0) == value)
        return words;
  }
  const std::string words = cs::to_json(run);
  cs::io::write_file(file, std::as_bytes(std::span(words)));
  return words;
}

}   // namespace cli
