// Twelve steps of a small training, alone or as one of the processes of mpirun, which together take the same batches; rank 0
// prints every step's loss. Usage: training_program BATCHES_OF_ALL
#include <cstdio>
#include <cstdlib>

#include <ctseg/models/unet.hpp>
#include <ctseg/ops/cpu.hpp>
#include <ctseg/optim/adam.hpp>
#include <ctseg/train/gradient_sums.hpp>
#include <ctseg/train/mpi.hpp>

using namespace ctseg;
using S = Spec<float, 3, Cpu>;

int main(int argc, char** argv) try {
  if (argc != 2) return 2;
  MpiWorld world;
  const Index batch = std::atoi(argv[1]) / world.size(), voxels = 12 * 12 * 12;
  Context<Cpu> ctx({.threads = 1, .seed = 3, .group = &world, .shared_statistics = true});
  UNet<S> net({.features = {4, 8}});   // batch norm
  net.initialize(ctx);
  AdamW<S> adam(net.parameters(), {.learning_rate = 1e-2});
  Tape<S> tape(Mode::train, ctx.traits());
  const auto x = tape.input({batch, 1, {12, 12, 12}});
  const auto labels = tape.input({batch, 1, {12, 12, 12}}, Dtype::u8);
  const auto loss = dice_ce(net.forward(x), labels, {.batch = true});
  const Plan<S> plan(tape, {.loss = loss});
  Run<S> run(plan, ctx);
  Gradients<S> gradients(net.parameters());
  GradientSums<S> sums(plan, gradients, world, 512);

  for (Index step = 0; step < 12; ++step) {
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
  return 0;
} catch (const Error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;   // mpirun ends the others
}
