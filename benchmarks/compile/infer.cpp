// The hello world of compile time: build a BasicUNet and run it once.
#include <cstdio>

#include <ctseg/core/tensor.hpp>
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/nn/predictor.hpp>
#include <ctseg/ops/cpu.hpp>

namespace cs = ctseg;
using S = cs::Spec<float, 3, cs::Cpu>;

int main() {
  cs::Context<S::Device> ctx;
  cs::BasicUNet<S> net{{.in_channels = 1, .out_channels = 2}};
  net.initialize(ctx);
  cs::Predictor<cs::BasicUNet<S>> predict(ctx, net, {1, 1, {32, 32, 32}});
  const cs::Tensor<float, 3> x({1, 1, {32, 32, 32}});
  std::printf("%g\n", static_cast<double>(predict(x.view()).data[0]));
}
