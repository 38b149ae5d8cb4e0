// Distance transform, components and morphology of a thresholded phantom, 512 x 512 x 300 by default. peers/masks.py runs it
// beside SciPy. Usage: ctseg_bench_masks [rounds = 3] [mask.npy: read if it is there, else made and written]
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <ctseg/data/phantom.hpp>
#include <ctseg/image/cleanup.hpp>
#include <ctseg/image/morphology.hpp>

namespace cs = ctseg;
using Mask = cs::Volume<std::uint8_t>;

namespace {

constexpr cs::Xyz<cs::Index> kShape{512, 512, 300};
constexpr std::size_t kHeader = 128;

/// Body, bones and table, with the noise of the scan in lungs and air: what cleaning up is for.
Mask thresholded_phantom() {
  const cs::Phantom phantom = cs::make_phantom({.seed = 1, .shape = kShape, .noise_hu = 60});
  Mask mask(cs::Grid{kShape, cs::Affine<cs::Ras>(Eigen::Vector4d(0.8, 0.8, 1.5, 1).asDiagonal())});
  for (std::size_t i = 0; i < mask.voxels().size(); ++i) mask.voxels()[i] = phantom.ct.voxels()[i] > -750;
  return mask;
}

void write(const std::string& path, const Mask& mask) {
  std::string header = "\x93NUMPY\x01";
  header += std::string("\0v\0", 3);   // format 1.0, 118 bytes of text
  header += cs::text("{'descr': '|u1', 'fortran_order': False, 'shape': (", kShape.z, ", ", kShape.y, ", ", kShape.x, "), }");
  header.resize(kHeader, ' ');
  header.back() = '\n';
  std::ofstream(path, std::ios::binary)
      .write(header.data(), kHeader)
      .write(reinterpret_cast<const char*>(mask.data()), mask.grid().voxels());
}
Mask read(const std::string& path) {
  Mask mask(cs::Grid{kShape, cs::Affine<cs::Ras>(Eigen::Vector4d(0.8, 0.8, 1.5, 1).asDiagonal())});
  std::ifstream(path, std::ios::binary).seekg(kHeader).read(reinterpret_cast<char*>(mask.data()), mask.grid().voxels());
  return mask;
}

double cpu_seconds() {
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  const auto seconds = [](const timeval& t) { return double(t.tv_sec) + 1e-6 * double(t.tv_usec); };
  return seconds(use.ru_utime) + seconds(use.ru_stime);   // the kernel's share: pages of new volumes
}

struct Times {
  std::vector<double> wall, cpu;
  double result = 0;
};
double median(std::vector<double> v) {
  std::ranges::sort(v);
  return v[v.size() / 2];
}

double sum(const auto& volume) {
  double total = 0;
  for (const auto v : volume.voxels()) total += double(v);
  return total;
}

}   // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 3;
  const std::string path = argc > 2 ? argv[2] : "";
  cs::ThreadPool one(1), two(2);
  const bool saved = !path.empty() && std::filesystem::exists(path);
  const Mask mask = saved ? read(path) : thresholded_phantom();
  if (!saved && !path.empty()) write(path, mask);
  std::printf("# %lld x %lld x %lld voxels, %.1f %% foreground, %zu components\n", static_cast<long long>(kShape.x),
              static_cast<long long>(kShape.y), static_cast<long long>(kShape.z),
              100 * sum(mask) / double(mask.grid().voxels()), cs::list_components(mask).size());
  std::printf("# %-18s %8s %12s %12s   result\n", "", "threads", "median s", "CPU s");

  std::vector<std::pair<std::string, Times>> table;
  const auto measure = [&](const std::string& name, auto&& f) {
    for (cs::ThreadPool* pool : {&one, &two}) {
      const std::string row = cs::text(name, " ", pool->threads());
      auto at = std::ranges::find(table, row, [](const auto& r) { return r.first; });
      if (at == table.end()) at = table.insert(at, {row, {}});
      const auto start = std::chrono::steady_clock::now();
      const double cpu = cpu_seconds();
      const auto out = f(pool);
      at->second.wall.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      at->second.cpu.push_back(cpu_seconds() - cpu);
      if constexpr (requires { out.list; })
        at->second.result = double(out.list.size());
      else
        at->second.result = sum(out);
    }
  };
  using enum cs::Connectivity;
  for (int round = 0; round < rounds; ++round) {
    measure("distance", [&](auto* pool) { return cs::distance_to_background(mask, {.executor = pool}); });
    measure("signed_distance", [&](auto* pool) { return cs::signed_distance(mask, {.executor = pool}); });
    measure("components_6", [&](auto* pool) { return label_components(mask, {.connectivity = faces, .executor = pool}); });
    measure("components_26", [&](auto* pool) { return label_components(mask, {.connectivity = corners, .executor = pool}); });
    measure("erosion_6", [&](auto* pool) { return cs::erode(mask, {.executor = pool}); });
    measure("closing_26_x2",
            [&](auto* pool) { return cs::closing(mask, {.connectivity = corners, .iterations = 2, .executor = pool}); });
    measure("closing_ball_5mm", [&](auto* pool) { return cs::closing(mask, {.radius_mm = 5, .executor = pool}); });
    measure("fill_holes", [&](auto* pool) { return cs::fill_holes(mask, {.executor = pool}); });
    measure("remove_small", [&](auto* pool) { return cs::remove_small(mask, {.min_voxels = 100, .executor = pool}); });
  }
  for (const auto& [name, t] : table)
    std::printf("%-20s %8s %12.4f %12.4f   %.10g\n", name.substr(0, name.find(' ')).c_str(),
                name.substr(name.find(' ') + 1).c_str(), median(t.wall), median(t.cpu), t.result);
}
