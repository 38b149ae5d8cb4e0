// dataset.json of nnU-Net: what the channels of a scan are, and what the channels of a network mean.
#pragma once
#include "json_file.hpp"

namespace ctseg::nnunet {

/// An entry of "labels": one id, or several that are one region.
struct NamedLabel {
  std::string name{};
  std::vector<Index> ids{};
};

struct DatasetJson {
  std::vector<std::string> channels{};        // of a scan
  std::vector<NamedLabel> labels{};           // in the file's order, background first or not, "ignore" left out
  std::vector<Index> regions_class_order{};   // the id that each region writes; empty: labels exclude each other
  std::string file_ending = ".nii.gz";

  bool has_regions() const { return !regions_class_order.empty(); }
  /// All ids above 0, ascending.
  std::vector<Index> foreground() const {
    std::set<Index> ids;
    for (const NamedLabel& l : labels) ids.insert(l.ids.begin(), l.ids.end());
    ids.erase(0);
    return {ids.begin(), ids.end()};
  }
  /// Channels of the network.
  Index heads() const { return has_regions() ? std::ssize(regions_class_order) : std::ssize(foreground()) + 1; }
};

namespace dataset_json {

template <class = void> std::vector<std::string> channels_of(const Members& m) {
  const char* const key = m.has("channel_names") ? "channel_names" : "modality";
  const Json& names = m.at(m.has(key) ? key : "channel_names");
  if (!names.is_object() && !names.is_array()) (m.place() / key).fail(names, "names of channels");
  std::vector<std::string> out;
  for (const auto& [number, name] : names.items()) json::Reader::take(name, m.place() / key / number, out.emplace_back());
  if (out.empty() || out.size() > 64) (m.place() / key).fail(names, "names of 1 to 64 channels");
  return out;
}

template <class = void> std::vector<NamedLabel> labels_of(const Members& m) {
  const Members all = m.child("labels");
  std::vector<NamedLabel> out;
  for (const auto& [name, value] : all.object().items()) {
    if (value.is_string() && name.find_first_not_of("0123456789") == name.npos)
      throw Error(Code::unsupported, m.place().file,
                  text("labels has ", json::shown(Json(name)), " = ", json::shown(value),
                       ": numbers to names, the format of nnU-Net 1; known is nnU-Net 2, names to numbers."));
    if (name == "ignore") continue;
    NamedLabel l{.name = name};
    if (value.is_array())
      json::Reader::take(value, all.place() / name, l.ids, {0, 255});
    else
      json::Reader::take(value, all.place() / name, l.ids.emplace_back(), {0, 255});
    if (l.ids.empty()) (all.place() / name).fail(value, "a label, or a list of one or more");
    out.push_back(std::move(l));
  }
  return out;
}

}   // namespace dataset_json

/// Errors    bad_input for what is missing or does not fit; unsupported for nnU-Net 1.
template <class = void> DatasetJson dataset_from_json(const Json& j, const std::string& file) {
  const Members m(j, {file});
  DatasetJson d{.channels = dataset_json::channels_of(m), .labels = dataset_json::labels_of(m)};
  d.file_ending = m.get_or("file_ending", d.file_ending);
  const auto fail = [&](const std::string& words) { throw Error(Code::bad_input, file, words); };
  const bool regions = std::any_of(d.labels.begin(), d.labels.end(), [](const auto& l) { return l.ids.size() > 1; });
  const auto is_background = [](const NamedLabel& l) {
    return std::all_of(l.ids.begin(), l.ids.end(), [](Index id) { return id == 0; });
  };
  if (std::none_of(d.labels.begin(), d.labels.end(), is_background)) fail("labels has no background, the label 0.");
  const std::vector<Index> ids = d.foreground();
  if (ids.empty()) fail("labels has none but the background.");
  if (!regions) {
    if (ids.back() != std::ssize(ids))
      fail(text("labels has ", ids.size(), " ids above 0, the largest is ", ids.back(), "; they must be 1, 2, 3 ..."));
    if (d.labels.size() != ids.size() + 1) fail("labels has two names for one id.");
    return d;
  }
  if (!m.has("regions_class_order")) fail("labels has regions, but there is no \"regions_class_order\".");
  d.regions_class_order = m.get<std::vector<Index>>("regions_class_order", {0, 255});
  const auto count = std::count_if(d.labels.begin(), d.labels.end(), [&](const auto& l) { return !is_background(l); });
  if (std::ssize(d.regions_class_order) != count)
    fail(text("regions_class_order has ", d.regions_class_order.size(), " ids for ", count, " regions; must be one each."));
  return d;
}
template <class = void> DatasetJson read_dataset_json(const std::filesystem::path& path) {
  return dataset_from_json(read_json(path), path.string());
}

}   // namespace ctseg::nnunet
