// A folder for one test, removed with everything in it.
#pragma once
#include <cstdlib>
#include <ctseg/core/error.hpp>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

struct TempFolder {
  std::filesystem::path path;

  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "ctseg-test-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  TempFolder(const TempFolder&) = delete;
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::filesystem::path operator/(const std::string& name) const { return path / name; }
};

inline std::string slurp(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline void spill(const std::filesystem::path& path, const std::string& bytes) {
  std::filesystem::remove(path);   // truncating a file instead makes ext4 wait for the disk
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// What() of the ctseg::Error that f throws, or "" if it throws none.
template <class F> std::string error_of(F&& f) {
  try {
    f();
  } catch (const ctseg::Error& error) {
    return error.what();
  }
  return "";
}
