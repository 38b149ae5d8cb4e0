#include <doctest/doctest.h>

#include <ctseg/infer/sliding_window.hpp>
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/ops/cpu.hpp>

using namespace ctseg;
using S = Spec<float, 3, Cpu>;

namespace {

Tensor<float, 3> noise(const Shape<3>& shape, std::uint64_t seed = 1) {
  Tensor<float, 3> t(shape);
  RandomStream random({seed});
  for (Index i = 0; i < shape.elements(); ++i) t.data()[i] = static_cast<float>(random.normal());
  return t;
}
Grid unit_grid(Xyz<Index> shape) { return {shape, Affine<Ras>(Eigen::Matrix4d::Identity())}; }

}   // namespace

TEST_CASE("window starts are MONAI's") {
  CHECK(window_starts(250, 96, 0.25) == std::vector<Index>{0, 72, 144, 154});
  CHECK(window_starts(250, 96, 0.5) == std::vector<Index>{0, 48, 96, 144, 154});
  CHECK(window_starts(96, 96, 0.5) == std::vector<Index>{0});
  CHECK(window_starts(40, 96, 0.5) == std::vector<Index>{0});
  CHECK(window_starts(200, 80, SlidingWindowOptions<3>{.overlap = 0.2}.overlap) == std::vector<Index>{0, 64, 120});
  CHECK(window_starts(97, 96, 0.99) == std::vector<Index>{0, 1});
}

TEST_CASE("the Gaussian has sigma = window / 8") {
  CHECK(double(blend_profile(96, Blend::gaussian).front()) == doctest::Approx(0.000395958).epsilon(1e-5));
  CHECK(blend_profile(5, Blend::constant) == std::vector<float>(5, 1.f));
}

TEST_CASE("an identity network gives the image back, whatever the size, overlap and blend") {
  Context<Cpu> ctx{{.threads = 2}};
  const auto identity = [](In<S> x) { return x; };
  for (const std::array<Index, 3> size : {std::array<Index, 3>{33, 20, 17}, {8, 8, 8}, {5, 40, 7}, {1, 1, 1}})
    for (const double overlap : {0.0, 0.25, 0.5, 0.8})
      for (const Blend blend : {Blend::gaussian, Blend::constant}) {
        const auto image = noise({1, 2, size});
        const auto out = sliding_window<S>(ctx, identity, image, {.window = {8, 12, 9}, .overlap = overlap, .blend = blend});
        REQUIRE(out.shape() == image.shape());
        double worst = 0;
        for (Index i = 0; i < image.shape().elements(); ++i)
          worst = std::max(worst, std::abs(double(out.data()[i] - image.data()[i])));
        CHECK(worst < 3e-5);   // up to a thousand windows are summed at a voxel
      }
}

TEST_CASE("a predictor sees the volume where it is, and `outside` around a small one") {
  Context<Cpu> ctx{{.threads = 1}};
  const auto image = noise({1, 1, {4, 4, 4}});
  Index outside = 0;
  const auto count = [&](In<S> x) {
    for (Index r = 0; r < x.rows(); ++r) outside += x.row(r)[0] == -7.f;
    return x;
  };
  sliding_window<S>(ctx, count, image, {.window = 6, .outside = -7});
  CHECK(outside == 6 * 6 * 6 - 4 * 4 * 4);
}

TEST_CASE("bad options are errors with numbers") {
  Context<Cpu> ctx{{.threads = 1}};
  const auto image = noise({1, 1, {4, 4, 4}});
  const auto identity = [](In<S> x) { return x; };
  CHECK_THROWS_WITH_AS(sliding_window<S>(ctx, identity, image, {.window = 4, .overlap = 1}), doctest::Contains("overlap = 1"),
                       Error);
  CHECK_THROWS_WITH_AS(sliding_window<S>(ctx, identity, image, {.window = {4, 0, 4}}), doctest::Contains("window 4x0x4"),
                       Error);
}

TEST_CASE("a callable that does not keep the window's size is refused") {
  Context<Cpu> ctx{{.threads = 1}};
  const auto image = noise({1, 1, {9, 9, 9}});
  const auto small = noise({1, 1, {4, 4, 4}});
  CHECK_THROWS_WITH_AS(sliding_window<S>(ctx, [&](In<S>) { return In<S>(small.view()); }, image, {.window = 8}),
                       doctest::Contains("predict made [1,1,4,4,4] of a window 8x8x8"), Error);
}

TEST_CASE("labels of a volume lie on its grid and do not depend on threads") {
  BasicUNet<S> net{{.out_channels = 3, .features = {4, 4, 4, 4, 4, 4}}};
  net.initialize(Context<Cpu>{{.threads = 1, .seed = 3}});
  Volume<float> ct(unit_grid({.x = 37, .y = 21, .z = 18}));
  RandomStream random({5});
  for (float& v : ct.voxels()) v = static_cast<float>(random.uniform());
  std::vector<std::vector<std::uint8_t>> all;
  for (const int threads : {1, 2, 4}) {
    Context<Cpu> ctx{{.threads = threads}};
    const auto labels = sliding_window_labels(ctx, net, ct, {.window = 16});
    CHECK(same_grid(labels.grid(), ct.grid()));
    all.push_back(labels.voxels());
  }
  CHECK(all[0] == all[1]);
  CHECK(all[0] == all[2]);
  CHECK(*std::max_element(all[0].begin(), all[0].end()) < 3);
  Context<Cpu> ctx{{.threads = 2}};
  CHECK(sliding_window_labels(ctx, net, ct, {.window = 16, .batch = 4}).voxels() == all[0]);   // 18 windows
}

TEST_CASE("a 2-D network labels slice by slice") {
  using S2 = Spec<float, 2, Cpu>;
  BasicUNet<S2> net{{.features = {4, 4, 4, 4, 4, 4}}};
  Context<Cpu> ctx{{.threads = 2, .seed = 3}};
  net.initialize(ctx);
  Volume<float> ct(unit_grid({.x = 20, .y = 24, .z = 3}));
  for (std::size_t i = 0; i < ct.voxels().size(); ++i) ct.voxels()[i] = static_cast<float>(i % 480) / 480.f;   // equal slices
  const auto labels = sliding_window_labels(ctx, net, ct, {.window = 16});
  for (Index z = 1; z < 3; ++z)
    for (Index i = 0; i < 480; ++i) REQUIRE(labels.data()[z * 480 + i] == labels.data()[i]);
}

TEST_CASE("cancelling ends between two windows") {
  std::stop_source stop;
  Context<Cpu> ctx{{.threads = 1, .cancel = stop.get_token()}};
  const auto image = noise({1, 1, {16, 16, 16}});
  Index windows = 0;
  const auto predict = [&](In<S> x) {
    if (++windows == 2) stop.request_stop();
    return x;
  };
  try {
    sliding_window<S>(ctx, predict, image, {.window = 8});
    FAIL("expected an error");
  } catch (const Error& e) {
    CHECK(e.code() == Code::cancelled);
  }
  CHECK(windows == 2);
}
