// A network as a table: what runs in which order, how large it is, and what it costs.
#pragma once
#include "functional.hpp"

namespace ctseg {

/// One op. Multiply-adds are those of convolutions, what papers count; flop also has two for each of them and a few per value
/// for everything else.
struct LayerSummary {
  std::string scope{}, op{}, shape{};
  std::string engine{};   // how the plan computes it, where there are several ways: "direct", "F(4,3)"
  Index parameters = 0;   // of this op; a layer that is called twice is counted where it is called first
  Index multiply_adds = 0;
  Index flop = 0;
  Index activation_bytes = 0;   // of its output
};

struct NetworkSummary {
  std::string input, device;   // device: what engines were chosen for, "avx512, standard"
  std::vector<LayerSummary> layers;
  Index parameters = 0, multiply_adds = 0, flop = 0, activation_bytes = 0;
};

namespace summary {

/// Output elements for each input element of a transposed convolution, input elements for each output of a plain one, times
/// taps.
template <AnySpec S> Index multiply_adds(const ConvOp<S>& op, const Shape<S::kDim>& x, const Shape<S::kDim>& y) {
  const Index places = (op.transposed ? x : y).voxels() * x.n;
  return places * op.kernel.product() * (op.in_channels / op.groups) * op.out_channels;
}

/// Per value of the output. A rough count, for the ops whose cost is memory: a norm about 8, a sum of two 2, others 1.
template <AnySpec S> Index flop_per_value(const AnyOp<S>& op, std::size_t inputs) {
  if (op.template get<NormOp<S>>() || op.template get<ConvNormActOp<S>>()) return 8 + (inputs > 1 ? 1 : 0);
  if (op.template get<AddOp<S>>()) return 2;
  if (const auto* pool = op.template get<MaxPoolOp<S>>()) return pool->kernel.product();
  if (const auto* pool = op.template get<AveragePoolOp<S>>()) return 2 * pool->kernel.product();
  if (const auto* up = op.template get<UpsampleOp<S>>()) return up->mode == UpsampleMode::linear ? Index{2} << S::kDim : 0;
  if (op.template get<SoftmaxOp<S>>()) return 4;
  if (op.template get<ActivationOp<S>>() || op.template get<MultiplyOp<S>>()) return 1;
  return 0;
}

}   // namespace summary

/// What a recorded tape does; inputs are not among the layers.
template <AnySpec S> NetworkSummary summarize(const Tape<S>& tape) {
  NetworkSummary all;
  all.device = text(tape.device());
  std::vector<const void*> seen;
  for (const Node<S>& node : tape.nodes()) {
    if (node.inputs.empty()) {
      all.input += (all.input.empty() ? "" : ", ") + text(node.value());
      continue;
    }
    LayerSummary row{.scope = node.scope,
                     .op = std::string(node.op->name()),
                     .shape = text(node.info.shape),
                     .engine = engine_of(tape.nodes(), node)};
    const auto* block = node.op.template get<ConvNormActOp<S>>();
    const auto* norm = block ? &block->norm : node.op.template get<NormOp<S>>();
    for (std::size_t k = 0; k < node.weights.size(); ++k) {
      const Weights<S>& w = node.weights[k];
      const std::size_t of_norm = block ? k - 2 : k;   // a block's first two are its convolution's
      if (norm && norm->kind == NormKind::batch && of_norm - norm->running_at() < 2) continue;   // running, not trained
      if (w.empty() || std::find(seen.begin(), seen.end(), w.data()) != seen.end()) continue;
      seen.push_back(w.data());
      row.parameters += w.size();
    }
    if (const auto* conv = block ? &block->conv : node.op.template get<ConvOp<S>>())
      row.multiply_adds = summary::multiply_adds(*conv, tape.nodes()[at(node.inputs[0])].info.shape, node.info.shape);
    row.flop = 2 * row.multiply_adds + summary::flop_per_value<S>(node.op, node.inputs.size()) * node.info.shape.elements();
    row.activation_bytes = node.value_bytes();
    all.parameters += row.parameters, all.multiply_adds += row.multiply_adds, all.flop += row.flop;
    all.activation_bytes += row.activation_bytes;
    all.layers.push_back(std::move(row));
  }
  return all;
}

/// Of one forward pass of a network in inference on values of this shape. Nothing is computed: shapes are enough. Engines are
/// those of `device`, ctx.traits() for those of a context; without one, of plain code.
/// Errors    what the network says of a shape that does not fit.
template <class Net> NetworkSummary summarize(const Net& net, const Shape<Net::Spec::kDim>& x,
                                              const DeviceTraits<typename Net::Spec::Device>& device = {}) {
  using S = typename Net::Spec;
  Tape<S> tape(Mode::infer, device);
  net.forward(tape.input(x));
  return summarize(tape);
}

/// The table as text: a row per op, then the totals. Activations are the sum of all outputs, about what training keeps; what a
/// plan needs is in Plan::memory(), because it shares.
inline std::string text(const NetworkSummary& s) {
  char line[200];
  const auto print = [&line](const std::string& scope, const std::string& op, const std::string& shape,
                             const LayerSummary& row) {
    std::snprintf(line, sizeof line, "%-20.30s %-15.20s %-26.40s %12lld %11.3f %12.3f  %s\n", scope.c_str(), op.c_str(),
                  shape.c_str(), static_cast<long long>(row.parameters), static_cast<double>(row.flop) * 1e-9,
                  static_cast<double>(row.activation_bytes) * 1e-6, row.engine.empty() ? "-" : row.engine.c_str());
    return std::string(line);
  };
  std::snprintf(line, sizeof line, "%-20s %-15s %-26s %12s %11s %12s  engine\n", "scope", "op", "output", "parameters", "GFLOP",
                "MB");
  std::string out = "input " + s.input + " on " + s.device + "\n" + line;
  for (const LayerSummary& row : s.layers) out += print(row.scope, row.op, row.shape, row);
  LayerSummary total{.parameters = s.parameters, .flop = s.flop, .activation_bytes = s.activation_bytes};
  out += print("total", text(s.layers.size()) + " ops", "", total);
  std::snprintf(line, sizeof line, "convolutions: %.3f G multiply-adds\n", static_cast<double>(s.multiply_adds) * 1e-9);
  return out + line;
}

/// Hands the table to the caller's log, line by line; the library itself prints nothing.
inline void print_summary(const NetworkSummary& s, LogSink to) {
  const std::string table = text(s);
  for (std::size_t from = 0; to.write && from < table.size();) {
    const std::size_t end = std::min(table.find('\n', from), table.size());
    to.write(to.user, std::string_view(table).substr(from, end - from));
    from = end + 1;
  }
}

template <class Net> void print_summary(const Net& net, const Shape<Net::Spec::kDim>& x, LogSink to) {
  print_summary(summarize(net, x), to);
}

}   // namespace ctseg
