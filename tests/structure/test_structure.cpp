// Keeps the shape of the source tree: who may include whom, how long a header may be, what README tells people to type.
#include <doctest/doctest.h>

#include <algorithm>
#include <cctype>
#include <ctseg/version.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace fs = std::filesystem;

namespace {

// core <- ops <- nn <- {models, loss, optim} <- train,   core <- ops <- image <- {io, data, infer, post, metrics}
// A folder may include its own headers, version.hpp and the folders listed here; a new edge is a decision, not an accident.
const std::map<std::string, std::set<std::string>> kMayInclude = {
    {"core", {}},
    {"ops", {"core"}},
    {"nn", {"core", "ops"}},
    {"models", {"core", "ops", "nn"}},
    {"loss", {"core", "ops", "nn", "image"}},   // image: distance transforms of masks
    {"optim", {"core", "ops", "nn"}},
    {"image", {"core", "ops"}},
    {"io", {"core", "ops", "image", "nn"}},   // nn: weight files fill its parameters
    {"data", {"core", "ops", "image", "io"}},   // io: tables, manifests, cases and their cache are files
    {"infer", {"core", "ops", "image", "nn", "metrics"}},   // nn: a plan is a predictor; metrics: masks compared; never models
    {"post", {"core", "ops", "image", "data"}},   // data: LUNA16's tables
    {"metrics", {"core", "ops", "image", "data"}},   // data: LUNA16's tables
    {"report", {"core", "ops", "image", "io", "metrics"}},   // not in the umbrella: what programs write beside results
    {"interop", {"core", "ops", "nn", "image", "io"}},   // not in the umbrella: needs libraries that ctseg does not
    {"recipe", {"core", "ops", "nn", "models", "image", "io", "infer", "post"}},   // not in the umbrella: needs nlohmann-json
    {"nnunet",   // not in the umbrella: nnU-Net's files; what it plans and trains touches everything
     {"core", "ops", "nn", "models", "image", "io", "data", "infer", "post", "recipe", "loss", "optim", "train"}},
    {"train", {"core", "ops", "nn", "loss", "optim", "data", "metrics", "infer", "image", "io"}},   // never models
};
constexpr int kMaxHeaderLines = 400;

const fs::path kSource = CTSEG_SOURCE_DIR;
const fs::path kHeaders = kSource / "include" / "ctseg";

std::vector<std::string> lines_of(const fs::path& file) {
  std::vector<std::string> lines;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::vector<fs::path> headers() {
  std::vector<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(kHeaders))
    if (entry.path().extension() == ".hpp") found.push_back(entry.path());
  return found;
}

/// First folder below include/ctseg; empty for the headers that lie directly in it, such as the umbrella.
std::string folder_of(const fs::path& header) {
  const auto relative = header.lexically_relative(kHeaders);
  return relative.has_parent_path() ? relative.begin()->string() : "";
}

/// The file name in `#include "x"` or `#include <ctseg/x>`; empty for any other line.
std::string included_by(const std::string& line) {
  const auto hash = line.find_first_not_of(" \t");
  if (hash == std::string::npos || line[hash] != '#') return "";
  const auto word = line.find_first_not_of(" \t", hash + 1);
  if (word == std::string::npos || line.compare(word, 7, "include") != 0) return "";
  const auto open = line.find_first_of("\"<", word);
  if (open == std::string::npos) return "";
  const auto close = line.find_first_of("\">", open + 1);
  if (close == std::string::npos) return "";
  const auto name = line.substr(open + 1, close - open - 1);
  return line[open] == '"' || name.starts_with("ctseg/") ? name : "";
}

/// Why the edge is not allowed; empty if it is.
std::string complaint(const fs::path& from, const std::string& name) {
  const auto to = (name.starts_with("ctseg/") ? kSource / "include" / name : from.parent_path() / name).lexically_normal();
  const auto inside = to.lexically_relative(kHeaders);
  if (inside.empty() || *inside.begin() == "..") return "leaves include/ctseg";
  if (!fs::exists(to)) return "is not there";
  const auto source = folder_of(from);
  const auto target = folder_of(to);
  if (source.empty() || source == target || to == kHeaders / "version.hpp") return "";
  const auto row = kMayInclude.find(source);
  if (row == kMayInclude.end()) return "comes from a folder that kMayInclude does not know";
  return row->second.contains(target) ? "" : source + " must not see " + (target.empty() ? "the umbrella" : target);
}

/// The first word of a line, comments left out, that prints or ends the program; empty if there is none.
std::string forbidden_word(const std::string& line) {
  static const std::set<std::string> kForbidden = {"abort", "assert", "exit",    "_Exit",   "quick_exit", "terminate",
                                                   "cout",  "cerr",   "clog",    "stdout",  "stderr",     "printf",
                                                   "puts",  "perror", "putchar", "fprintf", "vprintf"};
  const auto code = line.substr(0, line.find("//"));
  const auto in_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; };
  for (auto at = code.begin(); at != code.end();) {
    const auto first = std::find_if(at, code.end(), in_word);
    at = std::find_if_not(first, code.end(), in_word);
    if (const std::string word(first, at); kForbidden.contains(word)) return word;
  }
  return "";
}

