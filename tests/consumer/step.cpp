// A small embedding program for matrix.sh: one forward and backward pass of a 2-D BasicUNet on one thread. Prints the loss,
// the gradient's norm and a checksum of all their bits; takes the instruction set as argument.
#include <bit>
#include <cstdio>

#include <ctseg/loss/loss.hpp>
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/nn/run.hpp>
#include <ctseg/ops/cpu.hpp>

namespace cs = ctseg;
using S = cs::Spec<float, 2, cs::Cpu>;

int main(int argc, char** argv) try {
  cs::ContextOptions options{.threads = 1, .seed = 3};
  for (const cs::Isa isa : cs::kIsas)
    if (argc > 1 && cs::text(isa) == argv[1]) options.isa = isa;
  cs::Context<cs::Cpu> ctx(options);
  cs::BasicUNet<S> net({.in_channels = 1, .out_channels = 3, .features = {4, 4, 8, 8, 8, 4}});
  net.initialize(ctx);

  cs::Tape<S> tape(cs::Mode::train, ctx.traits());
  const auto x = tape.input({1, 1, {32, 33}}), labels = tape.input({1, 1, {32, 33}}, cs::Dtype::u8);
  const auto loss = cs::dice_ce()(net.forward(x), labels);
  const cs::Plan<S> plan(tape, {.loss = loss});
  cs::Run<S> run(plan, ctx);
  cs::Gradients<S> gradients(cs::parameters_of<S>(net));
  std::uint32_t state = 1;
  const auto in = run.input(x);
  const auto wanted = run.input_as<std::uint8_t>(labels);
  for (cs::Index i = 0; i < in.shape.elements(); ++i) {
    state = state * 1664525u + 1013904223u;
    in.data[i] = static_cast<float>(state >> 8) * 0x1p-24f - 0.5f;
    wanted.data[i] = static_cast<std::uint8_t>((state >> 8) % 3);
  }
  run.forward();
  const double value = run.scalar(loss);
  run.backward(gradients);

  double norm = 0;
  std::uint64_t sum = std::bit_cast<std::uint64_t>(value);
  for (const float g : gradients.flat()) {
    norm += double{g} * double{g};
    sum = (sum ^ std::bit_cast<std::uint32_t>(g)) * 1099511628211u;   // FNV-1a
  }
  std::printf("%.9g %.9g %016llx\n", value, std::sqrt(norm), static_cast<unsigned long long>(sum));
} catch (const cs::Error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
