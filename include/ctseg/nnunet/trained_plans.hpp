// plans.json as training left it beside a model: what a scan goes through before the network, and which network it is.
#pragma once
#include "../image/intensity.hpp"
#include "../image/taps.hpp"
#include "architecture.hpp"
#include "dataset_json.hpp"

namespace ctseg::nnunet {

/// One configuration, with what it inherits.
struct TrainedConfiguration {
  std::string name{};
  Json json{};   // of the network
  std::string file{};
  std::vector<Index> patch_size{};            // of the transposed axes: z, y, x or y, x
  std::vector<double> spacing{};              // the same, mm
  std::vector<std::string> normalization{};   // a scheme for each channel
  std::vector<bool> use_mask{};
  bool resamples = true;
  Interpolation interpolation = Interpolation::cubic;   // of images
  std::string previous_stage{};

  int dim() const { return static_cast<int>(patch_size.size()); }
  Members members() const { return {json, {file, "configurations." + name}}; }
  NetworkConfig network(const NetworkChannels& channels, std::string_view trainer) const {
    if (dim() == 2) return network_of<2>(members(), channels, trainer);
    return network_of<3>(members(), channels, trainer);
  }
};

struct TrainedPlans {
  std::string file{}, name{}, dataset_name{};
  std::array<Index, 3> transpose_forward{0, 1, 2};
  bool to_ras = false;                          // its reader turned scans to RAS
  std::vector<CtNormalization> intensities{};   // of the foreground, for each channel
  Json configurations{};

