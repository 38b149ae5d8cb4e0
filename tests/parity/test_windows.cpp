// Windows, their weights and what comes out of them against MONAI's sliding_window_inference and nnU-Net's predictor: what
// make_window_fixtures.py wrote.
#include <ctseg/infer/streaming.hpp>

#include "fixture_file.hpp"

using namespace ctseg;
using S = Spec<float, 3, Cpu>;

namespace {

/// The numbers of a name behind its second dot.
std::vector<Index> numbers(const std::string& name) {
  std::vector<Index> all;
  for (std::size_t dot = name.find('.', name.find('.') + 1); dot != std::string::npos; dot = name.find('.', dot + 1))
    all.push_back(std::stoll(name.substr(dot + 1)));
  return all;
}
WindowRule rule_of(const std::string& name) {
  return name.find(".nnunet.") != std::string::npos ? WindowRule::nnunet : WindowRule::monai;
}

/// The network of the cases: a 3 x 3 x 3 convolution of one channel into two, zeros around the window.
struct Network {
  std::vector<double> weight, bias;
  Tensor<float, 3> logits{};

  In<S> operator()(In<S> x) {
    logits = Tensor<float, 3>(x.shape.with_channels(2));
    const auto size = x.shape.space;
    for (Index n = 0; n < x.shape.n; ++n)
      for (Index c = 0; c < 2; ++c)
        for (Index v = 0; v < x.shape.voxels(); ++v) {
          const std::array<Index, 3> at{v / size[2] / size[1], v / size[2] % size[1], v % size[2]};
          double sum = bias[static_cast<std::size_t>(c)];
          for (Index t = 0; t < 27; ++t) {
            const Index z = at[0] + t / 9 - 1, y = at[1] + t / 3 % 3 - 1, u = at[2] + t % 3 - 1;
            if (z < 0 || y < 0 || u < 0 || z >= size[0] || y >= size[1] || u >= size[2]) continue;
            sum += weight[static_cast<std::size_t>(c * 27 + t)] * double{x.at(n, (z * size[1] + y) * size[2] + u)[0]};
          }
          logits.view().at(n, v)[c] = static_cast<float>(sum);
        }
    return logits.view();
  }
};

}   // namespace

TEST_CASE("window starts equal MONAI's and nnU-Net's") {
  const test::Fixture fixture("windows");
  int seen = 0;
  for (const std::string& name : fixture.names()) {
    if (!name.starts_with("starts.")) continue;
    const auto n = numbers(name);
    const auto exact = fixture.values<std::int32_t>(name);
    const auto found = window_starts(n[0], n[1], {static_cast<double>(n[2]) / 100, rule_of(name)});
    CHECK_MESSAGE(std::equal(exact.begin(), exact.end(), found.begin(), found.end()), name);
    ++seen;
  }
  CHECK(seen == 126);
}

TEST_CASE("weights of windows equal MONAI's and nnU-Net's") {
  const test::Fixture fixture("windows");
  int seen = 0;
  for (const std::string& name : fixture.names()) {
    if (!name.starts_with("weights.")) continue;
    const auto n = numbers(name);
    const std::array<Index, 3> window{n[0], n[1], n[2]};
    const auto grid = detail::make_window_grid<3>({1, 1, window}, {.window = window, .rule = rule_of(name)});
    const auto exact = fixture.values<float>(name);
    double worst = 0;
    std::size_t i = 0;
    for (const float z : grid.profile[0])
      for (const float y : grid.profile[1])
        for (const float x : grid.profile[2]) {
          const double e = double{exact[i++]};
          worst = std::max(worst, std::abs(double{std::max(z * y * x, grid.least)} - e) / e);
        }
    CHECK_MESSAGE(worst < 5e-6, name << " differs by " << worst);   // of each weight, however small
    ++seen;
  }
  CHECK(seen == 6);
}

TEST_CASE("results equal MONAI's and nnU-Net's, also of images smaller than the window") {
  const test::Fixture fixture("windows");
  Network net{fixture.values("conv.weight"), fixture.values("conv.bias")};
  Context<Cpu> ctx{{.threads = 2}};
  double worst = 0;
  int seen = 0;
  for (; fixture.has(text("case.", seen, ".config")); ++seen) {
    const auto config = fixture.values(text("case.", seen, ".config"));
    const auto whole = [&](std::size_t i) { return static_cast<Index>(config[i]); };
    const SlidingWindowOptions<3> o{.window = {whole(6), whole(7), whole(8)},
                                    .overlap = config[1],
                                    .rule = whole(0) ? WindowRule::nnunet : WindowRule::monai,
                                    .blend = whole(2) ? Blend::gaussian : Blend::constant,
                                    .padding = static_cast<WindowPadding>(whole(3)),
                                    .outside = static_cast<float>(config[4]),
                                    .batch = whole(5)};
    const auto image = fixture.tensor<float, 3>(text("case.", seen, ".image"));
    const auto exact = fixture.tensor<float, 3>(text("case.", seen, ".result"));
    double apart = 0;
    const auto compare = [&](const LogitSlab& s) {
      const Index first = s.first * s.rows * s.columns * s.channels;
      for (Index i = 0; i < s.slices * s.rows * s.columns * s.channels; ++i)
        apart = std::max(apart, std::abs(double{s.values[i]} - double{exact.data()[first + i]}));
    };
    stream_windows<S>(ctx, net, image.view(), {.windows = o}, compare);
    CHECK_MESSAGE(apart <= 1e-5, "case " << seen << " differs by " << apart);
    worst = std::max(worst, apart);
  }
  CHECK(seen == 16);
  MESSAGE("sliding windows differ by " << worst);
}
