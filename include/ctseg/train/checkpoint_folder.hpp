// The checkpoints of one training in one folder: the newest ones and the best are kept, and one training at a time is there.
#pragma once
#include <signal.h>
#include <sys/file.h>

#include <cstdlib>

#include "../core/context.hpp"
#include "checkpoint.hpp"

namespace ctseg {

struct CheckpointOptions {
  std::filesystem::path folder{};   // empty: none are written
  Index every = 500;                // steps; also at the end, when cancelled, and before an error ends the training
  Index keep = 2;                   // the newest ones; best.safetensors stays beside them
  bool resume = true;               // go on from the newest one in the folder that is whole; else the folder must have none
  bool allow_changes = false;       // go on though seed, batch or settings are others than these were made with; says so
};

/// Held by the training that uses a folder. The system lets go of it when the process ends, however it does.
/// Errors    bad_argument if another training holds it; io if the file cannot be made.
class FolderLock {
 public:
  explicit FolderLock(const std::filesystem::path& folder) {
    const auto path = folder / "training.lock";
    file_ = io::FileDescriptor(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
    if (file_.number() < 0) throw io::system_error(path, "open");
    char line[24] = {};
    if (::flock(file_.number(), LOCK_EX | LOCK_NB) == 0) {
      const std::string own = text(static_cast<Index>(::getpid()), "\n");
      if (::ftruncate(file_.number(), 0) != 0 || ::write(file_.number(), own.data(), own.size()) < 0) return;   // only a hint
    } else if (errno == EWOULDBLOCK) {
      const ssize_t n = ::read(file_.number(), line, sizeof line - 1);
      throw Error(Code::bad_argument, folder.string(),
                  text("is in use by another training, of process ", static_cast<Index>(n > 0 ? std::atoll(line) : 0),
                       ". Hint: wait for its end, or name another folder."));
    }   // else the file system knows no locks
  }

 private:
  io::FileDescriptor file_;
};

/// The checkpoints of one training: step_000001200.safetensors.
class CheckpointFolder {
 public:
  /// Errors    io if the folder cannot be made; bad_argument for options out of range.
  explicit CheckpointFolder(const CheckpointOptions& options) : options_(options) {
    if (options.every < 1 || options.keep < 1)
      throw Error(Code::bad_argument, "checkpoints",
                  text("every = ", options.every, ", keep = ", options.keep, "; both must be 1 or more."));
    std::error_code error;
    std::filesystem::create_directories(options_.folder, error);
    if (error) throw Error(Code::io, options_.folder.string(), text("cannot be made: ", error.message(), "."));
  }

  /// Removes what a killed training was writing. Only under the folder's lock: a writer in another container, or on another
  /// machine, has a process number that means nothing here.
  void sweep() const {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(options_.folder, error)) {
      const std::string name = entry.path().filename().string();
      if (!name.starts_with(".ctseg-") || !name.ends_with(".tmp")) continue;
      const auto writer = static_cast<::pid_t>(std::atoll(name.c_str() + 7));
      if (writer > 0 && ::kill(writer, 0) != 0 && errno == ESRCH) std::filesystem::remove(entry.path(), error);
    }
  }

  /// Oldest first.
  std::vector<std::filesystem::path> files() const {
    std::vector<std::filesystem::path> all;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(options_.folder, error))
      if (step_of(entry.path()) >= 0) all.push_back(entry.path());
    if (error) throw Error(Code::io, options_.folder.string(), text("cannot be listed: ", error.message(), "."));
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return step_of(a) < step_of(b); });
    return all;
  }

  template <class Net, class Optimizer>
  void save(const TrainingParts<Net, Optimizer>& parts, const TrainingState& state) const {
    char name[40];
    std::snprintf(name, sizeof name, "step_%09lld.safetensors", static_cast<long long>(state.step));
    save_checkpoint(options_.folder / name, parts, state);
    auto all = files();
    std::error_code ignored;   // what cannot be removed costs space, not the training
    for (; step_of(all.back()) > state.step; all.pop_back()) std::filesystem::remove(all.back(), ignored);   // damaged ones
    for (std::size_t k = 0; k + static_cast<std::size_t>(options_.keep) < all.size(); ++k)
      std::filesystem::remove(all[k], ignored);
  }

  /// The newest checkpoint that is whole; damaged ones are named to `log`. None: nothing to go on from.
  /// Errors    bad_input if there are checkpoints and none of them can be used; bad_argument if there are some and
  ///           CheckpointOptions::resume forbids to go on, or if they are of other settings than `expected`.
  template <class Net, class Optimizer> std::optional<TrainingState> resume(const TrainingParts<Net, Optimizer>& parts,
                                                                            const TrainingState& expected,
                                                                            const LogSink& log) const {
    const auto all = files();
    if (all.empty()) return std::nullopt;
    if (!options_.resume)
      throw Error(Code::bad_argument, options_.folder.string(),
                  text("holds ", all.size(),
                       " checkpoint(s) of an earlier training. Hint: CheckpointOptions::resume = true "
                       "goes on with it; or name another folder."));
    const auto say = [&](const std::string& line) {
      if (log.write) log.write(log.user, line);
    };
    std::string reasons;
    for (std::size_t k = all.size(); k-- > 0;) {
      try {
        if (!options_.allow_changes) return load_checkpoint(all[k], parts, expected);
        TrainingState state = load_checkpoint(all[k], parts);
        std::string changed = detail::differences(state.settings, expected.settings);
        const auto differ = [&](const char* name, auto then, auto now) {
          if (then != now) changed += text(changed.empty() ? "" : "; ", name, " = ", then, ", here ", now);
        };
        differ("seed", state.seed, expected.seed), differ("batch", state.batch, expected.batch);
        differ("accumulate", state.accumulate, expected.accumulate);
        if (!changed.empty()) say(text("fit: goes on with other settings: it was ", changed));
        state.seed = expected.seed, state.batch = expected.batch, state.accumulate = expected.accumulate;
        return state;
      } catch (const Error& error) {
        if (error.code() == Code::bad_argument) throw;
        reasons.append(" ").append(error.what());
        say(text("fit: not resumed: ", error.what()));
      }
    }
    throw Error(Code::bad_input, options_.folder.string(), "none of its checkpoints can be used:" + reasons);
  }

  std::filesystem::path best() const { return options_.folder / "best.safetensors"; }
  const CheckpointOptions& options() const { return options_; }

 private:
  /// -1: not the name of a checkpoint.
  static Index step_of(const std::filesystem::path& path) {
    const std::string name = path.filename().string(), end = ".safetensors";
    if (!name.starts_with("step_") || !name.ends_with(end) || name.size() <= 5 + end.size()) return -1;
    Index step = 0;
    const char *first = name.data() + 5, *last = name.data() + name.size() - end.size();
    const auto result = std::from_chars(first, last, step);
    return result.ec == std::errc{} && result.ptr == last && step >= 0 ? step : -1;
  }

  CheckpointOptions options_;
};

}   // namespace ctseg
