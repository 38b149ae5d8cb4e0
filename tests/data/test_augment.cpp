// Drawing and applying: probabilities, ranges, streams, composition, labels. Values are held against others in
// test_augment_parity.cpp.
#include <doctest/doctest.h>

#include <Eigen/Dense>
#include <cmath>
#include <ctseg/data/augment/recipes.hpp>
#include <set>

using namespace ctseg;
using namespace ctseg::augment;

namespace {

Patch make_patch(const Extent& size, Index channels = 1) {
  Patch p{.size = size, .channels = channels};
  RandomStream random({5});
  for (Index i = 0; i < voxels_of(size) * channels; ++i) p.image.push_back(static_cast<float>(random.uniform()));
  for (Index i = 0; i < voxels_of(size); ++i) p.label.push_back(i / 5 % 7 < 2 ? 3 : i / 11 % 5 == 0 ? 9 : 0);
  return p;
}
RandomKey sample(std::uint64_t n) { return {11, n, 0}; }

template <class Step, class F> int count_steps(const Recipe& recipe, int samples, const F& f) {
  int count = 0;
  for (int n = 0; n < samples; ++n)
    for (const DrawnStep& s : draw(recipe, sample(static_cast<std::uint64_t>(n)), {{16, 16, 16}}).steps)
      if (const auto* step = std::get_if<Step>(&s)) ++count, f(*step);
  return count;
}

}   // namespace

TEST_CASE("transforms fire with their probability and draw from their range, evenly") {
  constexpr int kSamples = 4000;
  const double tolerance = 4 * std::sqrt(0.3 * 0.7 / kSamples);
  double low = 1, high = -1, sum = 0;
  const auto see = [&](double v) { low = std::min(low, v), high = std::max(high, v), sum += v; };
  int n = count_steps<LinearStep>({{RandShiftIntensity{.probability = 0.3, .offset = {-0.2, 0.4}}}}, kSamples,
                                  [&](const LinearStep& s) { see(s.shift); });
  CHECK(std::abs(n / double(kSamples) - 0.3) < tolerance);
  CHECK(low >= -0.2);
  CHECK(low < -0.19);
  CHECK(high < 0.4);
  CHECK(high > 0.39);
  CHECK(sum / n == doctest::Approx(0.1).epsilon(0.15));

  int below = 0;   // nnU-Net: half of the factors are below 1, however far they go
  n = count_steps<LinearStep>({{MultiplicativeBrightnessTransform{.probability = 0.3, .factor = {0.9, 3}}}}, kSamples,
                              [&](const LinearStep& s) { below += s.scale < 1; });
  CHECK(std::abs(n / double(kSamples) - 0.3) < tolerance);
  CHECK(std::abs(below / double(n) - 0.5) < 0.06);

  std::set<std::vector<double>> turns;
  n = count_steps<AffineStep>({{RandRotate90{.probability = 0.3}}}, kSamples, [&](const AffineStep& s) {
    turns.insert({s.matrix(1, 1), s.matrix(1, 2)});
  });
  CHECK(std::abs(n / double(kSamples) - 0.3) < tolerance);
  CHECK(turns.size() == 3);

  int flips = 0;
  count_steps<AffineStep>({{MirrorTransform{}}}, kSamples, [&](const AffineStep& s) { flips += s.matrix(0, 0) < 0; });
  CHECK(std::abs(flips / double(kSamples) - 0.5) < 0.032);

  // 1 - 0.8 * 0.8: turns and scales have probabilities of their own.
  n = count_steps<AffineStep>({{SpatialTransform{}}}, kSamples, [&](const AffineStep& s) {
    const double scale = std::hypot(s.matrix(0, 0), s.matrix(1, 0), s.matrix(2, 0));
    CHECK(scale > 0.7 - 1e-9);
    CHECK(scale < 1.4);
  });
  CHECK(std::abs(n / double(kSamples) - 0.36) < 0.03);

  double most = 0;
  count_steps<NoiseStep>({{RandGaussianNoise{.probability = 0.3, .std = 0.05}}}, kSamples,
                         [&](const NoiseStep& s) { most = std::max(most, s.std); });
  CHECK(most < 0.05);
  CHECK(most > 0.049);
}

TEST_CASE("a sample's numbers depend on nothing but seed, sample, and its own transform") {
  const PatchShape shape{{16, 16, 16}};
  const Recipe one{{RandAffine{.probability = 1, .degrees = all_axes(symmetric(30))}, GammaTransform{.probability = 1},
                    GammaTransform{.probability = 1}}};
  Recipe more = one;
  more.transforms.insert(more.transforms.begin(), {RandFlip{.probability = 1}, RandGaussianNoise{.probability = 1}});
  more.transforms.push_back(GammaTransform{.probability = 1});
  const Augmentation a = draw(one, sample(3), shape), b = draw(more, sample(3), shape);
  REQUIRE(a.steps.size() == 3);
  REQUIRE(b.steps.size() == 6);
  for (std::size_t i = 0; i < 3; ++i) CHECK(text(a.steps[i]) == text(b.steps[i + 2]));
  CHECK(text(a.steps[1]) != text(a.steps[2]));
  CHECK(text(draw(one, sample(3), shape)) == text(a));
  CHECK(text(draw(one, sample(4), shape)) != text(a));
  CHECK(text(draw(one, {12, 3, 0}, shape)) != text(a));
  CHECK(text(draw(one, sample_key(11, 0, 3), shape)) == text(a));
  CHECK(text(draw(one, sample_key(11, 1, 3), shape)) != text(a));
  CHECK(text(a).find("RandAffine [") == 0);
}

