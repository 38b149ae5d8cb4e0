// Augmentation on the card against the CPU's: the same drawn steps, the same patches.
#include <doctest/doctest.h>

#include <cmath>
#include <ctseg/core/tensor.hpp>
#include <ctseg/cuda.hpp>
#include <ctseg/data/augment/recipes.hpp>
#include <ctseg/data/cuda/patch_sampler.hpp>

namespace cs = ctseg;
namespace au = ctseg::augment;
using cs::Index;

namespace {

/// A case of smooth values with some noise, and labels in blocks.
struct Source {
  cs::Extent size{14, 12, 16};
  Index channels = 2;
  std::vector<float> image{};
  std::vector<std::uint8_t> label{};

  Source() {
    const Index n = cs::voxels_of(size);
    for (Index i = 0; i < n * channels; ++i)
      image.push_back(std::sin(0.05f * static_cast<float>(i % n)) +
                      0.2f * cs::uniform({3, 0, 0}, static_cast<std::uint64_t>(i)));
    for (Index i = 0; i < n; ++i) label.push_back(static_cast<std::uint8_t>((i / 5 + i / 48) % 4));
  }
  cs::PatchSource at(const cs::Extent& corner) const {
    return {
        .image = image.data(), .label = label.data(), .size = size, .corner = corner, .channels = channels, .outside = -0.5f};
  }
};

struct Rig {
  cs::Context<cs::Cuda> ctx{};
  Source source{};
  cs::Memory<cs::Cuda> image = up(source.image), label = up(source.label);

  template <class V> cs::Memory<cs::Cuda> up(const std::vector<V>& v) {
    cs::Memory<cs::Cuda> m = ctx.allocate(std::ssize(v) * Index{sizeof(V)});
    cs::cuda::copy_to_device(ctx.stream(), m.data(), v.data(), std::ssize(v) * Index{sizeof(V)});
    return m;
  }
  template <class V> std::vector<V> down(const V* from, Index count) {
    std::vector<V> v(static_cast<std::size_t>(count));
    cs::cuda::copy_to_host(ctx.stream(), v.data(), from, count * Index{sizeof(V)});
    ctx.synchronize();
    return v;
  }
  /// The largest difference from the CPU's patch; labels must be equal. Each patch is made twice: memory that was used.
  double differs(const cs::Augmentation& drawn, const cs::Extent& size, const cs::Extent& corner) {
    cs::Patch want{.size = size};
    cs::cut_and_apply(drawn, source.at(corner), want);
    cs::cuda::DevicePatch patch{.size = size};
    const cs::cuda::DevicePatchSource from{reinterpret_cast<const float*>(image.data()),
                                           reinterpret_cast<const std::uint8_t*>(label.data()),
                                           source.size,
                                           corner,
                                           source.channels,
                                           -0.5f};
    double most = 0;
    for (int round = 0; round < 2; ++round) {
      cs::cut_and_apply(ctx, drawn, from, patch);
      const auto got = down(patch.image.data<float>(), patch.values());
      REQUIRE(got.size() == want.image.size());
      for (std::size_t i = 0; i < got.size(); ++i) {
        const double apart = std::abs(static_cast<double>(got[i]) - static_cast<double>(want.image[i]));
        if (!(apart <= most)) most = apart;
      }
      CHECK(down(patch.label.data<std::uint8_t>(), patch.voxels()) == want.label);
    }
    return most;
  }
  /// The same for what a recipe draws, some samples of it, inside and over the border.
  double differs(const cs::Recipe& recipe, int samples = 3, const cs::Extent& size = {8, 8, 8}) {
    double most = 0;
    for (int s = 0; s < samples; ++s) {
      const auto drawn = cs::draw(recipe, cs::sample_key(7, 0, static_cast<std::uint32_t>(s)), {size, source.channels});
      most = std::max(most, differs(drawn, size, s % 2 ? cs::Extent{3, 2, 5} : cs::Extent{-2, 7, 10}));
    }
    return most;
  }
};

constexpr double kExact = 0, kClose = 1e-5;

}   // namespace

TEST_CASE("augmentation on the card: voxels that only move") {
  Rig rig;
  CHECK(rig.differs(cs::Augmentation{}, {8, 8, 8}, {3, 2, 5}) <= kExact);
  CHECK(rig.differs(cs::Augmentation{}, {20, 5, 7}, {-3, -2, 12}) <= kExact);
  CHECK(rig.differs({{cs::RandFlip{.probability = 1, .axes = {true, false, true}}}}) <= kExact);
  CHECK(rig.differs({{cs::MirrorTransform{.probability = 0.5}, cs::RandRotate90{.probability = 1, .about = cs::Axis::y}}}, 5) <=
        kExact);
}

