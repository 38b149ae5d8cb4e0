// What a system's config.json may say: the recipe that its model keeps, how it is trained, where its data lie, and what its
// phantoms look like. A file that has "base" changes another one (as JSON merge patches do), so that a preset is a few lines.
#pragma once
#include <ctseg/data/split.hpp>

#include "../../ctseg/learning.hpp"
#include "../../ctseg/training_config.hpp"

namespace systems {

namespace cs = ctseg;
namespace fs = std::filesystem;
using cli::one_of, cs::Index, cs::text;

struct Relabel {
  Index from = 0, to = 0;
};
struct DataConfig {
  std::string layout = "ct_scans_masks";   // of the folder, or of its train/, val/ and test/ where there are such
  double train = 0.8, test = 0;            // else shares of the patients; the rest is for validation
  std::vector<Relabel> relabel{};          // ids of mask files to ids of the recipe
};
struct PhantomConfig {
  std::array<Index, 3> shape{96, 96, 80};              // x, y, z
  std::optional<std::array<double, 3>> spacing_mm{};   // unset: so that the region fits
  Index train = 16, val = 2, test = 4;                 // patients
  double noise_hu = 15, blur_mm = 0;
};
struct Config {
  cs::ModelRecipe recipe{};
  cli::TrainingConfig training{};
  DataConfig data{};
  PhantomConfig phantom{};
};

/// Errors    bad_input with file, key, value and what is allowed; a misspelt key is an error.
Config read_config(const fs::path& file);

/// A preset of a system by its name: "low_memory".
fs::path preset(const std::string& system, const std::string& name);
/// A configuration by the name of its file, or of a preset.
fs::path find_config(const std::string& system, const std::string& name);

/// The cases of a data set, in parts.
cs::CaseSplit find_cases(const fs::path& data, const Config& config, std::uint64_t seed);

}   // namespace systems