TEST_CASE("kinds and axes have streams of their own") {
  const Augmentation a =
      draw({{RandScaleIntensity{.probability = 1}, RandShiftIntensity{.probability = 1}}}, sample(0), {{4, 4, 4}});
  CHECK(std::get<LinearStep>(a.steps[0]).scale - 1 != doctest::Approx(std::get<LinearStep>(a.steps[1]).shift));

  Patch p = make_patch({16, 16, 16});
  make_offsets({.sigma_voxels = 1, .magnitude_voxels = 10, .key = {1, 2, 3, 4}}, p);
  const Index n = p.voxels();
  double products[3] = {}, squares[3] = {};
  for (Index i = 0; i < n; ++i)
    for (Index d = 0; d < 3; ++d) {
      const double v = p.offsets[static_cast<std::size_t>(d * n + i)],
                   next = p.offsets[static_cast<std::size_t>((d + 1) % 3 * n + i)];
      REQUIRE(std::abs(v) < 10);
      squares[d] += v * v;
      products[d] += v * next;
    }
  for (int d = 0; d < 3; ++d) {
    CHECK(squares[d] > 0);
    CHECK(std::abs(products[d]) < 0.3 * squares[d]);
  }
}

TEST_CASE("a drawn augmentation gives the same bits again, on every instruction set") {
  const Patch start = make_patch({16, 16, 16}, 2);
  Recipe recipe{{Rand3DElastic{.probability = 1, .sigma_voxels = {1, 2}, .magnitude_voxels = {2, 4}},
                 RandZoom{.probability = 1}, RandGaussianNoise{.probability = 1}, RandGaussianSmooth{.probability = 1}}};
  for (const Transform& t : nnunet_recipe({16, 16, 16}).transforms) recipe.transforms.push_back(t);
  for (const Transform& t : lung_nodule_recipe().transforms) recipe.transforms.push_back(t);
  for (Transform& t : recipe.transforms)
    std::visit(
        [](auto& o) {
          if constexpr (requires { o.probability; }) o.probability = 1;
        },
        t);
  for (std::uint64_t n = 0; n < 4; ++n) {
    const Augmentation drawn = draw(recipe, sample(n), {start.size, 2});
    Patch a = start, b = start;
    a.isa = detect_isa();
    b.isa = Isa::scalar;
    apply(drawn, a);
    apply(drawn, b);
    CHECK(a.image == b.image);
    CHECK(a.label == b.label);
    for (float v : a.image) REQUIRE(std::isfinite(v));
    b = start;
    b.spare_image.assign(7, 1e30f);   // what lies in the buffers does not matter
    apply(drawn, b);
    CHECK(a.image == b.image);
  }
}

TEST_CASE("moves compose: exact ones stay exact, others become one pass") {
  const Patch start = make_patch({12, 12, 12});
  const AffineStep flip_x{"", flip(false, false, true), {}, {}, false}, turn_z{"", quarter_turns(Axis::z, 1), {}, {}, false};
  Patch p = start;
  apply({{flip_x, flip_x}}, p);
  CHECK(p.image == start.image);
  CHECK(p.label == start.label);
  apply({{turn_z, turn_z, turn_z, turn_z}}, p);
  CHECK(p.image == start.image);
  Patch q = start;   // one after the other, and both at once
  apply({{turn_z}}, p);
  apply({{flip_x}}, p);
  apply({{turn_z, flip_x}}, q);
  CHECK(p.image == q.image);
  CHECK(p.label == q.label);
  CHECK(p.image != start.image);

  const AffineStep there{"", affine_matrix({.radians = {0.4, -0.2, 0.3}, .translate = {1, 2, -1}}), Border::border};
  AffineStep back = there;
  const Eigen::Affine3d inverse(
      Eigen::Affine3d(Eigen::Map<const Eigen::Matrix<double, 3, 4, Eigen::RowMajor>>(there.matrix.at[0])).inverse());
  for (int r = 0; r < 3; ++r)
    for (int c = 0; c < 4; ++c) back.matrix(r, c) = inverse.matrix()(r, c);
  p = start;
  apply({{there, back}}, p);   // nothing is lost on the way: there is no way
  for (std::size_t i = 0; i < p.image.size(); ++i) REQUIRE(p.image[i] == doctest::Approx(start.image[i]).epsilon(1e-5));
  CHECK(p.label == start.label);
  p = start;
  apply({{there, LinearStep{"", 1, 0}, back}}, p);   // a step between them parts them
  CHECK(p.image != start.image);
}

