// A data set in nnU-Net's raw layout: dataset.json, imagesTr/CASE_0000.nii.gz with one file per channel, labelsTr/CASE.nii.gz.
#pragma once
#include <algorithm>
#include <filesystem>
#include <map>

#include "../io/volume.hpp"
#include "json_file.hpp"
#include "plan.hpp"

namespace ctseg::nnunet {

/// Files of one training case, a channel each.
struct RawCase {
  std::string name{};
  std::vector<std::filesystem::path> images{};
  std::filesystem::path label{};
};

struct RawDataset {
  DatasetFacts facts{};
  std::vector<std::string> label_names{};   // in the order of dataset.json
  std::string file_ending{};
  std::vector<RawCase> cases{};   // by name, as bytes compare
  Json json{};                    // dataset.json as it is
};

namespace planning {

template <class = void> const Json& member(const Json& object, const char* key, const std::string& file) {
  if (const auto found = object.find(key); found != object.end()) return *found;
  throw Error(Code::bad_input, file, text("has no \"", key, "\"."));
}

template <class = void> std::string text_of(const Json& object, const char* key, const std::string& file) {
  std::string out;
  json::Reader::take(member(object, key, file), json::Place{file} / key, out);
  return out;
}

/// nnU-Net's reader for an ending, unless dataset.json names another.
template <class = void> std::string reader_of(const Json& j, const std::string& ending, const std::string& file) {
  if (j.contains("overwrite_image_reader_writer"))
    if (const std::string named = text_of(j, "overwrite_image_reader_writer", file); named != "None") return named;
  std::string lower = ending;
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  for (const char* picture : {".png", ".bmp"})
    if (lower == picture) return "NaturalImage2DIO";
  return lower == ".tif" || lower == ".tiff" ? "Tiff3DIO" : "SimpleITKIO";
}

/// The case's name in NAME_0000.nii.gz; empty if the file is not of that kind.
inline std::string case_name(const std::string& file, const std::string& ending) {
  const std::size_t tail = ending.size() + 5;
  if (file.size() <= tail || !file.ends_with(ending) || file[file.size() - tail] != '_') return "";
  for (std::size_t i = file.size() - tail + 1; i < file.size() - ending.size(); ++i)
    if (file[i] < '0' || file[i] > '9') return "";
  return file.substr(0, file.size() - tail);
}

template <class = void> std::vector<RawCase> cases_in(const std::filesystem::path& folder, const std::string& ending) {
  std::map<std::string, RawCase> by_name;
  for (const std::string& file : names_in(folder / "imagesTr")) {
    const std::string name = case_name(file, ending);
    if (name.empty() || file[0] == '.') continue;
    RawCase& c = by_name[name];
    c.name = name, c.label = folder / "labelsTr" / (name + ending);
    c.images.push_back(folder / "imagesTr" / file);
  }
  std::vector<RawCase> cases;
  for (auto& [name, c] : by_name) cases.push_back(std::move(c));
  return cases;
}

/// Cases that dataset.json lists itself, under "dataset"; paths are from its folder.
template <class = void>
std::vector<RawCase> cases_listed(const Json& list, const std::filesystem::path& folder, const std::string& file) {
  const json::Place at = json::Place{file} / "dataset";
  if (!list.is_object()) at.fail(list, "an object");
  std::vector<RawCase> cases;
  for (const auto& [name, entry] : list.items()) {
    std::vector<std::string> images;
    std::string label;
    json::Reader members(entry, at / name);
    members.required("images", images);
    members.required("label", label);
    RawCase& c = cases.emplace_back(RawCase{.name = name, .label = folder / label});
    for (const std::string& image : images) c.images.push_back(folder / image);
  }
  return cases;
}

template <class = void> void check_cases(const RawDataset& d, const std::filesystem::path& folder) {
  if (d.cases.empty())
    throw Error(Code::bad_input, folder.string(),
                text("holds no case: looked for imagesTr/NAME_0000", d.file_ending, ". Hint: is file_ending right?"));
  for (const RawCase& c : d.cases) {
    if (c.images.size() != d.facts.channel_names.size())
      throw Error(Code::bad_input, folder.string(),
                  text("case ", c.name, " has ", c.images.size(), " images; dataset.json has ", d.facts.channel_names.size(),
                       " channels."));
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(c.label, ignored))
      throw Error(Code::bad_input, c.label.string(), text("is not there; case ", c.name, " has no label."));
  }
}

}   // namespace planning

/// Reads dataset.json and finds the training cases. Channels may be called "modality", as older files do.
/// Errors    io if something cannot be read; bad_input for what dataset.json lacks, for no cases, and for a case that lacks its
///           label or a channel.
template <class = void> RawDataset read_raw_dataset(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "dataset.json";
  const std::string file = path.string();
  if (std::error_code ignored; !std::filesystem::exists(path, ignored))
    throw Error(Code::io, folder.string(),
                "has no dataset.json; a data set in nnU-Net's raw layout is a folder of dataset.json, imagesTr and labelsTr.");
  const auto bytes = io::read_file(path, {.max_bytes = Index{64} << 20});
  RawDataset out{.json = json::parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, file)};
  if (!out.json.is_object()) json::Place{file}.fail(out.json, "an object");
  const char* channels = out.json.contains("channel_names") ? "channel_names" : "modality";
  const Json& names = planning::member(out.json, channels, file);
  if (!names.is_object() || names.empty()) (json::Place{file} / channels).fail(names, "an object of channels by number");
  for (const auto& [key, value] : names.items())
    json::Reader::take(value, json::Place{file} / channels / key, out.facts.channel_names.emplace_back());
  const Json& labels = planning::member(out.json, "labels", file);
  if (!labels.is_object() || labels.empty()) (json::Place{file} / "labels").fail(labels, "an object of numbers by name");
  for (const auto& [name, value] : labels.items()) out.label_names.push_back(name);
  out.facts.labels = std::ssize(labels);
  json::Reader::take(planning::member(out.json, "numTraining", file), json::Place{file} / "numTraining",
                     out.facts.training_cases, {1, 1e9});
  out.file_ending = planning::text_of(out.json, "file_ending", file);
  out.facts.image_reader_writer = planning::reader_of(out.json, out.file_ending, file);
  const std::filesystem::path absolute = std::filesystem::absolute(folder).lexically_normal();
  out.facts.name = (absolute.has_filename() ? absolute : absolute.parent_path()).filename().string();
  out.cases = out.json.contains("dataset") ? planning::cases_listed(out.json["dataset"], folder, file)
                                           : planning::cases_in(folder, out.file_ending);
  planning::check_cases(out, folder);
  return out;
}

/// A case from its files; formats are those of read_volume.
template <class = void> FingerprintCase read_raw_case(const RawCase& c, const io::ReadOptions& options = {}) {
  FingerprintCase out{.name = c.name, .label = io::read_volume<std::uint8_t>(c.label, options)};
  for (const auto& image : c.images) out.channels.push_back(io::read_volume<float>(image, options));
  return out;
}

}   // namespace ctseg::nnunet
