// Networks for the export tests: one that uses every op, and what runs a network and compares.
#pragma once
#include <doctest/doctest.h>

#include <cmath>
#include <ctseg/core/tensor.hpp>
#include <ctseg/io/file.hpp>
#include <ctseg/io/onnx.hpp>
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/nn/predictor.hpp>
#include <ctseg/ops/cpu.hpp>
#include <filesystem>
#include <string>

namespace onnx_test {

using namespace ctseg;
using F2 = Spec<float, 2, Cpu>;
using F3 = Spec<float, 3, Cpu>;

/// A folder that is gone when the test is over.
struct TempFolder {
  std::filesystem::path path;
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "ctseg_onnx_XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
  }
  TempFolder(const TempFolder&) = delete;
  ~TempFolder() { std::filesystem::remove_all(path); }
  std::filesystem::path operator/(const std::string& name) const { return path / name; }
};

/// Numbers between -1 and 1 that repeat on every machine.
struct Stream {
  std::uint32_t state = 1;
  float operator()() {
    state = state * 1664525u + 1013904223u;
    return static_cast<float>(state >> 8) / 8388608.f - 1.f;
  }
};

/// Every parameter gets values of its own, so that a swap of two shows: fills of 0 and 1 would hide it.
template <class Net> void scramble(Net& net) {
  Stream next;
  visit(net, [&](const std::string&, auto& p) {
    const float scale = p.fan_in() > 0 ? std::sqrt(3.f / static_cast<float>(p.fan_in())) : 0.3f;
    const float centre = p.fan_in() > 0 || p.role() == Role::averaged ? 0.f : 0.7f;
    for (auto& v : p.edit()) v = centre + scale * next();
    if (p.role() == Role::averaged)
      for (auto& v : p.edit()) v = 0.5f + std::abs(v);   // variances are positive; a mean may be anything
  });
}

template <int Dim> Tensor<float, Dim> random_input(const Shape<Dim>& shape) {
  Tensor<float, Dim> x(shape);
  Stream next{77};
  for (Index r = 0; r < x.view().rows(); ++r)
    for (Index c = 0; c < shape.c; ++c) x.view().row(r)[c] = next();
  return x;
}

template <class Net, int Dim> Tensor<float, Dim> output_of(const Net& net, const Tensor<float, Dim>& x) {
  Context<Cpu> ctx{{.threads = 1}};
  Predictor<Net> predictor(ctx, net, x.shape());
  const auto y = predictor(In<typename Net::Spec>(x.view()));
  Tensor<float, Dim> out(y.shape);
  for (Index r = 0; r < y.rows(); ++r)
    for (Index c = 0; c < y.shape.c; ++c) out.view().row(r)[c] = y.row(r)[c];
  return out;
}

/// The largest difference over the largest value; 2 for other shapes.
template <int Dim> double difference(const Tensor<float, Dim>& a, const Tensor<float, Dim>& b) {
  if (a.shape() != b.shape()) return 2;
  double most = 0, largest = 0;
  for (Index r = 0; r < a.view().rows(); ++r)
    for (Index c = 0; c < a.shape().c; ++c) {
      const double e = std::abs(double{a.view().row(r)[c]} - double{b.view().row(r)[c]});
      most = e > most || std::isnan(e) ? e : most;
      largest = std::max(largest, std::abs(double{a.view().row(r)[c]}));
    }
  return largest > 0 ? most / largest : most;
}

