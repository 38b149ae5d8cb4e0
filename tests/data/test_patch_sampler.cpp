#include <doctest/doctest.h>

#include <ctseg/core/tensor.hpp>
#include <ctseg/data/patch_sampler.hpp>
#include <set>

using namespace ctseg;
using S = Spec<float, 3, Cpu>;

namespace {

/// Voxel values tell where they are; the label is a box.
Case make_case(Xyz<Index> shape, float base, bool with_label = true) {
  const Grid grid{shape, Affine<Ras>(Eigen::Matrix4d::Identity())};
  Case c{"case", Volume<float>(grid), Volume<std::uint8_t>(grid)};
  for (Index i = 0; i < grid.voxels(); ++i) c.image.data()[i] = base + static_cast<float>(i);
  for (Index z = 2; with_label && z < 4; ++z)
    for (Index y = 3; y < 5; ++y) c.label(z, y, 6) = 1;
  return c;
}

struct Batch {
  Tensor<float, 3> images;
  Tensor<std::uint8_t, 3> labels;
  explicit Batch(const Shape<3>& shape) : images(shape), labels(shape) {}
};

}   // namespace

TEST_CASE("a patch is a piece of its case, image and label together") {
  const PatchSampler<S> sampler({make_case({.x = 12, .y = 10, .z = 9}, 1)}, {.patch = {4, 5, 6}});
  Batch b(sampler.shape(50));
  sampler.fill({7}, 0, b.images, b.labels);
  const Case c = make_case({.x = 12, .y = 10, .z = 9}, 1);
  for (Index n = 0; n < 50; ++n) {
    const auto corner = static_cast<Index>(b.images(n, 0, 0, 0, 0)) - 1;
    const Index z0 = corner / 120, y0 = corner / 12 % 10, x0 = corner % 12;
    REQUIRE(z0 + 4 <= 9);
    REQUIRE(y0 + 5 <= 10);
    REQUIRE(x0 + 6 <= 12);
    for (Index z = 0; z < 4; ++z)
      for (Index y = 0; y < 5; ++y)
        for (Index x = 0; x < 6; ++x) {
          REQUIRE(b.images(n, 0, z, y, x) == c.image(z0 + z, y0 + y, x0 + x));
          REQUIRE(b.labels(n, 0, z, y, x) == c.label(z0 + z, y0 + y, x0 + x));
        }
  }
}

TEST_CASE("positive and negative set how often the centre is foreground") {
  for (const double positive : {0.0, 1.0, 3.0}) {
    const double negative = positive == 0 ? 1 : positive == 1 ? 0 : 1;
    const PatchSampler<S> sampler({make_case({.x = 12, .y = 10, .z = 9}, 1)},
                                  {.patch = 1, .positive = positive, .negative = negative});
    Batch b(sampler.shape(4000));
    sampler.fill({7}, 0, b.images, b.labels);
    Index hits = 0;
    for (Index n = 0; n < 4000; ++n) hits += b.labels(n, 0, 0, 0, 0);
    CHECK(double(hits) / 4000 == doctest::Approx(positive / (positive + negative)).epsilon(0.05));
  }
}

TEST_CASE("sample n is the same however the batches are cut; other seeds give others") {
  const PatchSampler<S> sampler({make_case({.x = 12, .y = 10, .z = 9}, 1), make_case({.x = 9, .y = 9, .z = 9}, 5000)},
                                {.patch = 4});
  Batch all(sampler.shape(6)), part(sampler.shape(2)), other(sampler.shape(6));
  sampler.fill({7}, 0, all.images, all.labels);
  sampler.fill({7}, 4, part.images, part.labels);
  sampler.fill({8}, 0, other.images, other.labels);
  CHECK(std::equal(part.images.data(), part.images.data() + 128, all.images.data() + 256));
  CHECK(!std::equal(all.images.data(), all.images.data() + 384, other.images.data()));
}

TEST_CASE("a case smaller than the patch sits in its middle") {
  const PatchSampler<S> sampler({make_case({.x = 7, .y = 5, .z = 4}, 1)}, {.patch = 9, .outside = -3});
  Batch b(sampler.shape(1));
  sampler.fill({7}, 0, b.images, b.labels);
  CHECK(b.images(0, 0, 2, 2, 1) == 1.f);   // (9-4)/2, (9-5)/2, (9-7)/2
  CHECK(b.images(0, 0, 1, 2, 1) == -3.f);
  CHECK(b.images(0, 0, 5, 6, 7) == 140.f);
  Index outside = 0;
  for (Index i = 0; i < 729; ++i) outside += b.images.data()[i] == -3.f;
  CHECK(outside == 729 - 140);
}

