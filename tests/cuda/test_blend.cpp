// Sliding windows on the card against the CPU's: the same scores, so the same bits.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <ctseg/cuda.hpp>
#include <ctseg/image/steps.hpp>
#include <ctseg/infer/cuda/test_time.hpp>
#include <ctseg/infer/cuda/to_original.hpp>

namespace cs = ctseg;
using cs::Index;

namespace {

template <int Dim> using Host = cs::Spec<float, Dim, cs::Cpu>;
template <int Dim> using Card = cs::Spec<float, Dim, cs::Cuda>;

template <class V = float> cs::Volume<V> noise(cs::Xyz<Index> shape, std::uint64_t seed = 1) {
  cs::Volume<V> v(cs::Grid{shape, cs::Affine<cs::Ras>(Eigen::Matrix4d::Identity())});
  for (std::size_t i = 0; i < v.voxels().size(); ++i)
    v.voxels()[i] = static_cast<V>(2000 * cs::uniform({seed, 0, 0}, i) - 1000);
  return v;
}

/// Logits that depend on the voxel and on its place in the window, so that overlapping windows disagree.
template <int Dim> void stand_in(const float* x, const cs::Shape<Dim>& shape, Index classes, float* y) {
  for (Index i = 0; i < shape.n * shape.voxels(); ++i)
    for (Index c = 0; c < classes; ++c) {
      float sum = 0.001f * static_cast<float>((i % shape.voxels() * 7 + c * 13) % 97);
      for (Index k = 0; k < shape.c; ++k) sum += x[i * shape.c + k] * (c % 2 ? -0.3f : 0.2f);
      y[i * classes + c] = sum - 0.05f * static_cast<float>(c);
    }
}
template <int Dim> struct HostNet {
  Index classes;
  cs::Tensor<float, Dim> out{};
  cs::In<Host<Dim>> operator()(cs::In<Host<Dim>> x) {
    out = cs::Tensor<float, Dim>(x.shape.with_channels(classes));
    stand_in<Dim>(x.data, x.shape, classes, out.data());
    return std::as_const(out).view();
  }
};
/// The same on the card, but computed by the host.
template <int Dim> struct CardNet {
  cs::Context<cs::Cuda>* ctx;
  Index classes;
  cs::Memory<cs::Cuda> out{};
  int calls = 0;
  cs::In<Card<Dim>> operator()(cs::In<Card<Dim>> x) {
    ++calls;
    const cs::Shape<Dim> shape = x.shape.with_channels(classes);
    std::vector<float> in(static_cast<std::size_t>(x.shape.elements())), made(static_cast<std::size_t>(shape.elements()));
    cs::cuda::copy_to_host(ctx->stream(), in.data(), x.data, std::ssize(in) * 4);
    ctx->synchronize();
    stand_in<Dim>(in.data(), x.shape, classes, made.data());
    out = ctx->allocate(std::ssize(made) * 4);
    cs::cuda::copy_to_device(ctx->stream(), out.data(), made.data(), std::ssize(made) * 4);
    return {reinterpret_cast<const float*>(out.data()), shape, classes};
  }
};

template <int Dim> struct Fixture {
  cs::Context<cs::Cpu> host{{.threads = 1}};
  cs::Context<cs::Cuda> card{};

  /// Logits of both, bit for bit.
  void check(const cs::Volume<float>& image, Index classes, const cs::StreamOptions<Dim>& o) {
    const auto e = image.tensor_shape().space;
    cs::Shape<Dim> shape{Dim == 2 ? e[0] : 1, 1, {}};
    std::copy_n(e.end() - Dim, Dim, shape.space.begin());
    HostNet<Dim> host_net{classes};
    CardNet<Dim> card_net{&card, classes};
    std::vector<float> want, got;
    const auto keep = [](std::vector<float>& to) {
      return [&to](const cs::LogitSlab& s) {
        to.insert(to.end(), s.values, s.values + s.slices * s.rows * s.columns * s.channels);
      };
    };
    const cs::In<Host<Dim>> view{image.data(), shape, 1};
    auto host_sink = keep(want), card_sink = keep(got);
    const auto asked = cs::stream_windows<Host<Dim>>(host, host_net, view, o, host_sink);
    const auto done = cs::stream_windows<Card<Dim>>(card, card_net, cs::DeviceScan(card, image), o, card_sink);
    REQUIRE(want.size() == got.size());
    CHECK(std::memcmp(want.data(), got.data(), want.size() * 4) == 0);
    CHECK(done.run == asked.run);
    CHECK(done.skipped == asked.skipped);
    // labels, by the blending pass or behind it
    std::vector<std::uint8_t> labels(static_cast<std::size_t>(image.grid().voxels()));
    cs::argmax(cs::LogitRow{want.data(), std::ssize(labels), classes}, labels.data());
    CHECK(cs::stream_labels<Card<Dim>>(card, card_net, cs::DeviceScan(card, image), o).voxels() == labels);
  }
};

}   // namespace

