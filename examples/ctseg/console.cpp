#include "console.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <thread>

#include <ctseg/io/metaimage.hpp>
#include <ctseg/io/reading.hpp>

namespace cli {

namespace {

/// What must go when the program ends by force. Never destroyed: the watching thread outlives main.
struct Remains {
  std::mutex mutex;
  std::vector<fs::path> folders;   // with passing files of ours in them
  std::vector<fs::path> whole;     // that go altogether
  std::vector<fs::path> made;      // that go if nothing is in them, the innermost first

  void remove() {
    const std::string passing = text(".ctseg-", static_cast<Index>(::getpid()), "-");
    const std::lock_guard lock(mutex);
    std::error_code ignored;
    for (int round = 0; round < 2; ++round) {   // the work still runs: what it made meanwhile
      for (const fs::path& folder : whole) fs::remove_all(folder, ignored);
      for (const fs::path& folder : folders)
        for (const auto& entry : fs::directory_iterator(folder, ignored))
          if (entry.path().filename().string().starts_with(passing)) fs::remove(entry.path(), ignored);
      for (const fs::path& folder : made) fs::remove(folder, ignored);
    }
  }
};
Remains& remains() {
  static auto* all = new Remains;
  return *all;
}

void print_error(std::string_view line) { std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data()); }

/// Where the voxels of a MetaImage are, if not in the file itself.
std::vector<std::string> voxel_files(const fs::path& header) {
  if (!cs::io::ends_with(header, ".mhd") && !cs::io::ends_with(header, ".mha")) return {};
  try {
    return cs::io::metaimage::read_header(header, {header.string(), {}}).files;
  } catch (const cs::Error&) {   // who reads it says so
    return {};
  }
}

std::string duration(double seconds) {
  const auto s = static_cast<Index>(seconds + 0.5);
  if (s < 60) return text(s, " s");
  if (s < 3600) return text(s / 60, " min ", s % 60, " s");
  return text(s / 3600, " h ", s / 60 % 60, " min");
}

}   // namespace

void Console::note(std::string_view line) const {
  if (!common_.quiet) print_error(line);
}
void Console::warn(std::string_view line) {
  const std::lock_guard lock(mutex_);
  warnings_.emplace_back(line);
  if (!common_.quiet) print_error(line);
}
std::vector<std::string> Console::warnings() const {
  const std::lock_guard lock(mutex_);
  return warnings_;
}
cs::LogSink Console::log() {
  return {[](void* user, std::string_view line) { static_cast<Console*>(user)->warn(line); }, this};
}
void Console::reading(const fs::path& path) {
  const std::lock_guard lock(mutex_);
  inputs_.push_back(path.string());
}
std::vector<std::string> Console::inputs() const {
  const std::lock_guard lock(mutex_);
  return inputs_;
}
void Console::keep(const fs::path& path) {
  if (path.empty()) return;
  kept_.push_back(path);
  for (const std::string& name : voxel_files(path)) kept_.push_back(path.parent_path() / name);
}
void Console::expect_output(const fs::path& file) const {
  if (cs::io::ends_with(file, ".mhd")) expect_output(fs::path(file).replace_extension(".raw"));   // written with it
  std::error_code ignored;
  for (const fs::path& input : kept_)
    if (fs::equivalent(file, input, ignored))
      throw cs::Error(cs::Code::bad_argument, file.string(),
                      "is an input too, and inputs are never written over. Hint: name another output.");
  if (fs::exists(file, ignored) && !fs::is_regular_file(file, ignored))
    throw cs::Error(cs::Code::bad_argument, file.string(), "is there already and is not a regular file; it is not replaced.");
}

Progress::Progress(const Console& console, std::string unit, Index total)
    : quiet_(console.common().quiet), terminal_(::isatty(STDERR_FILENO) != 0), unit_(std::move(unit)), total_(total) {}
