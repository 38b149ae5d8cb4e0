// What check_weights.py runs: weights_program NETWORK DIM WEIGHTS INPUT OUTPUT SAVED loads WEIGHTS (.pth or .safetensors) into a
// network of interchange.hpp, runs it on "x" of the safetensors file INPUT, writes "y" to OUTPUT and the weights to SAVED.
#include <ctseg/core/tensor.hpp>
#include <ctseg/io/torch_file.hpp>
#include <ctseg/io/weights.hpp>
#include <ctseg/ops/cpu.hpp>

#include "interchange.hpp"

using namespace ctseg;

template <class Net> static void run(Net& net, char** words) {
  using S = typename Net::Spec;
  io::load_weights(words[3], net, {.reader = io::torch_reader()});
  const io::TensorRecord x = io::read_safetensors(words[4]).tensors.at(0);
  Tensor<float, S::kDim> in([&] {
    Shape<S::kDim> shape{.n = 1, .c = 1};
    std::copy(x.shape.begin() + 2, x.shape.end(), shape.space.begin());
    return shape;
  }());
  for (Index r = 0; r < in.view().rows(); ++r)
    std::memcpy(in.view().row(r), x.bytes.data() + static_cast<std::size_t>(r) * sizeof(float), sizeof(float));
  Context<Cpu> ctx({.threads = 1});
  Tape<S> tape(Mode::infer, ctx);
  const Var<S> y = net.forward(tape.input(in.view()));
  const Shape<S::kDim> made = y.shape();
  std::vector<float> out;
  for (Index c = 0; c < made.c; ++c)
    for (Index r = 0; r < y.value().rows(); ++r) out.push_back(y.value().row(r)[c]);
  const auto bytes = std::as_bytes(std::span(out));
  std::vector<Index> shape = {1, made.c};
  shape.insert(shape.end(), made.space.begin(), made.space.end());
  io::write_safetensors(words[5], {{{"y", Dtype::f32, shape, {bytes.begin(), bytes.end()}}}, {}});
  io::save_weights(words[6], net, {.second_names = true});
}

template <int Dim> static bool find(char** words) {
  bool found = false;
  test::for_networks<Spec<float, Dim, Cpu>>([&](const std::string& name, auto net) {
    if (name == words[1]) run(net, words), found = true;
  });
  return found;
}

int main(int count, char** words) try {
  if (count != 7) return 2;
  return (words[2] == std::string("2") ? find<2>(words) : find<3>(words)) ? 0 : 3;
} catch (const Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
