// What check_weights.py runs: weights_program WEIGHTS INPUT OUTPUT SAVED [batch] loads WEIGHTS (.pth or .safetensors) into a
// 2-D BasicUNet, runs it on "x" of the safetensors file INPUT, writes "y" to OUTPUT and the weights to SAVED.
#include <ctseg/core/tensor.hpp>
#include <ctseg/io/torch_file.hpp>
#include <ctseg/io/weights.hpp>
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/ops/cpu.hpp>

using namespace ctseg;
using S = Spec<float, 2, Cpu>;

int main(int count, char** words) try {
  if (count < 5) return 2;
  BasicUNet<S> net({.features = {4, 4, 8, 8, 16, 4}, .norm = count > 5 ? NormKind::batch : NormKind::instance});
  io::load_weights(words[1], net, {.reader = io::torch_reader()});
  const io::TensorRecord x = io::read_safetensors(words[2]).tensors.at(0);
  std::vector<float> values(x.bytes.size() / sizeof(float));
  std::memcpy(values.data(), x.bytes.data(), x.bytes.size());
  Context<Cpu> ctx({.threads = 1});
  Tape<S> tape(Mode::infer, ctx);
  Tensor<float, 2> in({.n = 1, .c = 1, .space = {x.shape.at(2), x.shape.at(3)}});
  for (Index r = 0; r < in.view().rows(); ++r) in.view().row(r)[0] = values[static_cast<std::size_t>(r)];
  const Var<S> y = net.forward(tape.input(in.view()));
  const Index rows = y.value().rows(), channels = y.shape().c;
  std::vector<float> out;
  for (Index c = 0; c < channels; ++c)
    for (Index r = 0; r < rows; ++r) out.push_back(y.value().row(r)[c]);
  const auto bytes = std::as_bytes(std::span(out));
  io::write_safetensors(words[3],
                        {{{"y", Dtype::f32, {1, channels, x.shape[2], x.shape[3]}, {bytes.begin(), bytes.end()}}}, {}});
  io::save_weights(words[4], net);
  return 0;
} catch (const Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
