// Preprocessing held against MONAI, nnU-Net, SciPy and numpy (make_preprocess_fixtures.py).
#include "fixture_file.hpp"

#include <ctseg/image/statistics.hpp>
#include <ctseg/image/steps.hpp>

using namespace ctseg;
using namespace ctseg::test;

namespace {

const Fixture& fixture() {
  static const Fixture f("preprocess");
  return f;
}

Affine<Ras> affine_of(const std::string& name) {
  const std::vector<double> v = fixture().values(name + ".affine");
  Eigen::Matrix4d m;
  for (int i = 0; i < 16; ++i) m(i / 4, i % 4) = v[static_cast<std::size_t>(i)];
  return Affine<Ras>(m);
}
template <class T> Volume<T> volume_of(const std::string& name, const Affine<Ras>& affine) {
  const std::vector<Index>& e = fixture().extents(name);
  const std::vector<double> values = fixture().values(name);
  std::vector<T> voxels(values.begin(), values.end());
  return Volume<T>(Grid{{e.at(2), e.at(1), e.at(0)}, affine}, std::move(voxels));
}
Volume<float> image(const std::string& name) { return volume_of<float>(name, affine_of("ct")); }
Volume<std::uint8_t> labels() { return volume_of<std::uint8_t>("labels", affine_of("ct")); }

/// Largest deviation as a share of the range of the expected values; infinite where shapes or places differ.
template <class T> double apart(const std::string& name, const Volume<T>& found) {
  const std::vector<Index>& e = fixture().extents(name);
  if (!(found.shape() == Xyz<Index>{e.at(2), e.at(1), e.at(0)})) return std::numeric_limits<double>::infinity();
  const std::vector<double> want = fixture().values(name);
  double worst = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double difference = std::abs(want[i] - static_cast<double>(found.voxels()[i]));
    worst = difference <= worst ? worst : difference;   // NaN stays
  }
  if (fixture().has(name + ".affine") && !((affine_of(name).matrix - found.affine().matrix).cwiseAbs().maxCoeff() < 1e-5))
    return std::numeric_limits<double>::infinity();
  const auto [low, high] = std::minmax_element(want.begin(), want.end());
  return *high > *low ? worst / (*high - *low) : worst;
}
template <class T> void same(const std::string& name, const Volume<T>& found) {
  const double share = apart(name, found);
  MESSAGE(name << ": " << share << " of the range");
  CHECK_MESSAGE(share <= (std::is_integral_v<T> ? 0 : 1e-5), name);
}

}   // namespace

TEST_CASE("MONAI: orientation and spacing") {
  for (const std::string codes : {"RAS", "PIR", "LPS"}) same("orientation." + codes, reorient(image("ct"), codes));
  const auto ct = image("ct");
  for (const auto& [name, mm] :
       {std::pair<std::string, Xyz<double>>{"coarse", {1.31, 1.7, 3.1}}, {"fine", {0.55, 0.63, 1.1}}}) {
    same("spacing." + name, resample(ct, grid_with_spacing(ct.grid(), mm)));
    const auto nearest = resample(labels(), grid_with_spacing(ct.grid(), mm), {});
    same("spacing_labels." + name, nearest);
  }
}

TEST_CASE("MONAI: resize, pad and crop") {
  const auto ct = image("ct"), body = image("body");
  for (const auto& [mode, name] :
       {std::pair{ResizeMode::linear, "trilinear"}, {ResizeMode::area, "area"}, {ResizeMode::nearest, "nearest"}}) {
    same(std::string("resize.") + name + ".small", resize(ct, {{5, 6, 4}, mode}));
    same(std::string("resize.") + name + ".mixed", resize(ct, {{13, 7, 12}, mode}));
  }
  same("pad.constant", spatial_pad(ct, {.shape = {14, 9, 10}, .outside = -5}));
  same("pad.edge", spatial_pad(ct, {.shape = {14, 12, 10}, .outside = std::nullopt}));
  same("foreground.plain", crop_foreground(body));
  same("foreground.margin", crop_foreground(body, {.threshold = 700, .margin = {2, 3, 4}, .divisible_by = 4}));
  same("foreground.smaller", crop_foreground(body, {.margin = {4, 4, 4}, .allow_smaller = true}));
}

