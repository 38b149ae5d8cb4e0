// Labels on the scan's own grid, and more than one look at a window: on the card as on the CPU.
#include <doctest/doctest.h>

#include <cmath>
#include <ctseg/cuda.hpp>
#include <ctseg/image/steps.hpp>
#include <ctseg/infer/cuda/test_time.hpp>
#include <ctseg/infer/cuda/to_original.hpp>

namespace cs = ctseg;
using cs::Index;

namespace {

using Host = cs::Spec<float, 3, cs::Cpu>;
using Card = cs::Spec<float, 3, cs::Cuda>;

/// A smooth scan on a grid that is turned and mirrored, with voxels of 1 x 1 x 2 mm.
cs::Volume<float> scan() {
  Eigen::Matrix4d m = Eigen::Matrix4d::Zero();
  m(0, 1) = -1, m(1, 0) = 1, m(2, 2) = 2, m(3, 3) = 1;
  cs::Volume<float> v(cs::Grid{{9, 11, 6}, cs::Affine<cs::Ras>(m)});
  for (Index i = 0; i < v.grid().voxels(); ++i)
    v.data()[i] = std::sin(0.7f * static_cast<float>(i % 9)) * std::cos(0.3f * static_cast<float>(i / 9 % 11)) +
                  0.1f * static_cast<float>(i / 99);
  return v;
}

void stand_in(const float* x, const cs::Shape<3>& shape, Index classes, float* y) {
  for (Index i = 0; i < shape.n * shape.voxels(); ++i)
    for (Index c = 0; c < classes; ++c)
      y[i * classes + c] = std::sin(x[i] * static_cast<float>(c + 1)) + 0.01f * static_cast<float>(i % shape.voxels() % 17);
}
struct HostNet {
  Index classes;
  cs::Tensor<float, 3> out{};
  cs::In<Host> operator()(cs::In<Host> x) {
    out = cs::Tensor<float, 3>(x.shape.with_channels(classes));
    stand_in(x.data, x.shape, classes, out.data());
    return std::as_const(out).view();
  }
};
struct CardNet {
  cs::Context<cs::Cuda>* ctx;
  Index classes;
  cs::Memory<cs::Cuda> out{};
  cs::In<Card> operator()(cs::In<Card> x) {
    const cs::Shape<3> shape = x.shape.with_channels(classes);
    std::vector<float> in(static_cast<std::size_t>(x.shape.elements())), made(static_cast<std::size_t>(shape.elements()));
    cs::cuda::copy_to_host(ctx->stream(), in.data(), x.data, std::ssize(in) * 4);
    ctx->synchronize();
    stand_in(in.data(), x.shape, classes, made.data());
    out = ctx->allocate(std::ssize(made) * 4);
    cs::cuda::copy_to_device(ctx->stream(), out.data(), made.data(), std::ssize(made) * 4);
    return {reinterpret_cast<const float*>(out.data()), shape, classes};
  }
};

struct Case {
  std::vector<cs::PreprocessStep> steps;
  Index classes = 3;
  cs::ToOriginalOptions to{};
};

void check(const Case& c) {
  cs::Context<cs::Cpu> host{{.threads = 1}};
  cs::Context<cs::Cuda> card;
  const cs::Preprocessed x = cs::apply_steps(scan(), c.steps);
  const cs::StreamOptions<3> o{.windows = {.window = 5, .batch = 2}};
  HostNet host_net{c.classes};
  CardNet card_net{&card, c.classes};
  cs::LabelWriter<> writer(x.path, c.classes, c.to);
  const cs::In<Host> view{x.image.data(), x.image.tensor_shape(), 1};
  cs::stream_windows<Host>(host, host_net, view, o, writer);
  const auto want = writer.finish();
  const auto got = cs::stream_to_original<Card>(card, card_net, cs::DeviceScan(card, x.image), x.path, o, c.to);
  CHECK(got.labels.voxels() == want.labels.voxels());
  CHECK(cs::same_grid(got.labels.grid(), want.labels.grid()));
  REQUIRE(got.probability.has_value() == want.probability.has_value());
  for (std::size_t i = 0; want.probability && i < want.probability->voxels().size(); ++i)
    CHECK(got.probability->voxels()[i] == doctest::Approx(want.probability->voxels()[i]).epsilon(1e-6));
}

}   // namespace

