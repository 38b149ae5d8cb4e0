// Rules of post-processing: each does to its labels what the function under it does, and nothing to the others.
#include <doctest/doctest.h>

#include <ctseg/core/random.hpp>
#include <ctseg/post/nodules.hpp>
#include <ctseg/post/rules.hpp>

#include "image/mask_cases.hpp"

using namespace ctseg;
using namespace ctseg::test;

namespace {

using Mask = Volume<std::uint8_t>;

void paint(Mask& mask, Xyz<Index> low, Xyz<Index> high, std::uint8_t label) {
  for (Index z = low.z; z <= high.z; ++z)
    for (Index y = low.y; y <= high.y; ++y)
      for (Index x = low.x; x <= high.x; ++x) mask(z, y, x) = label;
}
Index count(const Mask& mask, int label) { return std::count(mask.voxels().begin(), mask.voxels().end(), label); }

/// Label 1: 27 and 8 voxels; label 2 touches the smaller one: 12 and 1 voxels; label 3: a shell with one voxel inside.
Mask organs() {
  Mask m(mask_grid({24, 16, 12}, {1, 1, 2}));
  paint(m, {1, 1, 1}, {3, 3, 3}, 1);
  paint(m, {8, 1, 1}, {9, 2, 2}, 1);
  paint(m, {10, 1, 1}, {12, 2, 2}, 2);
  paint(m, {8, 12, 8}, {8, 12, 8}, 2);
  paint(m, {16, 8, 4}, {18, 10, 6}, 3);
  paint(m, {17, 9, 5}, {17, 9, 5}, 0);
  return m;
}

}   // namespace

TEST_CASE("largest components: of each label, of some, of several as one object") {
  const Mask each = apply_rules(organs(), {KeepLargest{}});
  CHECK(count(each, 1) == 27);
  CHECK(count(each, 2) == 12);
  CHECK(count(each, 3) == 26);

  const Mask one = apply_rules(organs(), {KeepLargest{.labels = {1}}});
  CHECK(count(one, 1) == 27);
  CHECK(count(one, 2) == 13);

  const Mask together = apply_rules(organs(), {KeepLargest{.labels = {1, 2}, .together = true}});
  CHECK(count(together, 1) == 27);   // 27 voxels against 8 + 12 that touch
  CHECK(count(together, 2) == 0);
  CHECK(count(together, 3) == 26);   // no label of the rule
  const Mask two = apply_rules(organs(), {KeepLargest{.labels = {1, 2}, .together = true, .count = 2}});
  CHECK(count(two, 1) == 35);
  CHECK(count(two, 2) == 12);
}

TEST_CASE("small components go by voxels or by cubic millimetres") {
  CHECK(count(apply_rules(organs(), {RemoveSmall{.labels = {2}, .min_voxels = 2}}), 2) == 12);
  CHECK(count(apply_rules(organs(), {RemoveSmall{.min_voxels = 9}}), 1) == 27);
  CHECK(count(apply_rules(organs(), {RemoveSmall{.min_mm3 = 16}}), 1) == 35);   // 8 voxels of 2 mm3
  CHECK(count(apply_rules(organs(), {RemoveSmall{.min_mm3 = 16.1}}), 1) == 27);
  CHECK(count(apply_rules(organs(), {RemoveSmall{.labels = {1, 2}, .together = true, .min_voxels = 9}}), 1) == 35);
}

TEST_CASE("holes, gaps and thin parts change their label and zeros only") {
  Mask m = organs();
  m(5, 9, 17) = 2;   // another label in the hole of 3
  CHECK(apply_rules(organs(), {FillHoles{.labels = {3}}})(5, 9, 17) == 3);
  CHECK(apply_rules(organs(), {FillHoles{.labels = {1}}})(5, 9, 17) == 0);
  CHECK(apply_rules(m, {FillHoles{}})(5, 9, 17) == 2);

  Mask gap(mask_grid({20, 12, 12}, {1, 1, 1}));
  paint(gap, {3, 3, 3}, {7, 8, 8}, 1);
  paint(gap, {9, 3, 3}, {13, 8, 8}, 1);
  paint(gap, {8, 5, 5}, {8, 5, 5}, 2);
  const Mask closed = apply_rules(gap, {CloseGaps{.labels = {1}, .radius_mm = 1.5}});
  CHECK(closed(6, 6, 8) == 1);
  CHECK(closed(5, 5, 8) == 2);
  for (std::size_t i = 0; i < gap.voxels().size(); ++i)   // nothing is lost
    if (gap.voxels()[i]) REQUIRE(closed.voxels()[i] == gap.voxels()[i]);

  Mask thin(mask_grid({20, 12, 12}, {1, 1, 1}));
  paint(thin, {3, 3, 3}, {8, 8, 8}, 1);
  paint(thin, {9, 5, 5}, {15, 5, 5}, 1);   // a bridge of one voxel
  const Mask opened = apply_rules(thin, {OpenThin{.radius_mm = 1.2}});
  CHECK(opened(5, 5, 12) == 0);
  CHECK(opened(5, 5, 5) == 1);
}