TEST_CASE("augmentation on the card: resampling") {
  Rig rig;
  using cs::Border, cs::LabelSampling;
  for (const Border border : {Border::border, Border::reflection, Border::zeros})
    for (const LabelSampling labels : {LabelSampling::nearest, LabelSampling::linear})
      CHECK(rig.differs({{cs::RandAffine{.probability = 1,
                                         .degrees = cs::all_axes(cs::symmetric(40)),
                                         .shear = {.zx = cs::symmetric(0.3)},
                                         .translate_voxels = cs::all_axes(cs::symmetric(3)),
                                         .scale = cs::all_axes(cs::symmetric(0.4)),
                                         .border = border,
                                         .labels = labels}}}) <= kExact);
  CHECK(rig.differs({{cs::RandRotate{.probability = 1, .degrees = {.z = cs::symmetric(30)}}}}, 3, {1, 9, 9}) <= kExact);
  CHECK(rig.differs({{cs::RandZoom{.probability = 1, .zoom = {0.6, 1.5}}}}) <= kExact);
  CHECK(rig.differs({{cs::RandZoom{.probability = 1, .zoom = {0.6, 1.5}, .mode = cs::ZoomMode::linear}}}) <= kExact);
}

TEST_CASE("augmentation on the card: elastic deformation, alone and between moves") {
  Rig rig;
  const cs::Rand3DElastic elastic{.probability = 1,
                                  .sigma_voxels = {1, 2},
                                  .magnitude_voxels = {5, 10},
                                  .affine = {.degrees = cs::all_axes(cs::symmetric(20))}};
  CHECK(rig.differs({{elastic}}) <= kExact);
  CHECK(rig.differs({{elastic}}, 2, {1, 8, 8}) <= kExact);
  CHECK(rig.differs({{cs::RandFlip{.probability = 1, .axes = {.x = true}}, elastic,
                      cs::RandRotate{.probability = 1, .degrees = {.z = cs::symmetric(30)}}, elastic}},
                    2) <= kExact);
}

TEST_CASE("augmentation on the card: values") {
  Rig rig;
  CHECK(rig.differs({{cs::RandScaleIntensity{.probability = 1}, cs::RandShiftIntensity{.probability = 1},
                      cs::MultiplicativeBrightnessTransform{.probability = 1}}}) <= kExact);
  CHECK(rig.differs({{cs::RandGaussianNoise{.probability = 1, .mean = 0.1}}}) <= kClose);
  CHECK(rig.differs({{cs::ContrastTransform{.probability = 1}}}) <= kClose);
  CHECK(rig.differs({{cs::ContrastTransform{.probability = 1, .preserve_range = false}}}) <= kClose);
  for (const bool invert : {false, true})
    for (const bool retain : {false, true}) {
      CHECK(rig.differs({{cs::GammaTransform{.probability = 1, .invert = invert, .retain_statistics = retain}}}, 2) <= kClose);
      CHECK(rig.differs({{cs::RandAdjustContrast{.probability = 1, .invert = invert, .retain_statistics = retain}}}, 2) <=
            kClose);
    }
  // more steps than a pass holds
  cs::Recipe many;
  for (int i = 0; i < 7; ++i) many.transforms.push_back(cs::RandScaleIntensity{.probability = 1});
  CHECK(rig.differs(many) <= kExact);
}

TEST_CASE("augmentation on the card: blur and resolution") {
  Rig rig;
  CHECK(rig.differs({{cs::RandGaussianSmooth{.probability = 1}}}) <= kExact);
  CHECK(rig.differs({{cs::GaussianBlurTransform{.probability = 1}}}) <= kExact);
  CHECK(rig.differs({{cs::SimulateLowResolutionTransform{.probability = 1, .channel_probability = 1}}}) <= kExact);
  CHECK(rig.differs({{cs::SimulateLowResolutionTransform{.probability = 1, .scale_z = false}}}, 3, {1, 8, 9}) <= kExact);
}

TEST_CASE("augmentation on the card: whole recipes") {
  Rig rig;
  CHECK(rig.differs(cs::nnunet_recipe({8, 8, 8}), 24) <= kClose);
  CHECK(rig.differs(cs::lung_nodule_recipe(), 8) <= kClose);
  CHECK(rig.differs(cs::coronary_recipe(), 8) <= kClose);
  CHECK(rig.differs(cs::liver_slice_recipe(), 6, {1, 8, 8}) <= kClose);
}