TEST_CASE("the way back on the card: LabelWriter's labels") {
  const std::vector<cs::PreprocessStep> steps{cs::Reorient{}, cs::Spacing{{1.3, 0.8, 1.1}}};
  SUBCASE("logits, argmax") { check({steps}); }
  SUBCASE("one channel, a threshold, its probability") { check({steps, 1, {.probability_of = 0}}); }
  SUBCASE("softmax before it is interpolated, and a probability") {
    check({steps, 4, {.scores = cs::Scores::softmax, .probability_of = 2}});
  }
  SUBCASE("logits, and a probability of them") { check({steps, 3, {.probability_of = 1}}); }
  SUBCASE("regions") {
    check({steps,
           3,
           {.scores = cs::Scores::sigmoid,
            .decision = {.decide = cs::Decide::threshold, .threshold = 0.6, .labels = {1, 3, 2}}}});
  }
  SUBCASE("labels first") { check({steps, 3, {.order = cs::InverseOrder::labels_first}}); }
  SUBCASE("cropped, padded, nothing resampled") {
    check({{cs::Reorient{}, cs::CropForeground{.threshold = 0.3}, cs::SpatialPad{.shape = {12, 12, 12}}}});
  }
  SUBCASE("nnU-Net's coarse axis") { check({{cs::Transpose{{0, 2, 1}}, cs::Spacing{{0.4, 0.4, 1.9}, cs::SizeRule::nnunet}}}); }
  SUBCASE("two resamplings take the host's way") { check({{cs::Spacing{{1.3, 0.8, 1.1}}, cs::Resize{.shape = {8, 8, 8}}}}); }
}

TEST_CASE("mirrored windows and ensembles on the card: the CPU's means") {
  cs::Context<cs::Cpu> host{{.threads = 1}};
  cs::Context<cs::Cuda> card;
  const cs::Volume<float> image = scan();
  const cs::DeviceScan on_card(card, image);
  const cs::In<Host> view{image.data(), image.tensor_shape(), 1};
  const cs::StreamOptions<3> o{.windows = {.window = {4, 5, 6}, .batch = 2}};
  const auto compare = [&](auto&& host_net, auto&& card_net, double tolerance) {
    const cs::Tensor<float, 3> want = cs::sliding_window<Host>(host, host_net, view, o.windows);
    std::vector<float> got;
    cs::stream_windows<Card>(card, card_net, on_card, o, [&](const cs::LogitSlab& s) {
      got.insert(got.end(), s.values, s.values + s.slices * s.rows * s.columns * s.channels);
    });
    double most = 0;
    for (std::size_t i = 0; i < got.size(); ++i)
      most = std::max(most, std::abs(static_cast<double>(got[i]) - static_cast<double>(want.data()[i])));
    CHECK(most <= tolerance);
  };
  compare(cs::mirrored<Host>(host, HostNet{2}), cs::mirrored<Card>(card, CardNet{&card, 2}), 0);
  compare(cs::mirrored<Host>(host, HostNet{3}, {.axes = {0, 2}, .average = cs::Scores::softmax}),
          cs::mirrored<Card>(card, CardNet{&card, 3}, {.axes = {0, 2}, .average = cs::Scores::softmax}), 1e-6);
  std::vector<HostNet> host_folds;
  std::vector<CardNet> card_folds;
  for (int i = 0; i < 2; ++i) host_folds.push_back({2}), card_folds.push_back({&card, 2});
  compare(cs::ensemble<Host>(host, std::move(host_folds), {.weights = {1, 3}, .average = cs::Scores::sigmoid}),
          cs::ensemble<Card>(card, std::move(card_folds), {.weights = {1, 3}, .average = cs::Scores::sigmoid}), 1e-6);
}