/// Every op that has an ONNX form, most of their options, at full, half and double resolution.
template <AnySpec S> class EveryOpNet {
 public:
  using Spec = S;
  EveryOpNet()
      : reflected_({.in_channels = 2, .out_channels = 4, .padding_mode = PadMode::reflect}),
        dilated_({.in_channels = 4, .out_channels = 4, .dilation = 2, .bias = false, .groups = 2}),
        up_({.in_channels = 4,
             .out_channels = 4,
             .kernel = 3,
             .stride = 2,
             .padding = 1,
             .output_padding = 1,
             .transposed = true}),
        wide_({.in_channels = 4, .out_channels = S::kDim == 3 ? 16 : 8, .kernel = 1}),
        depthwise_({.in_channels = 4, .out_channels = 4, .groups = 4}),
        batch_({.channels = 4, .kind = NormKind::batch, .activation = leaky_relu(0.2f)}),
        plain_({.channels = 4, .affine = false, .activation = elu(0.7f)}),
        group_({.channels = 4, .kind = NormKind::group, .activation = gelu(), .groups = 2}),
        bare_({.channels = 4, .kind = NormKind::group, .affine = false, .groups = 4}),
        first_({.conv = {.in_channels = 4, .out_channels = 4}, .activation = prelu()}),
        second_({.conv = {.in_channels = 4, .out_channels = 4, .stride = 2}, .norm = NormKind::batch, .dropout = 0.5f}),
        slopes_({.shape = {4}}) {}

  Var<S> forward(Var<S> x) const {
    Var<S> a = batch_(reflected_(x));
    a = plain_(dilated_(a));
    a = group_(a);
    Var<S> b = second_(first_(a));   // half the size from here
    b = add(bare_(b), add(max_pool(a), average_pool(a)), 0.25f);
    b = prelu(depthwise_(channel_dropout(b, 0.3f)), slopes_);
    Var<S> up = concat_all({relu(up_(b)), upsample(b), upsample(b, {.mode = UpsampleMode::linear}),
                            upsample(b, {.mode = UpsampleMode::nearest_exact})});
    Var<S> gate = sigmoid(slice_channels(upsample(b, {.mode = UpsampleMode::linear, .align_corners = true}), 1, 1));
    a = multiply(add(a, slice_channels(up, 2, 4), -1.5f), gate);
    a = add(a, average_pool(pixel_shuffle_to(wide_(a), a)));
    Var<S> mean = upsample(adaptive_average_pool(a, 1), {.size = a.shape().space});
    a = concat_all({a, mean, slice_channels(up, 10, 6)});
    a = pad(a, {.low = ones(1), .high = ones(2), .mode = PadMode::constant, .value = 0.5f});
    a = pad(a, {.low = ones(1), .mode = PadMode::replicate});
    return softmax(max_pool(a, {.kernel = 3, .stride = 1}));
  }

  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    int n = 0;
    for (auto* c : {&self.reflected_, &self.dilated_, &self.up_, &self.wide_, &self.depthwise_})
      Conv<S>::each(*c, text(prefix, "conv_", n++, "."), f);
    for (auto* m : {&self.batch_, &self.plain_, &self.group_, &self.bare_})
      Norm<S>::each(*m, text(prefix, "norm_", n++, "."), f);
    Block<S>::each(self.first_, prefix + "first.", f);
    Block<S>::each(self.second_, prefix + "second.", f);
    f(prefix + "slopes", self.slopes_);
  }

 private:
  static std::array<Index, S::kDim> ones(Index n) {
    std::array<Index, S::kDim> all;
    all.fill(n);
    return all;
  }
  static Var<S> concat_all(std::vector<Var<S>> parts) {
    return parts[0].tape->append(ConcatOp<S>{}, std::span<const Var<S>>(parts), {});
  }
  /// Twice the size with two channels, repeated to those of `like`.
  static Var<S> pixel_shuffle_to(Var<S> x, Var<S> like) {
    const Var<S> y = pixel_shuffle(x, 2);
    REQUIRE(like.shape().c == 2 * y.shape().c);
    return concat(y, y);
  }

  Conv<S> reflected_, dilated_, up_, wide_, depthwise_;
  Norm<S> batch_, plain_, group_, bare_;
  Block<S> first_, second_;
  Parameter<S> slopes_;
};

}   // namespace onnx_test
