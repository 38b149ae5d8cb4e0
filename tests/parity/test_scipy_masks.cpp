// Distance, components and morphology against SciPy and scikit-image: what make_mask_fixtures.py wrote.
#include <ctseg/image/cleanup.hpp>
#include <ctseg/image/morphology.hpp>

#include "fixture_file.hpp"

using namespace ctseg;

namespace {

using Mask = Volume<std::uint8_t>;

struct MaskFixture : test::Fixture {
  MaskFixture() : Fixture("masks") {}

  Mask mask(const std::string& name) const {
    const std::vector<Index>& n = extents(name);
    Eigen::Matrix4d m = Eigen::Vector4d(0.7, 0.9, 2.5, 1).asDiagonal();   // as in the script
    return {Grid{{n[2], n[1], n[0]}, Affine<Ras>(m)}, values<std::uint8_t>(name)};
  }
  /// Eight voxels a byte, the first one highest.
  void check(const std::string& name, const std::vector<std::uint8_t>& found) const {
    const auto packed = values<std::uint8_t>(name);
    Index wrong = 0;
    REQUIRE(packed.size() == (found.size() + 7) / 8);
    for (std::size_t i = 0; i < found.size(); ++i) wrong += found[i] != (packed[i / 8] >> (7 - i % 8) & 1);
    CHECK_MESSAGE(wrong == 0, name << ": " << wrong << " of " << found.size() << " voxels differ");
  }
};

const std::vector<std::string> kInputs{"blobs", "noise", "image"};
std::string plane(bool per_slice) { return per_slice ? ".2d" : ".3d"; }

TEST_CASE("distances equal SciPy's") {
  const MaskFixture fixture;
  for (const std::string& name : kInputs)
    for (const bool per_slice : {false, true}) {
      const auto exact = fixture.values<float>(name + (per_slice ? ".distance_2d" : ".distance"));
      const auto found = distance_to_background(fixture.mask(name), {.per_slice = per_slice});
      REQUIRE(exact.size() == found.voxels().size());
      double worst = 0;
      for (std::size_t i = 0; i < exact.size(); ++i)
        worst = std::max(worst, std::abs(double{found.voxels()[i]} - double{exact[i]}));
      CHECK_MESSAGE(worst <= 1e-6, name << " differs by " << worst);
    }
}

TEST_CASE("components, sizes, boxes and centres equal SciPy's, in SciPy's order") {
  const MaskFixture fixture;
  for (const std::string& name : kInputs)
    for (int c = 0; c < 3; ++c) {
      INFO(name << ", connectivity " << c);
      const std::string key = text(".", c);
      for (const bool per_slice : {false, true}) {
        const auto found =
            label_components(fixture.mask(name), {.connectivity = static_cast<Connectivity>(c), .per_slice = per_slice});
        const auto exact = fixture.values<std::uint16_t>(name + ".components" + key + plane(per_slice));
        CHECK(std::equal(exact.begin(), exact.end(), found.labels.voxels().begin(), found.labels.voxels().end()));
        if (per_slice) continue;
        const auto sizes = fixture.values<std::int32_t>(name + ".sizes" + key);
        const auto boxes = fixture.values<std::int32_t>(name + ".boxes" + key);   // z, y, x; low, high
        const auto centers = fixture.values<float>(name + ".centers" + key);
        REQUIRE(found.list.size() == sizes.size());
        for (std::size_t i = 0; i < sizes.size(); ++i) {
          const Component& one = found.list[i];
          CHECK(one.voxels == sizes[i]);
          const std::int32_t* box = boxes.data() + 6 * i;
          CHECK(one.low == Xyz<Index>{box[4], box[2], box[0]});
          CHECK(one.high == Xyz<Index>{box[5], box[3], box[1]});
          CHECK(one.center.x == doctest::Approx(centers[3 * i + 2]).epsilon(1e-6));
          CHECK(one.center.y == doctest::Approx(centers[3 * i + 1]).epsilon(1e-6));
          CHECK(one.center.z == doctest::Approx(centers[3 * i]).epsilon(1e-6));
          CHECK(found.centroid(i).z == doctest::Approx(2.5 * one.center.z));
        }
      }
    }
}

TEST_CASE("components of equal labels equal scikit-image's") {
  const MaskFixture fixture;
  for (int c = 0; c < 3; ++c) {
    const auto found =
        label_components(fixture.mask("labels"), {.connectivity = static_cast<Connectivity>(c), .by_value = true});
    const auto exact = fixture.values<std::uint16_t>(text("labels.components.", c, ".3d"));
    CHECK(std::equal(exact.begin(), exact.end(), found.labels.voxels().begin(), found.labels.voxels().end()));
  }
}

void check_all(const MaskFixture& fixture, const std::string& name, const std::string& prefix, const std::string& key,
               const MorphologyOptions& options) {
  const Mask mask = fixture.mask(name);
  const std::string start = name + "." + prefix, end = key + plane(options.per_slice);
  fixture.check(start + "erosion" + end, erode(mask, options).voxels());
  fixture.check(start + "dilation" + end, dilate(mask, options).voxels());
  fixture.check(start + "opening" + end, opening(mask, options).voxels());
  fixture.check(start + "closing" + end, closing(mask, options).voxels());
}

TEST_CASE("erosion, dilation, opening and closing equal SciPy's at every border") {
  const MaskFixture fixture;
  for (const std::string& name : kInputs)
    for (const bool per_slice : {false, true})
      for (const bool border : {false, true}) {
        check_all(fixture, name, "ball_", text(".", int{border}), {.radius_mm = 2.1, .border = border, .per_slice = per_slice});
        for (int c = 0; c < 3; ++c)
          for (const int iterations : {1, 2})
            check_all(fixture, name, "", text(".", c, ".", iterations, ".", int{border}),
                      {.connectivity = static_cast<Connectivity>(c),
                       .iterations = iterations,
                       .border = border,
                       .per_slice = per_slice});
      }
}

TEST_CASE("holes are SciPy's") {
  const MaskFixture fixture;
  for (const std::string& name : kInputs) {
    const Mask mask = fixture.mask(name);
    fixture.check(name + ".fill.3d", fill_holes(mask).voxels());
    fixture.check(name + ".fill.2d", fill_holes(mask, {.per_slice = true}).voxels());
    for (int c = 0; c < 3; ++c)
      fixture.check(text(name, ".fill.", c), fill_holes(mask, {.connectivity = static_cast<Connectivity>(c)}).voxels());
  }
}

}   // namespace