Progress::~Progress() {
  if (open_) std::fputc('\n', stderr);
}
void Progress::done(Index count) {
  const auto now = Clock::now();
  const double pause = std::chrono::duration<double>(now - shown_).count(),
               passed = std::chrono::duration<double>(now - begin_).count();
  const bool last = count >= total_;
  if (quiet_ || (!last && pause < (terminal_ ? 0.2 : 5.0))) return;
  shown_ = now;
  const double rate = passed > 0 ? static_cast<double>(count) / passed : 0;
  const bool percent = unit_ == "%";
  char digits[32];
  std::snprintf(digits, sizeof digits, "%.3g", rate >= 1 || rate == 0 ? rate : 1 / rate);
  std::string line = percent ? text(count, " %") : text(count, " of ", total_, " ", unit_, ", ");
  if (!percent)
    line += rate >= 1 || rate == 0 ? text(static_cast<const char*>(digits), " ", unit_, "/s")
                                   : text(static_cast<const char*>(digits), " s each");
  if (terminal_) {   // an ETA in a log file is of no use to anybody
    if (!last && rate > 0) line += text(", ", duration(static_cast<double>(total_ - count) / rate), " left");
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
    open_ = true;
  } else {
    print_error(line);
  }
}

void occupy_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(stream, F_GETFD) < 0)   // /dev/null gets this number; results must still fail to be written
      if (::open("/dev/null", stream == STDERR_FILENO ? O_WRONLY : O_RDONLY) < 0) return;
}

std::string memory_words() {
  const auto kilobytes = [](const char* file, const std::string& key) {
    std::ifstream lines(file);
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with(key)) return static_cast<Index>(std::strtoll(line.c_str() + key.size(), nullptr, 10));
    return Index{0};
  };
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
    return text("needed more than the ", kilobytes("/proc/self/status", "VmPeak:") / 1024, " MiB of addresses it had; ",
                static_cast<Index>(limit.rlim_cur >> 20), " MiB are allowed (ulimit -v).");
  return text("needed more than the ", kilobytes("/proc/self/status", "VmHWM:") / 1024, " MiB it had; ",
              kilobytes("/proc/meminfo", "MemAvailable:") / 1024, " MiB are free.");
}

std::stop_token watch_signals() {
  static auto* stop = new std::stop_source;   // as remains()
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGXFSZ, SIG_IGN);   // a limit on the size of files is an error of write() like a full disk
  std::signal(SIGPIPE, SIG_IGN);   // and a reader of stdout that left; one of stderr must not end a training
  std::thread([signals] {
    int which = 0;
    sigwait(&signals, &which);
    stop->request_stop();
    const timespec grace{3, 0};
    sigtimedwait(&signals, nullptr, &grace);
    remains().remove();
    ::_exit(kInterrupted);
  }).detach();
  return stop->get_token();
}

void guard_folder(const fs::path& folder) {
  const std::lock_guard lock(remains().mutex);
  remains().folders.push_back(fs::absolute(folder));
}

namespace {

constexpr const char* kBefore = ".before";   // in the hidden folder: results that are being replaced

}   // namespace

