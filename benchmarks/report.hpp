// What was measured, for people (Markdown) and programs (JSON), with the machine that it was measured on.
#pragma once
#include <cstdio>
#include <ctime>
#include <fstream>
#include <string>
#include <vector>

#include <ctseg/core/device.hpp>

namespace ctseg::bench {

inline std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown processor";
}
inline std::string today() {
  const std::time_t t = std::time(nullptr);
  char day[16] = "";
  std::strftime(day, sizeof day, "%Y-%m-%d", std::gmtime(&t));
  return day;
}
inline std::string compiler() {
#ifdef __clang__
  return "clang++ " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

/// printf into a string.
template <class... A> std::string print(const char* format, A... values) {
  char line[512];
  std::snprintf(line, sizeof line, format, values...);
  return line;
}

struct Row {
  std::string work, mode, networks;
  int threads;
  double ms, gflops, of_peak;
  std::string peer{}, peer_version{}, peer_kernel{};   // no peer: none was found
  double peer_ms = 0, peer_of_peak = 0, goal = 0;

  double ratio() const { return peer_ms / ms; }
  std::string json() const {
    std::string s = print(R"({"work": "%s", "mode": "%s", "threads": %d, "ctseg_ms": %.4f, "gflops": %.1f, "of_peak": %.3f)",
                          work.c_str(), mode.c_str(), threads, ms, gflops, of_peak);
    s += print(R"(, "networks": "%s")", networks.c_str());
    if (!peer.empty())
      s += print(R"(, "peer": "%s", "peer_version": "%s", "peer_kernel": "%s", "peer_ms": %.4f, "peer_of_peak": %.3f)",
                 peer.c_str(), peer_version.c_str(), peer_kernel.c_str(), peer_ms, peer_of_peak) +
           print(R"(, "ratio": %.3f, "cpu_ratio": %.3f, "goal": %s)", ratio(), of_peak / peer_of_peak,
                 goal > 0 ? print("%.2f", goal).c_str() : "null");
    return s + "}";
  }
  std::string markdown() const {
    std::string s = print("| %s | %s | %.2f | %.0f | %.0f |", work.c_str(), mode.c_str(), ms, gflops, 100 * of_peak);
    if (!peer.empty())
      s += print(" %.2f | %.0f | %.2f | %.2f | %s |", peer_ms, 100 * peer_of_peak, ratio(), of_peak / peer_of_peak,
                 goal > 0 ? print("%.2f%s", goal, ratio() < goal ? " missed" : "").c_str() : "");
    return s;
  }
};

inline void write(const std::string& path, const std::string& content) {
  std::ofstream file(path);
  if (!(file << content).flush()) std::fprintf(stderr, "cannot write %s\n", path.c_str());
}
inline std::string json(const std::vector<Row>& rows) {
  std::string all;
  for (const Row& r : rows) all += (all.empty() ? "[\n " : ",\n ") + r.json();
  return all.empty() ? "[]\n" : all + "\n]\n";
}

}   // namespace ctseg::bench