TEST_CASE("a case without foreground, or with nothing else, still gives patches") {
  Case full = make_case({.x = 4, .y = 4, .z = 4}, 1, false), empty = full;
  std::fill(full.label.voxels().begin(), full.label.voxels().end(), std::uint8_t{1});
  const PatchSampler<S> a({empty}, {.patch = 2, .positive = 1, .negative = 0}),
      b({full}, {.patch = 2, .positive = 0, .negative = 1});
  Batch batch(a.shape(3));
  a.fill({7}, 0, batch.images, batch.labels);
  CHECK(batch.labels.data()[0] == 0);
  b.fill({7}, 0, batch.images, batch.labels);
  CHECK(batch.labels.data()[0] == 1);
}

TEST_CASE("by_component draws small lesions as often as large ones") {
  Case c = make_case({.x = 30, .y = 30, .z = 30}, 1);
  std::fill(c.label.voxels().begin(), c.label.voxels().end(), std::uint8_t{0});
  c.label(2, 2, 2) = 1;
  for (Index i = 0; i < 512; ++i) c.label(12 + i / 64, 12 + i / 8 % 8, 12 + i % 8) = 1;   // and a part of another label, touching
  for (Index i = 0; i < 64; ++i) c.label(20, 12 + i / 8, 12 + i % 8) = 2;
  const int n = 3000;
  const auto counted = [&](PatchSamplerOptions<3> options) {   // centres on the voxel, in the cube, in the plate, elsewhere
    options.patch = 1;
    const PatchSampler<S> sampler({c}, options);
    std::array<double, 4> share{};
    for (int k = 0; k < n; ++k) {
      const auto at = sampler.place({7}, k).corner;
      const int label = c.label(at[0], at[1], at[2]);
      ++share[label == 0 ? 3 : label == 2 ? 2 : at[0] == 2 ? 0 : 1];
    }
    for (double& s : share) s /= n;
    return share;
  };
  const auto near = [](std::array<double, 4> share, std::array<double, 4> wanted) {
    for (std::size_t i = 0; i < 4; ++i) CHECK(share[i] == doctest::Approx(wanted[i]).epsilon(0.01).scale(3));
  };
  near(counted({.negative = 0}), {1. / 577, 512. / 577, 64. / 577, 0});
  near(counted({.negative = 0, .by_component = true}), {1. / 3, 1. / 3, 1. / 3, 0});
  near(counted({.positive = 3, .by_component = true}), {0.25, 0.25, 0.25, 0.25});
  near(counted({.class_weights = {1, 2, 1}}), {0.5 / 513, 0.5 * 512 / 513, 0.25, 0.25});
  near(counted({.class_weights = {1, 2, 1}, .by_component = true}), {0.25, 0.25, 0.25, 0.25});
  const auto said = [&](bool by_component) {
    const PatchSampler<S> sampler({c}, {.by_component = by_component});
    for (const auto& [name, value] : sampler.settings())
      if (name == "by_component") return value;
    return std::string("nothing");
  };
  CHECK(said(true) == "yes");
  CHECK(said(false) == "nothing");   // as in checkpoints of before
}

TEST_CASE("a 2-D patch is a piece of an axial slice") {
  const PatchSampler<Spec<float, 2, Cpu>> sampler({make_case({.x = 12, .y = 10, .z = 9}, 0)}, {.patch = {5, 6}});
  Tensor<float, 2> images(sampler.shape(20));
  Tensor<std::uint8_t, 2> labels(sampler.shape(20));
  sampler.fill({7}, 0, images, labels);
  for (Index n = 0; n < 20; ++n) {
    CHECK(images(n, 0, 0, 1) == images(n, 0, 0, 0) + 1);
    CHECK(images(n, 0, 1, 0) == images(n, 0, 0, 0) + 12);
    CHECK(static_cast<Index>(images(n, 0, 4, 5)) / 120 == static_cast<Index>(images(n, 0, 0, 0)) / 120);
  }
}

