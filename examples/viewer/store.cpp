#include "store.hpp"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <unistd.h>

#include <charconv>
#include <ctime>

namespace viewer {

namespace {

constexpr const char* kSchema = R"(
CREATE TABLE IF NOT EXISTS scans(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, source TEXT NOT NULL,
  path TEXT NOT NULL, stamp TEXT NOT NULL, added TEXT NOT NULL, facts TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS masks(id INTEGER PRIMARY KEY AUTOINCREMENT,
  scan INTEGER NOT NULL REFERENCES scans ON DELETE CASCADE, version INTEGER NOT NULL,
  parent INTEGER NOT NULL, job INTEGER NOT NULL, kind TEXT NOT NULL, added TEXT NOT NULL,
  note TEXT NOT NULL, model TEXT NOT NULL, seconds REAL NOT NULL, file TEXT NOT NULL, facts TEXT NOT NULL,
  UNIQUE(scan, version));
CREATE TABLE IF NOT EXISTS edits(mask INTEGER PRIMARY KEY REFERENCES masks ON DELETE CASCADE, parent INTEGER NOT NULL,
  changed INTEGER, dice REAL);
CREATE TABLE IF NOT EXISTS meshes(id INTEGER PRIMARY KEY AUTOINCREMENT,
  mask INTEGER NOT NULL REFERENCES masks ON DELETE CASCADE, label INTEGER NOT NULL, triangles INTEGER NOT NULL,
  file TEXT NOT NULL, added TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS jobs(id INTEGER PRIMARY KEY AUTOINCREMENT, scan INTEGER NOT NULL REFERENCES scans ON DELETE CASCADE,
  state TEXT NOT NULL, added TEXT NOT NULL, facts TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS models(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, file TEXT NOT NULL,
  added TEXT NOT NULL);
)";
constexpr Index kVersion = 1;   // of the schema

constexpr const char* kHistory = R"(
SELECT * FROM (
  SELECT added, 'scan' AS kind, id AS scan, name, 0 AS mask, 0 AS job, source AS words FROM scans
  UNION ALL SELECT j.added, 'job', j.scan, s.name, 0, j.id, j.state FROM jobs j JOIN scans s ON s.id = j.scan
  UNION ALL SELECT m.added, 'mask', m.scan, s.name, m.id, m.job,
    'version ' || m.version || ', ' || m.kind
      || CASE WHEN e.changed IS NULL THEN '' ELSE ', ' || e.changed || ' voxels changed' END
      || CASE WHEN e.dice IS NULL THEN '' ELSE ', Dice ' || round(e.dice, 4) END
      || CASE WHEN m.note = '' THEN '' ELSE ': ' || m.note END
    FROM masks m JOIN scans s ON s.id = m.scan LEFT JOIN edits e ON e.mask = m.id
  UNION ALL SELECT h.added, 'mesh', m.scan, s.name, m.id, m.job, h.file || ', ' || h.triangles || ' triangles'
    FROM meshes h JOIN masks m ON m.id = h.mask JOIN scans s ON s.id = m.scan)
WHERE ?1 IS NULL OR scan = ?1 ORDER BY added DESC, kind, mask DESC LIMIT 500)";

Index whole(const std::variant<std::nullptr_t, Index, double, std::string>& v) {
  const Index* i = std::get_if<Index>(&v);
  return i ? *i : 0;
}
std::string words(const std::variant<std::nullptr_t, Index, double, std::string>& v) {
  const std::string* s = std::get_if<std::string>(&v);
  return s ? *s : std::string();
}
Json facts_of(const std::string& text) { return cs::json::parse(text, "ctseg.sqlite"); }

/// Whether a folder is ours to close to others and to clear. It was a store if its index is there, or, where that was moved
/// away, our lock (always empty) and nothing but what a store has. Else it must be empty, but for models that were laid there
/// before the first start: somebody's own folder may well have a `models` and an `incoming` too.
bool may_be_store(const fs::path& folder) {
  if (fs::exists(folder / "ctseg.sqlite")) return true;
  const fs::path lock = folder / "lock";
  const bool ours = fs::is_regular_file(fs::symlink_status(lock)) && fs::file_size(lock) == 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool folder_of_store = name == "scans" || name == "jobs" || name == "incoming";
    const bool file_of_store = name == "lock" || name.starts_with("ctseg.sqlite");   // an index may lie there by another name
    if (entry.is_directory() ? name != "models" && !(ours && folder_of_store) : !(ours && file_of_store)) return false;
  }
  return true;
}

}   // namespace

std::string now() {
  const std::time_t time = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&time, &utc);
  char line[32];
  std::strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return line;
}
void move_for_good(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) throw cs::io::system_error(to, "be written");
  const cs::io::FileDescriptor folder(::open(to.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.number() >= 0) ::fsync(folder.number());   // not every file system can promise it
}
std::string dumped(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Store::Store(fs::path folder) : folder_(std::move(folder)) {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (!fs::is_directory(folder_, error))
    throw cs::Error(cs::Code::io, folder_.string(), "cannot be made; --store needs a folder.");
  folder_ = fs::canonical(folder_);
  if (!may_be_store(folder_))
    throw cs::Error(cs::Code::bad_argument, folder_.string(),
                    "holds something else than scans of ctseg view. Hint: --store names a folder of its own.");
  fs::permissions(folder_, fs::perms::owner_all, error);   // nobody else's business
  if (error) throw cs::Error(cs::Code::io, folder_.string(), "does not belong to this user. Hint: --store FOLDER.");
  lock_ = cs::io::FileDescriptor(::open((folder_ / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (lock_.number() < 0) throw cs::io::system_error(folder_ / "lock", "be opened");
  if (::flock(lock_.number(), LOCK_EX | LOCK_NB) != 0)
    throw cs::Error(cs::Code::io, folder_.string(), "is served by another ctseg view. Hint: use that one, or --store FOLDER.");
  for (const char* name : {"incoming", "scans", "jobs", "models"}) fs::create_directories(folder_ / name);
  open_database();
  for (const auto& entry : fs::directory_iterator(folder_ / "incoming")) fs::remove_all(entry.path(), error);   // it is a store
}
Store::~Store() { sqlite3_close(database_); }

void Store::open_database() {
  const fs::path file = folder_ / "ctseg.sqlite";
  const auto refuse = [&](const std::string& why) {
    sqlite3_close(std::exchange(database_, nullptr));
    throw cs::Error(cs::Code::bad_input, file.string(), text(why, " Hint: another --store, or move the file away."));
  };
  if (sqlite3_open_v2(file.c_str(), &database_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr) !=
      SQLITE_OK)
    refuse("cannot be opened.");
  sqlite3_busy_timeout(database_, 5000);
  sqlite3_db_config(database_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  try {
    const Index version = whole(run("PRAGMA user_version")[0][0]);
    if (version != 0 && version != kVersion) refuse(text("has version ", version, "; this program knows ", kVersion, "."));
    run("PRAGMA foreign_keys = ON");
    char* problem = nullptr;
    if (sqlite3_exec(database_, kSchema, nullptr, nullptr, &problem) != SQLITE_OK) {
      const std::string why = problem ? problem : "unknown";
      sqlite3_free(problem);
      refuse(text("is not a store: ", why, "."));
    }
    run(text("PRAGMA user_version = ", kVersion).c_str());
    keep_numbers("scans"), keep_numbers("jobs");
    for (JobRow job : jobs())   // of a program that ended before them
      if (job.state == "queued" || job.state == "running") {
        job.state = "failed";
        job.facts["error"] = "the program ended before the job did.";
        update(job);
      }
  } catch (const cs::Error& error) {
    if (database_) refuse(error.what());
    throw;
  } catch (const Refusal& refusal) {
    refuse(refusal.words);
  }
}

/// Folders that no row knows, of an upload that a power cut ended or of an index that was moved away, keep their numbers: what
/// they hold is not written over. Those of jobs that were not finished go.
void Store::keep_numbers(const std::string& table) {
  Index last = 0;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder_ / table)) {
    const std::string name = entry.path().filename().string();
    const bool unfinished = table == "jobs" && name.starts_with('.');
    Index number = 0;
    const char* const end = name.data() + name.size();
    const auto [rest, error] = std::from_chars(name.data() + (unfinished ? 1 : 0), end, number);
    if (!unfinished)
      last = std::max(last, number);
    else if (error == std::errc() && rest == end)   // nobody else's hidden file
      fs::remove_all(entry.path(), ignored);
  }
  run("UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1", {table, last});
  run("INSERT INTO sqlite_sequence(name, seq) SELECT ?1, ?2 WHERE NOT EXISTS(SELECT 1 FROM sqlite_sequence WHERE name = ?1)",
      {table, last});
}

std::vector<Store::Row> Store::run(const char* sql, const std::vector<Value>& values) {
  const std::lock_guard lock(mutex_);
  sqlite3_stmt* raw = nullptr;
  const auto fail = [&] {
    const std::string why = sqlite3_errmsg(database_);
    const int reason = sqlite3_extended_errcode(database_);
    const bool orphan = reason == SQLITE_CONSTRAINT_FOREIGNKEY, full = reason == SQLITE_FULL || reason == SQLITE_IOERR_WRITE;
    sqlite3_finalize(raw);
    if (full)
      throw Refusal{507, "the store's disk is full: its index cannot be written. Hint: make room there, and try again."};
    if (orphan) throw Refusal{404, "the scan was deleted meanwhile."};
    throw cs::Error(cs::Code::io, "ctseg.sqlite", why + ".");
  };
  if (sqlite3_prepare_v2(database_, sql, -1, &raw, nullptr) != SQLITE_OK) fail();
  for (std::size_t k = 0; k < values.size(); ++k) {
    const int i = static_cast<int>(k) + 1;
    if (const auto* n = std::get_if<Index>(&values[k])) sqlite3_bind_int64(raw, i, *n);
    if (const auto* d = std::get_if<double>(&values[k])) sqlite3_bind_double(raw, i, *d);
    if (const auto* s = std::get_if<std::string>(&values[k]))
      sqlite3_bind_text(raw, i, s->data(), static_cast<int>(s->size()), SQLITE_TRANSIENT);
  }
  std::vector<Row> rows;
  int state = sqlite3_step(raw);
  for (; state == SQLITE_ROW; state = sqlite3_step(raw)) {
    Row row;
    for (int c = 0; c < sqlite3_column_count(raw); ++c) {
      const int type = sqlite3_column_type(raw, c);
      if (type == SQLITE_INTEGER)
        row.emplace_back(Index{sqlite3_column_int64(raw, c)});
      else if (type == SQLITE_FLOAT)
        row.emplace_back(sqlite3_column_double(raw, c));
      else if (type == SQLITE_NULL)
        row.emplace_back(nullptr);
      else
        row.emplace_back(std::string(reinterpret_cast<const char*>(sqlite3_column_text(raw, c)),
                                     static_cast<std::size_t>(sqlite3_column_bytes(raw, c))));
    }
    rows.push_back(std::move(row));
  }
  if (state != SQLITE_DONE) fail();
  sqlite3_finalize(raw);
  return rows;
}

fs::path Store::incoming() { return folder_ / "incoming" / text(++incoming_); }

ScanRow Store::scan_of(const Row& r) {
  return {whole(r[0]), words(r[1]), words(r[2]), words(r[3]), words(r[4]), words(r[5]), facts_of(words(r[6]))};
}
MaskRow Store::mask_of(const Row& r) {
  MaskRow m{whole(r[0]), whole(r[1]), whole(r[2]), whole(r[3]), whole(r[4]),
            words(r[5]), words(r[6]), words(r[7]), words(r[8])};
  m.seconds = std::get_if<double>(&r[9]) ? std::get<double>(r[9]) : 0;
  m.file = words(r[10]), m.facts = facts_of(words(r[11]));
  return m;
}
JobRow Store::job_of(const Row& r) { return {whole(r[0]), whole(r[1]), words(r[2]), words(r[3]), facts_of(words(r[4]))}; }

Index Store::add(const ScanRow& r) {
  const Value id = r.id == 0 ? Value(nullptr) : Value(r.id);
  return whole(run("INSERT INTO scans(id, name, source, path, stamp, added, facts) VALUES(?, ?, ?, ?, ?, ?, ?) RETURNING id",
                   {id, r.name, r.source, r.path, r.stamp, now(), dumped(r.facts)})[0][0]);
}
Index Store::next_scan() { return whole(run("SELECT seq + 1 FROM sqlite_sequence WHERE name = 'scans'")[0][0]); }
void Store::set_facts(Index scan, const Json& facts) {
  run("UPDATE scans SET facts = ?2 WHERE id = ?1", {scan, dumped(facts)});
}
void Store::remove_scan(Index id) { run("DELETE FROM scans WHERE id = ?", {id}); }
std::vector<ScanRow> Store::scans() {
  std::vector<ScanRow> out;
  for (const Row& r : run("SELECT id, name, source, path, stamp, added, facts FROM scans ORDER BY id DESC"))
    out.push_back(scan_of(r));
  return out;
}
std::optional<ScanRow> Store::scan(Index id) {
  const auto rows = run("SELECT id, name, source, path, stamp, added, facts FROM scans WHERE id = ?", {id});
  return rows.empty() ? std::nullopt : std::optional(scan_of(rows[0]));
}
std::vector<ScanRow> Store::scans_at(const std::string& path, const std::string& stamp) {
  std::vector<ScanRow> out;
  for (const Row& r : run("SELECT id, name, source, path, stamp, added, facts FROM scans "
                          "WHERE source = 'case' AND path = ? AND stamp = ? ORDER BY id DESC",
                          {path, stamp}))
    out.push_back(scan_of(r));
  return out;
}

MaskRow Store::add(MaskRow m, const fs::path& written) {
  const auto figure = [&](const char* name) -> Value {
    const auto found = m.facts.find(name);
    if (found == m.facts.end() || !found->is_number()) return nullptr;
    return found->is_number_integer() ? Value(found->get<Index>()) : Value(found->get<double>());
  };
  const std::lock_guard lock(mutex_);   // one version at a time
  if (!scan(m.scan)) throw Refusal{404, "the scan was deleted meanwhile."};
  m.added = now();
  m.version = whole(run("SELECT coalesce(max(version), 0) FROM masks WHERE scan = ?", {m.scan})[0][0]);
  do m.file = text("scans/", m.scan, "/mask_", ++m.version, "_", m.kind, ".nii.gz");
  while (fs::exists(folder_ / m.file));   // of a version whose row a power cut prevented
  move_for_good(written, folder_ / m.file);
  try {
    run("BEGIN IMMEDIATE");
    m.id = whole(
        run("INSERT INTO masks(scan, version, parent, job, kind, added, note, model, seconds, file, facts) "
            "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            {m.scan, m.version, m.parent, m.job, m.kind, m.added, m.note, m.model, m.seconds, m.file, dumped(m.facts)})[0][0]);
    if (m.parent != 0)
      run("INSERT INTO edits(mask, parent, changed, dice) VALUES(?, ?, ?, ?)",
          {m.id, m.parent, figure("changed"), figure("dice")});
    run("COMMIT");
  } catch (...) {   // the disk is full, or the scan was deleted meanwhile
    if (!sqlite3_get_autocommit(database_)) sqlite3_exec(database_, "ROLLBACK", nullptr, nullptr, nullptr);
    std::error_code ignored;
    fs::remove(folder_ / m.file, ignored);
    throw;
  }
  return m;
}
std::vector<MaskRow> Store::masks_of(Index scan) {
  std::vector<MaskRow> out;
  for (const Row& r :
       run("SELECT id, scan, version, parent, job, kind, added, note, model, seconds, file, facts FROM masks WHERE "
           "scan = ? ORDER BY version",
           {scan}))
    out.push_back(mask_of(r));
  return out;
}
std::optional<MaskRow> Store::mask(Index id) {
  const auto rows = run(
      "SELECT id, scan, version, parent, job, kind, added, note, model, seconds, file, facts FROM masks WHERE id = ?", {id});
  return rows.empty() ? std::nullopt : std::optional(mask_of(rows[0]));
}

void Store::add(const MeshRow& m) {
  run("INSERT INTO meshes(mask, label, triangles, file, added) VALUES(?, ?, ?, ?, ?)",
      {m.mask, m.label, m.triangles, m.file, now()});
}
Index Store::add(const JobRow& j) {
  return whole(run("INSERT INTO jobs(scan, state, added, facts) VALUES(?, ?, ?, ?) RETURNING id",
                   {j.scan, j.state, now(), dumped(j.facts)})[0][0]);
}
void Store::update(const JobRow& j) {
  run("UPDATE jobs SET state = ?2, facts = ?3 WHERE id = ?1", {j.id, j.state, dumped(j.facts)});
}
std::vector<JobRow> Store::jobs() {
  std::vector<JobRow> out;
  for (const Row& r : run("SELECT id, scan, state, added, facts FROM jobs ORDER BY id DESC LIMIT 500"))
    out.push_back(job_of(r));
  return out;
}
std::vector<Index> Store::jobs_of(Index scan) {
  std::vector<Index> out;
  for (const Row& r : run("SELECT id FROM jobs WHERE scan = ?", {scan})) out.push_back(whole(r[0]));
  return out;
}
std::optional<JobRow> Store::job(Index id) {
  const auto rows = run("SELECT id, scan, state, added, facts FROM jobs WHERE id = ?", {id});
  return rows.empty() ? std::nullopt : std::optional(job_of(rows[0]));
}
Index Store::add(const ModelRow& m) {
  return whole(run("INSERT INTO models(name, file, added) VALUES(?, ?, ?) RETURNING id", {m.name, m.file, now()})[0][0]);
}
std::vector<ModelRow> Store::models() {
  std::vector<ModelRow> out;
  for (const Row& r : run("SELECT id, name, file, added FROM models ORDER BY id DESC"))
    out.push_back({whole(r[0]), words(r[1]), words(r[2]), words(r[3])});
  return out;
}

Json Store::history(std::optional<Index> scan) {
  Json out = Json::array();
  const auto id = [](const Value& v) { return whole(v) == 0 ? Json(nullptr) : Json(whole(v)); };
  for (const Row& r : run(kHistory, {scan ? Value(*scan) : Value(nullptr)}))
    out.push_back({{"when", words(r[0])},
                   {"kind", words(r[1])},
                   {"scan", whole(r[2])},
                   {"scan_name", words(r[3])},
                   {"mask", id(r[4])},
                   {"job", id(r[5])},
                   {"words", words(r[6])}});
  return out;
}

}   // namespace viewer
