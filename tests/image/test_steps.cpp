// Preprocessing as a list of steps, and its way back: exact where voxels were only moved, one interpolation elsewhere.
#include <Eigen/Geometry>

#include <doctest/doctest.h>
#include <ctseg/core/random.hpp>
#include <ctseg/image/steps.hpp>

using namespace ctseg;

namespace {

/// An oblique scan with the file's placement; air is exactly 0 in a frame around the body.
Volume<float> scan(Xyz<double> spacing = {0.8, 1.1, 2}) {
  Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
  m.block<3, 3>(0, 0) = Eigen::AngleAxisd(0.2, Eigen::Vector3d(1, -2, 3).normalized()).toRotationMatrix() *
                        Eigen::Vector3d(-spacing.x, spacing.y, spacing.z).asDiagonal();
  m.block<3, 1>(0, 3) << -11.3, 22.7, 5.9;
  Volume<float> v(Grid{{23, 19, 14}, Affine<Ras>(m), NiftiPlacement{.qform_code = 2}});
  RandomStream random({.seed = 9});
  for (Index z = 2; z < 12; ++z)
    for (Index y = 3; y < 17; ++y)
      for (Index x = 4; x < 20; ++x) v(z, y, x) = static_cast<float>(random.uniform(1, 100));
  return v;
}
Volume<std::uint16_t> numbered(const Grid& grid) {
  Volume<std::uint16_t> v(Grid{grid.shape, grid.affine});
  for (std::size_t i = 0; i < v.voxels().size(); ++i) v.voxels()[i] = static_cast<std::uint16_t>(i + 1);
  return v;
}

TEST_CASE("turns, crops and pads: every kept voxel comes back as it is, the others get the value, the grid is the file's") {
  const auto ct = scan();
  const std::vector<PreprocessStep> steps{Reorient{"PIR"}, CropNonzero{}, SpatialPad{.shape = {30, 5, 33}}, Reorient{"LAS"},
                                          CropForeground{.threshold = 50, .margin = {1, 0, 2}}};
  const auto x = apply_steps(ct, steps);
  const auto labels = numbered(ct.grid());
  const auto there = x.to_prepared(labels);
  CHECK(same_grid(there.grid(), x.image.grid()));
  const auto back = x.to_original(there, {.outside = 9999});
  CHECK(back.affine() == ct.affine());
  CHECK(back.grid().nifti->qform_code == 2);
  Index kept = 0, wrong = 0;
  for (std::size_t i = 0; i < back.voxels().size(); ++i) {
    kept += back.voxels()[i] != 9999;
    wrong += back.voxels()[i] != 9999 && back.voxels()[i] != labels.voxels()[i];
    wrong += ct.voxels()[i] > 50 && back.voxels()[i] == 9999;
  }
  CHECK(wrong == 0);
  CHECK(kept >= 14 * 10 * 14);
  CHECK(kept < ct.grid().voxels());
  const auto image_back = x.to_original(x.image);
  for (std::size_t i = 0; i < back.voxels().size(); ++i)
    wrong += back.voxels()[i] != 9999 && image_back.voxels()[i] != ct.voxels()[i];
  CHECK(wrong == 0);
}

TEST_CASE("with a resampling the one pass equals undoing step by step") {
  for (const SizeRule rule : {SizeRule::monai, SizeRule::nnunet}) {
    const auto ct = scan({0.8, 1.1, rule == SizeRule::monai ? 2.0 : 3.0});   // 3 mm: a coarse axis
    const Spacing spacing{.spacing_mm = {1.37, 0.9, 1.21}, .rule = rule};
    const auto x = apply_steps(ct, {Reorient{"SPL"}, CropNonzero{}, spacing, SpatialPad{.shape = {24, 24, 24}}});
    Volume<float> logits(x.image.grid());
    RandomStream random({.seed = 4});
    for (float& v : logits.voxels()) v = static_cast<float>(random.uniform(-1, 1));
    const auto one = x.to_original(logits, {.outside = -5});

    const auto turned = reorient(ct, "SPL");
    const auto mask = nonzero_mask(turned);
    const Box box = bounding_box(mask, [](std::uint8_t v) { return v != 0; }).value();
    const Grid cropped = crop_grid(turned.grid(), box), fine = grid_with_spacing(cropped, spacing.spacing_mm, rule);
    const Box pad = padded_box(fine.shape, {.shape = {24, 24, 24}});
    const auto unpadded = crop(logits, {{-pad.begin.x, -pad.begin.y, -pad.begin.z},
                                        {fine.shape.x - pad.begin.x, fine.shape.y - pad.begin.y, fine.shape.z - pad.begin.z}});
    ResampleOptions how;
    if (rule == SizeRule::nnunet) how = nnunet_resampling(fine.spacing_mm(), cropped.spacing_mm(), Interpolation::linear);
    CHECK(how.coarse_axis.has_value() == (rule == SizeRule::nnunet));
    const auto coarse = resample(unpadded, cropped, how);
    const auto uncropped =
        crop(Volume<float>(cropped, coarse.voxels()),
             {{-box.begin.x, -box.begin.y, -box.begin.z},
              {turned.shape().x - box.begin.x, turned.shape().y - box.begin.y, turned.shape().z - box.begin.z}},
             -5);
    const auto expected = reorient(uncropped, axis_codes(ct.grid()));
    REQUIRE(expected.shape() == one.shape());
    double worst = 0;
    for (std::size_t i = 0; i < one.voxels().size(); ++i)
      worst = std::max(worst, std::abs(double{one.voxels()[i]} - double{expected.voxels()[i]}));
    CHECK(worst < 1e-6);
    CHECK(one.affine() == ct.affine());
    CHECK(std::ranges::count(one.voxels(), -5.f) == ct.grid().voxels() - 16 * 14 * 10);
    const auto full = x.to_original(Volume<std::uint8_t>(x.image.grid(), 1));   // a mask covers all that was kept, no more
    CHECK(std::ranges::count(full.voxels(), 1) == 16 * 14 * 10);
  }
}

TEST_CASE("a coarse axis keeps its meaning when the image is turned after the resampling") {
  const auto ct = scan({0.8, 1.1, 3});
  const Spacing spacing{.spacing_mm = {0.9, 0.8, 1.2}, .rule = SizeRule::nnunet};
  const auto before = apply_steps(ct, {Reorient{"RAS"}, spacing}),
             after = apply_steps(ct, {Reorient{"RAS"}, spacing, Reorient{"SPL"}});
  CHECK(after.to_original(after.image).voxels() == before.to_original(before.image).voxels());
}

TEST_CASE("several resamplings, and ways that lead nowhere") {
  const auto ct = scan();
  const auto x = apply_steps(
      ct, {Spacing{.spacing_mm = {1.5, 1.5, 0}}, CropForeground{}, Resize{{40, 0, 9}}, SpatialPad{.shape = {48, 0, 0}}});
  CHECK(x.image.shape() == Xyz<Index>{48, x.image.shape().y, 9});
  const auto back = x.to_original(Volume<std::uint8_t>(x.image.grid(), 1));
  CHECK(back.affine() == ct.affine());
  Index wrong = 0;
  for (Index z = 3; z < 11; ++z)
    for (Index y = 4; y < 16; ++y)
      for (Index x1 = 5; x1 < 19; ++x1) wrong += back(z, y, x1) != 1;
  CHECK(wrong == 0);
  CHECK(back(0, 0, 0) == 0);
  CHECK_THROWS_AS(x.to_original(ct), Error);   // not on the prepared grid
  CHECK_THROWS_AS(x.to_prepared(x.image), Error);

  GridPath astray(ct.grid());
  astray.moved_to(crop_grid(ct.grid(), {{100, 100, 100}, {104, 104, 104}}));
  const auto nothing = astray.to_original(Volume<std::uint8_t>(astray.prepared(), 1), {.outside = 3});
  CHECK(std::ranges::count(nothing.voxels(), 3) == ct.grid().voxels());
  CHECK(apply_steps(ct, {}).to_original(ct).voxels() == ct.voxels());
}

TEST_CASE("steps change values in their order; the mask of CropNonzero serves until voxels are interpolated") {
  const auto ct = scan();
  const auto x = apply_steps(ct, {WindowHu{0, 100}, CropNonzero{}, ZScore{Voxels::mask}});
  CHECK(x.nonzero.value().shape() == x.image.shape());
  CHECK(x.image.voxels() == z_score(crop(apply_window(ct, {0, 100}), {{4, 3, 2}, {20, 17, 12}})).voxels());
  CHECK_THROWS_AS(apply_steps(ct, {ZScore{Voxels::mask}}), Error);
  CHECK_THROWS_AS(apply_steps(ct, {CropNonzero{}, Spacing{{1, 1, 1}}, ZScore{Voxels::mask}}), Error);
  CHECK(!apply_steps(ct, {CropNonzero{}, Spacing{{1, 1, 1}}}).nonzero.has_value());
  CHECK(!apply_steps(ct, {CropNonzero{}, Resize{{9, 9, 9}}}).nonzero.has_value());
  CHECK_THROWS_AS(apply_steps(Volume<float>(ct.grid()), {CropNonzero{}}), Error);
  ThreadPool pool(3);
  const std::vector<PreprocessStep> all{Reorient{},
                                        CropNonzero{},
                                        ScaleIntensityRange{0, 100, -1, 1, true},
                                        CtNormalization{0, 2},
                                        ScaleIntensity{},
                                        ZScore{Voxels::nonzero},
                                        Spacing{{1, 1, 1}, SizeRule::nnunet},
                                        Resize{{20, 20, 20}, ResizeMode::area}};
  CHECK(apply_steps(ct, all, &pool).image.voxels() == apply_steps(ct, all).image.voxels());
}

TEST_CASE("stored axes in another order, and back") {
  const auto ct = scan();   // 23 x 19 x 14
  const auto x = apply_steps(ct, {Transpose{{2, 0, 1}}});
  CHECK(x.image.shape() == Xyz<Index>{19, 14, 23});
  CHECK(x.image(7, 5, 9) == ct(5, 9, 7));
  const auto at = x.image.affine()(9, 5, 7), was = ct.affine()(7, 9, 5);
  CHECK(at.x == doctest::Approx(was.x));
  CHECK(at.z == doctest::Approx(was.z));
  const auto labels = numbered(ct.grid());
  const auto turned = apply_steps(ct, {Transpose{{1, 2, 0}}, CropNonzero{}});
  CHECK(turned.image.shape() == Xyz<Index>{10, 16, 14});
  CHECK(turned.nonzero->shape() == turned.image.shape());
  const auto back = x.to_original(x.to_prepared(labels));
  CHECK(back.voxels() == labels.voxels());
  CHECK_THROWS_WITH_AS(apply_steps(ct, {Transpose{{0, 1, 1}}}), "transpose: axes 0, 1, 1; must be 0, 1 and 2 in some order.",
                       Error);
}

TEST_CASE("thick slices are those of the spacing that was asked for, on the way back too") {
  const Volume<float> ct(Grid{{10, 10, 5}, scan({0.9, 0.9, 2.5}).affine()});
  const auto x = apply_steps(ct, {Spacing{{1, 1, 3}, SizeRule::nnunet}});   // 3 times as thick, and not more
  REQUIRE(x.image.shape() == Xyz<Index>{9, 9, 4});                          // of 3.125 mm: more than 3 times
  Volume<float> logits(x.image.grid());
  for (Index z = 0; z < 4; ++z)
    for (Index y = 0; y < 9; ++y)
      for (Index column = 0; column < 9; ++column) logits(z, y, column) = static_cast<float>(z);
  const auto back = x.to_original(logits);
  CHECK(back(1, 5, 5) == doctest::Approx(0.7));   // linear: 1.5 * 4 / 5 - 0.5; the nearest is 1
}

TEST_CASE("channels are cropped together, and keep their own values") {
  const auto a = scan();
  auto b = scan();
  for (float& v : b.voxels()) v = v > 50 ? -v : 0;
  b(0, 1, 2) = 3;   // outside of a's box
  const PerChannel each{{{WindowHu{0, 100}}, {ZScore{}, CtNormalization{.mean = 1}}}};
  const auto x = apply_steps(std::vector<Volume<float>>{a, b}, {CropNonzero{}, each, Spacing{{1, 1, 1}}});
  REQUIRE(x.more.size() == 1);
  CHECK(x.channel(1).grid().shape == x.image.shape());
  const Box box{{2, 1, 0}, {20, 17, 12}};
  CHECK(x.image.voxels() == apply_steps(crop(a, box), {WindowHu{0, 100}, Spacing{{1, 1, 1}}}).image.voxels());
  CHECK(x.more[0].voxels() ==
        apply_steps(crop(b, box), {ZScore{}, CtNormalization{.mean = 1}, Spacing{{1, 1, 1}}}).image.voxels());
  const auto high = apply_steps(std::vector<Volume<float>>{a, b}, {CropForeground{.threshold = 2}});
  CHECK(high.image.shape() == box.shape());
  CHECK_THROWS_WITH_AS(apply_steps(a, {each}), "preprocess: PerChannel has steps for 2 channels, the scan has 1.", Error);
  CHECK_THROWS_AS(apply_steps(std::vector<Volume<float>>{}, {each}), Error);
  CHECK_THROWS_WITH_AS(apply_steps(std::vector<Volume<float>>{a, crop(b, box)}, {each}),
                       doctest::Contains("preprocess: channel 1 (18 x 16 x 12 of"), Error);
}

}   // namespace
