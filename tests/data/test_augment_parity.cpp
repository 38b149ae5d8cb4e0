// Transforms with given parameters against MONAI and batchgeneratorsv2: see tests/parity/make_augment_fixtures.py.
#include "data/augment_fixture.hpp"

using namespace ctseg;
using namespace ctseg::augment;
using test::apart;
using test::AugmentFixture;
using test::different;

namespace {

constexpr double kClose = 1e-5;

Patch applied(Patch patch, const DrawnStep& step) {
  apply(Augmentation{{step}}, patch);
  return patch;
}
void check_image(const AugmentFixture& f, const std::string& name, const Patch& p, double tolerance = kClose) {
  const double d = apart(p.image, f.values<float>(name));
  MESSAGE(name << ": " << d);
  CHECK(d <= tolerance);
}
void check_label(const AugmentFixture& f, const std::string& name, const Patch& p) {
  INFO(name);
  CHECK(different(p.label, f.values<std::uint8_t>(name)) == 0);
}
AffineStep affine(const AffineParameters& p, Border border) { return {"affine", affine_matrix(p), border}; }

}   // namespace

TEST_CASE("quarter turns and flips equal MONAI's bit for bit") {
  const AugmentFixture f;
  CHECK(f.metadata("made_with").find("monai 1.") != std::string::npos);
  Patch cube{.size = {12, 12, 12}};
  cut(cube, source_of(f.patch()));
  for (const Isa isa : {Isa::scalar, detect_isa()})
    for (int k = 1; k <= 3; ++k)
      for (int axis = 0; axis < 3; ++axis) {
        Patch p = cube;
        p.isa = isa;
        const AffineStep step{"", quarter_turns(static_cast<Axis>(axis), k), {}, {}, false};
        check_image(f, text("rotate90_", k, "_", axis), applied(p, step), 0);
      }
  check_image(f, "flip_zx", applied(f.patch(), AffineStep{"", flip(true, false, true), {}, {}, false}), 0);
}

TEST_CASE("rotations and affine maps equal MONAI's, with every border rule") {
  const AugmentFixture f;
  const Patch turned = applied(f.patch(), affine({.radians = {0.3, -0.4, 0.5}}, Border::border));
  check_image(f, "rotate", turned);
  check_label(f, "rotate_label", turned);
  AffineParameters p{.radians = {0.2, 0.1, -0.3}, .translate = {1.5, -2.25, 3}, .scale = {1.2, 0.9, 0.75}};
  p.shear = {0.1, -0.05, 0.02, 0.07, -0.1, 0.03};
  for (const Border border : {Border::border, Border::reflection, Border::zeros}) {
    const Patch moved = applied(f.patch(), affine(p, border));
    check_image(f, "affine_" + text(border), moved);
    check_label(f, "affine_label_" + text(border), moved);
  }
  check_image(f, "affine_far", applied(f.patch(), affine({.translate = {40.3, -55.2, 70.9}}, Border::reflection)));
}

TEST_CASE("a 2-D rotation equals MONAI's") {
  const AugmentFixture f;
  const Patch whole = f.patch();
  PatchSource source = source_of(whole);
  source.corner = {5, 0, 0};
  Patch slice{.size = {1, 14, 16}};
  cut(slice, source);
  check_image(f, "rotate_2d", applied(slice, affine({.radians = {0.6, 0, 0}}, Border::border)));
  cut_and_apply({{affine({.radians = {0.6, 0, 0}}, Border::border)}}, source, slice);
  check_image(f, "rotate_2d", slice);
}

TEST_CASE("an elastic map with a given field equals MONAI's") {
  const AugmentFixture f;
  Patch p = f.patch();
  const auto field = f.values<float>("elastic_field"), expected = f.values<float>("elastic_offsets");
  std::vector<float> offsets(field.size());
  std::array<AxisTaps, 3> taps;
  for (std::size_t d = 0; d < 3; ++d) taps[d] = kernel_taps(erf_kernel(2, 3), p.size[d], false);
  SeparableFilter blur(p.size, taps, p.isa);
  for (Index d = 0; d < 3; ++d) blur.run(field.data() + d * p.voxels(), offsets.data() + d * p.voxels());
  for (float& o : offsets) o *= 25;
  CHECK(apart(offsets, expected) <= kClose);
  Warp warp{.offsets = expected.data(), .border = Border::reflection};
  warp.before = affine_matrix({.radians = {0.1, 0.2, 0.3}, .scale = {1.1, 0.9, 1.05}});
  warp_patch(p, source_of(p), warp);
  check_image(f, "elastic", p);
}

TEST_CASE("zooms equal MONAI's area mode") {
  const AugmentFixture f;
  for (const double zoom : {0.73, 0.93, 1.1, 1.4}) {
    const Patch p = applied(f.patch(), ZoomStep{zoom});
    check_image(f, text("zoom_", zoom), p);
    check_label(f, text("zoom_label_", zoom), p);
  }
}

TEST_CASE("intensities equal MONAI's") {
  const AugmentFixture f;
  check_image(f, "smooth", applied(f.patch(), SmoothStep{{0.3, 1, 1.5}, false}));
  check_image(f, "scale", applied(f.patch(), LinearStep{"", 1.07, 0}));
  check_image(f, "shift", applied(f.patch(), LinearStep{"", 1, -0.08}));
  check_image(f, "adjust_contrast", applied(f.patch(), GammaStep{"", 0.7}));
  check_image(f, "adjust_contrast_strong", applied(f.patch(), GammaStep{"", 4.5}));
  check_image(f, "adjust_contrast_retain", applied(f.patch(), GammaStep{"", 1.5, true, true}));
}

TEST_CASE("spatial maps cut from the volume equal nnU-Net's, labels by their weights") {
  const AugmentFixture f;
  const Patch whole = f.patch();
  PatchSource source = source_of(whole);
  source.corner = {2, 2, 2};
  const auto check = [&](const std::string& name, const std::array<double, 3>& a, double s) {
    const Move m = turn(2, a[2]) * turn(1, a[1]) * turn(0, a[0]) * scaling(s, s, s);
    Patch p{.size = {8, 10, 12}};
    cut_and_apply({{AffineStep{"", m, Border::zeros, LabelSampling::linear}}}, source, p);
    check_image(f, "spatial_" + name, p);
    check_label(f, "spatial_label_" + name, p);
  };
  check("turn", {0.3, -0.2, 0.4}, 1);
  check("scale", {0, 0, 0}, 1.35);
  check("both", {-0.5, 0.4, 0.2}, 0.8);
  check("out", {0.5, 0.5, -0.5}, 1.9);
}

TEST_CASE("intensities equal nnU-Net's") {
  const AugmentFixture f;
  check_image(f, "blur", applied(f.patch(), SmoothStep{{0.5, 0.8, 1}, true}));
  for (const double s : {0.5, 0.61, 0.87})
    check_image(f, text("low_resolution_", s), applied(f.patch(), LowResolutionStep{{s, s, s}}));
  for (const double c : {0.8, 1.2}) check_image(f, text("contrast_", c), applied(f.patch(), ContrastStep{c}));
  check_image(f, "gamma", applied(f.patch(), GammaStep{"", 0.8, false, true}));
  check_image(f, "gamma_inverted", applied(f.patch(), GammaStep{"", 1.4, true, true}));
}
