// More than one look at windows that lie on the card, by a network's Predictor: the CPU's logits.
#include <doctest/doctest.h>

#include <ctseg/cuda.hpp>
#include <ctseg/infer/test_time.hpp>
#include <ctseg/nn/init.hpp>
#include <ctseg/nn/layers.hpp>
#include <ctseg/ops/cpu.hpp>

using namespace ctseg;

namespace {

template <AnySpec S> struct TwoLayers {
  using Spec = S;
  Block<S> first{{.conv = {.in_channels = 1, .out_channels = 4}}};
  Conv<S> last{{.in_channels = 4, .out_channels = 3, .kernel = 1}};
  explicit TwoLayers(std::uint64_t seed) { initialize_default(*this, seed); }
  Var<S> forward(Var<S> x) const { return last(first(x)); }
  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    Block<S>::each(self.first, prefix + "first.", f);
    Conv<S>::each(self.last, prefix + "last.", f);
  }
};

constexpr Shape<3> kWindows{2, 1, {6, 4, 8}};

/// make(ctx, nets) makes a callable; what it says of windows in the device's memory, twice over.
template <AnySpec S, class Make> std::vector<float> logits(const Make& make) {
  Context<typename S::Device> ctx({.threads = 1});
  const std::array<TwoLayers<S>, 2> nets{TwoLayers<S>(1), TwoLayers<S>(2)};
  auto looks = make(ctx, nets);
  Tensor<float, 3> x(kWindows);
  RandomStream random({.seed = 7});
  for (Index i = 0; i < kWindows.elements(); ++i) x.data()[i] = static_cast<float>(random.normal());
  Memory<typename S::Device> there = ctx.allocate(kWindows.elements() * Index{sizeof(float)});
  const Out<S> windows{reinterpret_cast<float*>(there.data()), kWindows, 1};
  from_host<S>(ctx, std::as_const(x).view(), windows);
  looks(In<S>(windows));
  const Tensor<float, 3> y = to_host<S>(ctx, looks(In<S>(windows)));
  return {y.data(), y.data() + y.shape().elements()};
}
template <class Make> void check(const Make& make) {
  const std::vector<float> want = logits<Spec<float, 3, Cpu>>(make), got = logits<Spec<float, 3, Cuda>>(make);
  REQUIRE(want.size() == got.size());
  CHECK(want.size() == static_cast<std::size_t>(3 * kWindows.elements()));
  float far = 0;
  for (std::size_t i = 0; i < want.size(); ++i) far = std::max(far, std::abs(want[i] - got[i]));
  CHECK(far < 1e-5f);
}

}   // namespace

TEST_CASE("mirrored windows, ensembles and scales of a Predictor on the card") {
  SUBCASE("mirrored") {
    check([]<class Device, AnySpec S>(Context<Device>& ctx, const std::array<TwoLayers<S>, 2>& nets) {
      return mirrored<S>(ctx, Predictor<TwoLayers<S>>(ctx, nets[0], kWindows), {.axes = {0, 2}});
    });
  }
  SUBCASE("ensemble") {
    check([]<class Device, AnySpec S>(Context<Device>& ctx, const std::array<TwoLayers<S>, 2>& nets) {
      std::vector<Predictor<TwoLayers<S>>> folds;
      for (const auto& net : nets) folds.emplace_back(ctx, net, kWindows);
      return ensemble<S>(ctx, std::move(folds), {.weights = {1, 3}, .average = Scores::softmax});
    });
  }
  SUBCASE("scales") {
    check([]<class Device, AnySpec S>(Context<Device>& ctx, const std::array<TwoLayers<S>, 2>& nets) {
      return multi_scale<S>(ctx, [&](const Shape<3>& shape) { return Predictor<TwoLayers<S>>(ctx, nets[0], shape); },
                            {.scales = {1, 0.5, 1.5}, .divisor = 2});
    });
  }
}
