#include "plan_file.hpp"

#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

namespace ctseg::cudnn {

namespace fs = std::filesystem;

PlanFiles::PlanFiles(const std::string& version_and_card) {
  const char *cache = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
  if (cache && *cache)
    folder_ = cache;
  else if (home && *home)
    folder_ = fs::path(home) / ".cache";
  else
    return;
  std::string name = "cudnn-" + version_and_card;
  for (char& c : name)
    if (c == ' ' || c == '/') c = '_';
  folder_ = folder_ / "ctseg" / name;
}

fs::path PlanFiles::file(const std::string& name) const {
  std::uint64_t hash = 14695981039346656037u;   // FNV-1a; the name itself is the file's first line
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  char digits[24];
  std::snprintf(digits, sizeof digits, "%016llx.plan", static_cast<unsigned long long>(hash));
  return folder_ / digits;
}

std::optional<std::string> PlanFiles::read(const std::string& name) const {
  if (folder_.empty()) return {};
  std::ifstream in(file(name), std::ios::binary);
  std::string first;
  if (!std::getline(in, first) || first != name) return {};
  return std::string(std::istreambuf_iterator<char>(in), {});
}

void PlanFiles::write(const std::string& name, const std::string& content) const {
  if (folder_.empty()) return;
  std::error_code failed;
  fs::create_directories(folder_, failed);
  if (failed) return;
  const fs::path to = file(name), draft = to.string() + "." + std::to_string(getpid());
  {
    std::ofstream out(draft, std::ios::binary);
    out << name << '\n' << content;
    out.close();
    if (!out) return void(fs::remove(draft, failed));
  }
  fs::rename(draft, to, failed);   // whole or not at all, whoever else writes it
  if (failed) fs::remove(draft, failed);
}

}   // namespace ctseg::cudnn
