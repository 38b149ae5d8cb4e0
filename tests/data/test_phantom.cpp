#include <cmath>
#include <cstring>
#include <ctseg/data/phantom.hpp>
#include <ctseg/metrics/overlap.hpp>

#include <doctest/doctest.h>

using namespace ctseg;

namespace {

template <class T> std::uint64_t hash_of(const Volume<T>& volume, std::uint64_t hash = 0xcbf29ce484222325) {
  for (const T v : volume.voxels()) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &v, sizeof v);
    hash = (hash ^ bits) * 0x100000001b3;
  }
  return hash;
}
std::uint64_t hash_of(const Phantom& p) {
  std::uint64_t hash = hash_of(p.ct);
  for (const auto* labels : {&p.organs, &p.vertebrae, &p.lesions, &p.nodules, &p.coronaries}) hash = hash_of(*labels, hash);
  return hash;
}
Index count(const Volume<std::uint8_t>& labels, int label) {
  Index n = 0;
  for (const std::uint8_t v : labels.voxels()) n += v == label;
  return n;
}
double mean_hu(const Phantom& p, Organ organ) {
  double sum = 0;
  Index n = 0;
  for (std::size_t i = 0; i < p.ct.voxels().size(); ++i)
    if (p.organs.voxels()[i] == static_cast<std::uint8_t>(organ)) sum += double(p.ct.voxels()[i]), ++n;
  return sum / static_cast<double>(n);
}

/// Sizes of the pieces of a mask, voxels joined by faces, edges or corners.
std::vector<Index> pieces(Volume<std::uint8_t> mask) {
  const Xyz<Index> n = mask.shape();
  std::vector<Index> sizes, open;
  for (Index start = 0; start < mask.grid().voxels(); ++start) {
    if (!mask.data()[start]) continue;
    open.push_back(start), mask.data()[start] = 0, sizes.push_back(0);
    while (!open.empty()) {
      const Index at = open.back(), x = at % n.x, y = at / n.x % n.y, z = at / (n.x * n.y);
      open.pop_back(), ++sizes.back();
      for (Index k = std::max<Index>(z - 1, 0); k <= std::min(z + 1, n.z - 1); ++k)
        for (Index j = std::max<Index>(y - 1, 0); j <= std::min(y + 1, n.y - 1); ++j)
          for (Index i = std::max<Index>(x - 1, 0); i <= std::min(x + 1, n.x - 1); ++i)
            if (mask(k, j, i)) mask(k, j, i) = 0, open.push_back((k * n.y + j) * n.x + i);
    }
  }
  return sizes;
}

}   // namespace

TEST_CASE("phantom: the seed decides, the threads do not") {
  const PhantomOptions options{.seed = 7, .shape = {40, 36, 32}, .blur_mm = 4};
  const std::uint64_t expected = hash_of(make_phantom(options));
  CHECK(hash_of(make_phantom(options)) == expected);
  for (const int threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    CHECK(hash_of(make_phantom(options, &pool)) == expected);
  }
  PhantomOptions other = options;
  other.seed = 8;
  CHECK(hash_of(make_phantom(other)) != expected);
}

TEST_CASE("phantom: every organ is there, with the HU of its kind") {
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    CAPTURE(seed);
    const Phantom p = make_phantom({.seed = seed, .shape = {64, 64, 64}, .nodules = 4, .lesions = 3});
    for (int organ = 0; organ < kOrgans; ++organ) {
      CAPTURE(organ);
      if (Organ(organ) != Organ::gallbladder) CHECK(count(p.organs, organ) > 20);
    }
    const auto within = [&](Organ organ, double low, double high) {
      CAPTURE(int(organ));
      const double mean = mean_hu(p, organ);
      CHECK(mean > low);
      CHECK(mean < high);
    };
    within(Organ::lung, -880, -700);
    within(Organ::liver, 40, 75);
    within(Organ::spleen, 25, 65);
    within(Organ::kidney, 5, 55);
    within(Organ::heart, 20, 60);
    within(Organ::aorta, 20, 60);
    within(Organ::vertebra, 120, 400);
    CHECK(count(p.lesions, 1) > 0);
    CHECK(count(p.nodules, 1) > 0);
    const double liver = volume_ml(mask_of(p, Organ::liver), 1);
    CHECK(liver > 800);
    CHECK(liver < 2200);
    for (std::size_t i = 0; i < p.lesions.voxels().size(); ++i)
      if (p.lesions.voxels()[i]) REQUIRE(p.organs.voxels()[i] == static_cast<std::uint8_t>(Organ::liver));
  }
}

TEST_CASE("phantom: no window of HU finds the liver") {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const Phantom p = make_phantom({.seed = seed, .shape = {64, 64, 64}});
    const ThresholdDice best = best_threshold_dice(p.ct, mask_of(p, Organ::liver));
    CAPTURE(seed);
    CHECK(best.dice < 0.5);
    CHECK(best.dice > 0.05);
  }
}

