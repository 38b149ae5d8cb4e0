// One full-size network against what full.py wrote: full FOLDER NAME. Prints parameters, deviation, agreement of the best class
// and seconds; fails beyond 1e-4 of the largest value or below 0.9999. Another network is a line in check() and a line in
// full.py.
#include <chrono>
#include <cmath>
#include <cstdio>

#include <ctseg/core/tensor.hpp>
#include <ctseg/io/weights.hpp>
#include <ctseg/models/attention_unet.hpp>
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/models/dynunet.hpp>
#include <ctseg/models/plain_conv_unet.hpp>
#include <ctseg/models/residual_encoder_unet.hpp>
#include <ctseg/models/residual_unet.hpp>
#include <ctseg/models/segresnet.hpp>
#include <ctseg/models/unet.hpp>
#include <ctseg/models/vnet.hpp>
#include <ctseg/nn/predictor.hpp>
#include <ctseg/ops/cpu.hpp>

using namespace ctseg;
using F2 = Spec<float, 2, Cpu>;
using F3 = Spec<float, 3, Cpu>;

/// N, C, voxels, as PyTorch writes them.
struct Values {
  std::vector<Index> shape;
  std::vector<float> data;
  Values(const io::TensorFile& file, const std::string& name) {
    for (const auto& t : file.tensors) {
      if (t.name != name) continue;
      shape = t.shape;
      data.resize(t.bytes.size() / sizeof(float));
      std::memcpy(data.data(), t.bytes.data(), t.bytes.size());
    }
    if (data.empty()) throw Error(Code::bad_input, "full", text("no tensor ", name, "."));
  }
};

template <class Net> static bool run(const std::string& path, Net net) {
  using S = typename Net::Spec;
  io::load_weights(path + ".weights.safetensors", net);
  const io::TensorFile file = io::read_safetensors(path + ".values.safetensors");
  const Values x(file, "x"), y(file, "y");
  Shape<S::kDim> shape{.n = x.shape[0], .c = x.shape[1]};
  std::copy(x.shape.begin() + 2, x.shape.end(), shape.space.begin());

  Context<Cpu> ctx;
  Predictor predict(ctx, net, shape);
  const auto at = [](const auto& view, Index row, Index c) {   // where value c of a row is in PyTorch's order
    const Index voxels = view.shape.voxels();
    return static_cast<std::size_t>((row / voxels * view.shape.c + c) * voxels + row % voxels);
  };
  Tensor<float, S::kDim> in(shape);
  for (Index r = 0; r < in.view().rows(); ++r)
    for (Index c = 0; c < shape.c; ++c) in.view().row(r)[c] = x.data[at(in.view(), r, c)];
  predict(in.view());   // prepares the weights
  const auto start = std::chrono::steady_clock::now();
  const In<S> out = predict(in.view());
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  double apart = 0, largest = 0;
  Index same = 0;
  std::vector<float> expected(static_cast<std::size_t>(out.shape.c));
  for (Index r = 0; r < out.rows(); ++r) {
    for (Index c = 0; c < out.shape.c; ++c) {
      const float e = expected[static_cast<std::size_t>(c)] = y.data[at(out, r, c)];
      const double d = std::abs(double{out.row(r)[c]} - double{e});
      apart = std::isfinite(d) ? std::max(apart, d) : 1e30;
      largest = std::max(largest, std::abs(double{e}));
    }
    const bool one = out.shape.c == 1;   // one channel: its sign decides
    same += one ? (out.row(r)[0] > 0) == (expected[0] > 0)
                : std::max_element(out.row(r), out.row(r) + out.shape.c) - out.row(r) ==
                      std::max_element(expected.begin(), expected.end()) - expected.begin();
  }
  const double agreement = static_cast<double>(same) / static_cast<double>(out.rows());
  const bool good = apart <= 1e-4 * largest && agreement >= 0.9999;
  std::printf("%lld parameters, input %s: %.1e of %.3g apart (%.1e), best class agrees in %.6f, %.2f s%s\n",
              static_cast<long long>(parameter_count(net)), text(shape).c_str(), apart, largest, apart / largest, agreement,
              seconds, good ? "" : "   TOO FAR");
  return good;
}

static bool check(const std::string& folder, const std::string& name) {
  const std::string path = folder + "/" + name;
  if (name == "liver_unet") return run(path, UNet<F3>(liver_unet()));
  if (name == "nodule_unet") return run(path, ResidualUNet<F3>(nodule_unet()));
  if (name == "slice_unet") return run(path, UNet<F2>(slice_unet()));
  if (name == "coronary_unet") return run(path, BasicUNet<F3>(coronary_unet()));
  if (name == "spine_vnet") return run(path, VNet<F3>({.out_channels = 26}));
  if (name == "original_vnet") return run(path, VNet<F3>(original_vnet()));
  if (name == "attention_unet") return run(path, AttentionUnet<F3>());
  if (name == "segresnet_brats") return run(path, SegResNet<F3>({.in_channels = 4, .out_channels = 3, .init_filters = 16}));
  if (name == "segresnet_whole_body") return run(path, SegResNet<F3>({.out_channels = 105, .init_filters = 32}));
  if (name == "plain_conv_unet") return run(path, PlainConvUNet<F3>());
  if (name == "plain_conv_unet_2d") return run(path, PlainConvUNet<F2>());
  if (name == "residual_encoder_unet") return run(path, ResidualEncoderUNet<F3>());
  if (name == "dynunet") return run(path, DynUNet<F3>());
  throw Error(Code::bad_argument, "full", text("no network ", name, "."));
}

int main(int argc, char** argv) try {
  if (argc != 3) return std::fprintf(stderr, "usage: full FOLDER NAME\n"), 2;
  std::printf("%s: ", argv[2]);
  return check(argv[1], argv[2]) ? 0 : 1;
} catch (const Error& e) {
  std::printf("%s\n", e.what());
  return 1;
}