bool starts_with_any(const std::string& line, const std::vector<std::string>& starts) {
  for (const auto& start : starts)
    if (line == start || line.starts_with(start + " ")) return true;
  return false;
}

/// The commands README may show in sh blocks, each tied to something that exists.
bool command_exists(const std::string& line) {
  const auto quoted = [](const std::string& name) { return '"' + name + '"'; };
  if (starts_with_any(line, {"./run demo", "./run ctseg", "./run test", "./run bench", "./run help"})) return true;
  if (starts_with_any(line, {"git clone", "cd", "g++"})) return true;   // g++: readme.sh compiles with that very line
  for (const std::string start :
       {"cmake --preset ", "cmake --build --preset ", "cmake --workflow --preset ", "ctest --preset "})
    if (line.starts_with(start)) {
      const auto name = line.substr(start.size(), line.find(' ', start.size()) - start.size());
      for (const auto& text : lines_of(kSource / "CMakePresets.json"))
        if (text.find("\"name\": " + quoted(name)) != std::string::npos) return true;
    }
  for (const std::string start : {"./build/release/bin/", "build/release/bin/"})
    if (line.starts_with(start)) {
      auto name = line.substr(start.size(), line.find(' ') - start.size());
      if (fs::exists(kSource / "examples" / (name + ".cpp"))) return true;
      return name.starts_with("ctseg_") && fs::exists(kSource / "examples" / (name.substr(6) + ".cpp"));
    }
  return false;
}

}   // namespace

TEST_CASE("ctseg::prebuilt holds every op") {
  std::string held;
  for (const auto& line : lines_of(kHeaders / "nn" / "prebuilt_ops.hpp")) held += line;
  int found = 0;
  for (const auto& entry : fs::directory_iterator(kHeaders / "ops")) {
    if (!entry.is_regular_file()) continue;
    for (const auto& line : lines_of(entry.path())) {
      constexpr std::string_view kBefore = "template <AnySpec S> struct ";
      if (!line.starts_with(kBefore)) continue;
      const std::string name = line.substr(kBefore.size(), line.find(' ', kBefore.size()) - kBefore.size());
      if (!name.ends_with("Op")) continue;
      for (const char* dimensions : {"2", "3"})
        CHECK_MESSAGE(held.find("hold(" + name + "<Spec<float, " + dimensions) != std::string::npos, name);
      ++found;
    }
  }
  CHECK(found >= 17);
}

TEST_CASE("every family of op cases is in the list that benchmarks and parity tests go through") {
  std::string listed;
  for (const auto& line : lines_of(kSource / "tests" / "ops" / "families.hpp")) listed += line;
  int found = 0;
  for (const auto& entry : fs::directory_iterator(kSource / "tests" / "ops")) {
    if (!entry.path().filename().string().ends_with("_cases.hpp")) continue;
    for (const auto& line : lines_of(entry.path()))
      if (line.starts_with("struct Make")) {
        const std::string name = line.substr(7, line.find(' ', 7) - 7);
        CHECK_MESSAGE(listed.find(name + "{") != std::string::npos, name << " of " << entry.path().filename());
        ++found;
      }
  }
  CHECK(found >= 18);
}

