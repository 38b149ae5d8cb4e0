// Cases on demand: read and preprocessed once, kept in memory as far as allowed, and on the disk for the next run.
#pragma once
#include <condition_variable>
#include <memory>
#include <mutex>

#include "../core/parallel.hpp"
#include "../io/volume.hpp"
#include "case_file.hpp"

namespace ctseg {

/// Reads image and label as they are: a starting point for functions that also preprocess.
/// Errors    those of read_volume; bad_argument without a label; shape_mismatch if both do not lie on one grid.
template <class = void> Case read_case(const CaseFiles& files) {
  if (files.label.empty())
    throw Error(Code::bad_argument, files.image.string(),
                "has no label. Hint: read the image with io::read_volume and make one.");
  Case c{files.name, io::read_volume<float>(files.image), io::read_volume<std::uint8_t>(files.label)};
  if (!same_grid(c.image.grid(), c.label.grid()))
    throw Error(Code::shape_mismatch, files.label.string(),
                text("is ", c.label.shape(), ", its image ", files.image.string(), " is ", c.image.shape(),
                     "; both must have one shape and lie in one place. Hint: resample_like brings labels onto another grid."));
  return c;
}

struct CaseCacheOptions {
  Index max_bytes = Index{4} << 30;   // of voxels that stay in memory when nobody uses them; the least recently used go first
  std::filesystem::path folder{};     // where preprocessed cases are kept for the next run; empty: nowhere
  std::string recipe{};               // with a folder: names what `make` does, settings included; another recipe, other entries
  LogSink log{};                      // told when an entry cannot be written; the run goes on
};

/// Where cases came from so far, and the bytes held now.
struct CaseCacheCounts {
  Index made = 0, from_disk = 0, from_memory = 0, bytes = 0;
};

/// Cases number 0 to size() - 1, each made by make(files) the first time somebody wants it. Any number of threads may ask: a
/// case that several want at once is made once, different ones at the same time. An entry on the disk is used only if paths,
/// sizes and times of the files and the recipe are the same and its checksum is right; else it is made anew and replaced.
/// Errors    Every error of `make` names the case's files, whatever it was thrown as, and reaches all who waited for the case;
///           the next get() tries again.
template <class Make> class CaseCache {
 public:
  /// Errors    bad_argument for a folder without a recipe; io if the folder cannot be made.
  CaseCache(std::vector<CaseFiles> files, Make make, CaseCacheOptions options = {})
      : files_(std::move(files)), make_(std::move(make)), options_(std::move(options)), slots_(files_.size()) {
    if (options_.folder.empty()) return;
    if (options_.recipe.empty())
      throw Error(Code::bad_argument, "case_cache",
                  "a folder needs a recipe. Hint: name what `make` does with its settings, as in \"window -160 240, v1\".");
    std::error_code error;
    std::filesystem::create_directories(options_.folder, error);
    if (error) throw Error(Code::io, options_.folder.string(), text("cannot be made: ", error.message(), "."));
  }
  CaseCache(const CaseCache&) = delete;

  Index size() const { return std::ssize(files_); }
  const std::vector<CaseFiles>& files() const { return files_; }

  /// Case number i; it lives as long as somebody holds it, also when the cache has let go of it.
  std::shared_ptr<const Case> get(Index i) {
    if (i < 0 || i >= size())
      throw Error(Code::bad_argument, "case_cache", text("case ", i, " of ", size(), " does not exist."));
    std::unique_lock lock(mutex_);
    Slot& slot = slots_[static_cast<std::size_t>(i)];
    if (auto alive = slot.alive.lock()) {
      ++counts_.from_memory;
      keep(slot, alive);
      return alive;
    }
    if (auto job = slot.job) {
      done_.wait(lock, [&] { return job->done; });
      if (job->made) ++counts_.from_memory;
      return job->result();
    }
    const auto job = slot.job = std::make_shared<Job>();
    lock.unlock();
    job->run(*this, files_[static_cast<std::size_t>(i)]);
    lock.lock();
    job->done = true;
    slot.job = nullptr;
    if (job->made) {
      ++(job->from_disk ? counts_.from_disk : counts_.made);
      keep(slot, job->made);
    }
    lock.unlock();
    done_.notify_all();
    return job->result();
  }

  /// All cases in order, for what owns its cases (PatchSampler), made in parallel.
  std::vector<Case> copy_all(Executor& executor) {
    std::vector<std::optional<Case>> all(files_.size());
    parallel_for(executor, size(), [&](Index i) { all[static_cast<std::size_t>(i)] = *get(i); });
    std::vector<Case> out;
    out.reserve(all.size());
    for (auto& c : all) out.push_back(std::move(*c));
    return out;
  }

  CaseCacheCounts counts() const {
    const std::lock_guard lock(mutex_);
    return counts_;
  }

 private:
  /// A case being made. The error is kept as words: an exception object that threads share would have to outlive them all.
  struct Job {
    std::shared_ptr<const Case> made;
    Code code = Code::bad_input;
    std::string where, message;
    bool from_disk = false, done = false;

    void run(CaseCache& cache, const CaseFiles& files) {
      try {
        made = std::make_shared<const Case>(cache.make(files, from_disk));
      } catch (const Error& error) {
        fail(files, error.code(), error.what());
      } catch (const std::bad_alloc&) {
        fail(files, Code::out_of_memory, "no memory for this case.");
      } catch (const std::exception& error) {
        fail(files, Code::bad_input, error.what());
      } catch (...) {
        fail(files, Code::bad_input, "what makes the cases threw something that is no std::exception.");
      }
    }
    void fail(const CaseFiles& files, Code why, std::string words) {
      code = why;
      where = text("case ", files.name, " (", files.image.string(), files.label.empty() ? "" : ", ", files.label.string(), ")");
      message = std::move(words);
    }
    std::shared_ptr<const Case> result() const {
      if (!made) throw Error(code, where, message);
      return made;
    }
  };
  struct Slot {
    std::shared_ptr<const Case> kept;
    std::weak_ptr<const Case> alive;   // kept, or in somebody's hands
    std::shared_ptr<Job> job;
    std::uint64_t used = 0;
  };

  Case make(const CaseFiles& files, bool& from_disk) {
    if (options_.folder.empty()) return named(make_(files), files);
    const std::filesystem::path entry = options_.folder / case_file::name_of(files, options_.recipe);
    const std::string key = case_file::key_of(files, options_.recipe);   // before reading: a change meanwhile is a miss later
    if (auto read = case_file::read(entry, key)) {
      from_disk = true;
      return named(std::move(*read), files);
    }
    Case made = named(make_(files), files);
    try {
      case_file::write(entry, key, made);
    } catch (const Error& error) {   // a full disk costs time, not the training
      const std::lock_guard lock(log_mutex_);
      if (options_.log.write) options_.log.write(options_.log.user, text("not cached: ", error.what()));
    }
    return made;
  }
  static Case named(Case c, const CaseFiles& files) {
    c.name = files.name;
    return c;
  }

  static Index bytes_of(const Case& c) {
    return static_cast<Index>(c.image.voxels().size() * sizeof(float) + c.label.voxels().size());
  }
  void keep(Slot& slot, const std::shared_ptr<const Case>& c) {
    slot.alive = c;
    slot.used = ++clock_;
    if (!slot.kept && bytes_of(*c) <= options_.max_bytes) {
      slot.kept = c;
      counts_.bytes += bytes_of(*c);
    }
    while (counts_.bytes > options_.max_bytes) {
      Slot* oldest = nullptr;
      for (Slot& s : slots_)
        if (s.kept && (!oldest || s.used < oldest->used)) oldest = &s;
      counts_.bytes -= bytes_of(*oldest->kept);
      oldest->kept = nullptr;
    }
  }

  std::vector<CaseFiles> files_;
  Make make_;
  CaseCacheOptions options_;
  std::vector<Slot> slots_;
  mutable std::mutex mutex_;
  std::mutex log_mutex_;   // not the other one: a log may ask for counts()
  std::condition_variable done_;
  CaseCacheCounts counts_;
  std::uint64_t clock_ = 0;
};

}   // namespace ctseg
