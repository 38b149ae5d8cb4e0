// A model as nnUNetv2_train leaves it: plans.json, dataset.json and fold_*/checkpoint_final.pth, read as they are.
#pragma once
#include "../recipe/model_file.hpp"
#include "model_recipe.hpp"
#include "postprocessing.hpp"

namespace ctseg::nnunet {

struct FolderOptions {
  std::string configuration{};        // "3d_fullres"; empty: the folder's only one
  std::vector<std::string> folds{};   // "0", "1" ... or "all"; empty: every numbered one that has the checkpoint, else fold_all
  std::string checkpoint = "checkpoint_final.pth";
  std::filesystem::path postprocessing{};   // its postprocessing.json or .pkl; empty: none, as nnUNetv2_predict does
};

/// Where the files of one model are.
struct ModelFolder {
  std::filesystem::path path{};                       // holds plans.json
  std::vector<std::filesystem::path> checkpoints{};   // one of each fold
  std::vector<std::string> folds{};
};

namespace model_folder {

namespace fs = std::filesystem;

inline bool is_there(const fs::path& path) {
  std::error_code none;
  return fs::exists(path, none);
}
inline std::string listed(const std::vector<std::string>& names) {
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + io::printable(name);
  return all.empty() ? "none" : all;
}
/// "3d_fullres" of "nnUNetTrainer__nnUNetPlans__3d_fullres"; empty for other names.
inline std::string configuration_in(const std::string& name) {
  const std::size_t last = name.rfind("__");
  return last == name.npos || name.find("__") == last ? "" : name.substr(last + 2);
}

/// The folder with plans.json: the one that is named, or the one in it that has the configuration.
template <class = void> fs::path trainer_folder(const fs::path& folder, const std::string& configuration) {
  if (is_there(folder / "plans.json") || is_there(folder / "dataset.json") || is_there(folder / "plans.pkl")) return folder;
  std::error_code none;
  if (!fs::is_directory(folder, none))
    throw Error(Code::bad_input, folder.string(), "is no folder; a model of nnU-Net is one, with plans.json and fold_0.");
  std::vector<std::string> all, wanted;
  for (const std::string& name : names_in(folder))
    if (const std::string own = configuration_in(name); !own.empty() && fs::is_directory(folder / name, none)) {
      all.push_back(name);
      if (configuration.empty() || own == configuration) wanted.push_back(name);
    }
  if (wanted.size() == 1) return folder / wanted[0];
  if (all.empty())
    throw Error(Code::bad_input, folder.string(),
                "has neither plans.json nor a folder like nnUNetTrainer__nnUNetPlans__3d_fullres. Hint: name the folder with "
                "plans.json.");
  throw Error(
      Code::bad_argument, folder.string(),
      text("has ", wanted.size(), " models", configuration.empty() ? "" : " of the configuration " + configuration,
           "; there are: ", listed(all), ". Hint: ",
           configuration.empty() ? "name a configuration, or the folder of one model." : "name the folder of one model."));
}

template <class = void> std::vector<std::string> folds_of(const fs::path& folder, const FolderOptions& o) {
  std::vector<std::string> with, all;
  for (const std::string& name : names_in(folder))
    if (name.starts_with("fold_")) {
      all.push_back(name);
      if (is_there(folder / name / o.checkpoint)) with.push_back(name.substr(5));
    }
  if (!o.folds.empty()) {
    for (const std::string& fold : o.folds)
      if (std::find(with.begin(), with.end(), fold) == with.end())
        throw Error(Code::bad_input, folder.string(),
                    text("has no fold_", fold, "/", o.checkpoint, "; folds that have one are: ", listed(with), "."));
    return o.folds;
  }
  std::vector<std::string> numbered = with;
  std::erase(numbered, "all");
  if (!numbered.empty()) return numbered;
  if (!with.empty()) return with;
  std::vector<std::string> files;
  if (!all.empty())
    for (const std::string& name : names_in(folder / all[0]))
      if (name.ends_with(".pth")) files.push_back(name);
  throw Error(Code::bad_input, folder.string(),
              all.empty() ? text("has no folds, folders like fold_0.")
                          : text("has no ", o.checkpoint, " in ", listed(all), "; in ", all[0], " there are: ", listed(files),
                                 ". Hint: another name is FolderOptions::checkpoint."));
}

/// Like load_model, but for a recipe that the folder gave.
template <class = void> LoadedModel load_fold(const fs::path& checkpoint, const ModelRecipe& recipe) {
  std::error_code none;
  const auto bytes = static_cast<Index>(fs::file_size(checkpoint, none));
  model_file::check_size(recipe.network, checkpoint.string(), bytes);
  LoadedModel loaded{recipe, make_model(recipe.network)};
  loaded.model.check_window(model_file::window_of(recipe));
  io::load_weights(checkpoint, loaded.model, {.reader = io::torch_reader(), .dictionary = "network_weights"});
  return loaded;
}

}   // namespace model_folder

/// Finds a model: `path` is the folder with plans.json, or the one above it, which may hold several configurations.
/// Errors    bad_argument if it holds several and none was chosen; bad_input for folds and checkpoints that are not there; each
///           lists what there is.
template <class = void> ModelFolder find_folder(const std::filesystem::path& path, const FolderOptions& o = {}) {
  ModelFolder f{.path = model_folder::trainer_folder(path, o.configuration)};
  if (!model_folder::is_there(f.path / "plans.json") && model_folder::is_there(f.path / "plans.pkl"))
    throw Error(Code::unsupported, f.path.string(),
                "is a model of nnU-Net 1 (plans.pkl); known are those of nnU-Net 2 (plans.json). Hint: train it again with "
                "nnU-Net 2.");
  f.folds = model_folder::folds_of(f.path, o);
  for (const std::string& fold : f.folds) f.checkpoints.push_back(f.path / ("fold_" + fold) / o.checkpoint);
  return f;
}

/// The recipe of a found model, by the checkpoint of its first fold, as nnU-Net has it.
template <class = void> ModelRecipe read_recipe_of(const ModelFolder& f, const FolderOptions& o = {}) {
  TrainedFiles files{read_plans(f.path / "plans.json"), read_dataset_json(f.path / "dataset.json"),
                     read_checkpoint(f.checkpoints[0]), f.checkpoints[0].string()};
  if (!o.configuration.empty() && files.checkpoint.configuration != o.configuration)
    throw Error(Code::bad_argument, f.checkpoints[0].string(),
                text("is of the configuration ", io::printable(files.checkpoint.configuration), ", asked for was ",
                     o.configuration, "."));
  ModelRecipe recipe = recipe_of(files);
  if (!o.postprocessing.empty()) recipe.postprocess = read_postprocessing(o.postprocessing);
  return recipe;
}

/// The folds of a model folder, ready for segment(): an ensemble of one recipe. The second network of a cascade needs the mask
/// of the first one besides: load_cascade() brings both.
/// Errors    those of find_folder(); unsupported for what is not known here, by name; bad_input for files that are damaged,
///           lack something, or do not fit together; each in one sentence. No pickle is ever executed.
template <class = void> std::vector<LoadedModel> load_folder(const std::filesystem::path& path, const FolderOptions& o = {}) {
  const ModelFolder f = find_folder(path, o);
  const ModelRecipe recipe = read_recipe_of(f, o);
  std::vector<LoadedModel> folds;
  for (const auto& checkpoint : f.checkpoints) folds.push_back(model_folder::load_fold(checkpoint, recipe));
  return folds;
}

}   // namespace ctseg::nnunet
