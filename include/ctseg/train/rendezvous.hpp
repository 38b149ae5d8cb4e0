// How processes that a launcher started find each other: which of how many each is, from the launcher's environment, and some
// bytes of the first for all others, through a folder that all of them see.
#pragma once
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>
#include <vector>

#include "../core/error.hpp"

namespace ctseg {

/// Which of the processes this is. local_rank: among those of this machine, so the number of its card.
struct ProcessPlace {
  int rank = 0, size = 1, local_rank = 0;
};

/// As Open MPI, SLURM or torchrun say; one process alone where none of them does. value(name): std::getenv, or a test's.
/// Errors    bad_argument where a variable is no number, or the rank is not below the size.
template <class Value> ProcessPlace process_place(Value value) {
  struct Names {
    const char *rank, *size, *local_rank;
  };
  constexpr Names kLaunchers[] = {{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"},
                                  {"RANK", "WORLD_SIZE", "LOCAL_RANK"},
                                  {"SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"}};
  const auto number = [&](const char* name) {
    const char* digits = value(name);
    const std::string_view text_of = digits ? digits : "0";
    int n = 0;
    const auto result = std::from_chars(text_of.data(), text_of.data() + text_of.size(), n);
    if (result.ec != std::errc{} || result.ptr != text_of.data() + text_of.size() || n < 0)
      throw Error(Code::bad_argument, "processes", text(name, " = ", text_of, "; must be a number of 0 or more."));
    return n;
  };
  for (const Names& names : kLaunchers) {
    if (!value(names.rank) || !value(names.size)) continue;
    const ProcessPlace place{number(names.rank), number(names.size), number(names.local_rank)};
    if (place.rank >= place.size)
      throw Error(Code::bad_argument, "processes",
                  text(names.rank, " = ", place.rank, ", ", names.size, " = ", place.size, "; the rank must be below the size."));
    return place;
  }
  return {};
}
inline ProcessPlace process_place() {
  return process_place([](const char* name) { return std::getenv(name); });
}

/// Rank 0's bytes for everybody, through files in one folder. What earlier processes left there, ended or killed, does no harm:
/// every process asks with a number of its own, and takes an answer that names it.
class Rendezvous {
 public:
  /// The folder is made if it is not there; the name keeps trainings in one folder apart.
  Rendezvous(std::filesystem::path folder, const ProcessPlace& place, double seconds = 60, std::string name = "ctseg")
      : folder_(std::move(folder)), name_(std::move(name)), place_(place), seconds_(seconds) {
    std::error_code error;
    std::filesystem::create_directories(folder_, error);
    if (error) throw Error(Code::io, folder_.string(), text("cannot be made: ", error.message(), "."));
  }

  /// Errors    io where somebody does not come in time, with who, or a file cannot be written.
  std::string share(const std::string& bytes) const { return place_.rank == 0 ? give(bytes) : take(); }

 private:
  using Clock = std::chrono::steady_clock;

  std::filesystem::path question(int rank) const { return folder_ / text(name_, ".rank_", rank); }
  std::filesystem::path answer() const { return folder_ / (name_ + ".answer"); }

  std::string give(const std::string& bytes) const {
    std::vector<std::string> asked(static_cast<std::size_t>(place_.size));   // numbers by rank
    std::string given;
    const auto end = deadline();
    for (;;) {
      int missing = 0, late = 0;
      for (int rank = 1; rank < place_.size; ++rank) {
        const auto k = static_cast<std::size_t>(rank);
        const std::string number = read(question(rank));
        if (number.empty() && !asked[k].empty()) continue;   // answered, and gone
        ++missing, late = rank;
        if (!number.empty()) asked[k] = number;
      }
      std::string now;
      for (const auto& number : asked) now += (number.empty() ? "-" : number) + "\n";
      if (now != given) write(answer(), text(now, "\n", bytes)), given = now;
      if (missing == 0) break;
      if (Clock::now() > end) {
        remove(answer());
        throw Error(Code::io, folder_.string(),
                    text(missing, " of ", place_.size, " processes did not come in ", seconds_, " s, rank ", late,
                         " among them. Hint: all of them need this folder; start as many as the launcher says."));
      }
      pause();
    }
    remove(answer());
    return bytes;
  }

  std::string take() const {
    std::random_device random;
    const std::string own = text(static_cast<Index>(random()), "-", static_cast<Index>(random()));
    write(question(place_.rank), own);
    const auto end = deadline();
    for (;;) {
      const std::string all = read(answer());
      const std::size_t blank = all.find("\n\n");
      if (blank != all.npos && line(all, place_.rank) == own) {
        remove(question(place_.rank));
        return all.substr(blank + 2);
      }
      if (Clock::now() > end) {
        remove(question(place_.rank));
        throw Error(Code::io, folder_.string(),
                    text("rank ", place_.rank, " of ", place_.size, " had no answer from rank 0 in ", seconds_,
                         " s. Hint: all processes need this folder, and rank 0 must run."));
      }
      pause();
    }
  }

  Clock::time_point deadline() const {
    return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds_));
  }
  static void pause() { std::this_thread::sleep_for(std::chrono::milliseconds(10)); }
  static std::string line(const std::string& lines, int number) {
    std::size_t first = 0;
    for (; number > 0 && first != lines.npos; --number) first = lines.find('\n', first) + 1;
    return lines.substr(first, lines.find('\n', first) - first);
  }
  static std::string read(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  /// Whole or not at all.
  void write(const std::filesystem::path& path, const std::string& bytes) const {
    const std::filesystem::path part = path.string() + text(".part_", place_.rank);
    std::error_code error;
    if (std::ofstream out(part, std::ios::binary); !out.write(bytes.data(), std::ssize(bytes)).flush())
      throw Error(Code::io, part.string(), "cannot be written.");
    std::filesystem::rename(part, path, error);
    if (error) throw Error(Code::io, path.string(), text("cannot be written: ", error.message(), "."));
  }
  static void remove(const std::filesystem::path& path) {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }

  std::filesystem::path folder_;
  std::string name_;
  ProcessPlace place_;
  double seconds_;
};

}   // namespace ctseg