TEST_CASE("phantom: noise has the strength that was asked for, and hides no change of the patient") {
  PhantomOptions options{.seed = 3, .shape = {48, 48, 40}};
  const Phantom noisy = make_phantom(options);
  options.noise_hu = 0;
  const Phantom clean = make_phantom(options);
  CHECK(hash_of(noisy.organs) == hash_of(clean.organs));
  double squares = 0;
  Index n = 0;
  for (std::size_t i = 0; i < clean.ct.voxels().size(); ++i) {
    if (clean.ct.voxels()[i] < -900) continue;   // air is clipped at -1024
    const double d = double(noisy.ct.voxels()[i]) - double(clean.ct.voxels()[i]);
    squares += d * d, ++n;
  }
  CHECK(std::sqrt(squares / static_cast<double>(n)) == doctest::Approx(15).epsilon(0.03));
}

TEST_CASE("phantom: 25 vertebrae from top to bottom") {
  for (std::uint64_t seed = 0; seed < 3; ++seed) {
    CAPTURE(seed);
    const Phantom p = make_phantom({.seed = seed, .region = Region::whole_spine, .shape = {64, 64, 144}});
    std::array<double, 26> height{};
    std::array<Index, 26> voxels{};
    const Xyz<Index> n = p.ct.shape();
    for (Index z = 0; z < n.z; ++z)
      for (Index y = 0; y < n.y; ++y)
        for (Index x = 0; x < n.x; ++x) {
          const std::size_t v = p.vertebrae(z, y, x);
          if (v > 0) REQUIRE(p.organs(z, y, x) == static_cast<std::uint8_t>(Organ::vertebra));
          height[v] += p.ct.affine()(double(x), double(y), double(z)).z, ++voxels[v];
        }
    for (std::size_t v = 1; v <= 25; ++v) {
      CAPTURE(v);
      CHECK(voxels[v] > 15);
      if (v > 1) CHECK(height[v] / double(voxels[v]) < height[v - 1] / double(voxels[v - 1]) - 8);
    }
  }
}

TEST_CASE("phantom: nodules are where the list says") {
  for (const double degrees : {0.0, 17.0}) {
    const Phantom p =
        make_phantom({.seed = 11, .region = Region::thorax, .shape = {72, 72, 48}, .oblique_degrees = degrees, .nodules = 9});
    CHECK(p.nodule_list.size() > 5);
    for (const PhantomNodule& nodule : p.nodule_list) {
      const Xyz<double> i = p.ct.affine().index_of(nodule.center);
      CHECK(p.nodules(std::lround(i.z), std::lround(i.y), std::lround(i.x)) == 1);
      CHECK(nodule.diameter_mm > 3);
      CHECK(nodule.diameter_mm < 32);
    }
  }
  CHECK(make_phantom({.region = Region::thorax, .shape = {32, 32, 24}, .nodules = 0}).nodule_list.empty());
}

TEST_CASE("phantom: spacing is kept, an oblique grid shows the same patient") {
  const PhantomOptions straight{.seed = 5, .shape = {80, 80, 90}, .spacing_mm = {5, 5, 4.5}, .noise_hu = 0};
  PhantomOptions turned = straight;
  turned.oblique_degrees = 20;
  const Phantom a = make_phantom(straight), b = make_phantom(turned);
  const Xyz<double> spacing = b.ct.spacing_mm();
  CHECK(spacing.x == doctest::Approx(5));
  CHECK(spacing.z == doctest::Approx(4.5));
  const Eigen::Vector3d column = b.ct.affine().matrix.block<3, 1>(0, 0).normalized();
  CHECK(std::abs(column.x()) < 0.9999);
  CHECK((b.ct.affine().matrix.block<3, 3>(0, 0) / 5).determinant() == doctest::Approx(0.9).epsilon(1e-6));
  // Every liver voxel of one grid, looked up in the other one: the same organ but for the rim.
  Index same = 0, all = 0;
  const Xyz<Index> n = a.ct.shape();
  for (Index z = 0; z < n.z; ++z)
    for (Index y = 0; y < n.y; ++y)
      for (Index x = 0; x < n.x; ++x) {
        if (b.organs(z, y, x) != static_cast<std::uint8_t>(Organ::liver)) continue;
        const Xyz<double> i = a.ct.affine().index_of(b.ct.affine()(double(x), double(y), double(z)));
        const std::uint8_t there = a.organs(std::lround(i.z), std::lround(i.y), std::lround(i.x));
        same += there == static_cast<std::uint8_t>(Organ::liver), ++all;
      }
  CHECK(all > 5000);
  CHECK(double(same) / double(all) > 0.9);
}

TEST_CASE("phantom: the coronary arteries are a left and a right tree, bright with contrast") {
  const Phantom p = make_phantom({.seed = 2, .region = Region::heart, .shape = {110, 110, 100}, .spacing_mm = {1.3, 1.3, 1.4}});
  Index total = 0, largest = 0, second = 0;
  for (const Index size : pieces(p.coronaries)) {
    total += size;
    if (size > largest)
      second = std::exchange(largest, size);
    else
      second = std::max(second, size);
  }
  CHECK(total > 500);
  CHECK(largest + second > 0.97 * static_cast<double>(total));
  CHECK(mean_hu(p, Organ::aorta) > 280);
}

TEST_CASE("phantom: options that mean nothing are refused") {
  CHECK_THROWS_AS(make_phantom({.shape = {0, 4, 4}}), Error);
  CHECK_THROWS_AS(make_phantom({.spacing_mm = {-1, 0, 0}}), Error);
  CHECK_THROWS_AS(make_phantom({.noise_hu = NAN}), Error);
  CHECK_NOTHROW(make_phantom({.shape = {1, 1, 1}}));
}
