// A recipe: everything that stands between a scan and its mask, but for the weights. One JSON document, read strictly, so that
// a misspelt option is an error and not another result.
#pragma once
#include "../infer/decision.hpp"
#include "../io/file.hpp"
#include "../version.hpp"
#include "network_json.hpp"
#include "rules_json.hpp"
#include "steps_json.hpp"

namespace ctseg {

/// Who made a model and under which terms; free text.
struct About {
  std::string name{}, version{}, licence{}, citation{}, training_data{};
};

/// What a number in a mask means.
struct LabelInfo {
  Index id = 0;   // 0 to 255
  std::string name{};
  std::optional<std::string> color{};   // "#rrggbb"
};

/// What is resampled to the scan's grid: logits, and decided there (nnU-Net); probabilities (MONAI's Invertd before
/// AsDiscreted); or labels, nearest, decided on the prepared grid: fastest, with the coarsest borders.
enum class WayBack { logits, probabilities, labels };

/// How logits become labels.
struct LabelRule {
  Decide kind = Decide::argmax;         // of argmax, channel i is entry i of ModelRecipe::labels
  double threshold = 0.5;               // of Decide::threshold, a probability
  std::vector<Index> regions_order{};   // of it too: the id that channel i writes, later channels over earlier ones
  WayBack way_back = WayBack::logits;
};

struct ModelRecipe {
  About about{};
  NetworkConfig network = NetworkOptions<3>(BasicUNetOptions{});
  std::vector<PreprocessStep> preprocess{};
  std::variant<SlidingWindowOptions<2>, SlidingWindowOptions<3>> sliding_window = SlidingWindowOptions<3>{};
  Xyz<bool> mirror{};                 // axes of the prepared image that are mirrored as well; all combinations are averaged
  std::optional<double> skip_air{};   // windows whose prepared values are all at most this are background, and not run
  std::vector<LabelInfo> labels{};
  LabelRule decision{};
  std::vector<PostRule> postprocess{};   // of the labels on the scan's grid
  /// Of the second network of a cascade: labels of the first one's mask. Each is a channel of ones and zeros behind the scan's.
  std::vector<Index> previous_labels{};
};

/// Channels that a scan must have.
template <class = void> Index scan_channels_of(const ModelRecipe& r) {
  return in_channels_of(r.network) - std::ssize(r.previous_labels);
}

inline std::span<const json::Name<Decide>> names_of(Decide) {
  static constexpr json::Name<Decide> kNames[] = {{"argmax", Decide::argmax}, {"sigmoid", Decide::threshold}};
  return kNames;
}
inline std::span<const json::Name<WayBack>> names_of(WayBack) {
  static constexpr json::Name<WayBack> kNames[] = {
      {"logits", WayBack::logits}, {"probabilities", WayBack::probabilities}, {"labels", WayBack::labels}};
  return kNames;
}

template <class F> void fields(About& a, F& f) {
  f("name", a.name);
  f("version", a.version);
  f("licence", a.licence);
  f("citation", a.citation);
  f("training_data", a.training_data);
}
template <class F> void fields(LabelInfo& l, F& f) {
  f.required("id", l.id, json::Range{0, 255});
  f.required("name", l.name);
  f("color", l.color);
}
template <class F> void fields(LabelRule& r, F& f) {
  f("kind", r.kind);
  f("threshold", r.threshold, json::Range{1e-6, 1 - 1e-6});
  f("regions_order", r.regions_order, json::Range{0, 255});
  f("way_back", r.way_back);
}

namespace recipes {

template <class = void> void check_color(const LabelInfo& label, std::string_view where) {
  if (!label.color) return;
  const std::string_view c = *label.color;
  if (c.size() != 7 || c[0] != '#' || c.find_first_not_of("0123456789abcdefABCDEF", 1) != c.npos)
    throw Error(Code::bad_input, where,
                text("label ", label.id, " has the color ", json::shown(Json(*label.color)), "; must be as \"#d04040\"."));
}

template <class = void> void check_channels(const ModelRecipe& r, std::string_view where) {
  const Index channels = scan_channels_of(r);
  if (channels < 1)
    throw Error(Code::bad_input, where,
                text("previous_labels are ", r.previous_labels.size(), " of the network's ", in_channels_of(r.network),
                     " channels; a scan needs one or more."));
  for (const Index id : r.previous_labels)
    if (id < 1 || id > 255) throw Error(Code::bad_input, where, text("previous_labels has ", id, "; must be 1 to 255."));
  for (const PreprocessStep& step : r.preprocess)
    if (const auto* each = std::get_if<PerChannel>(&step); each && std::ssize(each->channels) != channels)
      throw Error(
          Code::bad_input, where,
          text("PerChannel has steps for ", each->channels.size(), " channels, a scan of this network has ", channels, "."));
}

}   // namespace recipes

/// What its parts say of each other: ranks, channels and labels fit together.
/// Errors    bad_input with both numbers.
template <class = void> void check(const ModelRecipe& r, std::string_view where = "recipe") {
  const auto fail = [&](const std::string& words) { throw Error(Code::bad_input, where, words); };
  const int window_dim = r.sliding_window.index() == 0 ? 2 : 3;
  if (window_dim != dim_of(r.network))
    fail(text("sliding_window.window has ", window_dim, " axes, the network ", dim_of(r.network), "."));
  std::set<Index> ids;
  for (const LabelInfo& label : r.labels) {
    recipes::check_color(label, where);
    if (label.id < 0 || label.id > 255) fail(text("label id ", label.id, "; must be 0 to 255."));
    if (!ids.insert(label.id).second) fail(text("two labels have the id ", label.id, "."));
  }
  recipes::check_channels(r, where);
  const Index channels = out_channels_of(r.network);
  const LabelRule& rule = r.decision;
  if (rule.kind == Decide::argmax) {
    if (channels < 2) fail("argmax of 1 channel is the same everywhere; decision.kind must be \"sigmoid\".");
    if (std::ssize(r.labels) != channels)
      fail(text(r.labels.size(), " labels for ", channels, " channels of the network; argmax needs one each, in their order."));
    if (!rule.regions_order.empty()) fail("decision.regions_order is for \"sigmoid\", decision.kind is \"argmax\".");
    return;
  }
  if (std::ssize(rule.regions_order) != channels)
    fail(text("decision.regions_order has ", rule.regions_order.size(), " ids for ", channels,
              " channels of the network; sigmoid needs one each."));
  for (const Index id : rule.regions_order)
    if (!ids.contains(id)) fail(text("decision.regions_order has the id ", id, ", which no label has."));
}

/// Errors    bad_input with place, value and what is allowed; those of check().
template <class = void> ModelRecipe recipe_from_json(const Json& j, const std::string& file) {
  if (j.is_object() && j.contains("ctseg_recipe") && j["ctseg_recipe"].is_number() && j["ctseg_recipe"] > 1)
    throw Error(Code::bad_input, file,
                text("is a recipe of version ", j["ctseg_recipe"].dump(), "; ctseg ", kVersion,
                     " reads version 1. Hint: it was written by a newer ctseg, which also reads it."));
  ModelRecipe r;
  json::Reader members(j, {file});
  Index format = 0;
  Json network, steps = Json::array(), window, rules = Json::array();
  members.required("ctseg_recipe", format, {1, 1});
  members("about", r.about);
  members.required("network", network);
  members("preprocess", steps);
  members.required("sliding_window", window);
  members("mirror", r.mirror);
  members("skip_air", r.skip_air);
  members.required("labels", r.labels);
  members("decision", r.decision);
  members("postprocess", rules);
  members("previous_labels", r.previous_labels, {1, 255});
  members.finish();
  r.network = network_from_json(network, {file, "network"});
  r.preprocess = steps_from_json(steps, {file, "preprocess"});
  r.postprocess = rules_from_json(rules, {file, "postprocess"});
  if (dim_of(r.network) == 2) r.sliding_window = SlidingWindowOptions<2>{};
  std::visit([&](auto& o) { json::Reader::take(window, {file, "sliding_window"}, o); }, r.sliding_window);
  check(r, file);
  return r;
}
template <class = void> Json to_json(const ModelRecipe& r) {
  return {{"ctseg_recipe", 1},
          {"about", json::write(r.about)},
          {"network", to_json(r.network)},
          {"preprocess", to_json(r.preprocess)},
          {"sliding_window", std::visit([](const auto& o) { return json::write(o); }, r.sliding_window)},
          {"mirror", json::write(r.mirror)},
          {"skip_air", json::write(r.skip_air)},
          {"labels", json::write(r.labels)},
          {"decision", json::write(r.decision)},
          {"postprocess", to_json(r.postprocess)},
          {"previous_labels", json::write(r.previous_labels)}};
}

template <class = void> ModelRecipe parse_recipe(std::string_view words, const std::string& file) {
  return recipe_from_json(json::parse(words, file), file);
}
/// A recipe of a file of at most 4 MB.
template <class = void> ModelRecipe read_recipe(const std::filesystem::path& path) {
  const std::vector<std::byte> bytes = io::read_file(path, {.max_bytes = Index{4} << 20});
  return parse_recipe({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.string());
}
/// The file appears whole or not at all.
template <class = void> void write_recipe(const std::filesystem::path& path, const ModelRecipe& r) {
  check(r, path.string());
  const std::string words = to_json(r).dump(2) + "\n";
  io::write_file(path, std::as_bytes(std::span(words)));
}

#ifdef CTSEG_PREBUILT_RECIPES   // linked to ctseg::prebuilt, which holds these
CTSEG_PREBUILT_RECIPES template ModelRecipe recipe_from_json<void>(const Json&, const std::string&);
CTSEG_PREBUILT_RECIPES template Json to_json<void>(const ModelRecipe&);
#endif

}   // namespace ctseg
