// Convolutions as values: those that networks record on their tapes, and a table of well-known ones.
#pragma once
#include <string>
#include <vector>

#include <ctseg/nn/functional.hpp>

namespace ctseg::bench {

enum class Pass { forward, data, weights };
inline constexpr Pass kPasses[] = {Pass::forward, Pass::data, Pass::weights};
inline const char* text(Pass p) {
  return p == Pass::forward ? "forward" : p == Pass::data ? "data gradient" : "weight gradient";
}

/// How much faster than the peer a row should be, by accuracy (strict, standard, fast) and pass; 0: nothing was promised.
using Goals = std::array<std::array<double, 3>, 3>;

/// One image. Axes z, y, x; of a 2-D layer z is 1 throughout.
struct Layer {
  int dim = 3;
  Index in = 1, out = 1;
  std::array<Index, 3> size{}, kernel{}, stride{1, 1, 1}, padding{0, 0, 0}, output_padding{0, 0, 0};   // size of the input
  bool transposed = false;
  std::string networks{};
  Goals goals{};

  bool same(const Layer& o) const {
    return dim == o.dim && in == o.in && out == o.out && size == o.size && kernel == o.kernel && stride == o.stride &&
           padding == o.padding && output_padding == o.output_padding && transposed == o.transposed;
  }
  std::array<Index, 3> output_size() const {
    std::array<Index, 3> y{};
    for (std::size_t d = 0; d < 3; ++d)
      y[d] = transposed ? (size[d] - 1) * stride[d] - 2 * padding[d] + kernel[d] + output_padding[d]
                        : (size[d] + 2 * padding[d] - kernel[d]) / stride[d] + 1;
    return y;
  }
  static Index product(const std::array<Index, 3>& a) { return a[0] * a[1] * a[2]; }
  Index x_elements() const { return product(size) * in; }
  Index y_elements() const { return product(output_size()) * out; }
  Index w_elements() const { return product(kernel) * in * out; }
  /// Multiply-adds as usually counted (taps outside of the image included), times two: the same for every pass.
  double flop() const {
    return 2.0 * static_cast<double>(product(transposed ? size : output_size())) * static_cast<double>(w_elements());
  }
  std::string name() const {
    return ctseg::text(axes(kernel), product(stride) > 1 ? " s" + axes(stride) : "", transposed ? " T " : " ", in, "->", out,
                       " @", axes(size));
  }