TEST_CASE("includes follow the layers") {
  int edges = 0;
  for (const auto& header : headers())
    for (const auto& line : lines_of(header)) {
      const auto name = included_by(line);
      if (name.empty()) continue;
      ++edges;
      const auto why = complaint(header, name);
      CHECK_MESSAGE(why.empty(), header.lexically_relative(kSource).string(), " includes ", name, ": ", why);
    }
  CHECK(edges > 10);
}

TEST_CASE("the include check sees what it must") {
  CHECK(included_by("#include \"../nn/tape.hpp\"") == "../nn/tape.hpp");
  CHECK(included_by("  # include <ctseg/nn/tape.hpp>  // why") == "ctseg/nn/tape.hpp");
  CHECK(included_by("#include <vector>") == "");
  CHECK(included_by("// #include \"../nn/tape.hpp\"") == "");
  CHECK(complaint(kHeaders / "image" / "volume.hpp", "../core/error.hpp") == "");
  CHECK(complaint(kHeaders / "core" / "error.hpp", "../image/volume.hpp") == "core must not see image");
  CHECK(complaint(kHeaders / "core" / "error.hpp", "../../../tests/support/main.cpp") == "leaves include/ctseg");
  CHECK(complaint(kHeaders / "core" / "error.hpp", "ctseg/core/no_such.hpp") == "is not there");
  CHECK(complaint(kHeaders / "cellar" / "x.hpp", "../core/error.hpp") != "");
}

// dicom/ is compiled apart: it may see core, image and io, and no header may see it or the libraries it is built on.
TEST_CASE("DCMTK and OpenJPEG stay inside dicom/") {
  int sources = 0;
  for (const auto& entry : fs::directory_iterator(kSource / "dicom")) {
    const auto name = entry.path().filename().string();
    if (!name.ends_with(".cpp") && !name.ends_with(".hpp")) continue;
    ++sources;
    CHECK_MESSAGE(static_cast<int>(lines_of(entry.path()).size()) <= kMaxHeaderLines, "dicom/", name, " is too long");
    for (const auto& line : lines_of(entry.path())) {
      CHECK_MESSAGE((line.find("#include <dcmtk/") == std::string::npos || name == "jpeg.cpp"), "dicom/", name, ": ", line);
      CHECK_MESSAGE((line.find("#include <openjpeg") == std::string::npos || name == "jpeg2000.cpp"), "dicom/", name, ": ",
                    line);
      if (!line.starts_with("#include <ctseg/")) continue;
      const auto inside = line.substr(16);
      CHECK_MESSAGE((inside == "version.hpp>" || inside.starts_with("core/") || inside.starts_with("image/") ||
                     inside.starts_with("io/")),
                    "dicom/", name, ": ", line);
    }
  }
  CHECK(sources > 10);
  for (const auto& header : headers())
    for (const auto& line : lines_of(header))
      CHECK_MESSAGE((line.find("#include") == std::string::npos ||
                     (line.find("dcmtk") == std::string::npos && line.find("openjpeg") == std::string::npos)),
                    header.lexically_relative(kSource).string(), ": ", line);
}

// kernels/ defines what ops/cuda declares. Bodies ask Block, so that g++ can compile them too: CUDA's own words stay in common/
// and in runtime.cu, cuDNN's in cudnn/, NCCL's in nccl/, and no header of the library sees any of them.
TEST_CASE("CUDA, cuDNN and NCCL stay inside kernels/") {
  int sources = 0;
  for (const auto& entry : fs::recursive_directory_iterator(kSource / "kernels")) {
    const auto name = entry.path().lexically_relative(kSource / "kernels").string();
    const bool is_body = name.ends_with(".cu") || name.ends_with(".cuh");
    if (!is_body && !name.ends_with(".cpp") && !name.ends_with(".hpp")) continue;
    ++sources;
    CHECK_MESSAGE(static_cast<int>(lines_of(entry.path()).size()) <= kMaxHeaderLines, "kernels/", name, " is too long");
    const bool foreign = name.starts_with("common/") || name.starts_with("cudnn/") || name.starts_with("nccl/") ||
                         name == "runtime/runtime.cu";
    for (const auto& line : lines_of(entry.path())) {
      CHECK_MESSAGE((foreign || line.find("#include <cud") == std::string::npos), "kernels/", name, ": ", line);
      if (is_body && !foreign)
        for (const char* word : {"threadIdx", "blockIdx", "__syncthreads", "__shfl", "__shared__", "__global__", "atomicAdd"})
          CHECK_MESSAGE(line.find(word) == std::string::npos, "kernels/", name, ": ", line);
      if (name != "emulated/runtime.cpp") CHECK_MESSAGE(forbidden_word(line).empty(), "kernels/", name, ": ", line);
    }
  }
  CHECK(sources > 6);
  for (const auto& header : headers())
    for (const auto& line : lines_of(header))
      CHECK_MESSAGE((line.find("#include <cud") == std::string::npos && line.find("#include <nccl") == std::string::npos),
                    header.lexically_relative(kSource).string(), ": ", line);
}

