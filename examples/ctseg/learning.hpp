// What `ctseg train` and the programs of the systems share: data sets by the name of their layout, and cases as a network sees
// them.
#pragma once
#include <ctseg/data/case.hpp>
#include <ctseg/data/dataset.hpp>
#include <ctseg/recipe/recipe.hpp>
#include <ctseg/report/run.hpp>

#include "volumes.hpp"

namespace cli {

/// The value beside a name. `where` is the key, or file and key, for the error.
template <class T>
T one_of(const std::string& where, const std::string& found, std::initializer_list<std::pair<const char*, T>> all) {
  std::string names;
  for (const auto& [name, value] : all) {
    if (found == name) return value;
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  throw cs::Error(cs::Code::bad_input, where, text("is \"", found, "\"; must be one of ", names, "."));
}

/// ct_scans_masks, pairs, ...
/// Errors    bad_input with all names.
cs::Layout layout_named(const std::string& where, const std::string& name);

/// Names of labels 0, 1, ... of a recipe; "label 3" for ids that it leaves out.
std::vector<std::string> label_names(const cs::ModelRecipe& recipe);

/// The network's class of each id of a mask; ids that the recipe does not name are background.
/// Errors    unsupported for several regions by sigmoid, which one class a voxel cannot say.
std::array<std::uint8_t, 256> class_of_id(const cs::ModelRecipe& recipe, const std::string& where);

/// A scan and its mask on the network's grid, the mask's ids as classes.
cs::Case prepared_case(const std::string& name, const Scan& scan, const cs::Volume<std::uint8_t>& mask,
                       const cs::ModelRecipe& recipe, cs::Executor& threads);

/// Errors    bad_argument if there are checkpoints, and nobody said to go on from them.
void expect_fresh(const fs::path& checkpoints, bool resume);

/// Writes the record of a training, and returns what the file says. Where a call had nothing left to do, that of the call which
/// did the same number of "steps" stays: it tells of the training.
std::string write_record(const fs::path& file, const cs::RunRecord& run, bool trained);

}   // namespace cli
