// What opsets before 18 write in several nodes and we run as one op: found by their shape and replaced.
#pragma once
#include <algorithm>
#include <cmath>

#include "numbers.hpp"

namespace ctseg::onnx {

/// constant(name): the constant of that name, or null.
template <class Lookup> class Patterns {
 public:
  /// `rank` is that of activations: where a constant's channels lie depends on it.
  Patterns(std::vector<GraphNode>& nodes, std::size_t rank, Lookup constant) : nodes_(nodes), rank_(rank), constant_(constant) {
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      for (const std::string& y : nodes[i].outputs) maker_[y] = i;
      for (const std::string& x : nodes[i].inputs) reader_[x] = i, ++readers_[x];
    }
  }

  /// The nodes that began a pattern stay, read by nobody.
  void replace() {
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (is_a(nodes_[i], "Erf")) gelu(nodes_[i]);
      if (is_a(nodes_[i], "InstanceNormalization")) group_norm(nodes_[i]);
    }
  }

 private:
  static bool is_a(const GraphNode& n, const char* op) { return n.domain.empty() && n.op == op && !n.inputs.empty(); }
  /// The only reader of a node's output, if it is an `op` of two inputs.
  GraphNode* next(const GraphNode& n, const char* op) {
    if (n.outputs.size() != 1 || readers_[n.outputs[0]] != 1) return nullptr;
    GraphNode& r = nodes_[reader_[n.outputs[0]]];
    return is_a(r, op) && r.inputs.size() == 2 && r.outputs.size() == 1 ? &r : nullptr;
  }
  const GraphNode* made(const std::string& name, const char* op) {
    const auto it = maker_.find(name);
    return it != maker_.end() && is_a(nodes_[it->second], op) ? &nodes_[it->second] : nullptr;
  }
  /// The input of a node that is not the output of the node before it.
  static const std::string& other(const GraphNode& n, const GraphNode& before) {
    return n.inputs[n.inputs[0] == before.outputs[0] ? 1 : 0];
  }
  bool is(const std::string& name, double v) {
    const Constant c = constant_(name);
    return c && c->count() == 1 && std::abs(c->values[0] - v) < 1e-6;
  }
  static bool all(const Constant& c, double v) {
    return c && std::all_of(c->values.begin(), c->values.end(), [v](double x) { return x == v; });
  }

  /// x (1 + erf(x / sqrt 2)) / 2
  void gelu(const GraphNode& erf) {
    const GraphNode* scaled = erf.inputs.size() == 1 ? made(erf.inputs[0], "Div") : nullptr;
    if (!scaled || scaled->inputs.size() != 2 || !is(scaled->inputs[1], 1.4142135623730951)) return;
    const std::string x = scaled->inputs[0];
    const GraphNode* twice = next(erf, "Add");
    if (!twice || !is(other(*twice, erf), 1)) return;
    const GraphNode* product = next(*twice, "Mul");
    if (!product || other(*product, *twice) != x) return;
    GraphNode* half = next(*product, "Mul");
    if (!half || !is(other(*half, *product), 0.5)) return;
    *half = {.op = "Gelu", .name = half->name, .inputs = {x}, .outputs = half->outputs};
  }

  /// Channels in groups, instance norm of these, back, times gamma, plus beta.
  void group_norm(const GraphNode& norm) {
    const GraphNode* grouped = norm.inputs.size() == 3 ? made(norm.inputs[0], "Reshape") : nullptr;
    if (!grouped) return;
    const Constant scale = constant_(norm.inputs[1]), target = constant_(grouped->inputs.back());
    if (!all(scale, 1) || !all(constant_(norm.inputs[2]), 0)) return;
    if (!target || target->values.size() != 3 || target->values[1] != static_cast<double>(scale->count())) return;
    const std::string x = grouped->inputs[0];
    const GraphNode* back = next(norm, "Reshape");
    if (!back || back->inputs[0] != norm.outputs[0]) return;
    const GraphNode* product = next(*back, "Mul");
    GraphNode* sum = product ? next(*product, "Add") : nullptr;
    if (!sum) return;
    const Constant gamma = constant_(other(*product, *back)), beta = constant_(other(*sum, *product));
    if (!gamma || !beta || gamma->dims != beta->dims || gamma->dims.size() + 1 != rank_ || gamma->dims[0] != gamma->count())
      return;
    const GraphNode* shape = made(back->inputs[1], "Shape");   // of x, or written down
    const Constant extents = constant_(back->inputs[1]);
    if (shape ? shape->inputs[0] != x : !extents || extents->count() != std::ssize(gamma->dims) + 1) return;
    std::map<std::string, AttributeValue> attributes = norm.attributes;
    attributes["num_groups"] = scale->count();
    *sum = {.op = "GroupNormalization",
            .name = norm.name,
            .inputs = {x, other(*product, *back), other(*sum, *product)},
            .outputs = sum->outputs,
            .attributes = std::move(attributes)};
    sum->attributes["per_channel"] = Index{1};
  }

  std::vector<GraphNode>& nodes_;
  std::size_t rank_;
  Lookup constant_;
  std::map<std::string, std::size_t> maker_, reader_;
  std::map<std::string, int> readers_;
};

}   // namespace ctseg::onnx