TEST_CASE("labels never get values that were not there; voxels from nowhere are 0") {
  for (const LabelSampling sampling : {LabelSampling::nearest, LabelSampling::linear})
    for (const Border border : {Border::border, Border::reflection, Border::zeros})
      for (std::uint64_t n = 0; n < 5; ++n) {
        Patch p = make_patch({10, 12, 14});
        const RandAffine all{.probability = 1,
                             .degrees = all_axes(symmetric(60)),
                             .translate_voxels = all_axes(symmetric(8)),
                             .scale = all_axes(symmetric(0.5)),
                             .border = border,
                             .labels = sampling};
        apply(draw({{all}}, sample(n), {p.size}), p);
        for (std::uint8_t v : p.label) REQUIRE((v == 0 || v == 3 || v == 9));
        Patch full = p;
        std::fill(full.label.begin(), full.label.end(), std::uint8_t{9});
        std::fill(full.image.begin(), full.image.end(), 2.f);
        apply(draw({{all}}, sample(n), {p.size}), full);
        const bool same = std::count(full.label.begin(), full.label.end(), std::uint8_t{9}) == std::ssize(full.label);
        CHECK(same == (border != Border::zeros));
      }
}

TEST_CASE("cut with its moves, a patch shows the volume where cut first shows the border") {
  const Patch whole = make_patch({24, 26, 28});
  PatchSource source = source_of(whole);
  source.corner = {8, 9, 10};
  const Augmentation drawn =
      draw({{SpatialTransform{.rotation_probability = 1, .degrees = all_axes({20, 30})}}}, sample(1), {{8, 8, 8}});
  Patch inside{.size = {8, 8, 8}}, alone = inside, all = whole;
  cut_and_apply(drawn, source, inside);
  CHECK(std::count(inside.image.begin(), inside.image.end(), 0.f) == 0);
  cut(alone, source);
  apply(drawn, alone);
  CHECK(std::count(alone.image.begin(), alone.image.end(), 0.f) > 0);
  CHECK(inside.image[3 * 64 + 3 * 8 + 3] == doctest::Approx(alone.image[3 * 64 + 3 * 8 + 3]));   // in the middle they agree

  source.corner = {-2, 0, 22};   // hangs over
  source.outside = -7;
  cut_and_apply({}, source, inside);
  CHECK(inside.image[0] == -7);
  CHECK(inside.image[2 * 64] == whole.image[22]);
  CHECK(inside.image[2 * 64 + 6] == -7);
  CHECK(inside.label[2 * 64 + 6] == 0);
  cut_and_apply({{AffineStep{"", flip(false, false, true), {}, {}, false}}}, source, inside);
  CHECK(inside.image[2 * 64 + 7] == whole.image[22]);
  CHECK(inside.image[2 * 64] == -7);
}

TEST_CASE("a 2-D patch moves in its plane, within its slice of a volume") {
  const Patch whole = make_patch({5, 20, 20});
  PatchSource source = source_of(whole);
  source.corner = {2, 4, 4};
  Patch p{.size = {1, 12, 12}}, q = p;
  const Recipe recipe{{RandAffine{.probability = 1,
                                  .degrees = all_axes(symmetric(40)),
                                  .shear = {symmetric(1), symmetric(1), symmetric(1), {}, symmetric(1), {}},
                                  .translate_voxels = {.z = symmetric(3)},
                                  .scale = {.z = symmetric(0.9)}},
                       Rand3DElastic{.probability = 1, .sigma_voxels = {1, 2}, .magnitude_voxels = {2, 4}},
                       RandRotate90{.probability = 1, .about = Axis::x}, RandFlip{.probability = 1, .axes = {.z = true}},
                       RandGaussianSmooth{.probability = 1}}};
  const Augmentation drawn = draw(recipe, sample(2), {p.size});
  cut_and_apply(drawn, source, p);
  Patch slice{.size = {1, 20, 20}};   // the other slices make no difference
  PatchSource one = source_of(whole);
  one.corner = {2, 0, 0};
  cut(slice, one);
  PatchSource alone = source_of(slice);
  alone.corner = {0, 4, 4};
  cut_and_apply(drawn, alone, q);
  CHECK(p.image == q.image);
  CHECK(p.label == q.label);
}

TEST_CASE("what cannot be augmented is an error") {
  Patch p = make_patch({4, 6, 8});
  CHECK_THROWS_WITH_AS(cut(p, {}), doctest::Contains("every extent"), Error);
  Patch thin = make_patch({4, 4, 1});
  CHECK_THROWS_WITH_AS(apply({{AffineStep{"", turn(2, 0.1)}}}, thin), doctest::Contains("along x"), Error);
  const Patch before = thin;   // flips read no neighbours
  apply({{AffineStep{"", flip(true, true, true), {}, {}, false}}}, thin);
  CHECK(thin.image == std::vector<float>(before.image.rbegin(), before.image.rend()));
  CHECK(thin.label == std::vector<std::uint8_t>(before.label.rbegin(), before.label.rend()));
}