TEST_CASE("augmentation on the card: what cannot be is refused as on the CPU") {
  Rig rig;
  cs::cuda::DevicePatch patch{.size = {4, 4, 1}};
  const cs::cuda::DevicePatchSource thin{reinterpret_cast<const float*>(rig.image.data()), nullptr, {4, 4, 1}, {}, 1, 0};
  const cs::Augmentation turn{{au::AffineStep{"RandRotate", au::turn(0, 0.3), cs::Border::border}}};
  CHECK_THROWS_WITH_AS(cs::cut_and_apply(rig.ctx, turn, thin, patch), doctest::Contains("two voxels along x"), cs::Error);
  const cs::Augmentation other{{au::LinearStep{"x", 2, 0, 3}}};
  CHECK_THROWS_WITH_AS(cs::cut_and_apply(rig.ctx, other, thin, patch), doctest::Contains("channel 3"), cs::Error);
}

namespace {

std::vector<cs::Case> cases() {
  std::vector<cs::Case> all;
  for (const Index n : {12, 9, 15}) {
    const cs::Grid grid{{n, n + 1, n + 2}, cs::Affine<cs::Ras>(Eigen::Matrix4d::Identity())};
    cs::Case c{ctseg::text("case ", n), cs::Volume<float>(grid), cs::Volume<std::uint8_t>(grid)};
    for (std::size_t i = 0; i < c.image.voxels().size(); ++i) {
      c.image.voxels()[i] = cs::uniform({static_cast<std::uint64_t>(n), 0, 0}, i);
      c.label.voxels()[i] = static_cast<std::uint8_t>(i % 11 == 0);
    }
    all.push_back(std::move(c));
  }
  return all;
}

/// Samples of the device's sampler against those of the host's.
template <class T, int Dim> double apart(const cs::PatchSamplerOptions<Dim>& o, Index max_bytes, double& uploads) {
  using S = cs::Spec<T, Dim, cs::Cuda>;
  cs::Context<cs::Cuda> ctx;
  const cs::PatchSampler<cs::Spec<T, Dim, cs::Cpu>> host(cases(), o);
  const cs::DevicePatchSampler<S> card(ctx, cases(), o, max_bytes);
  const cs::Shape<Dim> shape = host.shape(5);
  cs::Tensor<T, Dim> images(shape);
  cs::Tensor<std::uint8_t, Dim> labels(shape);
  const auto used = host.fill({3, 0, 0}, 10, images.view(), labels.view());
  cs::Memory<cs::Cuda> x = ctx.allocate(shape.elements() * Index{sizeof(T)}), y = ctx.allocate(shape.elements());
  CHECK(card.fill(ctx, {3, 0, 0}, 10, {reinterpret_cast<T*>(x.data()), shape, 1},
                  {reinterpret_cast<std::uint8_t*>(y.data()), shape, 1}) == used);
  cs::Tensor<T, Dim> got(shape);
  cs::Tensor<std::uint8_t, Dim> got_labels(shape);
  cs::cuda::copy_to_host(ctx.stream(), got.data(), x.data(), shape.elements() * Index{sizeof(T)});
  cs::cuda::copy_to_host(ctx.stream(), got_labels.data(), y.data(), shape.elements());
  ctx.synchronize();
  double most = 0;
  for (Index i = 0; i < shape.elements(); ++i) {
    most = std::max(most, std::abs(static_cast<double>(static_cast<float>(got.data()[i])) -
                                   static_cast<double>(static_cast<float>(images.data()[i]))));
    CHECK(got_labels.data()[i] == labels.data()[i]);
  }
  uploads = static_cast<double>(card.on_card().uploads());
  return most;
}

}   // namespace

TEST_CASE("patches made on the card are the sampler's") {
  double uploads = 0;
  CHECK(apart<float, 3>({.patch = 8}, 0, uploads) <= kExact);
  CHECK(uploads <= 3);   // each case once
  CHECK(apart<float, 3>({.patch = {6, 8, 13}, .positive = 3, .outside = -1, .augment = cs::nnunet_recipe({6, 8, 13})}, 0,
                        uploads) <= kClose);
  CHECK(apart<cs::bf16, 3>({.patch = 8, .augment = cs::lung_nodule_recipe()}, 0, uploads) <= 1e-2);
  CHECK(apart<float, 2>({.patch = 8, .class_weights = {1, 2}, .augment = cs::liver_slice_recipe()}, 0, uploads) <= kClose);
  CHECK(apart<float, 3>({.patch = 8}, 1, uploads) <= kExact);   // room for one case at a time
  CHECK(uploads > 1);
}
