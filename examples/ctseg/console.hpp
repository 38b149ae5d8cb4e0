// What all commands share: results go to stdout once everything has gone well, everything else to stderr; and how a run is
// stopped.
#pragma once
#include <chrono>
#include <filesystem>
#include <mutex>
#include <stop_token>

#include <ctseg/core/context.hpp>

namespace cli {

namespace cs = ctseg;
namespace fs = std::filesystem;
using cs::Index, cs::text;

/// Exit codes of the program.
enum Exit { kOk = 0, kInternal = 1, kUsage = 2, kBadInput = 3, kResources = 4, kInterrupted = 130 };

/// Options that every command has.
struct Common {
  bool json = false, quiet = false;
  int threads = 0;   // 0: one per processor
};

class Console {
 public:
  Console(const Common& common, std::stop_token cancel) : common_(common), cancel_(std::move(cancel)) {}

  const Common& common() const { return common_; }
  std::stop_token cancel() const { return cancel_; }
  void check_cancelled() const {
    if (cancel_.stop_requested()) throw cs::Error(cs::Code::cancelled, "ctseg", "stopped; nothing was written.");
  }

  /// Text for stdout; it is kept until the command has ended well.
  void result(std::string_view words) { result_ += words; }
  const std::string& results() const { return result_; }
  /// A line for people, on stderr.
  void note(std::string_view line) const;
  /// What readers found odd: printed, and kept for reports. Threads may call it.
  void warn(std::string_view line);
  std::vector<std::string> warnings() const;
  cs::LogSink log();

  /// Files that were given, so that an error about one can say how to look at it.
  void reading(const fs::path& path);
  std::vector<std::string> inputs() const;
  /// Files that were given are never written over: what is kept here, expect_output refuses, by whatever name it goes.
  void keep(const fs::path& path);
  /// Also refuses to replace pipes, devices and folders.
  void expect_output(const fs::path& file) const;

 private:
  Common common_;
  std::stop_token cancel_;
  std::string result_;
  mutable std::mutex mutex_;
  std::vector<std::string> warnings_, inputs_;
  std::vector<fs::path> kept_;
};

/// "17 of 50 cases, 2.1 cases/s, 16 s left", or "34 %, 16 s left" if % is the unit: on a terminal one line that changes, else a
class Progress {
 public:
  Progress(const Console& console, std::string unit, Index total);
  Progress(const Progress&) = delete;
  ~Progress();
  void done(Index count);

 private:
  using Clock = std::chrono::steady_clock;
  bool quiet_, terminal_, open_ = false;
  std::string unit_;
  Index total_;
  Clock::time_point begin_ = Clock::now(), shown_ = begin_;
};

/// Where stdin, stdout or stderr is closed, a file of results would get its number, and lines for people would end up in it.
void occupy_streams();

/// How much memory the program has had, and could have: for errors.
std::string memory_words();

/// SIGINT and SIGTERM raise the token. Work that has not ended three seconds later, or at the second signal, is ended by force:
/// passing files go, and the program with exit status 130.
/// There is one such watch in a program, and it must begin before any other thread.
std::stop_token watch_signals();

/// Passing files of this process in `folder` are removed when it ends by force.
void guard_folder(const fs::path& folder);

/// Results appear together or not at all: they are written into a hidden folder in their own one and moved out at the end.
/// Folders that were made for them go again if that end does not come, unless somebody else has put something there.
class Staging {
 public:
  Staging(fs::path folder, const Console& console);
  Staging(const Staging&) = delete;
  ~Staging();
  /// Where to write `name` now.
  fs::path operator/(const fs::path& name);
  void write(const fs::path& name, std::string_view words);
  /// What an earlier run left under such a name, "nodule_*.png" or "liver.stl", goes when the results come, unless it is one of
  /// them: it would be taken for theirs.
  void supersede(const fs::path& pattern);
  /// Moves everything to its place. Where one cannot be moved, what was there before comes back (on file systems with links).
  void commit();
  /// Where everything will be, in the order in which it was asked for.
  std::vector<std::string> outputs() const;

 private:
  void remove_superseded(const fs::path& pattern) const;

  const Console& console_;
  fs::path folder_, hidden_;
  std::vector<fs::path> made_;   // folders that were not there before, the innermost first
  std::vector<fs::path> names_, superseded_;
  std::vector<bool> is_new_;   // of names_, in commit()
  std::size_t moved_ = 0;   // of names_
  bool committed_ = false;
};

/// Held while it lives: others who ask for the same folder wait. Where a file system has no locks, nobody does.
class FolderLock {
 public:
  explicit FolderLock(const fs::path& folder);
  FolderLock(const FolderLock&) = delete;
  ~FolderLock();

 private:
  int file_;
};

/// Makes sure that one file can be written: its folder is there, and it is no input. The folder is guarded as well.
void expect_place_of(const fs::path& file, const Console& console);

/// A new folder for results is hardly meant to be called mask.nrrd or model.safetensors. `holds` says what goes into it.
void expect_folder_name(const fs::path& folder, const char* holds);

/// "3G", "500M" or plain bytes; 0 for nothing. Units are powers of 1024.
Index bytes_of(const std::string& option, const std::string& words);

}   // namespace cli
