// A network on the card from patches made there to labels made there.
#include <doctest/doctest.h>

#include <ctseg/cuda.hpp>
#include <ctseg/data/augment/recipes.hpp>
#include <ctseg/data/cuda/patch_sampler.hpp>
#include <ctseg/infer/cuda/sliding_window.hpp>

#include "train/small_training.hpp"

using namespace ctseg;
using Host = Spec<float, 3, Cpu>;
using Card = Spec<float, 3, Cuda>;

TEST_CASE("fit with patches made on the card: the host makes none, and each run has the same bits") {
  struct Losses final : FitObserver {
    std::vector<double> all;
    void on_step(const FitProgress& p) override { all.push_back(p.last_loss); }
  };
  const auto losses = [] {
    Context<Cuda> ctx({.threads = 1, .seed = 5});
    UNet<Card> net({.out_channels = 2, .features = {2, 4}});
    net.initialize(ctx);
    AdamW<Card> adam(net.parameters(), {.learning_rate = 5e-3});
    const DevicePatchSampler<Card> patches(ctx, {noise_case(1), noise_case(2)},
                                           {.patch = 8, .augment = nnunet_recipe({8, 8, 8})});
    Losses seen;
    fit(ctx, net, adam, patches, {.steps = 3, .batch = 2, .observer = &seen});
    CHECK(patches.on_card().uploads() == 2);
    return seen.all;
  };
  const auto first = losses();
  CHECK(first.size() == 3);
  CHECK(losses() == first);
}

TEST_CASE("sliding_window_labels on the card: the CPU's labels of a network") {
  const auto labels = []<class S>(const S*) {
    Context<typename S::Device> ctx({.threads = 1, .seed = 5});
    UNet<S> net({.out_channels = 3, .features = {2, 4}});
    net.initialize(ctx);
    return sliding_window_labels(ctx, net, noise_case(1).image, {.window = {8, 12, 16}, .batch = 2}).voxels();
  };
  const auto want = labels(static_cast<const Host*>(nullptr)), got = labels(static_cast<const Card*>(nullptr));
  Index differ = 0;   // where two logits are closer than convolutions round
  for (std::size_t i = 0; i < want.size(); ++i) differ += want[i] != got[i];
  CHECK(differ <= 3);
  CHECK(std::count(want.begin(), want.end(), want[0]) < std::ssize(want));
}