TEST_CASE("windows on the card: the CPU's logits and labels, bit for bit") {
  Fixture<3> f;
  const cs::Volume<float> image = noise({11, 9, 13});
  SUBCASE("gaussian, one to eight covering windows, channels of every width") {
    for (const Index classes : {1, 2, 3, 4, 5, 8, 9}) f.check(image, classes, {.windows = {.window = {6, 4, 5}, .batch = 3}});
  }
  SUBCASE("overlap of nine windows and more") {
    f.check(image, 2, {.windows = {.window = {4, 4, 4}, .overlap = 0.75, .batch = 5}});
  }
  SUBCASE("nnU-Net's rule") {
    f.check(image, 3, {.windows = {.window = {6, 4, 8}, .rule = cs::WindowRule::nnunet, .batch = 2}});
  }
  SUBCASE("constant weights, no overlap, rows of fours") {
    f.check(image, 2, {.windows = {.window = {4, 4, 4}, .overlap = 0, .blend = cs::Blend::constant}});
  }
  SUBCASE("windows larger than the volume, by every rule of padding") {
    for (const auto padding :
         {cs::WindowPadding::constant, cs::WindowPadding::reflect, cs::WindowPadding::replicate, cs::WindowPadding::circular})
      f.check(noise({5, 9, 3}), 2, {.windows = {.window = {8, 6, 8}, .padding = padding, .outside = -7}});
  }
  SUBCASE("one window; one voxel") {
    f.check(image, 2, {.windows = {.window = {13, 9, 11}}});
    f.check(noise({1, 1, 1}), 2, {.windows = {.window = 2}});
  }
}

TEST_CASE("windows on the card: slices in two dimensions") {
  Fixture<2> f;
  for (const Index classes : {2, 6}) f.check(noise({11, 9, 5}), classes, {.windows = {.window = {6, 4}, .batch = 4}});
}

TEST_CASE("windows on the card: air is not run") {
  Fixture<3> f;
  cs::Volume<float> image = noise({12, 10, 14});
  for (Index z = 0; z < 14; ++z)
    for (Index y = 0; y < 10; ++y)
      for (Index x = 0; x < 12; ++x)
        if (z < 8 || x < 6) image(z, y, x) = -1000;
  f.check(image, 2, {.windows = {.window = 4, .batch = 3}, .skip_below = -999.5f, .background = {0.5f, -0.25f}});
  f.check(image, 5, {.windows = {.window = 4, .batch = 3}, .skip_below = 2000.f, .background = {1, 2, 3, 4, 5}});
  CardNet<3> net{&f.card, 2};
  CHECK_THROWS_WITH_AS(
      cs::stream_labels<Card<3>>(f.card, net, cs::DeviceScan(f.card, image), {.windows = {.window = 4}, .skip_below = 0.f}),
      doctest::Contains("Hint: set background"), cs::Error);
}

TEST_CASE("a scan on the card: the CPU's preprocessing, bit for bit") {
  cs::Context<cs::Cuda> card;
  const auto hu = noise<std::int16_t>({7, 5, 3});
  cs::Volume<float> want(hu.grid());
  std::copy(hu.voxels().begin(), hu.voxels().end(), want.data());
  cs::Volume<float> ct = want;
  ct.voxels()[5] = std::numeric_limits<float>::quiet_NaN();
  const auto values = [&](const cs::DeviceScan& scan) {
    std::vector<float> v(static_cast<std::size_t>(scan.grid().voxels() * scan.channels()));
    cs::cuda::copy_to_host(card.stream(), v.data(), scan.values(), std::ssize(v) * 4);
    card.synchronize();
    return v;
  };
  const auto same = [](const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * 4) == 0;
  };
  CHECK(same(values({card, hu}), want.voxels()));
  const cs::WindowHu window{-160, 240};
  const cs::CtNormalization norm{.mean = 101.7, .deviation = 77.3, .low = -300, .high = 411};
  const cs::ScaleIntensityRange range{.a_min = -175, .a_max = 250, .b_min = 0.1, .b_max = 0.9, .clip = true};
  CHECK(same(values({card, hu, {window}}), cs::apply_window(want, window).voxels()));
  CHECK(same(values({card, ct, {window}}), cs::apply_window(ct, window).voxels()));
  CHECK(same(values({card, ct, {norm}}), cs::normalize_ct(ct, norm).voxels()));
  CHECK(same(values({card, ct, {range, norm}}), cs::normalize_ct(cs::scale_intensity_range(ct, range), norm).voxels()));
  const auto two = values({card, std::vector{want, ct}, {norm}});
  CHECK(two[2 * 9] == values({card, want, {norm}})[9]);
  CHECK(two[2 * 9 + 1] == values({card, ct, {norm}})[9]);
  CHECK_THROWS_WITH_AS(cs::DeviceScan(card, want, std::vector<cs::DeviceStep>(5, window)), doctest::Contains("at most 4"),
                       cs::Error);
}

TEST_CASE("windows on the card: what cannot be is refused with numbers") {
  cs::Context<cs::Cuda> card;
  const cs::DeviceScan scan(card, noise({8, 8, 8}));
  CardNet<3> net{&card, 2};
  CHECK_THROWS_WITH_AS(cs::stream_labels<Card<3>>(card, net, scan, {.windows = {.window = 4}, .max_memory = 1000}),
                       doctest::Contains("nothing waits in a file"), cs::Error);
  const auto wrong = [&](cs::In<Card<3>> x) { return cs::In<Card<3>>{x.data, {1, 1, {2, 2, 2}}, 1}; };
  CHECK_THROWS_WITH_AS(cs::stream_labels<Card<3>>(card, wrong, scan, {.windows = {.window = 4}}),
                       doctest::Contains("must keep the size"), cs::Error);
  net.classes = 300;
  CHECK_THROWS_WITH_AS(cs::stream_labels<Card<3>>(card, net, scan, {.windows = {.window = 4}}),
                       doctest::Contains("does not fit"), cs::Error);
  CHECK(cs::stream_labels<Card<3>, std::uint16_t>(card, net, scan, {.windows = {.window = 8}}).voxels().size() == 512);
}