// onnx/ too; it is made of networks, so it also sees nn and ops.
TEST_CASE("protobuf stays inside onnx/protobuf.cpp") {
  int sources = 0;
  for (const auto& entry : fs::directory_iterator(kSource / "onnx")) {
    const auto name = entry.path().filename().string();
    if (!name.ends_with(".cpp") && !name.ends_with(".hpp")) continue;
    ++sources;
    CHECK_MESSAGE(static_cast<int>(lines_of(entry.path()).size()) <= kMaxHeaderLines, "onnx/", name, " is too long");
    for (const auto& line : lines_of(entry.path())) {
      const bool foreign = line.starts_with("#include <google/") || line.starts_with("#include <onnx/");
      CHECK_MESSAGE((!foreign || name == "protobuf.cpp"), "onnx/", name, ": ", line);
      CHECK_MESSAGE(forbidden_word(line).empty(), "onnx/", name, ": ", line);
      if (!line.starts_with("#include <ctseg/")) continue;
      const auto folder = line.substr(16, line.find('/', 16) - 16);
      const std::set<std::string> seen = {"core", "ops", "nn", "io", "version.hpp>"};
      CHECK_MESSAGE(seen.contains(folder), "onnx/", name, ": ", line);
    }
  }
  CHECK(sources > 10);
  for (const auto& header : headers())
    for (const auto& line : lines_of(header))
      CHECK_MESSAGE((line.find("#include <google/") == std::string::npos && line.find("#include <onnx/") == std::string::npos),
                    header.lexically_relative(kSource).string(), ": ", line);
}

TEST_CASE("headers are short, guarded and without tabs") {
  for (const auto& header : headers()) {
    const auto lines = lines_of(header);
    const auto name = header.lexically_relative(kSource).string();
    CHECK_MESSAGE(static_cast<int>(lines.size()) <= kMaxHeaderLines, name, " has ", lines.size(), " lines, at most ",
                  kMaxHeaderLines);
    bool guarded = name.find("_body.") != std::string::npos;   // compiled once per instruction set, on purpose
    int number = 0;
    for (const auto& line : lines) {
      ++number;
      guarded = guarded || line == "#pragma once";
      CHECK_MESSAGE(line.find('\t') == std::string::npos, name, ":", number, " has a tab");
      for (const std::string heavy : {"<iostream>", "<regex>"})
        CHECK_MESSAGE(line.find("#include " + heavy) == std::string::npos, name, ":", number, " includes ", heavy);
    }
    CHECK_MESSAGE(guarded, name, " lacks #pragma once");
  }
}

TEST_CASE("the library neither prints nor ends the program") {
  for (const auto& header : headers())
    for (const auto& line : lines_of(header))
      CHECK_MESSAGE(forbidden_word(line).empty(), header.lexically_relative(kSource).string(), ": ", line);
  CHECK(forbidden_word("  if (x) std::abort();") == "abort");
  CHECK(forbidden_word("std::fprintf(stderr, text);") == "fprintf");
  CHECK(forbidden_word("static_assert(x); std::snprintf(line, 3, text);   // no printf").empty());
}

TEST_CASE("the version is one number everywhere") {
  const auto numbers = std::to_string(ctseg::kVersionMajor) + "." + std::to_string(ctseg::kVersionMinor) + "." +
                       std::to_string(ctseg::kVersionPatch);
  CHECK(numbers == ctseg::kVersion);
  CHECK(numbers == CTSEG_CMAKE_VERSION);
}

