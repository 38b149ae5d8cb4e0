// Hausdorff distance (95 %) and surface Dice of pairs of masks of 256 x 256 x 256 voxels: an organ, the same with islands of
// false alarms all over the scan, and a vessel tree. peers/evaluate.py runs it beside MONAI, SciPy and DeepMind's
// surface-distance. Usage: ctseg_bench_evaluate [rounds = 3] [folder: to write the masks to]
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include <ctseg/core/random.hpp>
#include <ctseg/metrics/evaluate.hpp>

namespace cs = ctseg;
using Mask = cs::Volume<std::uint8_t>;

namespace {

constexpr cs::Index kSide = 256;

struct Pair {
  const char* name;
  Mask prediction, truth;
};

Mask empty() {
  return Mask(cs::Grid{{kSide, kSide, kSide}, cs::Affine<cs::Ras>(Eigen::Vector4d(0.8, 0.8, 1.5, 1).asDiagonal())});
}
template <class F> Mask filled(F&& inside) {
  Mask mask = empty();
  for (cs::Index z = 0; z < kSide; ++z)
    for (cs::Index y = 0; y < kSide; ++y)
      for (cs::Index x = 0; x < kSide; ++x) mask(z, y, x) = inside(double(x), double(y), double(z));
  return mask;
}
/// A bumpy ellipsoid; `shift` moves its bumps, as a network's border differs from a reader's.
Mask organ(double shift) {
  return filled([&](double x, double y, double z) {
    const double a = (x - 120 - shift) / 80, b = (y - 130) / 62, c = (z - 128) / 50;
    return a * a + b * b + c * c < 1 + 0.12 * std::sin(x / 9 + 3 * shift) * std::sin(y / 11) * std::cos(z / 7 + shift);
  });
}
void add_islands(Mask& mask) {
  cs::RandomStream random({.seed = 5});
  for (int i = 0; i < 200; ++i) {
    const cs::Index x = random.below(kSide - 4), y = random.below(kSide - 4), z = random.below(kSide - 4);
    for (cs::Index k = 0; k < 64; ++k) mask(z + k / 16, y + k / 4 % 4, x + k % 4) = 1;
  }
}
/// Tubes that wind through the volume.
Mask tubes(double shift) {
  return filled([&](double x, double y, double z) {
    double nearest = 1e9;
    for (const double at : {60.0, 110.0, 160.0, 210.0})
      nearest = std::min(nearest, std::hypot(x - at - 20 * std::sin(z / 30) - shift, y - at - 25 * std::cos(z / 23)));
    return nearest < 4 + std::sin(z / 17);
  });
}

void write(const std::string& path, const Mask& mask) {
  std::string header = "\x93NUMPY\x01";
  header += std::string("\0v\0", 3);   // format 1.0, 118 bytes of text
  header += cs::text("{'descr': '|u1', 'fortran_order': False, 'shape': (", kSide, ", ", kSide, ", ", kSide, "), }");
  header.resize(128, ' ');
  header.back() = '\n';
  std::ofstream(path, std::ios::binary)
      .write(header.data(), 128)
      .write(reinterpret_cast<const char*>(mask.data()), mask.grid().voxels());
}

double cpu_seconds() {
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  const auto seconds = [](const timeval& t) { return double(t.tv_sec) + 1e-6 * double(t.tv_usec); };
  return seconds(use.ru_utime) + seconds(use.ru_stime);
}
double median(std::vector<double> v) {
  std::ranges::sort(v);
  return v[v.size() / 2];
}

}   // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 3;
  const std::string folder = argc > 2 ? argv[2] : "";
  std::vector<Pair> pairs;
  pairs.push_back({"organ", organ(2), organ(0)});
  pairs.push_back({"islands", organ(2), organ(0)});
  add_islands(pairs.back().prediction);
  pairs.push_back({"tubes", tubes(1), tubes(0)});
  if (!folder.empty())
    for (const Pair& p : pairs) {
      write(folder + "/" + p.name + "_prediction.npy", p.prediction);
      write(folder + "/" + p.name + "_truth.npy", p.truth);
    }
  cs::ThreadPool one(1), two(2);
  std::printf("# %-10s %-9s %7s %10s %10s %12s %12s\n", "pair", "nsd of", "threads", "median s", "CPU s", "hd95 mm", "nsd");
  for (const Pair& p : pairs)
    for (const cs::Surface surface : {cs::Surface::voxels, cs::Surface::elements})
      for (cs::ThreadPool* pool : {&one, &two}) {
        std::vector<double> wall, cpu;
        cs::LabelScores s;
        for (int round = 0; round < rounds; ++round) {
          const auto start = std::chrono::steady_clock::now();
          const double before = cpu_seconds();
          s = evaluate(p.prediction, p.truth, {.nsd_surface = surface, .nsd_tolerance_mm = 2, .executor = pool}).labels[0];
          wall.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
          cpu.push_back(cpu_seconds() - before);
        }
        if (rounds > 0)
          std::printf("%-12s %-9s %7d %10.4f %10.4f %12.9g %12.9g\n", p.name, text(surface).c_str(), pool->threads(),
                      median(wall), median(cpu), s.hd95_mm, s.nsd);
      }
}
