// Labels made slice by slice on the scan's grid, held against resampling every channel as a volume and deciding then.
#include "parity/fixture_file.hpp"

#include <Eigen/Geometry>
#include <ctseg/core/random.hpp>
#include <ctseg/image/steps.hpp>
#include <ctseg/infer/to_original.hpp>

using namespace ctseg;

namespace {

/// An oblique scan; air is exactly 0 in a frame around the body.
Volume<float> scan(Xyz<double> spacing = {0.8, 1.1, 2}) {
  Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
  m.block<3, 3>(0, 0) = Eigen::AngleAxisd(0.2, Eigen::Vector3d(1, -2, 3).normalized()).toRotationMatrix() *
                        Eigen::Vector3d(-spacing.x, spacing.y, spacing.z).asDiagonal();
  m.block<3, 1>(0, 3) << -11.3, 22.7, 5.9;
  Volume<float> v(Grid{{29, 33, 21}, Affine<Ras>(m), NiftiPlacement{.qform_code = 2}});
  for (Index z = 2; z < 19; ++z)
    for (Index y = 3; y < 30; ++y)
      for (Index x = 4; x < 25; ++x) v(z, y, x) = 50;
  return v;
}

/// Logits with a channel behind the other, as slabs hold them.
struct Logits {
  Xyz<Index> shape;
  Index channels;
  std::vector<float> values;

  Logits(const Grid& grid, Index c, bool smooth = false) : shape(grid.shape), channels(c) {
    RandomStream random({.seed = 3});
    for (Index i = 0; i < grid.voxels(); ++i)
      for (Index k = 0; k < c; ++k) {
        const double place =
            std::sin(double(i % shape.x) / 4 + double(k)) + std::cos(double(i / shape.x % shape.y) / 5 * double(k + 1));
        values.push_back(static_cast<float>(smooth ? 4 * place + random.uniform(-0.1, 0.1) : random.normal()));
      }
  }
  void each(Index slices, const auto& sink) const {
    const Index plane = shape.x * shape.y * channels;
    for (Index z = 0; z < shape.z; z += slices) {
      const std::vector<float> gone(values.begin() + z * plane, values.begin() + std::min(shape.z, z + slices) * plane);
      sink(LogitSlab{z, std::min(slices, shape.z - z), shape.y, shape.x, channels, gone.data()});
    }
  }
  Volume<float> channel(const Grid& grid, Index c, Scores scores) const {
    Volume<float> v(grid);
    std::vector<float> row(static_cast<std::size_t>(channels));
    for (std::size_t i = 0; i < v.voxels().size(); ++i) {
      to_scores({values.data() + i * row.size(), row.size()}, scores, row.data());
      v.voxels()[i] = row[static_cast<std::size_t>(c)];
    }
    return v;
  }
};

/// Every channel as a volume on the scan's grid, then the decision; what was not kept is 0.
Volume<std::uint8_t> unfused(const GridPath& path, const Logits& logits, const ToOriginalOptions& o) {
  const ResampleOptions how{.interpolation =
                                o.order == InverseOrder::labels_first ? Interpolation::nearest : Interpolation::linear};
  std::vector<Volume<float>> channels;
  for (Index c = 0; c < logits.channels; ++c)
    channels.push_back(path.to_original(logits.channel(path.prepared(), c, o.scores), how));
  const auto kept = path.to_original(Volume<std::uint8_t>(path.prepared(), 1));
  const Decision decision(logits.channels, o.scores, o.decision);
  const auto names = decision.labels<std::uint8_t>();
  Volume<std::uint8_t> out(path.original());
  for (std::size_t i = 0; i < out.voxels().size(); ++i) {
    std::vector<float> v;
    for (const auto& c : channels) v.push_back(c.voxels()[i]);
    out.voxels()[i] = kept.voxels()[i] ? names[decision.winner(v.data())] : std::uint8_t(0);
  }
  return out;
}
OnOriginalGrid<std::uint8_t> streamed(const GridPath& path, const Logits& logits, const ToOriginalOptions& o,
                                      Index slices = 3) {
  LabelWriter<> writer(path, logits.channels, o);
  logits.each(slices, [&](const LogitSlab& slab) { writer(slab); });
  return writer.finish();
}
Index differ(const std::vector<std::uint8_t>& a, const std::vector<std::uint8_t>& b) {
  Index n = a.size() == b.size() ? 0 : 1 << 30;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) n += a[i] != b[i];
  return n;
}

