// A network on the card under a sliding window there, beside the same network on the CPU.
#include <doctest/doctest.h>

#include <ctseg/cuda.hpp>
#include <ctseg/infer/cuda/sliding_window.hpp>
#include <ctseg/nn/init.hpp>
#include <ctseg/nn/layers.hpp>
#include <ctseg/ops/cpu.hpp>

using namespace ctseg;
using Host = Spec<float, 3, Cpu>;
using Card = Spec<float, 3, Cuda>;

namespace {

template <AnySpec S_> struct Net {
  using Spec = S_;
  Block<S_> block{{.conv = {.out_channels = 4}}};
  Conv<S_> head{{.in_channels = 4, .out_channels = 3, .kernel = 1, .bias = false}};   // without: no class wins everywhere
  Var<S_> forward(Var<S_> x) const { return head(block(x)); }
  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    Block<S_>::each(self.block, prefix + "block.", f);
    Conv<S_>::each(self.head, prefix + "head.", f);
  }
};

}   // namespace

TEST_CASE("sliding_window_labels on the card: the CPU's labels of a network") {
  const auto labels = []<class S>(const S*) {
    Context<typename S::Device> ctx({.threads = 1, .seed = 5});
    Net<S> net;
    initialize_default(net, 5);
    Volume<float> image(Grid{{.x = 18, .y = 15, .z = 12}, Affine<Ras>(Eigen::Matrix4d::Identity())});
    for (std::size_t i = 0; i < image.voxels().size(); ++i) image.voxels()[i] = uniform({7, 0, 0}, i);
    return sliding_window_labels(ctx, net, image, {.window = {8, 12, 16}, .batch = 2}).voxels();
  };
  const auto want = labels(static_cast<const Host*>(nullptr)), got = labels(static_cast<const Card*>(nullptr));
  Index differ = 0;   // where two logits are closer than convolutions round
  for (std::size_t i = 0; i < want.size(); ++i) differ += want[i] != got[i];
  CHECK(differ <= 3);
  CHECK(std::count(want.begin(), want.end(), want[0]) < std::ssize(want));
}
