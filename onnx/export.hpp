// From the recorded list to a graph: one function per op. What an op computes is said in its own header; here is only how
// operators of ONNX say the same.
#pragma once
#include <ctseg/io/onnx.hpp>
#include <ctseg/nn/functional.hpp>
#include <map>

#include "affine.hpp"
#include "emit.hpp"

namespace ctseg::onnx {

struct ExportMode {
  bool dynamic_size = false;
  bool weights = true;   // false: names only, to compare two graphs
};

template <AnySpec S> class Exporter {
 public:
  static constexpr Index kDim = S::kDim;

  Exporter(const ExportedNet<S>& net, const Shape<S::kDim>& shape, const ExportOptions<S::kDim>& options, ExportMode mode);

  Graph take() { return std::move(out_.graph); }
  const std::vector<Shape<S::kDim>>& output_shapes() const { return output_shapes_; }

 private:
  using Values = std::vector<Weights<S>>;
  const std::string& x(std::size_t k = 0) const { return names_[at(node_->inputs.at(k))]; }
  const Shape<S::kDim>& shape_of(std::size_t k = 0) const { return tape_.nodes()[at(node_->inputs.at(k))].info.shape; }

  void mark_live(const std::vector<Var<S>>& outputs);
  std::string emit();
  std::string emit_any();

  std::string conv(const ConvOp<S>& op, const std::string& in, const Values& w);
  std::string norm(const NormOp<S>& op, const std::string& in, const Values& w);
  std::string group_norm(const NormOp<S>& op, const std::string& in, const Values& w);
  std::string activation(const Activation& a, const std::string& in, const Weights<S>& slopes);
  std::string pad(const PadOp<S>& op);
  std::string upsample(const UpsampleOp<S>& op);
  std::string adaptive_pool(const AdaptiveAveragePoolOp<S>& op);
  std::string pixel_shuffle(Index factor);
  std::string slice(const SliceOp<S>& op);
  std::string affine(const AffineOp<S>& op);

  /// The value that this node's output will be joined with, and whose size it therefore has; -1: none.
  int partner() const;
  /// The name of a parameter, in the file's order.
  std::string weight(const Weights<S>& w, std::vector<Index> dims, WeightLayout layout = WeightLayout::plain, Index groups = 1);
  /// [C, 1, 1]: a vector that is the same for every voxel.
  static std::vector<Index> per_channel(Index channels) {
    std::vector<Index> dims(static_cast<std::size_t>(kDim) + 1, 1);
    dims[0] = channels;
    return dims;
  }
  static std::vector<Index> ints(const Axes<S::kDim>& axes) { return {axes.value.begin(), axes.value.end()}; }
  static std::vector<Index> twice(const std::array<Index, S::kDim>& low, const std::array<Index, S::kDim>& high) {
    std::vector<Index> all(low.begin(), low.end());
    all.insert(all.end(), high.begin(), high.end());
    return all;
  }

  ExportMode mode_;
  Tape<S> tape_;
  Emitter out_;
  std::vector<std::string> names_;   // of every value
  std::vector<bool> live_;
  const Node<S>* node_ = nullptr;   // being written
  std::map<const typename S::Acc*, std::string> parameters_;
  std::map<std::string, const typename S::Acc*> written_;   // whose values a tensor of the file holds
  std::vector<Shape<S::kDim>> output_shapes_;
};

template <AnySpec S>
std::string Exporter<S>::weight(const Weights<S>& w, std::vector<Index> dims, WeightLayout layout, Index groups) {
  const auto known = parameters_.find(w.data());
  std::string name = known != parameters_.end() ? known->second : "";
  if (name.empty())   // a weight that the network did not list is called by its place
    for (std::size_t k = 0; k < node_->weights.size(); ++k)
      if (node_->weights[k].data() == w.data()) name = text("node_", node_->origin, ".weight_", k);
  for (const TensorData* t = out_.find(name); t; t = out_.find(name)) {
    const auto holds = written_.find(name);
    if (t->dims == dims && holds != written_.end() && holds->second == w.data()) return name;
    name += "_";   // one parameter in two shapes, or two of one name
  }
  written_[name] = w.data();
  TensorData t{.name = name, .dims = dims};
  if (mode_.weights) {
    const Parameter<S> order({.shape = dims, .layout = layout, .groups = groups});
    t.bytes.resize(static_cast<std::size_t>(w.size()) * sizeof(float));
    for_file_order(order, [&](Index memory, Index file) {
      std::memcpy(t.bytes.data() + static_cast<std::size_t>(file) * sizeof(float), &w[memory], sizeof(float));
    });
  }
  return out_.tensor(std::move(t));
}

template <AnySpec S> std::string Exporter<S>::conv(const ConvOp<S>& op, const std::string& in, const Values& w) {
  Attributes a = {{"kernel_shape", ints(op.kernel)},
                  {"strides", ints(op.stride)},
                  {"dilations", ints(op.dilation)},
                  {"pads", twice(op.padding.value, op.padding.value)},
                  {"group", op.groups}};
  if (op.transposed) a["output_padding"] = ints(op.output_padding);
  std::vector<Index> dims = {op.out_channels, op.in_channels / op.groups};
  if (op.transposed) dims = {op.in_channels, op.out_channels / op.groups};
  dims.insert(dims.end(), op.kernel.value.begin(), op.kernel.value.end());
  const auto layout = op.transposed ? WeightLayout::conv_transposed : WeightLayout::conv;
  Names inputs = {in, weight(w.at(0), dims, layout, op.groups)};
  if (w.size() > 1 && !w[1].empty()) inputs.push_back(weight(w[1], {op.out_channels}));
  return out_.node(op.transposed ? "ConvTranspose" : "Conv", inputs, a);
}

template <AnySpec S> std::string Exporter<S>::norm(const NormOp<S>& op, const std::string& in, const Values& w) {
  const Index channels = node_->info.shape.c;
  std::string y;
  if (op.kind == NormKind::none) {
    y = in;
  } else if (op.kind == NormKind::group) {
    y = group_norm(op, in, w);
  } else {
    Names inputs = {in, op.affine ? weight(w.at(0), {channels}) : out_.numbers(1, channels),
                    op.affine ? weight(w.at(1), {channels}) : out_.numbers(0, channels)};
    if (op.kind == NormKind::batch)
      for (std::size_t k = 0; k < 2; ++k) inputs.push_back(weight(w.at(op.running_at() + k), {channels}));
    y = out_.node(op.kind == NormKind::batch ? "BatchNormalization" : "InstanceNormalization", inputs, {{"epsilon", op.eps}});
  }
  if (node_->inputs.size() > 1) y = out_.node("Add", {y, x(1)});   // a residual
  return activation(op.activation, y, w.size() > op.slopes_at() ? w[op.slopes_at()] : Weights<S>{});
}

/// GroupNormalization is younger than opset 17: channels of a group become one, which instance norm takes together.
template <AnySpec S> std::string Exporter<S>::group_norm(const NormOp<S>& op, const std::string& in, const Values& w) {
  const std::string flat = out_.node("Reshape", {in, out_.integers({0, op.groups, -1})});
  std::string y =
      out_.node("InstanceNormalization", {flat, out_.numbers(1, op.groups), out_.numbers(0, op.groups)}, {{"epsilon", op.eps}});
  y = out_.node("Reshape", {y, out_.shape(in, 0)});
  if (!op.affine) return y;
  const auto dims = per_channel(node_->info.shape.c);
  return out_.node("Add", {out_.node("Mul", {y, weight(w.at(0), dims)}), weight(w.at(1), dims)});
}

template <AnySpec S> std::string Exporter<S>::activation(const Activation& a, const std::string& in, const Weights<S>& slopes) {
  switch (a.kind) {
    case ActivationKind::identity:
      return in;
    case ActivationKind::relu:
      return out_.node("Relu", {in});
    case ActivationKind::leaky_relu:
      return out_.node("LeakyRelu", {in}, {{"alpha", a.parameter}});
    case ActivationKind::elu:
      return out_.node("Elu", {in}, {{"alpha", a.parameter}});
    case ActivationKind::sigmoid:
      return out_.node("Sigmoid", {in});
    case ActivationKind::prelu:
      return out_.node("PRelu", {in, weight(slopes, per_channel(slopes.size()))});
    case ActivationKind::gelu: {   // Gelu is younger than opset 17
      const std::string erf = out_.node("Erf", {out_.node("Div", {in, out_.numbers(1.4142135623730951f)})});
      const std::string twice_phi = out_.node("Add", {erf, out_.numbers(1)});
      return out_.node("Mul", {out_.node("Mul", {in, twice_phi}), out_.numbers(0.5f)});
    }
  }
  throw Error(Code::unsupported, "onnx", text("activation ", a.kind, " has no ONNX form."));
}

template <AnySpec S> int Exporter<S>::partner() const {
  const auto& nodes = tape_.nodes();
  for (std::size_t i = at(node_->origin) + 1; i < nodes.size(); ++i) {
    const Node<S>& user = nodes[i];
    if (!live_[i] || !(user.op.template get<ConcatOp<S>>() || user.op.template get<AddOp<S>>())) continue;
    if (std::find(user.inputs.begin(), user.inputs.end(), node_->origin) == user.inputs.end()) continue;
    for (const int v : user.inputs)
      if (v < node_->origin) return v;
  }
  return -1;
}

template <AnySpec S> std::string Exporter<S>::pad(const PadOp<S>& op) {
  static constexpr const char* kModes[] = {"edge", "reflect", "constant"};
  const int same = mode_.dynamic_size ? partner() : -1;
  std::string pads;
  if (same >= 0) {   // the size of what it is joined with, less its own: right for every size
    std::string high = out_.node("Sub", {out_.shape(names_[at(same)], 2), out_.shape(x(), 2)});
    std::vector<Index> low = {0, 0};
    low.insert(low.end(), op.low.begin(), op.low.end());
    if (op.low != std::array<Index, S::kDim>{}) high = out_.node("Sub", {high, out_.integers({low.begin() + 2, low.end()})});
    pads = out_.joined({out_.integers(low), out_.integers({0, 0}), high});
  } else {
    std::vector<Index> all(2 * (static_cast<std::size_t>(kDim) + 2), 0);
    std::copy(op.low.begin(), op.low.end(), all.begin() + 2);
    std::copy(op.high.begin(), op.high.end(), all.begin() + 4 + kDim);
    pads = out_.integers(all);
  }
  Names inputs = {x(), pads};
  if (op.mode == PadMode::constant) inputs.push_back(out_.numbers(op.value));
  return out_.node("Pad", inputs, {{"mode", std::string(kModes[static_cast<int>(op.mode)])}});
}

template <AnySpec S> std::string Exporter<S>::upsample(const UpsampleOp<S>& op) {
  Attributes a = {{"mode", std::string(op.mode == UpsampleMode::linear ? "linear" : "nearest")}};
  a["coordinate_transformation_mode"] = std::string(op.align_corners                   ? "align_corners"
                                                    : op.mode == UpsampleMode::nearest ? "asymmetric"
                                                                                       : "half_pixel");
  if (op.mode != UpsampleMode::linear)
    a["nearest_mode"] = std::string(op.mode == UpsampleMode::nearest ? "floor" : "round_prefer_ceil");
  const Shape<S::kDim>& y = node_->info.shape;
  bool by_factor = true;
  for (int d = 0; d < S::kDim; ++d) by_factor = by_factor && op.size[d] == 0;
  if (by_factor) {
    const std::string name = text("scales_", op.factor);
    if (!out_.has(name)) {
      std::vector<float> scales = {1, 1};
      for (const Index f : op.factor.value) scales.push_back(static_cast<float>(f));
      out_.tensor({.name = name, .dims = {std::ssize(scales)}, .bytes = Emitter::bytes_of(scales)});
    }
    return out_.node("Resize", {x(), "", name}, a);
  }
  const int same = mode_.dynamic_size ? partner() : -1;
  const std::string space = same >= 0 ? out_.shape(names_[at(same)], 2) : out_.integers({y.space.begin(), y.space.end()});
  return out_.node("Resize", {x(), "", "", out_.joined({out_.shape(x(), 0, 2), space})}, a);
}

template <AnySpec S> std::string Exporter<S>::adaptive_pool(const AdaptiveAveragePoolOp<S>& op) {
  if (op.size.product() == 1) return out_.node("GlobalAveragePool", {x()});
  std::vector<Index> kernel;
  for (std::size_t d = 0; d < S::kDim; ++d) {
    const Index in = shape_of().space[d], size = op.size.value[d];
    if (in % size != 0)
      throw Error(
          Code::unsupported, "onnx",
          text("AdaptiveAveragePool of ", shape_of(), " to ", op.size,
               " has windows of several sizes, which ONNX has no operator for. Hint: a size that divides the input's."));
    kernel.push_back(in / size);
  }
  return out_.node("AveragePool", {x()}, {{"kernel_shape", kernel}, {"strides", kernel}});
}

/// [N, C f^Dim, space] as [N, C, f .. f, space], then every f behind its axis, then merged with it.
template <AnySpec S> std::string Exporter<S>::pixel_shuffle(Index factor) {
  const Shape<S::kDim>& y = node_->info.shape;
  std::vector<Index> split = {0, y.c}, merged = {0, y.c}, order = {0, 1};
  for (Index d = 0; d < kDim; ++d) {
    split.push_back(factor);
    order.push_back(2 + kDim + d);
    order.push_back(2 + d);
  }
  const auto& space = shape_of().space;
  std::string split_shape, merged_shape;
  if (mode_.dynamic_size) {
    const std::string size = out_.shape(x(), 2);
    split_shape = out_.joined({out_.integers(split), size});
    merged_shape = out_.joined({out_.integers(merged), out_.node("Mul", {size, out_.integers({factor})})});
  } else {
    split.insert(split.end(), space.begin(), space.end());
    merged.insert(merged.end(), y.space.begin(), y.space.end());
    split_shape = out_.integers(split);
    merged_shape = out_.integers(merged);
  }
  const std::string parts = out_.node("Reshape", {x(), split_shape});
  return out_.node("Reshape", {out_.node("Transpose", {parts}, {{"perm", order}}), merged_shape});
}

template <AnySpec S> std::string Exporter<S>::slice(const SliceOp<S>& op) {
  return out_.node("Slice", {x(), out_.integers({op.first}), out_.integers({op.first + op.count}), out_.integers({1})});
}

/// The constants of an imported graph.
template <AnySpec S> std::string Exporter<S>::affine(const AffineOp<S>& op) {
  const auto constant = [&](const char* name, const std::vector<float>& values) {
    return out_.tensor({.name = text("node_", node_->origin, name),
                        .dims = per_channel(std::ssize(values)),
                        .bytes = Emitter::bytes_of(values)});
  };
  const std::string product = out_.node("Mul", {x(), constant(".scale", *op.scale)});
  return out_.node("Add", {product, constant(".shift", *op.shift)});
}

template <AnySpec S> std::string Exporter<S>::emit() {
  const Node<S>& n = *node_;
  const auto& w = n.weights;
  if (const auto* op = n.op.template get<ConvOp<S>>()) return conv(*op, x(), w);
  if (const auto* op = n.op.template get<ConvNormActOp<S>>())
    return norm(op->norm, conv(op->conv, x(), {w.begin(), w.begin() + 2}), {w.begin() + 2, w.end()});
  if (const auto* op = n.op.template get<NormOp<S>>()) return norm(*op, x(), w);
  if (const auto* op = n.op.template get<ActivationOp<S>>())
    return activation(op->activation, x(), w.empty() ? Weights<S>{} : w[0]);
  if (const auto* op = n.op.template get<MaxPoolOp<S>>())
    return out_.node("MaxPool", {x()}, {{"kernel_shape", ints(op->kernel)}, {"strides", ints(op->stride)}});
  if (const auto* op = n.op.template get<AveragePoolOp<S>>())
    return out_.node("AveragePool", {x()}, {{"kernel_shape", ints(op->kernel)}, {"strides", ints(op->stride)}});
  return emit_any();
}

template <AnySpec S> std::string Exporter<S>::emit_any() {
  const Node<S>& n = *node_;
  if (const auto* op = n.op.template get<AdaptiveAveragePoolOp<S>>()) return adaptive_pool(*op);
  if (const auto* op = n.op.template get<UpsampleOp<S>>()) return upsample(*op);
  if (const auto* op = n.op.template get<PixelShuffleOp<S>>()) return pixel_shuffle(op->factor);
  if (const auto* op = n.op.template get<PadOp<S>>()) return pad(*op);
  if (const auto* op = n.op.template get<SliceOp<S>>()) return slice(*op);
  if (const auto* op = n.op.template get<AffineOp<S>>()) return affine(*op);
  if (n.op.template get<DropoutOp<S>>()) return x();
  if (n.op.template get<SoftmaxOp<S>>()) return out_.node("Softmax", {x()}, {{"axis", Index{1}}});
  if (n.op.template get<MultiplyOp<S>>()) return out_.node("Mul", {x(0), x(1)});
  if (const auto* op = n.op.template get<AddOp<S>>()) {
    const bool plain = op->scale == 1;
    return out_.node("Add", {x(0), plain ? x(1) : out_.node("Mul", {x(1), out_.numbers(static_cast<float>(op->scale))})});
  }
  if (n.op.template get<ConcatOp<S>>()) {
    Names all;
    for (std::size_t k = 0; k < n.inputs.size(); ++k) all.push_back(x(k));
    return out_.node("Concat", all, {{"axis", Index{1}}});
  }
  throw Error(Code::unsupported, "onnx",
              text("op ", std::string(n.op->name()), " (node ", n.origin, n.scope.empty() ? "" : " in " + n.scope,
                   ") has no ONNX form here. Hint: export what comes before it, such as the logits in front of a loss."));
}

template <AnySpec S> void Exporter<S>::mark_live(const std::vector<Var<S>>& outputs) {
  live_.assign(tape_.nodes().size(), false);
  for (const Var<S>& y : outputs) live_.at(at(y.id)) = true;
  for (std::size_t i = live_.size(); i-- > 0;)
    if (live_[i])
      for (const int v : tape_.nodes()[i].inputs) live_[at(v)] = true;
}

template <AnySpec S> Exporter<S>::Exporter(const ExportedNet<S>& net, const Shape<S::kDim>& shape,
                                           const ExportOptions<S::kDim>& options, ExportMode mode)
    : mode_(mode), tape_(Mode::infer) {
  for (const auto& [name, p] : net.parameters) parameters_.emplace(p->values().data(), name);
  const Var<S> input = tape_.input(shape);
  const std::vector<Var<S>> outputs = net.forward(net.net, input);
  mark_live(outputs);
  for (std::size_t i = 0; i < live_.size(); ++i) {
    names_.emplace_back();
    if (!live_[i]) continue;
    node_ = &tape_.nodes()[i];
    out_.enter(node_->scope, i);
    if (static_cast<int>(i) == input.id)
      names_[i] = options.input;
    else
      names_[i] = emit();
  }
  std::string suffix;
  for (const Var<S>& y : outputs) {   // by a node of its own: a value may be two outputs, or the input itself
    const std::string name = options.output + suffix;
    out_.graph.nodes.push_back({.op = "Identity", .name = name, .inputs = {names_[at(y.id)]}, .outputs = {name}});
    out_.graph.outputs.push_back({.name = name});
    output_shapes_.push_back(y.shape());
    suffix = text("_", output_shapes_.size());
  }
}

}   // namespace ctseg::onnx
