#include "models.hpp"

#include <cstdlib>

#include "../ctseg/models.hpp"
#include "uploads.hpp"

namespace viewer {

Models::Models(Store& store, const std::vector<std::string>& named, cli::Console& console) : store_(store) {
  for (const std::string& path : named) named_.push_back(entry_of(path, "option", ""));
  if (const char* path = std::getenv("CTSEG_MODEL"); path && *path) {
    try {
      named_.push_back(entry_of(path, "environment", ""));
    } catch (const cs::Error& error) {   // it may be meant for another program
      console.warn(text("warning: the model of CTSEG_MODEL is left out: ", error.what()));
    }
  }
  std::vector<fs::path> uploads;
  const auto try_to = [](auto&& add) {
    try {
      add();
    } catch (const cs::Error&) {   // no model, or not any more: there is nothing to choose
    }
  };
  for (const ModelRow& row : store_.models()) {
    uploads.push_back(store_ / row.file);
    try_to([&] { uploads_.push_back(entry_of(store_ / row.file, "upload", row.name)); });
  }
  std::vector<fs::path> files;
  for (const auto& file : fs::directory_iterator(store_ / "models"))
    if (const auto kind = file.path().extension();
        (kind == ".safetensors" || kind == ".onnx") && std::find(uploads.begin(), uploads.end(), file.path()) == uploads.end())
      files.push_back(file.path());
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) try_to([&] { found_.push_back(entry_of(file, "store", "")); });
}

ModelEntry Models::entry_of(const fs::path& path, const std::string& source, const std::string& name) {
  const cs::ModelRecipe recipe = cli::recipe_of_file(path);
  ModelEntry entry{.id = ++last_, .name = recipe.about.name, .source = source, .path = path};
  if (entry.name.empty()) entry.name = name.empty() ? path.filename().string() : name;
  entry.bytes = static_cast<Index>(fs::file_size(path));
  for (const cs::LabelInfo& label : recipe.labels)
    if (label.id != 0) entry.labels.push_back({label.id, label.name, label.color.value_or(color_of(label.id))});
  return entry;
}

std::vector<ModelEntry> Models::list() {
  const std::lock_guard lock(mutex_);
  std::vector<ModelEntry> all = named_;
  all.insert(all.end(), uploads_.begin(), uploads_.end());
  all.insert(all.end(), found_.begin(), found_.end());
  return all;
}

ModelEntry Models::find(Index id) {
  const std::vector<ModelEntry> all = list();
  if (id == 0 && all.empty())
    throw Refusal{409, "there is no model. Hint: upload one, or start with -m MODEL or CTSEG_MODEL=MODEL."};
  if (id == 0) return all.front();
  for (const ModelEntry& entry : all)
    if (entry.id == id) return entry;
  throw Refusal{404, text("there is no model ", id, ".")};
}

ModelEntry Models::add_upload(const fs::path& file, const std::string& name) {
  const bool graph = cli::is_onnx(file) || fs::path(name).extension() == ".onnx";
  const std::string kind = graph ? ".onnx" : ".safetensors";   // no checkpoint of PyTorch: it would need a recipe beside it
  fs::path at = file;
  at += kind;
  fs::rename(file, at);
  try {
    if (graph) cli::load_model_file(at);   // which graphs are run is not said by their recipe
    const std::lock_guard lock(mutex_);
    ModelEntry entry = entry_of(at, "upload", shown_name(name));
    const std::string kept = "models/upload_" + at.stem().string() + "_" + text(cs::Index{::time(nullptr)}) + kind;
    move_for_good(at, store_ / kept);
    entry.path = at = store_ / kept;
    store_.add(ModelRow{.name = shown_name(name), .file = kept});
    uploads_.insert(uploads_.begin(), entry);
    return entry;
  } catch (...) {
    std::error_code ignored;
    fs::remove(at, ignored);
    throw;
  }
}

Json Models::describe(const ModelEntry& entry) {
  Json labels = Json::array();
  for (const LabelName& label : entry.labels)
    labels.push_back({{"id", label.id}, {"name", label.name}, {"color", label.color}});
  return {{"id", entry.id}, {"name", entry.name}, {"source", entry.source}, {"labels", labels}, {"bytes", entry.bytes}};
}

std::vector<LabelName> Models::names_for(const std::vector<std::uint8_t>& mask) {
  const std::vector<ModelEntry> all = list();
  if (all.empty()) return {};
  std::array<bool, 256> known{true};
  for (const LabelName& label : all.front().labels) known[static_cast<std::size_t>(label.id & 255)] = true;
  const bool knows = std::all_of(mask.begin(), mask.end(), [&](std::uint8_t label) { return known[label]; });
  return knows ? all.front().labels : std::vector<LabelName>{};
}

}   // namespace viewer