Staging::Staging(fs::path folder, const Console& console) : console_(console), folder_(std::move(folder)) {
  if (fs::exists(folder_) && !fs::is_directory(folder_))
    throw cs::Error(cs::Code::io, folder_.string(), "is a file; results need a folder.");
  std::error_code error;
  for (fs::path missing = fs::absolute(folder_).lexically_normal(); !missing.empty() && !fs::exists(missing);
       missing = missing.parent_path())
    if (missing.has_filename()) made_.push_back(missing);   // not "a/" beside "a"
  fs::create_directories(folder_, error);
  hidden_ = folder_ / text(".ctseg-", static_cast<Index>(::getpid()), "-results");
  if (!error) fs::create_directory(hidden_, error);
  if (error) throw cs::Error(cs::Code::io, folder_.string(), text("cannot be made or written to: ", error.message(), "."));
  const std::lock_guard lock(remains().mutex);
  remains().whole.push_back(fs::absolute(hidden_));
  remains().made.insert(remains().made.end(), made_.begin(), made_.end());
}
Staging::~Staging() {
  std::error_code ignored;
  for (std::size_t i = 0; i < moved_ && !committed_; ++i) {   // back to what was there before
    const fs::path place = folder_ / names_[i], before = hidden_ / kBefore / names_[i];
    if (fs::exists(before, ignored))
      fs::rename(before, place, ignored);
    else if (is_new_[i])
      fs::remove(place, ignored);
  }
  fs::remove_all(hidden_, ignored);
  if (committed_) return;
  for (const fs::path& folder : made_) fs::remove(folder, ignored);   // not one with something in it
}
fs::path Staging::operator/(const fs::path& name) {
  console_.expect_output(folder_ / name);
  names_.push_back(name);
  if (name.has_parent_path()) fs::create_directories(hidden_ / name.parent_path());
  return hidden_ / name;
}
void Staging::write(const fs::path& name, std::string_view words) {
  cs::io::write_file(*this / name, std::as_bytes(std::span(words)));
}
void Staging::supersede(const fs::path& pattern) { superseded_.push_back(pattern); }
void Staging::commit() {
  for (const fs::path& name : names_) {   // an earlier result stays until all of them are replaced
    std::error_code error;
    is_new_.push_back(!fs::exists(folder_ / name, error));
    if (is_new_.back()) continue;
    fs::create_directories((hidden_ / kBefore / name).parent_path(), error);
    fs::create_hard_link(folder_ / name, hidden_ / kBefore / name, error);   // a copy costs nothing, or there is none
  }
  for (; moved_ < names_.size(); ++moved_) {
    const fs::path& name = names_[moved_];
    std::error_code error;
    if (const fs::path parent = folder_ / name.parent_path(); name.has_parent_path() && fs::create_directories(parent, error))
      made_.insert(made_.begin(), parent);
    fs::rename(hidden_ / name, folder_ / name, error);
    if (error) throw cs::Error(cs::Code::io, (folder_ / name).string(), text("cannot be written: ", error.message(), "."));
  }
  committed_ = true;
  for (const fs::path& pattern : superseded_) remove_superseded(pattern);
  const std::lock_guard lock(remains().mutex);
  for (const fs::path& folder : made_) std::erase(remains().made, folder);
}
void Staging::remove_superseded(const fs::path& pattern) const {
  const std::string name = pattern.filename().string();
  const std::size_t star = std::min(name.find('*'), name.size());
  const std::string begin = name.substr(0, star), end = name.substr(std::min(star + 1, name.size()));
  std::error_code ignored;
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder_ / pattern.parent_path(), ignored)) {
    const std::string file = entry.path().filename().string();
    const bool fits = star == name.size() ? file == name : file.starts_with(begin) && file.ends_with(end);
    const fs::path ours = pattern.parent_path() / file;
    if (fits && entry.is_regular_file(ignored) && std::find(names_.begin(), names_.end(), ours) == names_.end())
      found.push_back(entry.path());
  }
  for (const fs::path& file : found) fs::remove(file, ignored);
}
std::vector<std::string> Staging::outputs() const {
  std::vector<std::string> out;
  for (const fs::path& name : names_) out.push_back((folder_ / name).string());
  return out;
}

FolderLock::FolderLock(const fs::path& folder) : file_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  if (file_ >= 0) ::flock(file_, LOCK_EX);
}
FolderLock::~FolderLock() {
  if (file_ >= 0) ::close(file_);
}

void expect_place_of(const fs::path& file, const Console& console) {
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  if (!fs::is_directory(folder))
    throw cs::Error(cs::Code::io, folder.string(),
                    text(fs::exists(folder) ? "is not a folder; " : "is not a folder yet; ", file.filename().string(),
                         " was to be put there.", fs::exists(folder) ? "" : " Hint: make it first (mkdir -p)."));
  console.expect_output(file);
  guard_folder(folder);
}

void expect_folder_name(const fs::path& folder, const char* holds) {
  if (fs::is_directory(folder)) return;
  for (const char* ending :
       {".nii", ".gz",  ".mha", ".mhd",  ".hdr", ".img",  ".npy",         ".nrrd", ".dcm", ".png",  ".jpg",
        ".stl", ".obj", ".ply", ".json", ".csv", ".html", ".safetensors", ".pt",   ".pth", ".onnx", ".zip"})
    if (cs::io::ends_with(folder, ending))
      throw cs::Error(cs::Code::bad_argument, folder.string(),
                      text("is the name of a file (", ending, "), and -o names a folder here: ", holds, "."));
}

Index bytes_of(const std::string& option, const std::string& words) {
  if (words.empty()) return 0;
  char* end = nullptr;
  const double number = std::strtod(words.c_str(), &end);
  const std::string unit = end;
  const double scale = unit.empty() ? 1 : unit == "K" ? 0x1p10 : unit == "M" ? 0x1p20 : unit == "G" ? 0x1p30 : 0;
  if (end == words.c_str() || scale == 0 || !(number * scale >= 1 && number * scale <= 0x1p50))
    throw cs::Error(cs::Code::bad_argument, option, text(words, " is no amount of memory; must be as 3G, 500M or 2000000."));
  return static_cast<Index>(number * scale);
}

}   // namespace cli