const std::vector<std::vector<PreprocessStep>> kWays = {
    {Reorient{"RAS"}, Spacing{{1.5, 1.3, 2.7}}},
    {Reorient{"LPI"}, CropNonzero{}, Spacing{{0.61, 0.9, 1.1}}, SpatialPad{.shape = {40, 24, 40}}},
    {CropForeground{.threshold = 10}, Resize{{17, 21, 33}}, SpatialPad{.shape = {20, 8, 33}}},
    {Reorient{"PIR"}, CropNonzero{}, SpatialPad{.shape = {30, 5, 33}}},   // nothing is resampled
    {Reorient{"SPL"}, CropNonzero{}, Spacing{{0.7, 1.4, 1.9}}, Reorient{"LAS"}, SpatialPad{.shape = {24, 24, 40}}},
    {},
};

}   // namespace

TEST_CASE("labels are those of resampling every channel and deciding then, bit for bit, for every way, order and rule") {
  for (std::size_t w = 0; w < kWays.size(); ++w)
    for (const SizeRule rule : {SizeRule::monai, SizeRule::nnunet}) {
      auto steps = kWays[w];
      for (PreprocessStep& step : steps)
        if (auto* spacing = std::get_if<Spacing>(&step)) spacing->rule = rule;
      const auto x = apply_steps(scan({0.8, 1.1, rule == SizeRule::nnunet ? 3.5 : 2.0}), steps);   // 3.5 mm: a coarse axis
      for (const Index channels : {1, 2, 5})
        for (const bool smooth : {false, true}) {
          const Logits logits(x.image.grid(), channels, smooth);
          for (const auto order : {InverseOrder::probabilities_first, InverseOrder::labels_first})
            for (const Decide decide : {Decide::argmax, Decide::threshold}) {
              const ToOriginalOptions o{.order = order, .decision = {.decide = decide}};
              const auto want = unfused(x.path, logits, o), got = streamed(x.path, logits, o).labels;
              CHECK(got.affine() == scan({0.8, 1.1, rule == SizeRule::nnunet ? 3.5 : 2.0}).affine());
              CHECK(got.grid().nifti->qform_code == 2);
              CHECK_MESSAGE(differ(got.voxels(), want.voxels()) == 0, "way ", w, ", channels ", channels, ", smooth ", smooth,
                            ", order ", int(order), ", decide ", int(decide));
            }
        }
    }
}

TEST_CASE("probabilities are interpolated, or made of interpolated logits; labels have names of their own") {
  const auto x = apply_steps(scan(), kWays[1]);
  const Logits logits(x.image.grid(), 4);
  for (const Scores scores : {Scores::logits, Scores::softmax, Scores::sigmoid})
    for (const Decide decide : {Decide::argmax, Decide::threshold}) {
      const ToOriginalOptions o{
          .scores = scores, .decision = {.decide = decide, .threshold = 0.7, .labels = {0, 7, 9, 4}}, .probability_of = 2};
      const auto got = streamed(x.path, logits, o);
      CHECK(differ(got.labels.voxels(), unfused(x.path, logits, o).voxels()) == 0);
      std::vector<Volume<float>> at;
      for (Index c = 0; c < 4; ++c) at.push_back(x.path.to_original(logits.channel(x.path.prepared(), c, scores)));
      const auto kept = x.path.to_original(Volume<std::uint8_t>(x.path.prepared(), 1));
      double worst = 0;
      Index outside = 0;
      for (std::size_t i = 0; i < kept.voxels().size(); ++i) {
        double sum = 0, v = double{at[2].voxels()[i]};
        for (Index c = 0; c < 4; ++c) sum += std::exp(double{at[static_cast<std::size_t>(c)].voxels()[i]});
        if (scores == Scores::logits) v = decide == Decide::argmax ? std::exp(v) / sum : 1 / (1 + std::exp(-v));
        worst = std::max(worst, std::abs(double{got.probability.value().voxels()[i]} - (kept.voxels()[i] ? v : 0)));
        outside += !kept.voxels()[i];
      }
      CHECK(worst < 1e-6);
      CHECK(outside > 1000);
    }
  // softmax that is there already
  Logits given = logits;
  for (std::size_t i = 0; i < given.values.size(); i += 4)
    to_scores({logits.values.data() + i, 4}, Scores::softmax, given.values.data() + i);
  CHECK(streamed(x.path, given, {.given = Scores::softmax, .scores = Scores::softmax}).labels.voxels() ==
        streamed(x.path, logits, {.scores = Scores::softmax}).labels.voxels());
}

