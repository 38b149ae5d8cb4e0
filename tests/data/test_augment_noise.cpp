// The voxel noise: its cipher against published values, its distribution, its independence of how it is cut.
#include <doctest/doctest.h>

#include <cmath>
#include <ctseg/data/augment/recipes.hpp>

using namespace ctseg;
using namespace ctseg::augment;

namespace {

std::vector<float> noise(const NoiseJob& job, Index count, Isa isa = detect_isa()) {
  std::vector<float> x(static_cast<std::size_t>(count));
  kernels(isa).add_noise(job, x.data(), count);
  return x;
}
/// Largest distance between the distribution of x and a given one, times sqrt(n): above 1.95 for one sample in 1000.
template <class F> double kolmogorov_smirnov(std::vector<float> x, const F& distribution) {
  std::sort(x.begin(), x.end());
  const double n = static_cast<double>(x.size());
  double most = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double f = distribution(double{x[i]}), k = static_cast<double>(i);
    most = std::max({most, std::abs(f - k / n), std::abs(f - (k + 1) / n)});
  }
  return most * std::sqrt(n);
}
double correlation(const std::vector<float>& x, std::size_t lag) {
  double sum = 0;
  for (std::size_t i = 0; i + lag < x.size(); ++i) sum += double{x[i]} * double{x[i + lag]};
  return sum / std::sqrt(static_cast<double>(x.size()));   // standard normal if independent
}

}   // namespace

TEST_CASE("the cipher gives the values its authors published") {
  std::uint32_t w[4];
  scalar::threefry20({0, 0, 0, 0}, w);   // Random123's known answers for threefry4x32-20
  CHECK(w[0] == 0x9c6ca96a);
  CHECK(w[1] == 0xe17eae66);
  CHECK(w[2] == 0xfc10ecd4);
  CHECK(w[3] == 0x5256a7d8);
}

TEST_CASE("noise is normal, or uniform, and its neighbours are independent") {
  for (std::uint32_t k = 1; k <= 3; ++k) {
    const std::vector<float> x = noise({.key = {k, 2, 3, 4}}, 1 << 18);
    double m[4] = {};
    for (float v : x)
      for (int p = 0; p < 4; ++p) m[p] += std::pow(double{v}, p + 1) / static_cast<double>(x.size());
    const double one = 1 / std::sqrt(static_cast<double>(x.size()));   // standard errors: 1, sqrt(2), sqrt(15), sqrt(96)
    CHECK(std::abs(m[0]) < 4 * one);
    CHECK(std::abs(m[1] - 1) < 4 * one * std::sqrt(2.0));
    CHECK(std::abs(m[2]) < 4 * one * std::sqrt(15.0));
    CHECK(std::abs(m[3] - 3) < 4 * one * std::sqrt(96.0));
    CHECK(kolmogorov_smirnov(x, [](double v) { return 0.5 * std::erfc(-v / std::sqrt(2.0)); }) < 1.95);
    for (const std::size_t lag : {1u, 8u, 16u, 24u, 32u, 128u}) CHECK(std::abs(correlation(x, lag)) < 4.5);
    const std::vector<float> u = noise({.key = {k, 2, 3, 4}, .normal = false}, 1 << 18);
    CHECK(kolmogorov_smirnov(u, [](double v) { return (v + 1) / 2; }) < 1.95);
  }
  const std::vector<float> a = noise({.key = {1, 2, 3, 4}}, 1 << 16), b = noise({.key = {1, 2, 3, 5}}, 1 << 16);
  double product = 0;
  for (std::size_t i = 0; i < a.size(); ++i) product += double{a[i]} * double{b[i]};
  CHECK(std::abs(product) / std::sqrt(static_cast<double>(a.size())) < 4.5);
}

TEST_CASE("noise has the mean and deviation it was asked for, adds to what is there, and is the same for every length") {
  const std::vector<float> unit = noise({.key = {9, 2, 3, 4}}, 1000),
                           scaled = noise({.key = {9, 2, 3, 4}, .mean = 3, .std = 0.5f}, 1000);
  for (std::size_t i = 0; i < unit.size(); ++i) REQUIRE(scaled[i] == doctest::Approx(3 + 0.5 * double{unit[i]}));
  for (const Index n : {1, 31, 32, 33, 999}) {
    const std::vector<float> part = noise({.key = {9, 2, 3, 4}}, n);
    CHECK(std::equal(part.begin(), part.end(), unit.begin()));
    CHECK(noise({.key = {9, 2, 3, 4}}, n, Isa::scalar) == part);
  }
  Patch p{.size = {4, 4, 4}};
  p.image.assign(64, 10);
  apply({{NoiseStep{0, 1, {9, 2, 3, 4}}}}, p);
  for (std::size_t i = 0; i < 64; ++i) CHECK(p.image[i] == doctest::Approx(10 + double{unit[i]}));
}
