// processed_files.txt: what a long preprocessing run has already done, so that it can be stopped and taken up again.
#pragma once
#include <set>
#include <string>

#include "../io/file.hpp"

namespace ctseg {

/// The names in a manifest, one a line. Every add() replaces the file whole, so that a stop leaves no half line.
class ProcessedFiles {
 public:
  /// A manifest that is not there yet is empty.
  /// Errors    io, bad_input if it is there and cannot be read.
  explicit ProcessedFiles(std::filesystem::path path) : path_(std::move(path)) {
    std::error_code ignored;
    if (!std::filesystem::exists(path_, ignored)) return;
    std::string line;
    for (const std::byte b : io::read_file(path_, {.max_bytes = Index{1} << 28})) {
      if (const char c = static_cast<char>(b); c != '\n')
        line += c;
      else
        keep(std::exchange(line, {}));
    }
    keep(std::move(line));
  }

  bool contains(const std::string& name) const { return names_.contains(name); }
  Index size() const { return static_cast<Index>(names_.size()); }

  /// Call it when the results of `name` are safely written.
  /// Errors    bad_argument for a name that is no line; io if the manifest cannot be written, which then is as before.
  void add(const std::string& name) {
    if (name.empty() || name.find_first_of("\r\n") != std::string::npos)
      throw Error(Code::bad_argument, path_.string(), "a name must be one line that is not empty.");
    if (contains(name)) return;
    const std::string longer = text_ + name + "\n";
    io::write_file(path_, std::as_bytes(std::span(longer)));
    keep(name);
  }

 private:
  void keep(std::string name) {
    if (name.ends_with('\r')) name.pop_back();
    if (!name.empty() && names_.insert(name).second) text_ += name + "\n";
  }

  std::filesystem::path path_;
  std::string text_;   // the lines, each name once, in the order they came
  std::set<std::string> names_;
};

}   // namespace ctseg