TEST_CASE("the cut into slabs and the number of threads change no bit") {
  const auto x = apply_steps(scan(), kWays[4]);
  const Logits logits(x.image.grid(), 3);
  const auto want = streamed(x.path, logits, {.scores = Scores::softmax, .probability_of = 1}, 100);
  for (const int threads : {1, 2, 4})
    for (const Index slices : {1, 2, 7}) {
      ThreadPool pool(threads);
      const auto got = streamed(x.path, logits, {.scores = Scores::softmax, .probability_of = 1, .executor = &pool}, slices);
      CHECK(got.labels.voxels() == want.labels.voxels());
      CHECK(got.probability->voxels() == want.probability->voxels());
    }
}

TEST_CASE("a voxel that is not finite, and ties, decide as they do in a volume") {
  const auto x = apply_steps(scan(), kWays[0]);
  Logits logits(x.image.grid(), 3, true);
  for (std::size_t i = 0; i < logits.values.size(); i += 97)
    logits.values[i] = i % 2 ? std::numeric_limits<float>::quiet_NaN() : -std::numeric_limits<float>::infinity();
  for (std::size_t i = 0; i + 3 < logits.values.size(); i += 15)
    logits.values[i] = logits.values[i + 1] = logits.values[i + 2] = i % 2 ? 0.f : 1.f;
  for (const Decide decide : {Decide::argmax, Decide::threshold}) {
    const ToOriginalOptions o{.decision = {.decide = decide}};
    CHECK(differ(streamed(x.path, logits, o).labels.voxels(), unfused(x.path, logits, o).voxels()) == 0);
  }
  // one step of float apart everywhere: rounding makes ties between neighbours that agree
  for (std::size_t i = 0; i < logits.values.size(); i += 3) {
    const float v = i % 5 == 0 ? 1.f : 1000 + static_cast<float>(i % 101) / 7;   // steps of several sizes
    logits.values[i] = v, logits.values[i + 1] = std::nextafter(v, 2000.f), logits.values[i + 2] = -v;
  }
  const auto close = streamed(x.path, logits, {}).labels;
  CHECK(std::ranges::count(close.voxels(), 0) > 100);
  CHECK(differ(close.voxels(), unfused(x.path, logits, {}).voxels()) == 0);
}

TEST_CASE("a way that resamples twice keeps all logits, and says so") {
  const auto x = apply_steps(scan(), {Reorient{"RAS"}, Spacing{{1.5, 1.5, 0}}, CropForeground{}, Resize{{40, 0, 9}}});
  const Logits logits(x.image.grid(), 3, true);
  for (const Decide decide : {Decide::argmax, Decide::threshold}) {
    const ToOriginalOptions o{.scores = Scores::sigmoid, .decision = {.decide = decide}, .probability_of = 1};
    const LabelWriter<> writer(x.path, 3, o);
    CHECK(!writer.streams());
    CHECK(writer.bytes() > x.image.grid().voxels() * 3 * 4);
    const auto got = streamed(x.path, logits, o);
    CHECK(differ(got.labels.voxels(), unfused(x.path, logits, o).voxels()) == 0);
    auto want = x.path.to_original(logits.channel(x.path.prepared(), 1, Scores::sigmoid));
    const auto kept = x.path.to_original(Volume<std::uint8_t>(x.path.prepared(), 1));
    for (std::size_t i = 0; i < want.voxels().size(); ++i) want.voxels()[i] *= kept.voxels()[i];
    CHECK(got.probability->voxels() == want.voxels());
  }
  CHECK_THROWS_WITH_AS(LabelWriter<>(x.path, 3, {.probability_of = 1}), doctest::Contains("Scores::softmax"), Error);
}

TEST_CASE("memory does not grow with the volume; many labels need wide ones") {
  const Grid small{{512, 512, 40}, Affine<Ras>(Eigen::Matrix4d::Identity())};
  GridPath path(small);
  path.resampled_to(grid_with_spacing(small, {1, 1, 2}), SizeRule::monai);
  const LabelWriter<> writer(path, 26);
  CHECK(writer.streams());
  CHECK(writer.bytes() == 512 * 512 * (40 + 2 * (26 * 4 + 2)));
  CHECK_THROWS_WITH_AS(LabelWriter<>(path, 300), doctest::Contains("std::uint16_t"), Error);
  CHECK(LabelWriter<std::uint16_t>(path, 300).streams());
}