TEST_CASE("off_centre lays patches beside what was drawn, by whole voxels, and inside still") {
  const Case c = make_case({.x = 40, .y = 40, .z = 40}, 1);
  const Index n = 2000;
  std::array<std::array<Index, 2>, 3> reached{};
  for (const Index off : {Index{0}, Index{3}}) {
    Case one = c;
    std::fill(one.label.voxels().begin(), one.label.voxels().end(), std::uint8_t{0});
    one.label(20, 21, 22) = 1;
    const PatchSampler<S> sampler({one}, {.patch = 9, .negative = 0, .off_centre = off});
    Batch b(sampler.shape(n));
    sampler.fill({7}, 0, b.images, b.labels);
    for (auto& r : reached) r = {99, -99};
    for (Index k = 0; k < n; ++k) {
      const Index first = static_cast<Index>(b.images(k, 0, 0, 0, 0)) - 1;
      const std::array<Index, 3> corner = {first / 1600, first / 40 % 40, first % 40};
      const std::array<Index, 3> at = {20 - corner[0], 21 - corner[1], 22 - corner[2]};   // of the label in the patch
      REQUIRE(b.labels(k, 0, at[0], at[1], at[2]) == 1);
      REQUIRE(b.images(k, 0, at[0], at[1], at[2]) == c.image(20, 21, 22));   // not blurred
      for (std::size_t d = 0; d < 3; ++d) reached[d] = {std::min(reached[d][0], at[d]), std::max(reached[d][1], at[d])};
    }
    for (const auto& r : reached) CHECK(r == std::array<Index, 2>{4 - off, 4 + off});
  }
  Case some = c;
  std::fill(some.label.voxels().begin(), some.label.voxels().end(), std::uint8_t{0});
  some.label(20, 1, 38) = 1;
  const PatchSampler<S> wide({some}, {.patch = {8, 9, 10}, .negative = 0, .off_centre = 100});
  std::set<Index> seen;   // how far from the corner in z
  for (Index k = 0; k < n; ++k) {
    const auto corner = wide.place({7}, k).corner;
    const std::array<Index, 3> drawn{20, 1, 38};
    for (std::size_t d = 0; d < 3; ++d) {
      const Index size = wide.shape(1).space[d];
      REQUIRE((corner[d] >= 0 && corner[d] <= 40 - size));
      REQUIRE((drawn[d] >= corner[d] && drawn[d] < corner[d] + size));   // what was drawn is in the patch
    }
    seen.insert(drawn[0] - corner[0]);
  }
  CHECK(seen == std::set<Index>{1, 2, 3, 4, 5, 6, 7});
  const PatchSampler<Spec<float, 2, Cpu>> slices({c}, {.patch = 5, .negative = 0, .off_centre = 2});
  for (Index k = 0; k < 50; ++k) {
    const Index z = slices.place({7}, k).corner[0];
    REQUIRE((z == 2 || z == 3));   // in the slices of the label
  }
}

TEST_CASE("what cannot be sampled is an error") {
  CHECK_THROWS_WITH_AS((PatchSampler<S>({make_case({.x = 7, .y = 5, .z = 4}, 1)}, {.off_centre = -2})),
                       doctest::Contains("off_centre = -2"), Error);
  CHECK_THROWS_WITH_AS((PatchSampler<S>({}, {})), doctest::Contains("no cases"), Error);
  CHECK_THROWS_WITH_AS((PatchSampler<S>({make_case({.x = 7, .y = 5, .z = 4}, 1)}, {.positive = -1})),
                       doctest::Contains("positive = -1"), Error);
  Case odd = make_case({.x = 7, .y = 5, .z = 4}, 1);
  odd.label = make_case({.x = 7, .y = 5, .z = 5}, 1).label;
  CHECK_THROWS_WITH_AS((PatchSampler<S>({odd}, {})), doctest::Contains("7 x 5 x 4"), Error);
}

TEST_CASE("class weights set which class lies under the centre; what a case lacks falls to the others") {
  Case c = make_case({.x = 12, .y = 10, .z = 9}, 1);   // four voxels of class 1
  c.label(8, 9, 11) = 2;                               // one of class 2
  struct Row {
    std::vector<double> weights, expected;   // of classes 0, 1, 2
  };
  for (const Row& r : {Row{{1, 1, 2}, {0.25, 0.25, 0.5}}, Row{{0, 1, 0}, {0, 1, 0}}, Row{{3, 1}, {0.75, 0.25, 0}},
                       Row{{1, 0, 1, 5}, {0.5, 0, 0.5}}, Row{{0, 0, 0, 1}, {0.995, 0.004, 0.001}}, Row{{1}, {1, 0, 0}}}) {
    const PatchSampler<S> sampler({c}, {.patch = 1, .class_weights = r.weights});
    Batch b(sampler.shape(4000));
    sampler.fill({7}, 0, b.images, b.labels);
    std::array<int, 3> hits{};
    for (Index n = 0; n < 4000; ++n) ++hits[b.labels(n, 0, 0, 0, 0)];
    for (std::size_t k = 0; k < 3; ++k) CHECK(std::abs(hits[k] / 4000.0 - r.expected[k]) < (r.expected[k] == 0 ? 1e-9 : 0.03));
  }
  std::fill(c.label.voxels().begin(), c.label.voxels().end(), std::uint8_t{1});   // no background to fall on
  const PatchSampler<S> full({c}, {.patch = 1, .class_weights = {9, 1}});
  Batch b(full.shape(50));
  full.fill({7}, 0, b.images, b.labels);
  for (Index n = 0; n < 50; ++n) CHECK(b.labels(n, 0, 0, 0, 0) == 1);
  for (const std::vector<double>& bad : {std::vector<double>{0, 0}, {-1, 2}, {1, std::nan("")}})
    CHECK_THROWS_AS((PatchSampler<S>({c}, {.patch = 1, .class_weights = bad})), Error);
}