TEST_CASE("README shows only commands that exist") {
  const auto lines = lines_of(kSource / "README.md");
  REQUIRE_MESSAGE(!lines.empty(), "README.md is missing");
  bool shell = false, continued = false, demo = false, test = false;
  for (const auto& line : lines) {
    if (line.starts_with("```")) {
      shell = line == "```sh";
      continue;
    }
    const bool follows = std::exchange(continued, shell && line.ends_with("\\"));
    if (!shell || follows || line.empty() || line.starts_with("#")) continue;
    CHECK_MESSAGE(command_exists(line), "README.md shows: ", line);
    demo = demo || starts_with_any(line, {"./run demo"});
    test = test || starts_with_any(line, {"./run test"});
  }
  CHECK_MESSAGE(demo, "README.md does not show ./run demo");
  CHECK_MESSAGE(test, "README.md does not show ./run test");
}

namespace {

/// The heading as an anchor: "A package for CMake" is a-package-for-cmake.
std::string anchor_of(const std::string& heading) {
  std::string anchor;
  for (const char c : heading.substr(heading.find_first_not_of('#') + 1))
    if (std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_')
      anchor += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    else if (c == ' ')
      anchor += '-';
  return anchor;
}

/// Targets of [words](target) in a line, code spans and addresses of other machines left out.
std::vector<std::string> links_in(const std::string& line) {
  std::vector<std::string> found;
  for (auto at = line.find("]("); at != std::string::npos; at = line.find("](", at + 1)) {
    const auto end = line.find(')', at);
    if (end == std::string::npos || std::count(line.begin(), line.begin() + static_cast<std::ptrdiff_t>(at), '`') % 2 == 1)
      continue;
    const std::string target = line.substr(at + 2, end - at - 2);
    if (target.find("://") == std::string::npos) found.push_back(target);
  }
  return found;
}

/// Lines of a document, its code blocks left out.
std::vector<std::string> prose_of(const fs::path& document) {
  std::vector<std::string> prose;
  bool code = false;
  for (const auto& line : lines_of(document)) {
    const auto start = line.find_first_not_of(' ');
    if (start != std::string::npos && line.compare(start, 3, "```") == 0)
      code = !code;
    else if (!code)
      prose.push_back(line);
  }
  return prose;
}

std::vector<fs::path> documents() {
  std::vector<fs::path> found;
  for (auto entry = fs::recursive_directory_iterator(kSource); entry != fs::recursive_directory_iterator(); ++entry) {
    const std::string name = entry->path().filename().string();
    if (entry->is_directory() && (name.starts_with('.') || name == "build")) entry.disable_recursion_pending();
    if (entry->path().extension() == ".md") found.push_back(entry->path());
  }
  return found;
}

}   // namespace

TEST_CASE("links in documents lead somewhere") {
  int links = 0;
  for (const auto& document : documents())
    for (const auto& line : prose_of(document))
      for (const auto& target : links_in(line)) {
        const auto hash = std::min(target.find('#'), target.size());
        const fs::path file = hash == 0 ? document : document.parent_path() / target.substr(0, hash);
        INFO(document.lexically_relative(kSource), " links to ", target);
        CHECK(fs::exists(file));
        ++links;
        if (hash == target.size()) continue;
        bool there = false;
        for (const auto& heading : prose_of(file))
          there = there || (heading.starts_with('#') && anchor_of(heading) == target.substr(hash + 1));
        CHECK(there);
      }
  CHECK(links > 100);
  CHECK(anchor_of("## A package for CMake") == "a-package-for-cmake");
  CHECK(links_in("[a](b.md#c), `x[i](y)` and ![p](q.png)") == std::vector<std::string>{"b.md#c", "q.png"});
}

TEST_CASE("README's lines fit on a screen: 130 columns, tables apart") {
  for (const auto& line : lines_of(kSource / "README.md")) {
    const auto columns = std::count_if(line.begin(), line.end(), [](char c) { return (c & 0xC0) != 0x80; });   // of UTF-8
    CHECK_MESSAGE((line.starts_with('|') || columns <= 130), line);
  }
}
