#include "scans.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <ctseg/image/orientation.hpp>
#include <ctseg/io/volume.hpp>

#include "uploads.hpp"

namespace viewer {

namespace {

constexpr Index kMostVoxels = 1'500'000'000;
constexpr Index kBytesPerVoxel = 16;   // reading, turning and rounding a scan, and a mask of it, with room to spare

std::int16_t rounded(float hu) {
  if (!cs::is_finite(hu)) return -1024;
  return static_cast<std::int16_t>(std::lround(std::clamp(hu, -32768.f, 32767.f)));
}

/// Tells a file from another one, or from itself after a change.
std::string stamp_of(const fs::path& path) {
  struct stat facts {};
  if (::stat(path.c_str(), &facts) != 0) return {};
  return text(Index{facts.st_size}, ".", Index{facts.st_mtim.tv_sec}, ".", Index{facts.st_mtim.tv_nsec});
}

Json facts_of(const OpenScan& scan, const cli::Scan& read) {
  double low = std::numeric_limits<double>::infinity(), high = -low, sum = 0, count = 0;
  for (const float v : scan.display.voxels())
    if (cs::is_finite(v)) low = std::min(low, double{v}), high = std::max(high, double{v}), sum += double{v}, ++count;
  const auto mm = scan.display.spacing_mm();
  const Eigen::Matrix4d m = cs::to_lps(scan.display.affine()).matrix;
  Json lps = Json::array(), warnings = Json::array();
  for (int i = 0; i < 4; ++i) lps.push_back({m(i, 0), m(i, 1), m(i, 2), m(i, 3)});
  for (const std::string& line : read.warnings) {   // the path before it is ours, not people's
    const std::size_t at = line.find("warning: ");
    warnings.push_back(at == line.npos ? line : line.substr(at + 9));
  }
  return {{"shape", scan.extent()},
          {"spacing_mm", {mm.x, mm.y, mm.z}},
          {"hu_min", low <= high ? Json(low) : Json(nullptr)},
          {"hu_max", low <= high ? Json(high) : Json(nullptr)},
          {"hu_mean", low <= high ? Json(sum / count) : Json(nullptr)},
          {"lps", lps},
          {"orientation", cs::axis_codes(scan.stored)},
          {"format", read.format},
          {"warnings", warnings}};
}

Refusal changed(const ScanRow& row) {
  return {409, text(row.name, " has changed or gone since it was opened. Hint: ctseg view it again.")};
}
/// What the command line said of a CASE that does not say it itself; it is read so on a later day too.
Json given_of(const cli::CaseOptions& which) {
  Json given = Json::object();
  if (!which.series.empty()) given["series"] = which.series;
  if (!which.spacing_mm.empty()) given["spacing_mm"] = which.spacing_mm;
  return given;
}
cli::CaseOptions options_of(const ScanRow& row, const Store& store) {
  const Json given = row.facts.value("given", Json::object());
  return {.path = (store / row.path).string(),   // a CASE has an absolute path, which `/` leaves as it is
          .spacing_mm = given.value("spacing_mm", std::vector<double>()),
          .series = given.value("series", "")};
}
/// Whether facts tell of the same scan. A series or a .raw file can change while what was stamped stays as it was: its folder,
/// its header.
bool same_scan(const Json& a, const Json& b) {
  for (const char* key : {"shape", "lps", "hu_min", "hu_max", "hu_mean"})
    if (a.contains(key) && b.contains(key) && a[key] != b[key]) return false;
  return true;
}

}   // namespace

PlaneView plane_named(const std::string& name) {
  if (name == "axial") return {0, 1, 2};
  if (name == "coronal") return {0, 2, 1};
  if (name == "sagittal") return {1, 2, 0};
  throw Refusal{400, "plane must be axial, coronal or sagittal."};
}

std::size_t OpenScan::at(const PlaneView& plane, Index slice, Index i, Index j) const {
  std::array<Index, 3> v{};
  v[static_cast<std::size_t>(plane.right)] = i;
  v[static_cast<std::size_t>(plane.down)] = plane.down == 2 ? extent()[2] - 1 - j : j;
  v[static_cast<std::size_t>(plane.through)] = slice;
  return static_cast<std::size_t>((v[2] * extent()[1] + v[1]) * extent()[0] + v[0]);
}

cs::Volume<std::uint8_t> to_stored(const OpenScan& scan, std::vector<std::uint8_t> display) {
  return cs::reorient_like(cs::Volume<std::uint8_t>(scan.display.grid(), std::move(display)), scan.stored);
}
cs::Volume<std::uint8_t> to_display(const OpenScan& scan, const cs::Volume<std::uint8_t>& stored) {
  return cs::Volume<std::uint8_t>(scan.display.grid(), std::move(cs::reorient(stored, "LPS").voxels()));
}

std::vector<std::int16_t> coarse_voxels(const OpenScan& scan, Index step) {
  const auto n = scan.extent();
  std::vector<std::int16_t> out;
  for (Index z = 0; z < n[2]; z += step)
    for (Index y = 0; y < n[1]; y += step)
      for (Index x = 0; x < n[0]; x += step) out.push_back(scan.hu[static_cast<std::size_t>((z * n[1] + y) * n[0] + x)]);
  return out;
}
std::vector<std::int16_t> slice_of(const OpenScan& scan, const PlaneView& plane, Index slice) {
  const auto n = scan.extent();
  std::vector<std::int16_t> out;
  for (Index j = 0; j < n[static_cast<std::size_t>(plane.down)]; ++j)
    for (Index i = 0; i < n[static_cast<std::size_t>(plane.right)]; ++i) out.push_back(scan.hu[scan.at(plane, slice, i, j)]);
  return out;
}

Scans::Scans(Store& store, int threads) : store_(store), threads_(threads) {
  const Index memory = Index{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGE_SIZE);
  most_voxels_ = std::min(kMostVoxels, std::max<Index>(memory / kBytesPerVoxel, 1 << 24));
}

std::shared_ptr<OpenScan> Scans::read(const cli::CaseOptions& which, cli::Console& console, ScanRow& row) {
  cli::CaseOptions limited = which;
  limited.max_bytes = most_voxels_ * Index{sizeof(float)};
  cli::Scan scan = cli::read_scan(limited, console);
  const cs::Grid stored = scan.volume.grid();
  auto out = std::make_shared<OpenScan>(OpenScan{row.id, stored, cs::reorient(scan.volume, "LPS"), {}});
  out->hu.resize(out->display.voxels().size());
  std::transform(out->display.voxels().begin(), out->display.voxels().end(), out->hu.begin(), &rounded);
  const Json facts = facts_of(*out, scan);
  if (row.facts.empty()) row.facts = facts;
  if (!same_scan(row.facts, facts)) throw changed(row);
  return out;
}

void Scans::keep(std::shared_ptr<const OpenScan> scan) {
  kept_.push_front(std::move(scan));
  if (kept_.size() > kKept) kept_.pop_back();
}

Index Scans::add_case(const cli::CaseOptions& which, cli::Console& console) {
  fs::path path = fs::absolute(which.path).lexically_normal();
  std::error_code error;
  if (!fs::equivalent(path, which.path, error)) path = fs::absolute(which.path);   // `..` behind a link leads elsewhere
  ScanRow row{.name = path.filename().empty() ? path.parent_path().filename().string() : path.filename().string(),
              .source = "case",
              .path = path.string(),
              .stamp = stamp_of(path) + which.series};
  for (const double mm : which.spacing_mm) row.stamp += text(".", mm);   // of a .npy file: other millimetres, another scan
  auto scan = read(which, console, row);
  if (const Json given = given_of(which); !given.empty()) row.facts["given"] = given;
  for (const ScanRow& known : store_.scans_at(row.path, row.stamp)) {
    if (scan->id != 0 || !same_scan(known.facts, row.facts)) continue;
    scan->id = known.id;
    if (known.facts != row.facts) store_.set_facts(known.id, row.facts);   // of a version that kept less
  }
  if (scan->id == 0) scan->id = store_.add(row);
  fs::create_directories(store_ / text("scans/", scan->id));
  keep(scan);
  return scan->id;
}

Index Scans::add_upload(const fs::path& file, const std::string& name) {
  const std::lock_guard lock(mutex_);
  const fs::path folder = store_.incoming();
  struct Passing {
    fs::path folder;
    ~Passing() {
      std::error_code ignored;
      if (!folder.empty()) fs::remove_all(folder, ignored);
    }
  } passing{folder};
  fs::create_directory(folder);
  const std::string inside = unpack_upload(file, folder);
  cli::Console console({.quiet = true, .threads = threads_}, {});
  ScanRow row{.name = name, .source = "upload", .path = ""};
  auto scan = read({.path = (folder / inside).string()}, console, row);
  row.id = scan->id = store_.next_scan();
  row.path = text("scans/", row.id, "/", inside);
  const fs::path kept = store_ / text("scans/", row.id);
  move_for_good(folder, kept);   // before its row: a power cut leaves no scan without a file
  passing.folder = kept;
  store_.add(row);
  passing.folder.clear();
  keep(scan);
  return row.id;
}

std::shared_ptr<const OpenScan> Scans::open(Index id) {
  const std::lock_guard lock(mutex_);
  for (std::size_t k = 0; k < kept_.size(); ++k)
    if (kept_[k]->id == id) {
      std::rotate(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(k),
                  kept_.begin() + static_cast<std::ptrdiff_t>(k) + 1);
      return kept_.front();
    }
  auto row = store_.scan(id);
  if (!row) throw Refusal{404, text("there is no scan ", id, ".")};
  const std::string now = stamp_of(row->path);   // empty: it has gone
  if (row->source == "case" && (now.empty() || !row->stamp.starts_with(now))) throw changed(*row);
  cli::Console console({.quiet = true, .threads = threads_}, {});
  auto scan = read(options_of(*row, store_), console, *row);
  if (kept_.size() >= kKept) kept_.pop_back();
  keep(scan);
  return scan;
}

void Scans::remove(Index id) {
  const std::lock_guard lock(mutex_);
  if (!store_.scan(id)) throw Refusal{404, text("there is no scan ", id, ".")};
  std::erase_if(kept_, [&](const auto& scan) { return scan->id == id; });
  const std::vector<Index> jobs = store_.jobs_of(id);
  store_.remove_scan(id);   // first: a job that ends now sees that nobody wants what it made
  std::error_code ignored;
  for (const Index job : jobs) fs::remove_all(store_ / text("jobs/", job), ignored);
  const fs::path going = store_.incoming();   // under that name nobody writes into it any more, and the next start clears it
  fs::rename(store_ / text("scans/", id), going, ignored);
  fs::remove_all(going, ignored);
}

Json Scans::describe(const ScanRow& row) {
  Json out = {{"id", row.id}, {"name", row.name}, {"source", row.source}, {"added", row.added}};
  out.update(row.facts);
  return out;
}

}   // namespace viewer
