// Runs the command-line program as a shell would, and looks at everything it does: status, stdout, stderr, time.
#pragma once
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <ctseg/image/orientation.hpp>
#include <ctseg/io/volume.hpp>
#include <nlohmann/json.hpp>

#include "../io/temp_folder.hpp"

struct Ran {
  int status = -1;   // 128 + n for signal n
  std::string out{}, err{};
  double seconds = 0;
};

struct RunOptions {
  long file_bytes = -1;          // most that may be written to a file, as on a disk that fills up; -1: no limit
  double interrupt_after = -1;   // seconds; then `signal` is sent
  int signal = SIGINT;
  std::string stdout_to{};     // a file instead of the result's `out`
  long address_bytes = -1;     // most memory, as by `ulimit -v`
  std::vector<int> closed{};   // of stdin, stdout and stderr: 0, 1, 2
  bool reader_left = false;    // stdout is a pipe that nobody reads
  std::string program = "ctseg";
  std::string folder{};                                             // to run in
  std::vector<std::pair<std::string, std::string>> environment{};   // added to that of the test
};

/// The program lies beside this test.
inline std::filesystem::path ctseg_program(const std::string& name = "ctseg") {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / name;
}

inline Ran run_ctseg(const std::vector<std::string>& arguments, const RunOptions& options = {}) {
  const TempFolder streams;
  const std::string out = options.stdout_to.empty() ? (streams / "out").string() : options.stdout_to, err = streams / "err";
  std::string program = ctseg_program(options.program).string();
  std::vector<char*> words{program.data()};
  std::vector<std::string> copies = arguments;
  for (std::string& word : copies) words.push_back(word.data());
  words.push_back(nullptr);
  const auto begin = std::chrono::steady_clock::now();
  const auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(); };
  const pid_t child = ::fork();
  if (child == 0) {
    if (options.address_bytes >= 0) {
      const rlimit limit{static_cast<rlim_t>(options.address_bytes), static_cast<rlim_t>(options.address_bytes)};
      ::setrlimit(RLIMIT_AS, &limit);
    }
    if (options.file_bytes >= 0) {
      const rlimit limit{static_cast<rlim_t>(options.file_bytes), static_cast<rlim_t>(options.file_bytes)};
      ::setrlimit(RLIMIT_FSIZE, &limit);
    }
    ::dup2(::open(out.c_str(), O_WRONLY | O_CREAT, 0666), 1);
    ::dup2(::open(err.c_str(), O_WRONLY | O_CREAT, 0666), 2);
    if (options.reader_left) {
      int ends[2] = {-1, -1};
      if (::pipe(ends) != 0) ::_exit(127);
      ::dup2(ends[1], 1), ::close(ends[0]), ::close(ends[1]);
    }
    if (!options.folder.empty() && ::chdir(options.folder.c_str()) != 0) ::_exit(127);
    for (const int stream : options.closed) ::close(stream);
    for (const auto& [name, value] : options.environment) ::setenv(name.c_str(), value.c_str(), 1);
    ::execv(program.c_str(), words.data());
    ::_exit(127);
  }
  if (options.interrupt_after >= 0) {
    ::usleep(static_cast<useconds_t>(options.interrupt_after * 1e6));
    ::kill(child, options.signal);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  Ran ran{.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), .seconds = seconds()};
  if (options.stdout_to.empty()) ran.out = slurp(out);
  ran.err = slurp(err);
  return ran;
}

/// What stdout holds must be one JSON document and nothing else.
inline nlohmann::json json_of(const Ran& ran) {
  return nlohmann::json::accept(ran.out) ? nlohmann::json::parse(ran.out) : nlohmann::json("no JSON: " + ran.out + ran.err);
}
inline bool has(const std::string& words, const std::string& part) { return words.find(part) != std::string::npos; }

/// Names in a folder, hidden ones too, sorted.
inline std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

/// A block of label 1 and one of label 2 beside it, shifted along x; 1 x 1 x 2 mm, stored L, A, S.
inline ctseg::Volume<std::uint8_t> blocks(ctseg::Index shift = 0, ctseg::Index n = 20) {
  Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
  m(0, 0) = -1, m(2, 2) = 2, m(0, 3) = 30, m(1, 3) = -40, m(2, 3) = 5;
  ctseg::Volume<std::uint8_t> v(ctseg::Grid{{n, n, n}, ctseg::Affine<ctseg::Ras>(m)});
  for (ctseg::Index z = n / 4; z < n / 2; ++z)
    for (ctseg::Index y = n / 4; y < n / 2; ++y)
      for (ctseg::Index x = n / 4; x < n / 2; ++x) v(z, y, x + shift) = 1, v(z, y + n / 4, x + shift) = 2;
  return v;
}
/// Soft tissue under the blocks, air around them.
inline ctseg::Volume<std::int16_t> scan_of(const ctseg::Volume<std::uint8_t>& mask) {
  ctseg::Volume<std::int16_t> ct(mask.grid(), -1000);
  for (std::size_t i = 0; i < ct.voxels().size(); ++i)
    if (mask.voxels()[i]) ct.voxels()[i] = static_cast<std::int16_t>(40 + 10 * mask.voxels()[i]);
  return ct;
}
