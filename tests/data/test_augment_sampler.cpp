// Recipes in the patch sampler: the same bits for any number of threads, and only where they are asked for.
#include <doctest/doctest.h>

#include <ctseg/core/tensor.hpp>
#include <ctseg/data/augment/recipes.hpp>
#include <ctseg/data/patch_sampler.hpp>
#include <ctseg/data/prefetch.hpp>

using namespace ctseg;
using S = Spec<float, 3, Cpu>;

namespace {

Case make_case() {
  const Grid grid{{.x = 22, .y = 20, .z = 18}, Affine<Ras>(Eigen::Matrix4d::Identity())};
  Case c{"case", Volume<float>(grid), Volume<std::uint8_t>(grid)};
  RandomStream random({3});
  for (float& v : c.image.voxels()) v = static_cast<float>(random.uniform(1, 2));
  for (Index z = 5; z < 12; ++z)
    for (Index y = 6; y < 12; ++y)
      for (Index x = 4; x < 15; ++x) c.label(z, y, x) = x < 8 ? 1 : 4;
  return c;
}
template <AnySpec Sp> auto filled(const PatchSamplerOptions<Sp::kDim>& options, Index first = 0, Index batch = 6) {
  const PatchSampler<Sp> sampler({make_case()}, options);
  Tensor<typename Sp::T, Sp::kDim> images(sampler.shape(batch));
  Tensor<std::uint8_t, Sp::kDim> labels(sampler.shape(batch));
  sampler.fill({7}, first, images, labels);
  return std::pair(std::vector(images.data(), images.data() + images.shape().elements()),
                   std::vector(labels.data(), labels.data() + labels.shape().elements()));
}

}   // namespace

TEST_CASE("augmented patches are the same for 1, 2 and 4 threads, and however batches are cut") {
  for (const Recipe& recipe : {lung_nodule_recipe(), coronary_recipe(), nnunet_recipe({8, 8, 8})}) {
    const auto alone = filled<S>({.patch = 8, .augment = recipe});
    for (const int threads : {1, 2, 4}) {
      ThreadPool pool(threads);
      CHECK(filled<S>({.patch = 8, .augment = recipe, .executor = &pool}) == alone);
    }
    const auto part = filled<S>({.patch = 8, .augment = recipe}, 4, 2);
    CHECK(std::equal(part.first.begin(), part.first.end(), alone.first.begin() + 4 * 512));
    CHECK(std::equal(part.second.begin(), part.second.end(), alone.second.begin() + 4 * 512));
    const auto plain = filled<S>({.patch = 8});
    CHECK(plain.first != alone.first);
    for (std::uint8_t v : alone.second) REQUIRE((v == 0 || v == 1 || v == 4));
  }
}

TEST_CASE("a recipe of which nothing fires leaves patches as they are; exact moves keep their voxels") {
  Recipe quiet = lung_nodule_recipe();
  for (Transform& t : quiet.transforms)
    std::visit(
        [](auto& o) {
          if constexpr (requires { o.probability; }) o.probability = 0;
        },
        t);
  const auto plain = filled<S>({.patch = {30, 8, 8}, .outside = -5});   // hangs over the border
  CHECK(filled<S>({.patch = {30, 8, 8}, .outside = -5, .augment = quiet}) == plain);
  auto turned = filled<S>({.patch = {30, 8, 8}, .outside = -5, .augment = Recipe{{RandRotate90{.probability = 1}}}}),
       sorted = plain;
  CHECK(turned != plain);
  std::sort(turned.first.begin(), turned.first.end());
  std::sort(sorted.first.begin(), sorted.first.end());
  CHECK(turned.first == sorted.first);
}

TEST_CASE("2-D and bf16 samplers augment too") {
  const auto flat = filled<Spec<float, 2, Cpu>>({.patch = {8, 10}, .augment = liver_slice_recipe()});
  CHECK(flat != filled<Spec<float, 2, Cpu>>({.patch = {8, 10}}));
  const auto small = filled<Spec<bf16, 3, Cpu>>({.patch = 8, .augment = lung_nodule_recipe()});
  const auto full = filled<S>({.patch = 8, .augment = lung_nodule_recipe()});
  CHECK(small.second == full.second);
  for (std::size_t i = 0; i < full.first.size(); ++i)
    REQUIRE(float(small.first[i]) == doctest::Approx(full.first[i]).epsilon(0.01));
}

TEST_CASE("memory that is used again keeps nothing of the sample before, and batches may be a channel of something wider") {
  const PatchSamplerOptions<3> options{.patch = 8, .augment = lung_nodule_recipe()};
  const auto alone = filled<S>(options, 0, 12);
  const PatchSampler<S> sampler({make_case()}, options), plain({make_case()}, {.patch = 8});
  Tensor<float, 3> wide({1, 3, {8, 8, 8}});
  Tensor<std::uint8_t, 3> labels(sampler.shape(1));
  for (const Index n : {7, 2, 7, 11, 0}) {   // one after the other in the same patch
    sampler.fill({7}, n, wide.view().channels(1, 1), labels);
    for (Index v = 0; v < 512; ++v) {
      REQUIRE(wide.view().row(v)[1] == alone.first[static_cast<std::size_t>(n * 512 + v)]);
      REQUIRE(labels.data()[v] == alone.second[static_cast<std::size_t>(n * 512 + v)]);
    }
  }
  plain.fill({7}, 0, wide.view().channels(2, 1), labels);
  const auto want = filled<S>({.patch = 8}, 0, 1);
  for (Index v = 0; v < 512; ++v) REQUIRE(wide.view().row(v)[2] == want.first[static_cast<std::size_t>(v)]);
}

TEST_CASE("four loader threads: what a transform throws arrives at the turn of its sample, with the name of the case") {
  const Grid column{{.x = 1, .y = 20, .z = 18}, Affine<Ras>(Eigen::Matrix4d::Identity())};
  const Case thin{"thin", Volume<float>(column), Volume<std::uint8_t>(column)};   // no two voxels along x to interpolate
  const PatchSampler<S> sampler(
      {make_case(), thin}, {.patch = 8, .augment = Recipe{{RandAffine{.probability = 1, .degrees = all_axes(symmetric(15))}}}});
  const auto sample = [&](Index n) {
    Tensor<float, 3> image(sampler.shape(1));
    Tensor<std::uint8_t, 3> label(sampler.shape(1));
    sampler.fill({7}, n, image, label);
    return std::vector(image.data(), image.data() + 512);
  };
  Prefetch<std::vector<float>> ahead(sample, {.workers = 4, .count = 24});
  int failed = 0, came = 0;
  for (Index n = 0; n < 24; ++n) {
    try {
      const std::vector<float> drawn = *ahead.next();
      CHECK(drawn == sample(n));
      ++came;
    } catch (const Error& e) {
      CHECK(std::string(e.what()).find(text("case thin, sample ", n)) != std::string::npos);
      ++failed;
    }
  }
  CHECK(failed > 3);
  CHECK(came > 3);
}
