// A small training in a folder, which kill.sh kills at random moments. Usage: kill_program FOLDER WEIGHTS
#include <csignal>
#include <cstdio>

#include <ctseg/models/unet.hpp>
#include <ctseg/ops/cpu.hpp>
#include <ctseg/train/fit.hpp>

using namespace ctseg;
using S = Spec<float, 3, Cpu>;

int main(int argc, char** argv) try {
  if (argc != 3) return 2;
  const Grid grid{{.x = 20, .y = 18, .z = 16}, Affine<Ras>(Eigen::Matrix4d::Identity())};
  std::vector<Case> cases;
  for (std::uint64_t k = 0; k < 3; ++k) {
    Case c{text("case_", Index(k)), Volume<float>(grid), Volume<std::uint8_t>(grid)};
    RandomStream random({k});
    for (Index i = 0; i < grid.voxels(); ++i) {
      c.label.data()[i] = i % 5 < 2;
      c.image.data()[i] = static_cast<float>(c.label.data()[i] + random.normal());
    }
    cases.push_back(std::move(c));
  }
  Context<Cpu> ctx({.threads = 2, .seed = 3});
  UNet<S> net({.features = {4, 8}, .dropout = 0.1f});
  net.initialize(ctx);
  AdamW<S> adam(net.parameters(), {.learning_rate = 1e-2});
  WeightAverage<S> average(net.parameters());
  const PatchSampler<S> sampler(std::move(cases), {.patch = 16});
  const FitResult result = fit(ctx, net, adam, sampler,
                               {.steps = 40,
                                .schedule = {.kind = ScheduleKind::cosine, .warm_up = 5},
                                .average = &average,
                                .workers = 1,
                                .checkpoints = {.folder = argv[1], .every = 1}});
  io::save_weights(argv[2], net);
  std::printf("%lld steps\n", static_cast<long long>(result.steps));
  return 0;
} catch (const Error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
