// The models that can be chosen: of the command line, of CTSEG_MODEL, uploaded, or laid into the store's folder by hand.
#pragma once
#include "masks.hpp"

namespace viewer {

struct ModelEntry {
  Index id = 0;
  std::string name{}, source{};   // option, environment, upload, store
  fs::path path{};
  std::vector<LabelName> labels{};   // without background
  Index bytes = 0;
};

class Models {
 public:
  /// Errors    those of the reader, for files that were named; others that are no models are left out, the environment's with a
  ///           warning.
  Models(Store& store, const std::vector<std::string>& named, cli::Console& console);

  /// In the order of choice: the first is the default.
  std::vector<ModelEntry> list();
  /// id 0: the default.
  /// Errors    Refusal if there is none.
  ModelEntry find(Index id);
  /// A file that came in; its recipe is read before it is kept.
  ModelEntry add_upload(const fs::path& file, const std::string& name);
  static Json describe(const ModelEntry& entry);
  /// Names for the labels of a mask that comes without: the default model's, if it knows all of them.
  std::vector<LabelName> names_for(const std::vector<std::uint8_t>& mask);

 private:
  ModelEntry entry_of(const fs::path& path, const std::string& source, const std::string& name);

  Store& store_;
  std::mutex mutex_;
  std::vector<ModelEntry> named_, uploads_, found_;   // uploads_: newest first
  Index last_ = 0;
};

}   // namespace viewer
