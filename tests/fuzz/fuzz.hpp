// What the fuzzers share: the input as a file, and a stop that the sanitizer reports.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <ctseg/core/error.hpp>

namespace fuzz {

/// A folder of this process; run.sh puts it into memory and removes it.
inline const std::filesystem::path& folder() {
  static const std::filesystem::path made = [] {
    std::string name = (std::filesystem::temp_directory_path() / "ctseg-fuzz-XXXXXX").string();
    return std::filesystem::path(::mkdtemp(name.data()));
  }();
  return made;
}
inline std::filesystem::path as_file(const char* name, const void* data, std::size_t size) {
  const std::filesystem::path path = folder() / name;
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr || std::fwrite(data, 1, size, file) != size || std::fclose(file) != 0) std::abort();
  return path;
}

/// What must hold whatever the input.
inline void require(bool holds) {
  if (!holds) __builtin_trap();
}

/// Runs f; an Error with a sentence is as good as a result, anything else that is thrown ends the program.
template <class F> void run(F&& f) {
  try {
    f();
  } catch (const ctseg::Error& error) {
    require(std::string(error.what()).size() > 10);
  }
}

}   // namespace fuzz
