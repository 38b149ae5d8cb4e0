// What a system's config.json may say: the recipe that its model keeps, how it is trained, where its data lie, and what its
// phantoms look like. A file that has "base" changes another one (as JSON merge patches do), so that a preset is a few lines.
#pragma once
#include <ctseg/data/split.hpp>

#include "../../ctseg/learning.hpp"

namespace systems {

namespace cs = ctseg;
namespace fs = std::filesystem;
using cli::one_of, cs::Index, cs::text;

/// dice * Dice + ce * cross entropy: binary for a network of one channel. 0 leaves a term out.
struct LossConfig {
  double dice = 1, ce = 1, smooth = 1e-5;
  bool background = true;                // in Dice
  std::vector<double> class_weights{};   // one a channel
};
struct TrainingConfig {
  Index steps = 1000, epochs = 0;      // epochs above 0 count instead of steps
  Index steps_per_epoch = 0;           // 0: as many as it takes to draw one sample per case
  Index batch = 2;                     // patches a step
  std::vector<Index> patch{};          // z, y, x, or y, x; unset: the recipe's window
  double positive = 1, negative = 1;   // share of patches around foreground and background
  std::vector<double> sampling{};      // in their place: how often each class lies under the centre
  bool by_component = false;           // large and small connected pieces of foreground alike, in place of voxels alike
  Index off_centre = 0;                // voxels that a patch may then be moved by: else what is sought lies in its middle
  std::string augment = "none";        // none, light, coronary, lung_nodules, liver_slices
  LossConfig loss{};
  std::string optimizer = "adam";   // adam, adamw
  double learning_rate = 1e-4, weight_decay = 0, clip_norm = 0;
  std::string schedule = "constant";   // constant, cosine, poly, exponential, step
  double factor = 0.95;                // of exponential and step
  Index every = 1, warm_up = 0;        // epochs for exponential and step, else steps
  Index max_memory_mb = 0;             // above 0: stages are computed again in backward, then batches halved, to fit
  Index workers = 0, patience = 0;
  Index validate_every = 0, checkpoint_every = 0;   // steps; 0: at the end, and every 500
};
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
  TrainingConfig training{};
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
