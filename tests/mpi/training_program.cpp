// Twelve steps of a small training, alone or as one of the processes of mpirun, which together take the same batches; rank 0
// prints every step's loss. Usage: training_program own | fit | leave BATCH_OF_ALL [FOLDER]
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <ctseg/models/unet.hpp>
#include <ctseg/ops/cpu.hpp>
#include <ctseg/train/fit.hpp>
#include <ctseg/train/mpi.hpp>

using namespace ctseg;
using S = Spec<float, 3, Cpu>;

namespace {

constexpr Index kSteps = 12, kPatch = 12;

/// The group's parts by hand: GradientSums while backward runs, means of losses and running statistics.
void own_loop(Context<Cpu>& ctx, MpiWorld& world, UNet<S>& net, Index batch) {
  constexpr Index voxels = kPatch * kPatch * kPatch;
  AdamW<S> adam(net.parameters(), {.learning_rate = 1e-2});
  Tape<S> tape(Mode::train, ctx.traits());
  const auto x = tape.input({batch, 1, {kPatch, kPatch, kPatch}});
  const auto labels = tape.input({batch, 1, {kPatch, kPatch, kPatch}}, Dtype::u8);
  const auto loss = dice_ce(net.forward(x), labels, {.batch = true});
  const Plan<S> plan(tape, {.loss = loss});
  Run<S> run(plan, ctx);
  Gradients<S> gradients(net.parameters());
  GradientSums<S> sums(plan, gradients, world, 512);
  for (Index step = 0; step < kSteps; ++step) {
    for (Index n = 0; n < batch; ++n) {
      RandomStream random({7, static_cast<std::uint64_t>((step * world.size() + world.rank()) * batch + n)});
      for (Index i = n * voxels; i < (n + 1) * voxels; ++i) {
        const bool inside = random.uniform() < 0.1 + 0.3 * static_cast<double>(i % 3);
        run.input_as<std::uint8_t>(labels).data[i] = inside;
        run.input(x).data[i] = static_cast<float>(inside + 0.5 * random.normal());
      }
    }
    gradients.zero();
    run.forward();
    run.backward(gradients, 1 / static_cast<float>(world.size()), sums.during_backward());
    sums.finish();
    for (float& g : gradients.flat().subspan(gradients.trained().size())) g /= static_cast<float>(world.size());
    double value = run.scalar(loss) / world.size();
    world.sum(std::span(&value, 1));
    adam.step(ctx, gradients, 1);
    if (world.rank() == 0) std::printf("%.9g\n", value);
  }
}

struct Printer final : FitObserver {
  void on_step(const FitProgress& f) override { std::printf("%.9g\n", f.last_loss); }
  double validate(Index step) override { return static_cast<double>(step); }
};

void with_fit(Context<Cpu>& ctx, MpiWorld& world, UNet<S>& net, Index batch, const char* folder) {
  std::vector<Case> cases;
  const Grid grid{{.x = 20, .y = 18, .z = 16}, Affine<Ras>(Eigen::Matrix4d::Identity())};
  for (std::uint64_t k = 0; k < 3; ++k) {
    Case c{text("case_", Index(k)), Volume<float>(grid), Volume<std::uint8_t>(grid)};
    RandomStream random({k});
    for (Index i = 0; i < grid.voxels(); ++i) {
      c.label.data()[i] = i % 5 < 2;
      c.image.data()[i] = static_cast<float>(c.label.data()[i] + random.normal());
    }
    cases.push_back(std::move(c));
  }
  AdamW<S> adam(net.parameters(), {.learning_rate = 1e-2});
  const PatchSampler<S> sampler(std::move(cases), {.patch = kPatch});
  Printer printer;
  FitOptions<S> options{
      .steps = kSteps, .batch = batch, .accumulate = 2, .loss = dice_ce({.batch = true}), .workers = 1, .validate_every = 5};
  options.observer = world.rank() == 0 ? &printer : nullptr;
  if (folder) options.checkpoints = {.folder = folder, .every = 4};
  fit(ctx, net, adam, sampler, options);
}

}   // namespace

int main(int argc, char** argv) try {
  if (argc < 3) return 2;
  MpiWorld world;
  const Index batch = std::atoi(argv[2]) / world.size();
  if (std::string_view(argv[1]) == "leave") {   // one has an error, the others wait for it
    if (world.rank() == 1) throw Error(Code::io, "leave", "rank 1 goes.");
    double value = 1;
    world.sum(std::span(&value, 1));
  }
  Context<Cpu> ctx({.threads = 1, .seed = 3, .group = &world, .shared_statistics = true});
  UNet<S> net({.features = {4, 8}});            // batch norm
  if (world.rank() == 0) net.initialize(ctx);   // fit gives everybody these
  if (std::string_view(argv[1]) == "fit") {
    with_fit(ctx, world, net, batch, argc > 3 ? argv[3] : nullptr);
  } else {
    net.initialize(ctx);
    own_loop(ctx, world, net, batch);
  }
  return 0;
} catch (const Error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;   // mpirun ends the others
}