 private:
  std::string axes(const std::array<Index, 3>& a) const {   // 3^3, 512^2, 1x3x3
    const std::size_t first = dim == 2;
    bool equal = true;
    for (std::size_t d = first; d < 3; ++d) equal = equal && a[d] == a[2];
    if (equal) return ctseg::text(a[2], "^", dim);
    std::string all;
    for (std::size_t d = first; d < 3; ++d) all += (d > first ? "x" : "") + ctseg::text(a[d]);
    return all;
  }
};

template <int Dim> Axes<Dim> axes_of(const std::array<Index, 3>& a) {
  std::array<Index, Dim> all{};
  std::copy(a.end() - Dim, a.end(), all.begin());
  return all;
}
template <AnySpec S> ConvOp<S> op_of(const Layer& l) {
  return {.in_channels = l.in,
          .out_channels = l.out,
          .kernel = axes_of<S::kDim>(l.kernel),
          .stride = axes_of<S::kDim>(l.stride),
          .padding = axes_of<S::kDim>(l.padding),
          .output_padding = axes_of<S::kDim>(l.output_padding),
          .transposed = l.transposed};
}

template <AnySpec S> Layer layer_of(const ConvOp<S>& op, const Shape<S::kDim>& x) {
  Layer l{.dim = S::kDim, .in = op.in_channels, .out = op.out_channels, .transposed = op.transposed};
  l.size.fill(1), l.kernel.fill(1);
  const auto put = [](const auto& from, std::array<Index, 3>& to) { std::copy(from.begin(), from.end(), to.end() - S::kDim); };
  put(x.space, l.size), put(op.kernel.value, l.kernel), put(op.stride.value, l.stride);
  put(op.padding.value, l.padding), put(op.output_padding.value, l.output_padding);
  return l;
}

/// The convolutions that the network records, alone or in blocks, in their order.
template <class Net> std::vector<Layer> recorded_layers(const Net& net, const Shape<Net::Spec::kDim>& shape) {
  using S = typename Net::Spec;
  Tape<S> tape(Mode::infer);
  net.forward(tape.input(shape));
  std::vector<Layer> layers;
  for (const Node<S>& node : tape.nodes()) {
    const auto* conv = node.op.template get<ConvOp<S>>();
    if (const auto* block = node.op.template get<ConvNormActOp<S>>()) conv = &block->conv;
    if (!conv || conv->groups != 1 || conv->dilation != Axes<S::kDim>(1)) continue;   // no network here has any of these
    layers.push_back(layer_of<S>(*conv, tape.nodes()[at(node.inputs[0])].info.shape));
  }
  return layers;
}

/// Adds what is new of them to `all`; what is known gets one more network.
inline void add_layers(std::vector<Layer>& all, const std::string& network, const std::vector<Layer>& layers) {
  for (const Layer& layer : layers) {
    const auto known = std::ranges::find_if(all, [&](const Layer& l) { return l.same(layer); });
    Layer& l = known != all.end() ? *known : all.emplace_back(layer);
    if (l.networks.find(network) == std::string::npos) l.networks += (l.networks.empty() ? "" : ", ") + network;
  }
}

inline Layer cube(Index in, Index out, Index size, Index kernel, const Goals& goals = {}) {
  Layer l{.in = in, .out = out, .networks = "table", .goals = goals};
  l.size.fill(size), l.kernel.fill(kernel), l.padding.fill(kernel / 2);
  return l;
}

/// Layers that most 3-D networks have, with what they should reach beside oneDNN.
inline std::vector<Layer> table_layers() {
  constexpr double direct = 0.97;
  const auto k3 = [](double standard, double fast, double weights) {   // the data gradient is a forward pass of its own
    return Goals{{{direct, direct, 0}, {standard, standard, weights}, {fast, fast, weights}}};
  };
  const auto k5 = [](double fast) { return Goals{{{direct, direct, 0}, {}, {fast, fast, 0}}}; };
  const auto all = [](double g) { return Goals{{{g, g, 0}}}; };   // where every accuracy takes the same kernel
  std::vector<Layer> layers = {cube(32, 32, 96, 3, k3(1.9, 3.5, 2)),
                               cube(32, 64, 48, 3, k3(2, 4, 2)),
                               cube(64, 64, 48, 3, k3(2.4, 4.8, 2)),
                               cube(64, 128, 24, 3, k3(2.5, 5, 1.3)),
                               cube(128, 128, 24, 3, k3(2.6, 4.5, 1.3)),
                               cube(256, 256, 12, 3, k3(2.1, 4.5, 1.3)),
                               cube(512, 512, 6, 3),
                               cube(32, 32, 48, 5, k5(2.5)),
                               cube(64, 64, 24, 5, k5(3.2)),
                               cube(128, 128, 24, 5, k5(2.9)),
                               cube(1, 32, 96, 3, Goals{{{direct}}}),
                               cube(32, 2, 96, 1, all(direct)),
                               cube(64, 64, 48, 1, all(direct)),
                               cube(32, 64, 96, 3, all(direct)),
                               cube(64, 64, 48, 2, all(direct)),
                               cube(64, 32, 48, 2, all(4))};
  const std::size_t n = layers.size();
  layers[n - 3].stride.fill(2);
  layers[n - 2].stride.fill(2), layers[n - 2].padding.fill(0);
  layers[n - 1].stride.fill(2), layers[n - 1].padding.fill(0), layers[n - 1].transposed = true;
  return layers;
}

}   // namespace ctseg::bench