TEST_CASE("what makes no sense is refused with numbers") {
  const auto x = apply_steps(scan(), {Spacing{{1.5, 1.5, 0}}});
  const Logits logits(x.image.grid(), 2);
  CHECK_THROWS_WITH_AS(LabelWriter<>(x.path, 0), doctest::Contains("0 channels"), Error);
  CHECK_THROWS_WITH_AS(LabelWriter<>(x.path, 2, {.decision = {.threshold = 1}}), doctest::Contains("threshold = 1"), Error);
  CHECK_THROWS_WITH_AS(LabelWriter<>(x.path, 2, {.decision = {.labels = {1}}}), doctest::Contains("1 labels for 2"), Error);
  CHECK_THROWS_WITH_AS(LabelWriter<>(x.path, 2, {.decision = {.labels = {0, 256}}}), doctest::Contains("label 256"), Error);
  CHECK_THROWS_WITH_AS(LabelWriter<>(x.path, 2, {.probability_of = 2}), doctest::Contains("probability_of = 2"), Error);
  CHECK_THROWS_WITH_AS(LabelWriter<>(x.path, 2, {.given = Scores::softmax}), doctest::Contains("the slabs hold softmax"),
                       Error);
  LabelWriter<> writer(x.path, 2);
  const Xyz<Index> n = x.image.shape();
  CHECK_THROWS_WITH_AS(writer.finish(), doctest::Contains("slices 0 to 21"), Error);
  CHECK_THROWS_AS(writer({1, 1, n.y, n.x, 2, logits.values.data()}), Error);
  CHECK_THROWS_AS(writer({0, 1, n.x, n.y, 2, logits.values.data()}), Error);
  CHECK_THROWS_AS(writer({0, 1, n.y, n.x, 1, logits.values.data()}), Error);
  CHECK_THROWS_AS(writer({0, n.z + 1, n.y, n.x, 2, logits.values.data()}), Error);
  writer({0, n.z, n.y, n.x, 2, logits.values.data()});
  CHECK_THROWS_AS(writer({0, n.z, n.y, n.x, 2, logits.values.data()}), Error);
  writer.finish();
  CHECK_THROWS_AS(writer.finish(), Error);

  GridPath astray(x.image.grid());
  astray.moved_to(crop_grid(x.image.grid(), {{100, 100, 100}, {104, 104, 104}}));
  const auto nothing = streamed(astray, Logits(astray.prepared(), 2), {.decision = {.labels = {1, 2}}});
  CHECK(std::ranges::count(nothing.labels.voxels(), 0) == x.image.grid().voxels());
}

TEST_CASE("MONAI's Invertd of Orientation and Spacing, both orders") {
  const test::Fixture f("prediction");
  const auto matrix = [&](const std::string& name) {
    Eigen::Matrix4d m;
    for (int i = 0; i < 16; ++i) m(i / 4, i % 4) = f.values("inverse." + name).at(static_cast<std::size_t>(i));
    return Affine<Ras>(m);
  };
  const auto size = f.values<double>("inverse.shape");
  const Grid grid{{Index(size[0]), Index(size[1]), Index(size[2])}, matrix("affine")};
  const auto x = apply_steps(Volume<float>(grid), {Reorient{"RAS"}, Spacing{{1.3, 1.1, 1.7}}});
  const auto& extents = f.extents("inverse.logits");
  REQUIRE(same_grid(x.image.grid(), Grid{{extents[2], extents[1], extents[0]}, matrix("prepared_affine")}));
  Logits logits(x.image.grid(), 3);
  logits.values = f.values<float>("inverse.logits");

  const auto want = f.values<float>("inverse.probabilities");   // channel, z, y, x
  const auto voxels = static_cast<std::size_t>(grid.voxels());
  Index labels = 0, ties = 0;
  for (Index c = 0; c < 3; ++c) {
    const auto got = streamed(x.path, logits, {.scores = Scores::softmax, .probability_of = c});
    double worst = 0;
    for (std::size_t i = 0; i < voxels; ++i) {
      const float* const at = want.data() + i;
      worst = std::max(worst, std::abs(double{got.probability->voxels()[i]} - double{at[std::size_t(c) * voxels]}));
      const std::array<float, 3> p{at[0], at[voxels], at[2 * voxels]};
      const auto label = std::max_element(p.begin(), p.end()) - p.begin();
      if (got.labels.voxels()[i] == label) continue;
      ++labels;
      ties += p[static_cast<std::size_t>(label)] - p[got.labels.voxels()[i]] < 1e-5f;
    }
    MESSAGE("probability of class ", c, ": largest deviation ", worst);
    CHECK(worst < 1e-5);
  }
  CHECK(labels == ties);
  CHECK(ties <= 3);
  const auto first = streamed(x.path, logits, {.order = InverseOrder::labels_first});
  const Index other = differ(first.labels.voxels(), f.values<std::uint8_t>("inverse.labels_first"));
  MESSAGE("labels of other voxels than MONAI's: probabilities first ", labels, ", labels first ", other);
  CHECK(other == 0);
}