  /// Errors    bad_input for a name that is not there (with those that are), for what is missing, and for circles.
  TrainedConfiguration configuration(const std::string& wanted) const;
};

namespace trained_plans {

/// Refuses what nnU-Net 1 wrote, before anything of it is missed.
template <class = void> void check_version(const Members& m) {
  for (const char* key : {"plans_per_stage", "num_stages", "dataset_properties"})
    if (m.object().contains(key))
      throw Error(Code::unsupported, m.place().file,
                  text("is a plan of nnU-Net 1 (it has \"", key,
                       "\"); known are those of nnU-Net 2. Hint: train the model "
                       "again with nnU-Net 2."));
}

/// A configuration's own members over those of what it inherits from.
template <class = void> Json with_inherited(const Json& all, const std::string& name, const json::Place& at) {
  Json out = Json::object();
  std::set<std::string> seen;
  for (std::string next = name; !next.empty();) {
    if (!seen.insert(next).second)
      throw Error(Code::bad_input, at.file, text("configurations: ", name, " inherits from itself, by way of ", next, "."));
    const auto found = all.find(next);
    if (found == all.end()) {
      std::string known;
      for (const auto& [key, value] : all.items()) known += (known.empty() ? "" : ", ") + key;
      throw Error(Code::bad_input, at.file,
                  text("has no configuration ", json::shown(Json(next)), "; there are: ", known, "."));
    }
    const Members m(*found, at / next);
    for (const auto& [key, value] : m.object().items())
      if (!out.contains(key)) out[key] = value;
    next = m.get_or<std::string>("inherits_from", "");
  }
  return out;
}

/// How images, or logits on their way back, are resampled.
struct Resampling {
  bool resamples = true;
  Interpolation interpolation = Interpolation::cubic;
};
template <class = void> Resampling resampling_of(const Members& c, const std::string& what) {
  const std::string key = "resampling_fn_" + what, kwargs = key + "_kwargs";
  const auto function = c.get<std::string>(key.c_str());
  if (function == "no_resampling_hack") return {false};
  const auto refuse = [&](const std::string& found, std::string_view known) {
    throw Error(Code::unsupported, c.place().file, text((c.place() / key).path, ": ", found, "; known here is ", known, "."));
  };
  const bool torch = function == "resample_torch_fornnunet";
  if (!torch && function != "resample_data_or_seg_to_shape")
    refuse(json::shown(Json(function)), "resample_data_or_seg_to_shape, resample_torch_fornnunet and no_resampling_hack");
  if (!c.has(kwargs.c_str())) refuse("there is no \"" + kwargs + "\"", "a function with its options");
  const Members o = c.child(kwargs.c_str());
  if (o.object().contains("force_separate_z") ? o.has("force_separate_z") : !torch)   // the old function's default is false
    refuse(text("force_separate_z = ", json::shown(o.object().value("force_separate_z", Json(false)))),
           "null: as the spacing is");
  if (o.get_or<double>("separate_z_anisotropy_threshold", 3) != 3)
    refuse(text("separate_z_anisotropy_threshold = ", json::shown(o.at("separate_z_anisotropy_threshold"))), "3");
  if (torch) {
    for (const auto& [option, known] : {std::pair("mode", "linear"), std::pair("aniso_axis_mode", "nearest-exact")})
      if (o.get_or<std::string>(option, known) != known) refuse(text(option, " = ", json::shown(o.at(option))), known);
    return {true, Interpolation::linear};
  }
  if (o.get_or<Index>("order_z", 0) != 0) refuse(text("order_z = ", o.get<Index>("order_z")), "0");
  switch (o.get_or<Index>("order", 3)) {
    case 0:
      return {true, Interpolation::nearest};
    case 1:
      return {true, Interpolation::linear};
    case 3:
      return {true, Interpolation::cubic};
    default:
      refuse(text("order = ", o.get<Index>("order")), "0, 1 and 3");
  }
  return {};
}

template <class = void> void read_resampling(const Members& c, TrainedConfiguration& out) {
  const Resampling there = resampling_of(c, "data"), back = resampling_of(c, "probabilities");
  if (there.resamples != back.resamples)
    throw Error(Code::unsupported, c.place().file,
                text(c.place().path, " resamples images or logits, but not both; known here are both and none."));
  if (back.resamples && back.interpolation != Interpolation::linear)
    throw Error(Code::unsupported, c.place().file,
                text(c.place().path, ".resampling_fn_probabilities_kwargs.order is not 1; known here is 1."));
  out.resamples = there.resamples, out.interpolation = there.interpolation;
}

template <class = void> std::vector<CtNormalization> intensities_of(const Members& m) {
  const char* key = "foreground_intensity_properties_per_channel";
  if (!m.has(key) && m.has("foreground_intensity_properties_by_modality")) key = "foreground_intensity_properties_by_modality";
  const Members all = m.child(key);
  std::vector<CtNormalization> out;
  for (std::size_t i = 0; all.object().contains(text(i)); ++i) {
    const Members one = all.child(text(i).c_str());
    out.push_back({one.get<double>("mean"), one.get<double>("std", {0, 1e9}), one.get<double>("percentile_00_5"),
                   one.get<double>("percentile_99_5")});
  }
  return out;
}

}   // namespace trained_plans

inline TrainedConfiguration TrainedPlans::configuration(const std::string& wanted) const {
  const json::Place at{file, "configurations"};
  TrainedConfiguration out{.name = wanted, .json = trained_plans::with_inherited(configurations, wanted, at), .file = file};
  const Members c = out.members();
  if (const auto who = c.get_or<std::string>("preprocessor_name", "DefaultPreprocessor"); who != "DefaultPreprocessor")
    throw Error(Code::unsupported, file,
                text(c.place().path, ".preprocessor_name is ", json::shown(Json(who)), "; known here is DefaultPreprocessor."));
  out.patch_size = c.get<std::vector<Index>>("patch_size", {1, 4096});
  out.spacing = c.get<std::vector<double>>("spacing", {1e-3, 1000});
  if (out.dim() != 2 && out.dim() != 3) (c.place() / "patch_size").fail(c.at("patch_size"), "a list of 2 or 3 extents");
  if (out.spacing.size() != out.patch_size.size())
    (c.place() / "spacing").fail(c.at("spacing"), text("a list of ", out.dim(), " numbers, as patch_size"));
  out.normalization = c.get<std::vector<std::string>>("normalization_schemes");
  out.use_mask.assign(out.normalization.size(), false);
  if (const Json& masks = c.at("use_mask_for_norm"); !masks.is_array() || masks.size() != out.normalization.size()) {
    (c.place() / "use_mask_for_norm").fail(masks, text("a list of ", out.normalization.size(), " values"));
  } else {
    for (std::size_t i = 0; i < masks.size(); ++i) out.use_mask[i] = masks[i] == true;   // null is false
  }
  trained_plans::read_resampling(c, out);
  out.previous_stage = c.get_or<std::string>("previous_stage", "");
  if (out.previous_stage.find_first_of("/\\") != std::string::npos)   // it becomes part of a folder's name
    (c.place() / "previous_stage").fail(c.at("previous_stage"), "the name of a configuration");
  return out;
}

/// Errors    unsupported for plans of nnU-Net 1 and readers of what is no volume; bad_input for what is missing or wrong.
template <class = void> TrainedPlans plans_from_json(const Json& j, const std::string& file) {
  const Members m(j, {file});
  trained_plans::check_version(m);
  TrainedPlans p{
      .file = file, .name = m.get_or<std::string>("plans_name", ""), .dataset_name = m.get<std::string>("dataset_name")};
  p.transpose_forward = m.get<std::array<Index, 3>>("transpose_forward", {0, 2});
  if (std::set<Index>(p.transpose_forward.begin(), p.transpose_forward.end()).size() != 3)
    (m.place() / "transpose_forward").fail(m.at("transpose_forward"), "0, 1 and 2 in some order");
  const auto reader = m.get_or<std::string>("image_reader_writer", "SimpleITKIO");
  p.to_ras = reader == "NibabelIOWithReorient";
  if (!p.to_ras && reader != "SimpleITKIO" && reader != "NibabelIO")
    throw Error(Code::unsupported, file,
                text("image_reader_writer is ", json::shown(Json(reader)),
                     "; known here are SimpleITKIO, NibabelIO and NibabelIOWithReorient."));
  if (const auto who = m.get_or<std::string>("label_manager", "LabelManager"); who != "LabelManager")
    throw Error(Code::unsupported, file, text("label_manager is ", json::shown(Json(who)), "; known here is LabelManager."));
  p.intensities = trained_plans::intensities_of(m);
  p.configurations = m.child("configurations").object();
  return p;
}
template <class = void> TrainedPlans read_plans(const std::filesystem::path& path) {
  return plans_from_json(read_json(path), path.string());
}

}   // namespace ctseg::nnunet
