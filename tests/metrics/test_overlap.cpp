#include <cmath>
#include <ctseg/metrics/overlap.hpp>
#include <string>

#include <doctest/doctest.h>

using namespace ctseg;

namespace {

Grid grid_of(Xyz<Index> shape, Xyz<double> spacing = {1, 1, 1}) {
  return {shape, Affine<Ras>(Eigen::Vector4d(spacing.x, spacing.y, spacing.z, 1).asDiagonal())};
}
Volume<std::uint8_t> labels(std::vector<std::uint8_t> voxels) {
  return {grid_of({static_cast<Index>(voxels.size()), 1, 1}), std::move(voxels)};
}

}   // namespace

TEST_CASE("overlap counts and scores, by hand") {
  const auto truth = labels({1, 1, 1, 1, 0, 0, 0, 0, 2, 2});
  const auto prediction = labels({1, 1, 1, 0, 1, 1, 0, 0, 2, 1});
  const Overlap o = overlap(prediction, truth);
  CHECK(o == Overlap{.tp = 3, .fp = 3, .fn = 1, .tn = 3});
  CHECK(o.dice() == 6.0 / 10);
  CHECK(o.iou() == 3.0 / 7);
  CHECK(o.sensitivity() == 0.75);
  CHECK(o.specificity() == 0.5);
  CHECK(o.precision() == 0.5);
  CHECK(o.accuracy() == 0.6);
  const auto table = overlap_table(prediction, truth, 4);
  REQUIRE(table.size() == 4);
  CHECK(table[0] == Overlap{.tp = 2, .fp = 1, .fn = 2, .tn = 5});
  CHECK(table[1] == o);
  CHECK(table[2] == Overlap{.tp = 1, .fp = 0, .fn = 1, .tn = 8});
  CHECK(table[3] == Overlap{.tp = 0, .fp = 0, .fn = 0, .tn = 10});
  CHECK(overlap(prediction, truth, 255) == table[3]);
}

TEST_CASE("what a score means when a label is absent") {
  using enum EmptyPolicy;
  const Overlap none{.tn = 5}, alarm{.fp = 2, .tn = 3}, missed{.fn = 2, .tn = 3};
  for (const auto score : {&Overlap::dice, &Overlap::iou}) {
    CHECK(std::isnan((none.*score)(nan)));
    CHECK((none.*score)(one_zero) == 1);
    CHECK(std::isnan((none.*score)(nnunet)));
    CHECK(std::isnan((alarm.*score)(nan)));
    CHECK((alarm.*score)(one_zero) == 0);
    CHECK((alarm.*score)(nnunet) == 0);
    for (const EmptyPolicy policy : {nan, one_zero, nnunet}) CHECK((missed.*score)(policy) == 0);
  }
  CHECK(std::isnan(none.sensitivity()));
  CHECK(std::isnan(missed.precision()));
  CHECK(none.specificity() == 1);
}

TEST_CASE("volumes that do not lie on one grid are refused, with both named") {
  const Volume<std::uint8_t> a(grid_of({4, 4, 4})), b(grid_of({4, 4, 3})), c(grid_of({4, 4, 4}, {1, 1, 1.25}));
  const auto message_of = [](const auto& prediction, const auto& truth) {
    try {
      overlap(prediction, truth);
    } catch (const Error& e) {
      CHECK(e.code() == Code::shape_mismatch);
      return std::string(e.what());
    }
    return std::string();
  };
  const std::string shapes = message_of(a, b), places = message_of(a, c);
  CHECK(shapes.find("4 x 4 x 4") != std::string::npos);
  CHECK(shapes.find("4 x 4 x 3") != std::string::npos);
  CHECK(places.find("1 x 1 x 1 mm") != std::string::npos);
  CHECK(places.find("1 x 1 x 1.25 mm") != std::string::npos);
  Grid near = grid_of({4, 4, 4});
  near.affine.matrix(0, 3) += 5e-4;
  CHECK_NOTHROW(overlap(a, Volume<std::uint8_t>(near)));
  near.affine.matrix(0, 3) += 1e-3;
  CHECK_THROWS_AS(overlap(a, Volume<std::uint8_t>(near)), Error);
  const std::vector<std::uint8_t> three(3), four(4);
  CHECK_THROWS_AS(overlap(three, four), Error);
  CHECK_THROWS_AS(overlap_table(four, four, 257), Error);
}

TEST_CASE("volume in millilitres, of a sheared grid too") {
  Grid grid = grid_of({10, 10, 10}, {2, 2, 5});
  grid.affine.matrix(0, 2) = 3;   // shear: the edges get longer, the voxel no larger
  const Volume<std::uint8_t> mask(grid, 1);
  CHECK(volume_ml(mask) == doctest::Approx(20));
  CHECK(volume_ml(mask, 2) == 0);
}

TEST_CASE("the best window of HU, by hand") {
  const auto truth = labels({0, 0, 1, 1, 1, 0, 0, 1});
  const Volume<float> ct(truth.grid(), {-1000.f, 45.5f, 50.f, 55.2f, 60.9f, 61.f, 5000.f, -1010.f});
  const ThresholdDice window = best_threshold_dice(ct, truth);   // 3 of 4, and nothing else
  CHECK(window.dice == 6.0 / 7);
  CHECK(window.low_hu == 46);
  CHECK(window.high_hu == 60);
  const ThresholdDice side = best_threshold_dice(ct, truth, {.one_sided = true});   // <= 60: all 4, and 2 more
  CHECK(side.dice == 8.0 / 10);
  CHECK(side.high_hu == 60);
  const Volume<float> odd(truth.grid(), {NAN, -INFINITY, 3071.5f, 1e9f, INFINITY, 0.f, 0.f, 3071.f});
  const ThresholdDice top = best_threshold_dice(odd, truth);
  CHECK(top.dice == 1);
  CHECK(top.high_hu == 3071);
  CHECK_THROWS_AS(best_threshold_dice(ct, truth, {.label = 9}), Error);
}
