// postprocessing.json or .pkl of nnUNetv2_find_best_configuration as rules: largest components of labels or regions.
#pragma once
#include "../post/rules.hpp"
#include "checkpoint.hpp"
#include "json_file.hpp"

namespace ctseg::nnunet {

namespace postprocessing {

inline constexpr std::string_view kFunction = "remove_all_but_largest_component_from_segmentation";
inline constexpr std::string_view kModule = "nnunetv2.postprocessing.remove_connected_components.";

[[noreturn]] inline void unknown(const std::string& file, std::string_view function) {
  throw Error(Code::unsupported, file,
              text("asks for the function ", io::printable(function), "; known here is ", std::string(kFunction), "."));
}
inline KeepLargest rule_of(std::vector<Index> labels, const std::string& file) {
  for (const Index l : labels)
    if (l < 1 || l > 255) throw Error(Code::bad_input, file, text("labels_or_regions has ", l, "; labels are 1 to 255."));
  std::sort(labels.begin(), labels.end());
  labels.erase(std::unique(labels.begin(), labels.end()), labels.end());
  return {.labels = std::move(labels), .together = true};
}

/// labels_or_regions: a label, a region, or a list of these; together they are one object.
inline void collect(const Json& j, const json::Place& at, std::vector<Index>& labels) {
  if (!j.is_array()) return json::Reader::take(j, at, labels.emplace_back(), {1, 255});
  for (std::size_t i = 0; i < j.size(); ++i) collect(j[i], at[i], labels);
}
inline void collect(const io::pickle::Document& d, const io::pickle::Value& v, std::vector<Index>& labels, int depth = 0) {
  if (v.kind == io::pickle::Kind::integer && labels.size() < 1000) return labels.push_back(v.number);
  if (v.kind != io::pickle::Kind::sequence || depth == 2)
    throw Error(
        Code::unsupported, "labels_or_regions",
        "holds something else than plain numbers (NumPy's, perhaps). Hint: postprocessing.json beside it says the same.");
  for (const io::pickle::Id id : v.items) collect(d, d.values[id], labels, depth + 1);
}

template <class = void> std::vector<PostRule> of_json(const std::filesystem::path& path) {
  const Json j = read_json(path);
  const std::string file = path.string();
  const Members m(j, {file});
  const auto functions = m.get<std::vector<std::string>>("postprocessing_fns");
  const Json& options = m.at("postprocessing_kwargs");
  const json::Place at = m.place() / "postprocessing_kwargs";
  if (!options.is_array() || options.size() != functions.size())
    at.fail(options, text("a list of ", functions.size(), " objects"));
  std::vector<PostRule> rules;
  for (std::size_t i = 0; i < functions.size(); ++i) {
    if (functions[i] != kFunction) unknown(file, functions[i]);
    std::vector<Index> labels;
    const Members o(options[i], at[i]);
    collect(o.at("labels_or_regions"), o.place() / "labels_or_regions", labels);
    rules.push_back(rule_of(std::move(labels), file));
  }
  return rules;
}

/// A pickle of ([functions], [{"labels_or_regions": ...}]), where functions are names that are compared, and not called.
template <class = void> std::vector<PostRule> of_pickle(const std::filesystem::path& path) {
  const std::string file = path.string();
  const std::vector<std::byte> bytes = io::read_file(path, {.max_bytes = Index{1} << 20});
  const std::string name = std::string(kModule) + std::string(kFunction);
  const io::pickle::Allowed allowed[] = {{name, io::pickle::Builds::nothing}};
  const io::pickle::Document d =
      io::pickle::Machine({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, file, {.more = allowed}).run();
  const auto part = [&](const io::pickle::Value& v, std::size_t i) -> const io::pickle::Value& {
    if (v.kind != io::pickle::Kind::sequence || v.items.size() <= i)
      throw Error(Code::bad_input, file, "is no pickle of postprocessing: a list of functions, and a list of their options.");
    return d.values[v.items[i]];
  };
  const io::pickle::Value &top = d.values[d.top], &functions = part(top, 0), &options = part(top, 1);
  if (functions.kind != io::pickle::Kind::sequence) part(functions, 0);
  std::vector<PostRule> rules;
  for (std::size_t i = 0; i < functions.items.size(); ++i) {
    const io::pickle::Value& function = part(functions, i);
    if (function.kind != io::pickle::Kind::global || function.words != name) unknown(file, function.words);
    std::vector<Index> labels;
    collect(d, checkpoint::required(d, part(options, i), "labels_or_regions", file), labels);
    rules.push_back(rule_of(std::move(labels), file));
  }
  return rules;
}

}   // namespace postprocessing

/// The rules of a postprocessing.json, or of a postprocessing.pkl, whose functions are recognised by name and never called.
/// Errors    unsupported for another function, by name; bad_input for what is no such file.
template <class = void> std::vector<PostRule> read_postprocessing(const std::filesystem::path& path) {
  return path.extension() == ".pkl" ? postprocessing::of_pickle(path) : postprocessing::of_json(path);
}

}   // namespace ctseg::nnunet
