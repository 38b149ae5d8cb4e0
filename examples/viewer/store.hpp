// What the viewer remembers: scans, masks, edits, meshes and jobs, as rows of an SQLite file beside the files themselves.
// Paths in it are relative to the store's folder, so that a store can be moved.
#pragma once
#include <ctseg/io/file.hpp>
#include <ctseg/recipe/json.hpp>
#include <mutex>
#include <variant>

#include "http.hpp"

struct sqlite3;

namespace viewer {

using cs::Json;

struct ScanRow {
  Index id = 0;
  std::string name{}, source{}, path{}, stamp{}, added{};   // stamp: of a CASE's file, so that it is known again
  Json facts = Json::object();                              // shape, spacing_mm, hu_min, ... as the interface says them
};
struct MaskRow {
  Index id = 0, scan = 0, version = 0, parent = 0, job = 0;   // 0: none
  std::string kind{}, added{}, note{}, model{}, file{};
  double seconds = 0;
  Json facts = Json::object();   // labels, dice, changed
};
struct MeshRow {
  Index mask = 0, label = 0, triangles = 0;
  std::string file{};
};
struct JobRow {
  Index id = 0, scan = 0;
  std::string state{}, added{};
  Json facts = Json::object();
};
struct ModelRow {
  Index id = 0;
  std::string name{}, file{}, added{};
};

/// One process at a time. All members may be called by many threads.
/// Errors    io if the folder cannot be used, or another process serves it; bad_argument if it holds other things; bad_input if
///           ctseg.sqlite is something else.
class Store {
 public:
  explicit Store(fs::path folder);
  Store(const Store&) = delete;
  ~Store();
  const fs::path& folder() const { return folder_; }
  fs::path operator/(const std::string& name) const { return folder_ / name; }
  /// A new name in the folder for what is on its way in.
  fs::path incoming();

  /// The number that the next scan has. Numbers are never used twice, not even those of folders that no row knows.
  Index next_scan();
  Index add(const ScanRow& row);   // under its number, or (0) the next one
  void set_facts(Index scan, const Json& facts);
  void remove_scan(Index id);   // with all rows that belong to it
  std::vector<ScanRow> scans();
  std::optional<ScanRow> scan(Index id);
  /// A CASE of the command line, newest first: several are the same file with other content.
  std::vector<ScanRow> scans_at(const std::string& path, const std::string& stamp);

  /// Moves a written mask to its own new name and adds its row, with id, version, time and that name. The file comes first, so
  /// that a power cut never leaves a version without one; what failed leaves neither.
  MaskRow add(MaskRow row, const fs::path& written);
  std::vector<MaskRow> masks_of(Index scan);
  std::optional<MaskRow> mask(Index id);

  void add(const MeshRow& row);
  Index add(const JobRow& row);
  void update(const JobRow& row);
  std::vector<JobRow> jobs();
  std::vector<Index> jobs_of(Index scan);
  std::optional<JobRow> job(Index id);
  Index add(const ModelRow& row);
  std::vector<ModelRow> models();

  /// Events as the interface has them, newest first, the last 500.
  Json history(std::optional<Index> scan);

 private:
  using Value = std::variant<std::nullptr_t, Index, double, std::string>;
  using Row = std::vector<Value>;
  std::vector<Row> run(const char* sql, const std::vector<Value>& values = {});
  static ScanRow scan_of(const Row& row);
  static MaskRow mask_of(const Row& row);
  static JobRow job_of(const Row& row);
  void open_database();
  void keep_numbers(const std::string& table);

  fs::path folder_;
  cs::io::FileDescriptor lock_;
  std::recursive_mutex mutex_;   // of the database; held longer by what takes several statements
  sqlite3* database_ = nullptr;
  std::atomic<Index> incoming_ = 0;
};

/// Now, as ISO 8601 in UTC.
std::string now();
/// A rename that survives a power cut. Nothing may be at `to`, but an empty folder.
void move_for_good(const fs::path& from, const fs::path& to);
/// JSON for an answer. What is not UTF-8 is replaced, NaN is null.
std::string dumped(const Json& json);

}   // namespace viewer
