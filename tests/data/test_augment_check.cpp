// Recipes from elsewhere: what is out of its range is refused with transform, value and range, before anything is drawn.
#include <doctest/doctest.h>

#include <ctseg/data/augment/recipes.hpp>
#include <functional>

using namespace ctseg;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN(), kInfinite = std::numeric_limits<double>::infinity();

/// What draw() says of a recipe with this transform behind another one.
std::string refusal(const Transform& transform, const PatchShape& shape = {{8, 8, 8}}) {
  try {
    draw({{RandFlip{}, transform}}, {1, 2, 3}, shape);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}
void check_says(const Transform& transform, std::initializer_list<const char*> words) {
  const std::string what = refusal(transform);
  for (const char* word : words) CHECK_MESSAGE(what.find(word) != std::string::npos, "\"" << what << "\" lacks " << word);
}

/// f(range) for every range of a transform, named as its member.
template <class O> void each_range(O& o, const std::function<void(const char*, Range&)>& f) {
  const auto axes = [&](const char* name, PerAxis& p) { f(name, p.z), f(name, p.y), f(name, p.x); };
  const auto any = [&](const char* name, auto& v) {
    if constexpr (std::is_same_v<std::decay_t<decltype(v)>, Range>)
      f(name, v);
    else
      axes(name, v);
  };
  if constexpr (requires { o.degrees; }) any("degrees", o.degrees);
  if constexpr (requires { o.scale; }) any("scale", o.scale);
  if constexpr (requires { o.translate_voxels; }) any("translate_voxels", o.translate_voxels);
  if constexpr (requires { o.sigma_voxels; }) any("sigma_voxels", o.sigma_voxels);
  if constexpr (requires { o.magnitude_voxels; }) any("magnitude_voxels", o.magnitude_voxels);
  if constexpr (requires { o.zoom; }) any("zoom", o.zoom);
  if constexpr (requires { o.factor; }) any("factor", o.factor);
  if constexpr (requires { o.offset; }) any("offset", o.offset);
  if constexpr (requires { o.gamma; }) any("gamma", o.gamma);
  if constexpr (requires { o.shear; })
    for (Range* r : {&o.shear.zy, &o.shear.zx, &o.shear.yz, &o.shear.yx, &o.shear.xz, &o.shear.xy}) f("shear", *r);
  if constexpr (requires { o.affine; }) each_range(o.affine, f);
}
template <std::size_t... I> std::vector<Transform> one_of_each(std::index_sequence<I...>) {
  return {std::variant_alternative_t<I, Transform>{}...};
}

}   // namespace

TEST_CASE("every range of every transform is checked: not finite, turned round, far too large") {
  const auto all = one_of_each(std::make_index_sequence<std::variant_size_v<Transform>>{});
  int ranges = 0;
  for (const Transform& plain : all)
    std::visit(
        [&](const auto& defaults) {
          CHECK(refusal(defaults) == "");
          for (const Range& bad : {Range{kNan, 1}, Range{0, kNan}, Range{-kInfinite, 1}, Range{1, kInfinite}, Range{2, 1},
                                   Range{0, 1e18}, Range{-1e18, 1}}) {
            auto o = defaults;
            int count = 0;
            each_range(o, [&](const char*, Range&) { ++count; });
            for (int i = 0; i < count; ++i) {
              o = defaults;
              int at = 0;
              const char* broken = "";
              each_range(o, [&](const char* name, Range& r) {
                if (at++ == i) r = bad, broken = name;
              });
              check_says(o, {broken, "must be", text(bad).c_str()});
              ++ranges;
            }
          }
        },
        plain);
  CHECK(ranges == 7 * 51);   // all of them
}

TEST_CASE("probabilities lie in [0, 1], whatever they are called") {
  for (const double p : {-0.1, 1.0001, kNan, kInfinite}) {
    check_says(RandFlip{.probability = p}, {"RandFlip", "probability", "0 to 1"});
    check_says(RandGaussianNoise{.probability = p}, {"RandGaussianNoise", "probability", text(p).c_str()});
    check_says(SpatialTransform{.rotation_probability = p}, {"SpatialTransform", "rotation_probability"});
    check_says(SpatialTransform{.scaling_probability = p}, {"scaling_probability"});
    check_says(GaussianBlurTransform{.channel_probability = p}, {"GaussianBlurTransform", "channel_probability"});
    check_says(SimulateLowResolutionTransform{.channel_probability = p}, {"SimulateLowResolution", "channel_probability"});
    check_says(MirrorTransform{.probability = p}, {"MirrorTransform"});
  }
  CHECK(refusal(RandFlip{.probability = 0}) == "");
  CHECK(refusal(RandFlip{.probability = 1}) == "");
}

TEST_CASE("what would never end, or means nothing, is refused with its limits") {
  check_says(RandGaussianSmooth{.sigma_voxels = all_axes({0, 1e7})}, {"RandGaussianSmooth: sigma_voxels.z = [0, ", "0 to 100"});
  check_says(Rand3DElastic{.sigma_voxels = {1, 1e7}}, {"Rand3DElastic", "0 to 100"});
  check_says(RandZoom{.zoom = {0, 1}}, {"RandZoom: zoom = [0, 1)", "0.01 to 100"});
  check_says(RandAffine{.scale = {.y = {-1, 0}}}, {"scale.y = [-1, 0)", "-0.99 to 99"});   // added to 1: 0
  check_says(RandAdjustContrast{.gamma = {-1, 1}}, {"gamma"});
  check_says(RandGaussianNoise{.std = -1}, {"std = -1", "0 to "});
  check_says(RandGaussianNoise{.mean = kNan}, {"mean"});
  check_says(SimulateLowResolutionTransform{.scale = {0.5, 1.5}}, {"0.01 to 1"});
  check_says(GammaTransform{.gamma = {0.5, 0.9}}, {"gamma = [0.5, 0.9)", "1 or more"});
  check_says(RandRotate90{.max_k = 4}, {"max_k = 4"});
  check_says(RandRotate90{.max_k = 0}, {"max_k = 0"});
  check_says(RandRotate90{.about = static_cast<Axis>(3)}, {"axis 3"});
}

TEST_CASE("a patch that cannot be turned is refused even where nothing fires") {
  const auto says = [](const std::string& what, const char* word) {
    CHECK_MESSAGE(what.find(word) != std::string::npos, what);
  };
  says(refusal(RandRotate90{.probability = 0}, {{8, 6, 8}}), "6 x 8");
  CHECK(refusal(RandRotate90{.about = Axis::y}, {{8, 6, 8}}) == "");
  CHECK(refusal(RandRotate90{.about = Axis::x}, {{1, 8, 8}}) == "");   // a slice turns in its plane
  says(refusal(RandFlip{}, {{8, 0, 8}}), "[8,0,8]");
  says(refusal(RandFlip{}, {{8, 8, 8}, 0}), "0 channels");
}
