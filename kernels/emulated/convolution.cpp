// The passes of convolutions on the host, in plain loops: what tests hold cuDNN's place with. Sums are kept in double and
// rounded once.
#include "../common/launch.cuh"
#include "../common/values.cuh"
#include "../conv/pass.hpp"
#include "ctseg/ops/cpu/window.hpp"

namespace ctseg::cuda {

namespace {

/// The whole pass, on the first thread of one block: a launch, so that it may touch device memory and be recorded.
template <class T> struct PlainPass {
  static constexpr int kThreads = 32;
  static constexpr bool kSyncs = false;
  static constexpr const char* kName = "emulated_convolution";
  ConvWindow window;
  Index kind, images, input_channels, output_channels;
  T *input, *filter, *output;

  void operator()(const Block& b) const {
    if (b.index() > 0 || b.thread() > 0) return;
    if (kind == ConvPass::filter) return make_filter();
    const bool forward = kind == ConvPass::forward;
    const Index from = forward ? input_channels : output_channels;
    const Index to = forward ? output_channels : input_channels;
    const std::vector<float> w = weights(from, to, forward);
    std::vector<float> x(static_cast<std::size_t>(from));
    std::vector<double> sum(static_cast<std::size_t>(to));
    const Side side = forward ? Side::output : Side::input;
    const Index here = voxels(forward ? window.output : window.input);
    const Index there = voxels(forward ? window.input : window.output);
    for (Index n = 0; n < images; ++n)
      for (Index v = 0; v < here; ++v) {
        std::fill(sum.begin(), sum.end(), 0.0);
        cpu::for_partners(window, side, v, [&](Index u, Index tap) {
          const T* values = forward ? at_input(n * there + u) : at_output(n * there + u);
          const float* row = w.data() + tap * from * to;
          for (Index i = 0; i < from; ++i, row += to) {
            const double value = static_cast<double>(to_float(values[i]));
            for (Index o = 0; o < to; ++o) sum[static_cast<std::size_t>(o)] += value * static_cast<double>(row[o]);
          }
        });
        T* y = forward ? at_output(n * here + v) : at_input(n * here + v);
        for (Index o = 0; o < to; ++o) y[o] = from_float<T>(static_cast<float>(sum[static_cast<std::size_t>(o)]));
      }
  }

 private:
  static Index voxels(const std::array<Index, 3>& e) { return e[0] * e[1] * e[2]; }
  T* at_input(Index row) const { return input + row * input_channels; }
  T* at_output(Index row) const { return output + row * output_channels; }

  /// [taps, from, to] in float.
  std::vector<float> weights(Index from, Index to, bool forward) const {
    const Index taps = window.taps();
    std::vector<float> w;
    w.reserve(static_cast<std::size_t>(taps * from * to));
    for (Index tap = 0; tap < taps; ++tap)
      for (Index i = 0; i < from; ++i)
        for (Index o = 0; o < to; ++o)
          w.push_back(to_float(forward ? filter[(o * taps + tap) * from + i] : filter[(i * taps + tap) * to + o]));
    return w;
  }

  void make_filter() const {
    const Index taps = window.taps(), in = input_channels, out = output_channels;
    const Index outputs = voxels(window.output), inputs = voxels(window.input);
    std::vector<double> sum(static_cast<std::size_t>(out * taps * in));
    for (Index n = 0; n < images; ++n)
      for (Index v = 0; v < outputs; ++v)
        cpu::for_partners(window, Side::output, v, [&](Index u, Index tap) {
          const T *x = at_input(n * inputs + u), *dy = at_output(n * outputs + v);
          for (Index o = 0; o < out; ++o) {
            const double gradient = static_cast<double>(to_float(dy[o]));
            double* row = sum.data() + (o * taps + tap) * in;
            for (Index i = 0; i < in; ++i) row[i] += gradient * static_cast<double>(to_float(x[i]));
          }
        });
    for (std::size_t i = 0; i < sum.size(); ++i) filter[i] = from_float<T>(static_cast<float>(sum[i]));
  }
};

class EmulatedPlans final : public ConvPlans {
 public:
  void run(Stream stream, const ConvPass& pass, const PassBuffers& b) override {
    with_storage(pass.dtype, [&](auto zero) {
      using T = decltype(zero);
      launch(stream, {},
             PlainPass<T>{pass.window, Index{pass.kind}, pass.images, pass.input_channels, pass.output_channels,
                          static_cast<T*>(b.input), static_cast<T*>(b.filter), static_cast<T*>(b.output)});
    });
  }
};

}   // namespace

std::shared_ptr<ConvPlans> make_conv_plans(int) { return std::make_shared<EmulatedPlans>(); }

}   // namespace ctseg::cuda
