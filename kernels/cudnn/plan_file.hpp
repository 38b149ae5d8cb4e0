// Plans on disk, so that the next program need not search for them. Only ever a help: whatever goes wrong, there is no file.
#pragma once
#include <filesystem>
#include <optional>
#include <string>

namespace ctseg::cudnn {

/// Files of one version of cuDNN and one kind of card, in $XDG_CACHE_HOME/ctseg or ~/.cache/ctseg.
class PlanFiles {
 public:
  PlanFiles() = default;
  explicit PlanFiles(const std::string& version_and_card);

  /// What was written under this name.
  std::optional<std::string> read(const std::string& name) const;
  void write(const std::string& name, const std::string& content) const;

 private:
  std::filesystem::path file(const std::string& name) const;
  std::filesystem::path folder_;   // empty: none
};

}   // namespace ctseg::cudnn