TEST_CASE("rules run in the order of the list, on any number of threads") {
  const std::vector<PostRule> list = {Relabel{.from = {2}, .to = 1}, KeepLargest{.count = 2}, Relabel{.from = {3}}};
  const Mask out = apply_rules(organs(), list);
  CHECK(count(out, 1) == 47);   // 8 + 12 are one component after the first rule
  CHECK(count(out, 2) == 0);
  CHECK(count(out, 3) == 0);
  ThreadPool pool(4);
  CHECK(apply_rules(organs(), list, &pool).voxels() == out.voxels());
  Volume<std::uint16_t> wide(organs().grid());
  for (std::size_t i = 0; i < wide.voxels().size(); ++i)
    wide.data()[i] = static_cast<std::uint16_t>(organs().voxels()[i] * 300);
  CHECK(std::ranges::count(apply_rules(wide, {KeepLargest{}}).voxels(), 300) == 27);
  CHECK(apply_rules(organs(), {}).voxels() == organs().voxels());
}

TEST_CASE("a rule that cannot be followed says which") {
  CHECK_THROWS_WITH(apply_rules(organs(), {KeepLargest{.labels = {300}}}),
                    "KeepLargest: label 300; the volume's labels are 1 to 255.");
  CHECK_THROWS_WITH(apply_rules(organs(), {Relabel{.from = {1}, .to = -1}}), "Relabel: to = -1; must be 0 to 255.");
  CHECK_THROWS_WITH(apply_rules(organs(), {OpenThin{.radius_mm = 0}}), "OpenThin: radius_mm = 0; must be above 0.");
  CHECK_THROWS_AS(apply_rules(organs(), {RemoveSmall{}}), Error);
  CHECK_THROWS_AS(apply_rules(organs(), {KeepLargest{.count = 0}}), Error);
}

TEST_CASE("nodule candidates: place, size, box and score") {
  Affine<Ras> affine = mask_grid({1, 1, 1}, {0.5, 0.5, 2}).affine;
  affine.matrix(0, 3) = 10, affine.matrix(1, 3) = -20, affine.matrix(2, 3) = 30;
  Mask m(Grid{{24, 16, 12}, affine});
  paint(m, {2, 2, 2}, {5, 5, 3}, 1);
  paint(m, {12, 8, 6}, {12, 8, 6}, 1);
  paint(m, {20, 2, 2}, {21, 3, 3}, 2);   // another label
  Volume<float> p(m.grid());
  for (std::size_t i = 0; i < m.voxels().size(); ++i) p.data()[i] = m.voxels()[i] ? 0.25f : 5.f;   // unread outside
  p(6, 8, 12) = 0.875f;
  p(2, 2, 2) = 0.75f;

  const auto found = measure_nodules(m, p);
  REQUIRE(found.size() == 2);
  CHECK(found[0].voxels == 1);   // the surest first
  CHECK(found[0].probability == 0.875);
  const MeasuredNodule& c = found[1];
  CHECK(c.probability == 0.75);
  CHECK(c.voxels == 32);
  CHECK(c.volume_mm3 == doctest::Approx(16));
  CHECK(c.diameter_mm == doctest::Approx(std::cbrt(96 / 3.14159265358979)));
  CHECK((c.low == Xyz<Index>{2, 2, 2} && c.high == Xyz<Index>{5, 5, 3}));
  CHECK((c.centre_voxel.x == 3.5 && c.centre_voxel.y == 3.5 && c.centre_voxel.z == 2.5));
  const Point<Ras> ras = m.affine()(3.5, 3.5, 2.5);
  CHECK(c.centre.x == doctest::Approx(-ras.x));
  CHECK(c.centre.y == doctest::Approx(-ras.y));
  CHECK(c.centre.z == doctest::Approx(ras.z));

  CHECK(measure_nodules(m, p, {.score = CandidateScore::mean})[1].probability == doctest::Approx((31 * 0.25 + 0.75) / 32));
  CHECK(measure_nodules(m, p, {.weighted_centre = true})[1].centre_voxel.x < 3.5);
  CHECK(measure_nodules(m, p, {.min_diameter_mm = 2}).size() == 1);
  CHECK(measure_nodules(m).front().voxels == 32);   // no probabilities: in the order of memory
  CHECK(measure_nodules(m).front().probability == 1);
  const auto rows = luna16_rows("1.2.3", found);
  CHECK((rows.size() == 2 && rows[1].series_uid == "1.2.3" && rows[1].centre.x == c.centre.x && rows[1].probability == 0.75));

  p(2, 3, 3) = 1.5f;
  CHECK_THROWS_AS(measure_nodules(m, p), Error);
  CHECK_THROWS_AS(measure_nodules(m, Volume<float>(mask_grid({24, 16, 12}, {1, 1, 1}))), Error);
}
