// Every volume file of the data folder: what is read agrees with SimpleITK and nibabel, and docs/formats.md says what becomes
// of each. CTSEG_WRITE_DOCS=1 writes the page's table anew.
#include <doctest/doctest.h>
#include <ctseg/image/orientation.hpp>
#include <ctseg/io/volume.hpp>

#include <map>
#include <sstream>

#include "../support/docs_table.hpp"

using namespace ctseg;

namespace {

std::filesystem::path data() {
  const char* folder = std::getenv("CTSEG_TEST_DATA");
  REQUIRE(folder);   // the main of the tests leaves "real: ..." cases out where it is not set
  return folder;
}

struct Found {
  std::string path;             // in the data folder
  std::optional<Grid> grid{};   // none if it was refused
  std::string axes{}, stored{};
  unsigned long crc = 0;   // of the voxels as float
  std::string notes{};     // the refusal, or the warnings
};

std::string without(std::string line, const std::string& prefix) {
  for (std::size_t at; (at = line.find(prefix)) != std::string::npos;) line.erase(at, prefix.size());
  return line;
}

Found look_at(const std::filesystem::path& file, std::string name) {
  Found found{.path = std::move(name)};
  const LogSink log{[](void* user, std::string_view line) { static_cast<std::string*>(user)->append(line).append(" "); },
                    &found.notes};
  try {
    const auto v = io::read_volume<float>(file, {.log = log});
    found.grid = v.grid();
    found.axes = axis_codes(v.affine());
    found.stored = text(io::inspect_volume(file).stored);
    found.crc = crc32(0, reinterpret_cast<const Bytef*>(v.data()), static_cast<uInt>(v.voxels().size() * sizeof(float)));
    found.notes = without(found.notes, file.string() + ": ");
    if (!found.notes.empty()) found.notes.pop_back();
  } catch (const Error& error) {
    found.notes = "refused: " + without(without(error.what(), file.string() + ": "), file.parent_path().string() + "/");
  }
  return found;
}

/// All files whose names are those of volumes, in order.
const std::vector<Found>& all_files() {
  static const std::vector<Found> found = [] {
    std::vector<Found> out;
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(data()))
      for (const char* ending :
           {".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz", ".mha", ".mhd", ".nrrd", ".nhdr", ".npy"})
        if (entry.is_regular_file() && io::ends_with(entry.path(), ending))
          names.push_back(entry.path().lexically_relative(data()).string());
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) out.push_back(look_at(data() / name, name));
    return out;
  }();
  return found;
}

std::string cells(const Found& f) {
  if (!f.grid) return text(" | | | | | ", f.notes, " |");
  return text(" | ", f.grid->shape, " | ", f.grid->spacing_mm(), " | ", f.axes, " | ", f.stored, " | ", f.notes, " |");
}

/// A row for each file; many of one folder that are alike share one.
std::string table() {
  std::string out = "| file | voxels | spacing (mm) | axes | stored as | notes |\n|---|---|---|---|---|---|\n";
  const auto& files = all_files();
  for (std::size_t i = 0, next; i < files.size(); i = next) {
    const auto folder = std::filesystem::path(files[i].path).parent_path();
    for (next = i + 1; next < files.size(); ++next)
      if (std::filesystem::path(files[next].path).parent_path() != folder || cells(files[next]) != cells(files[i])) break;
    if (next - i < 8) next = i + 1;
    out += next == i + 1 ? text("| ", files[i].path) : text("| ", folder.string(), "/ (", next - i, " files)");
    out += cells(files[i]) + "\n";
  }
  return out;
}

TEST_CASE("real: voxels and places are those of SimpleITK and nibabel") {
  std::map<std::string, Found> found;
  for (const Found& f : all_files()) found[f.path] = f;
  const std::string own = "tests/parity/itk_oblique.mha";
  found[own] = look_at(std::filesystem::path(CTSEG_SOURCE_DIR) / own, own);
  std::ifstream lines(std::filesystem::path(CTSEG_SOURCE_DIR) / "tests/parity/volume_expected.txt");
  int compared = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('#')) continue;
    std::istringstream in(line);
    Xyz<Index> n;
    Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
    in >> n.x >> n.y >> n.z;
    for (int i = 0; i < 12; ++i) in >> m(i / 4, i % 4);
    unsigned long crc = 0;
    std::string path;
    in >> std::hex >> crc >> std::ws;
    std::getline(in, path);
    INFO(path);
    REQUIRE(found.contains(path));
    const Found& f = found[path];
    REQUIRE_MESSAGE(f.grid, f.notes);
    CHECK(f.grid->shape == n);
    CHECK(f.crc == crc);
    for (int corner = 0; corner < 8; ++corner) {
      const double x = corner & 1 ? double(n.x - 1) : 0, y = corner & 2 ? double(n.y - 1) : 0,
                   z = corner & 4 ? double(n.z - 1) : 0;
      const Point<Ras> a = f.grid->affine(x, y, z), b = Affine<Ras>(m)(x, y, z);
      CHECK(std::hypot(a.x - b.x, a.y - b.y, a.z - b.z) <= 1e-6);
    }
    ++compared;
  }
  CHECK(compared >= 180);
  int read = 0;
  for (const auto& [path, f] : found) read += f.grid ? 1 : 0;
  CHECK(read == compared);   // nothing is read that no peer was asked about
}

TEST_CASE("real: docs/formats.md says what becomes of every file") {
  check_formats_table("files", table());
}

TEST_CASE("real: 93 raw slices by a pattern, and a CT that goes out and in again as MetaImage") {
  const TempFolder folder;
  for (int i = 1; i <= 93; ++i) std::filesystem::copy(data() / text("vtk_headsq_ct/quarter.", i), folder / text("quarter.", i));
  spill(folder / "head.mhd",
        "NDims = 3\nDimSize = 64 64 93\nElementSpacing = 3.2 3.2 1.5\nOffset = 0 0 0\nElementType = MET_SHORT\n"
        "TransformMatrix = 1 0 0 0 1 0 0 0 1\nElementByteOrderMSB = False\nElementDataFile = quarter.%d 1 93 1\n");
  const auto head = io::read_volume<std::int16_t>(folder / "head.mhd");
  const auto [low, high] = std::minmax_element(head.voxels().begin(), head.voxels().end());
  CHECK(*low == 0);
  CHECK(*high == 3926);
  const std::string slice = slurp(data() / "vtk_headsq_ct/quarter.40");
  CHECK(std::memcmp(slice.data(), head.data() + 39 * 64 * 64, 64 * 64 * 2) == 0);
  const auto ct = io::read_volume<float>(data() / "verse/sub-verse005_ct.nii.gz");
  io::write_metaimage(folder / "ct.mhd", ct, {.compressed = true});
  const auto back = io::read_volume<float>(folder / "ct.mhd");
  CHECK(back.voxels() == ct.voxels());
  CHECK(same_grid(back.grid(), ct.grid(), 1e-9));
}

}   // namespace
