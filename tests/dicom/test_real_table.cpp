// docs/formats.md says what becomes of every DICOM series of the data folder. CTSEG_WRITE_DOCS=1 writes its table anew.
#include <doctest/doctest.h>

#include <ctseg/image/orientation.hpp>
#include <ctseg/io/dicom.hpp>
#include <set>

#include "../support/docs_table.hpp"

using namespace ctseg;
namespace fs = std::filesystem;

namespace {

/// Folders of files that have nothing to do with each other: each is read by itself.
const std::set<std::string> kLoose = {"dicom_odd", "dicom_seg_dcmqi", "dicom_transfer_syntaxes"};

std::string without(std::string line, const std::string& part) {
  for (std::size_t at; (at = line.find(part)) != std::string::npos;) line.erase(at, part.size());
  return line;
}

/// The cells behind the name: what was read with which warnings, or why it was refused.
std::string cells(const fs::path& path, const io::DicomReadOptions& options) {
  try {
    const auto read = io::read_dicom_series<float>(path, options);
    std::string notes;
    for (const std::string& w : read.warnings)
      notes += (notes.empty() ? "warning: " : "; ") + w.substr(w.find(": warning: ") + 11);
    const auto& v = read.volume;
    return text(" | ", read.series.modality, " | ", v.shape(), " | ", v.spacing_mm(), " | ", axis_codes(v.affine()), " | ",
                notes, " |");
  } catch (const Error& error) {
    const std::string folder = (fs::is_directory(path) ? path : path.parent_path()).string();
    std::string why = without(without(error.what(), path.string() + ": "), folder + "/");
    if (why.size() > 160) why = why.substr(0, 160) + " ...";
    return " | | | | | refused: " + why + " |";
  }
}

struct Row {
  std::string folder, name, cells;
};

/// The rows of one folder: its series, or what they are refused for; of a loose one its files.
void add_folder(const fs::path& data, const fs::path& folder, std::vector<Row>& rows) {
  const std::string name = folder.lexically_relative(data).string();
  std::set<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_regular_file() && (entry.path().extension() == ".dcm" || io::dicom::is_dicom(entry.path())))
      files.insert(entry.path());
  if (files.empty()) return;
  if (kLoose.contains(name)) {
    for (const fs::path& file : files) rows.push_back({name, file.filename().string(), cells(file, {.single_file = true})});
    return;
  }
  std::set<std::string> uids;
  if (error_of([&] {
        for (const auto& s : io::list_dicom_series(folder)) uids.insert(s.uid);
      }) != "")
    uids = {""};
  for (const std::string& uid : uids) rows.push_back({name, "", cells(folder, {.series_uid = uid})});
}

/// Rows of one folder that are alike share one.
std::string table(const fs::path& data) {
  std::set<fs::path> folders;
  for (const auto& entry : fs::recursive_directory_iterator(data))
    if (entry.is_directory()) folders.insert(entry.path());
  std::vector<Row> rows;
  for (const fs::path& folder : folders) add_folder(data, folder, rows);
  REQUIRE(rows.size() >= 60);
  std::string out = "| series or file | modality | voxels | spacing (mm) | axes | notes |\n|---|---|---|---|---|---|\n";
  for (std::size_t i = 0, next; i < rows.size(); i = next) {
    for (next = i + 1; next < rows.size(); ++next)
      if (!rows[i].name.empty() || rows[next].folder != rows[i].folder || rows[next].cells != rows[i].cells) break;
    out += text("| ", rows[i].folder, "/", rows[i].name, next - i > 1 ? text(" (", next - i, " series)") : "", rows[i].cells,
                "\n");
  }
  return out;
}

}   // namespace

TEST_CASE("real: docs/formats.md says what becomes of every DICOM series") {
  const char* data = std::getenv("CTSEG_TEST_DATA");
  REQUIRE(data);   // the main of the tests leaves "real: ..." cases out where it is not set
  check_formats_table("dicom", table(data));
}