TEST_CASE("MONAI: intensities") {
  const auto ct = image("ct");
  same("range", scale_intensity_range(ct, {-160, 240, -1, 2}));
  same("range.clip", scale_intensity_range(ct, {-160, 240, 0, 1, true}));
  same("range.clip", apply_window(ct, {-160, 240}));
  same("range.flat", scale_intensity_range(ct, {40, 40, 3, 5}));
  same("scale", scale_intensity(ct, {-1, 3}));
  same("normalize", z_score(ct));
  same("normalize.nonzero", z_score(image("body"), {Voxels::nonzero}));
  same("normalize.given", normalize_ct(ct, {.mean = 70.5, .deviation = 130.25}));
}

TEST_CASE("SciPy: splines on parallel and on turned grids") {
  const auto ct = image("ct");
  same("zoom3", resample(ct, grid_with_shape(ct.grid(), Xyz<Index>{16, 5, 10}), {.interpolation = Interpolation::cubic}));
  const Grid oblique{{8, 9, 6}, affine_of("oblique")};
  same("oblique1", resample(ct, oblique));
  same("oblique3", resample(ct, oblique, {.interpolation = Interpolation::cubic}));
}

TEST_CASE("nnU-Net: images, labels and logits between spacings") {
  for (const std::string name : {"even", "thick", "thin", "two"}) {
    const std::vector<double> mm = fixture().values("nnunet." + name + ".spacings");
    const Xyz<double> from{mm[2], mm[1], mm[0]}, to{mm[5], mm[4], mm[3]};
    const Affine<Ras> place(Eigen::Matrix4d(Eigen::Vector4d(from.x, from.y, from.z, 1).asDiagonal()));
    const auto ct = volume_of<float>("ct", place);
    const Grid grid = grid_with_spacing(ct.grid(), to, SizeRule::nnunet);
    same("nnunet." + name + ".image", resample(ct, grid, nnunet_resampling(from, to)));
    const auto seg = volume_of<std::uint8_t>("labels", place);
    same("nnunet." + name + ".labels", resample(seg, grid, nnunet_resampling(from, to, Interpolation::label_vote)));
    same("nnunet." + name + ".labels_most", resample(seg, grid, nnunet_resampling(from, to, Interpolation::label_most)));
    same("nnunet." + name + ".logits", resample(ct, grid, nnunet_resampling(from, to, Interpolation::linear)));
  }
}

TEST_CASE("nnU-Net: crop to the nonzero region, z-score inside it, CT normalisation by a fingerprint") {
  const auto hollow = image("hollow");
  const Preprocessed x = apply_steps(hollow, {CropNonzero{}, ZScore{Voxels::mask}});
  const std::vector<double> box = fixture().values("nonzero.box");
  CHECK(x.image.affine() == crop_grid(hollow.grid(), {{Index(box[4]), Index(box[2]), Index(box[0])}, {}}).affine);
  same("nonzero.mask", x.nonzero.value());
  same("nonzero.zscore", x.image);

  IntensityFingerprint fingerprint;
  fingerprint.add(image("ct"), labels());
  const IntensityStatistics s = fingerprint.statistics();
  const std::vector<double> want = fixture().values("fingerprint");
  const double found[] = {s.mean, s.deviation, s.percentile_00_5, s.percentile_99_5, s.median, s.min, s.max};
  for (std::size_t i = 0; i < want.size(); ++i) CHECK(found[i] == doctest::Approx(want[i]).epsilon(1e-6));
  same("nnunet.ct", normalize_ct(image("ct"), ct_normalization(s)));
}

TEST_CASE("numpy: percentiles") {
  const double q[] = {0, 0.5, 12.3, 50, 99.5, 100};
  const std::vector<double> want = fixture().values("percentiles"), found = percentiles(image("ct"), q);
  for (std::size_t i = 0; i < want.size(); ++i) CHECK(found[i] == doctest::Approx(want[i]).epsilon(1e-12));
}
