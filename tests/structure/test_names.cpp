// A name at namespace ctseg means one thing: two types of one name in different headers pass every test that includes only one
// of them, and break the program that includes both.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

/// The type that a line at the left margin begins to define: "Grid" for `struct Grid {`; empty for declarations and the rest.
std::string defined_by(std::string line) {
  if (line.starts_with("template <") && line.ends_with("{")) {   // template <...> struct X {
    int depth = 0;
    std::size_t end = 9;
    for (; end < line.size(); ++end) {
      depth += line[end] == '<' ? 1 : line[end] == '>' ? -1 : 0;
      if (depth == 0) break;
    }
    line = line.substr(std::min(end + 2, line.size()));
  }
  for (const std::string kind : {"struct ", "class ", "enum class ", "enum "})
    if (line.starts_with(kind) && line.find('{') != std::string::npos) {
      const auto end = line.find_first_of(" <:{", kind.size());   // `X<...>` is a specialisation
      if (end == std::string::npos || line[end] == '<') return "";
      return line.substr(kind.size(), end - kind.size());
    }
  return "";
}

/// Names of the types that a header defines directly in namespace ctseg.
std::vector<std::string> types_of(std::istream& header) {
  std::vector<std::string> found, scopes;
  for (std::string line; std::getline(header, line);) {
    if (line.starts_with("namespace ") && line.ends_with("{")) scopes.push_back(line.substr(10, line.size() - 12));
    if (line.starts_with("}   // namespace") && !scopes.empty()) scopes.pop_back();
    const bool ours = scopes == std::vector<std::string>{"ctseg"};
    if (const std::string name = defined_by(line); ours && !name.empty()) found.push_back(name);
  }
  return found;
}

}   // namespace

TEST_CASE("no two headers define a type of the same name") {
  const fs::path headers = fs::path(CTSEG_SOURCE_DIR) / "include" / "ctseg";
  std::map<std::string, std::string> first;
  for (const auto& entry : fs::recursive_directory_iterator(headers)) {
    if (entry.path().extension() != ".hpp") continue;
    const std::string where = entry.path().lexically_relative(headers).string();
    std::ifstream file(entry.path());
    for (const std::string& name : types_of(file)) {
      const auto [at, is_new] = first.emplace(name, where);
      CHECK_MESSAGE((is_new || at->second == where), "ctseg::", name, " is defined in ", at->second, " and in ", where);
    }
  }
  CHECK(first.size() > 200);
  for (const char* name : {"Grid", "Volume", "Tensor", "Error", "Code", "BasicUNet", "PhantomNodule"})
    CHECK_MESSAGE(first.contains(name), name);
}

TEST_CASE("the search for types sees definitions and nothing else") {
  CHECK(defined_by("struct Nodule {") == "Nodule");
  CHECK(defined_by("template <class T> class Volume : public Base {") == "Volume");
  CHECK(defined_by("enum class Code : int { ok, bad };") == "Code");
  CHECK(defined_by("struct Later;") == "");
  CHECK(defined_by("template <> struct Traits<float> {") == "");
  CHECK(defined_by("  struct Inner {") == "");
}
