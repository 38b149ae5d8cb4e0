// Operators that are layers: convolutions, norms, activations, pooling, padding, resizing.
#pragma once
#include <cmath>
#include <ctseg/core/finite.hpp>
#include <limits>

#include "recorder.hpp"

namespace ctseg::onnx {

template <AnySpec S> Axes<S::kDim> Recorder<S>::axes(const char* name, Index otherwise) const {
  const auto given = integers(node(), name);
  if (!given) return otherwise;
  std::array<Index, kDim> all{};
  if (given->size() != kDim) throw bad(text(name, " ", list(*given), "; must be ", kDim, " numbers."));
  std::copy(given->begin(), given->end(), all.begin());
  return all;
}

template <AnySpec S> void Recorder<S>::refuse_attribute(const char* name, Index expected) const {
  const Index v = integer(node(), name, expected);
  if (v != expected) throw refused(text(name, " = ", v, "; only ", expected, " is run."));
}

template <AnySpec S> auto Recorder<S>::pads() const -> std::pair<std::array<Index, kDim>, std::array<Index, kDim>> {
  std::pair<std::array<Index, kDim>, std::array<Index, kDim>> out{};
  const std::string automatic = word(node(), "auto_pad", "NOTSET");
  if (automatic != "NOTSET" && automatic != "VALID")
    throw refused(text("auto_pad = ", automatic, "; only explicit pads are run. Hint: export from PyTorch."));
  const auto all = integers(node(), "pads");
  if (!all || automatic == "VALID") return out;
  if (all->size() != 2 * kDim) throw bad(text("pads ", list(*all), "; must be ", 2 * kDim, " numbers."));
  for (std::size_t d = 0; d < kDim; ++d) out.first[d] = (*all)[d], out.second[d] = (*all)[d + kDim];
  for (const Index p : *all)
    if (p < 0 || p > Axes<S::kDim>::kMost) throw refused(text("pads ", list(*all), "; must be 0 or more."));
  return out;
}

/// Rounding up makes a difference only where a window would be left out.
template <AnySpec S>
void Recorder<S>::refuse_ceiling(Var<S> in, const Axes<S::kDim>& kernel, const Axes<S::kDim>& stride) const {
  if (integer(node(), "ceil_mode", 0) == 0) return;
  for (std::size_t d = 0; d < kDim; ++d)
    if (stride.value[d] > 0 && (in.shape().space[d] - kernel.value[d]) % stride.value[d] != 0)
      throw refused(text("ceil_mode = 1 and input ", in.shape(), " leaves a part of a window; only whole windows are run."));
}

template <AnySpec S> Var<S> Recorder<S>::padded(Var<S> in, float value) {
  const auto [low, high] = pads();
  if (low == std::array<Index, kDim>{} && high == low) return in;
  return append(PadOp<S>{.low = low, .high = high, .mode = PadMode::constant, .value = value}, {in});
}

template <AnySpec S> void Recorder<S>::conv() {
  const bool transposed = node().op == "ConvTranspose";
  const auto& shape = weight_shape(1);
  if (shape.size() != kRank) throw bad(text("weights of extents ", list(shape), "; must have ", kRank, " axes."));
  std::array<Index, kDim> kernel{};
  std::copy(shape.begin() + 2, shape.end(), kernel.begin());
  if (axes("kernel_shape", 0) != Axes<S::kDim>(kernel) && node().attributes.contains("kernel_shape"))
    throw bad(text("kernel_shape ", axes("kernel_shape", 0), ", but weights of extents ", list(shape), "."));
  ConvOp<S> op{.kernel = kernel,
               .stride = axes("strides", 1),
               .padding = 0,
               .dilation = axes("dilations", 1),
               .groups = integer(node(), "group", 1),
               .transposed = transposed};
  op.in_channels = transposed ? shape[0] : shape[1] * op.groups;
  op.out_channels = transposed ? shape[1] * op.groups : shape[0];
  const auto [low, high] = pads();
  Var<S> in = x();
  if (transposed) {
    if (node().attributes.contains("output_shape"))
      throw refused("output_shape is given; only pads and output_padding are run.");
    if (low != high) throw refused("pads differ in front and behind; a transposed convolution needs them equal.");
    op.output_padding = axes("output_padding", 0);
  }
  if (low == high)
    op.padding = low;
  else
    in = padded(in, 0);
  if (step_->behind.empty())
    set(append(op, {in}, {weight(1), weight(2)}));
  else
    norm_and_behind(&op, in, {weight(1), weight(2)});
}

template <AnySpec S> NormOp<S> Recorder<S>::norm_of_step(std::vector<Weights<S>>& weights) const {
  NormOp<S> op{.kind = NormKind::instance, .affine = !weight(1).empty(), .eps = number(node(), "epsilon", 1e-5f)};
  if (node().op == "BatchNormalization") op.kind = NormKind::batch;
  if (node().op == "GroupNormalization") op.kind = NormKind::group, op.groups = integer(node(), "num_groups", 0);
  if (op.kind == NormKind::batch) refuse_attribute("training_mode", 0);
  for (std::size_t k = 1; k < step_->outputs.size(); ++k)   // opset 13 says so, it has no training_mode
    if (step_->outputs[k] >= 0) throw refused(text(step_->outputs.size(), " outputs, as in training; only 1 is run."));
  if (!is_finite(op.eps) || op.eps < 0) throw bad(text("epsilon = ", double{op.eps}, "; must be 0 or more."));
  if (op.kind != NormKind::batch && step_->inputs.size() != 3)
    throw bad(text(step_->inputs.size(), " inputs; must be x, scale and bias."));
  for (std::size_t k = 1; k < step_->weights.size(); ++k)
    if (step_->weights[k] >= 0) weights.push_back(weight(k));
  return op;
}

template <AnySpec S> Activation Recorder<S>::activation_of_step(std::vector<Weights<S>>& weights) const {
  const std::string& op = node().op;
  if (op == "Relu") return relu();
  if (op == "LeakyRelu") return leaky_relu(number(node(), "alpha", 0.01f));
  if (op == "Elu") return elu(number(node(), "alpha", 1));
  if (op == "Sigmoid") return sigmoid();
  if (op == "Gelu") {
    const std::string approximate = word(node(), "approximate", "none");
    if (approximate != "none") throw refused(text("approximate = ", approximate, "; only none is run."));
    return gelu();
  }
  const auto& shape = weight_shape(1);   // PRelu, broadcast from the right: channels lie kDim axes before the end
  for (std::size_t d = 0; d < shape.size(); ++d)
    if (shape[d] != 1 && d + kDim + 1 != shape.size())
      throw refused(text("slopes of extents ", list(shape), "; must be one, or one per channel as [C",
                         kDim == 3 ? ",1,1,1]." : ",1,1]."));
  weights.push_back(weight(1));
  return prelu();
}

template <AnySpec S> void Recorder<S>::norm_and_behind(const ConvOp<S>* conv, Var<S> in, std::vector<Weights<S>> weights) {
  const ProgramStep& all = *step_;   // errors and outputs belong to the step at hand
  auto next = all.behind.begin();
  if (conv) step_ = &*next++;
  NormOp<S> norm = norm_of_step(weights);
  if (next != all.behind.end()) {
    step_ = &*next;
    norm.activation = activation_of_step(weights);
  }
  set(conv ? append(ConvNormActOp<S>{*conv, norm}, {in}, std::move(weights)) : append(norm, {in}, std::move(weights)));
}

template <AnySpec S> void Recorder<S>::batch_norm() { norm_and_behind(nullptr, x(), {}); }

/// Of an activation; or of one whose channels a Reshape put together in groups: then it is group norm.
template <AnySpec S> void Recorder<S>::instance_norm() {
  const Value<S>& v = value(0);
  if (v.var.tape && v.dims != dims_of(v.var.shape()) && step_->behind.empty()) return groups_of_channels(v);
  norm_and_behind(nullptr, x(), {});
}

template <AnySpec S> void Recorder<S>::groups_of_channels(const Value<S>& v) {
  if (!weight(1).empty()) throw refused("scale or bias on groups of channels; only 1 and 0 are run there.");
  const Shape<S::kDim>& s = v.var.shape();
  if (v.dims.size() < 2 || v.dims[0] != s.n || v.dims[1] < 1 || s.c % v.dims[1] != 0)
    throw refused(text("input of shape ", s, " was reshaped to ", list(v.dims), "; expected groups of channels."));
  const NormOp<S> op{.kind = NormKind::group, .affine = false, .eps = number(node(), "epsilon", 1e-5f), .groups = v.dims[1]};
  set(Value<S>{append(op, {v.var}), v.dims, nullptr});
}

/// Opset 21 has a scale and a bias per channel, opset 18 per group.
template <AnySpec S> void Recorder<S>::group_normalization() {
  if (!weight(1).empty()) return norm_and_behind(nullptr, x(), {});
  const Var<S> in = x();
  std::vector<Weights<S>> none;
  const NormOp<S> op = norm_of_step(none);
  const Index groups = op.groups, channels = in.shape().c;
  std::array<std::shared_ptr<std::vector<typename S::Acc>>, 2> numbers;
  for (std::size_t k = 0; k < 2; ++k) {
    const Numbers& given = constant(k + 1);
    if (given.count() != groups || groups < 1)
      throw bad(text(given.count(), " numbers in input ", k + 1, "; must be num_groups = ", groups, "."));
    numbers[k] = std::make_shared<std::vector<typename S::Acc>>();
    for (Index c = 0; c < channels; ++c)
      numbers[k]->push_back(static_cast<typename S::Acc>(given.values[at(static_cast<int>(c * groups / channels))]));
  }
  set(append(AffineOp<S>{numbers[0], numbers[1]}, {append(op, {in})}));
}

template <AnySpec S> void Recorder<S>::activation() {
  std::vector<Weights<S>> weights;
  const Activation a = activation_of_step(weights);
  set(append(ActivationOp<S>{a}, {x()}, std::move(weights)));
}

template <AnySpec S> void Recorder<S>::max_pool_windows() {
  refuse_attribute("storage_order", 0);
  if (axes("dilations", 1) != Axes<S::kDim>(1)) throw refused(text("dilations ", axes("dilations", 1), "; only 1 is run."));
  const MaxPoolOp<S> op{.kernel = axes("kernel_shape", 0), .stride = axes("strides", 1)};
  const Var<S> in = padded(x(), -std::numeric_limits<float>::infinity());
  refuse_ceiling(in, op.kernel, op.stride);
  set(append(op, {in}));
}

template <AnySpec S> void Recorder<S>::average_pool_windows() {
  if (axes("dilations", 1) != Axes<S::kDim>(1)) throw refused(text("dilations ", axes("dilations", 1), "; only 1 is run."));
  const AveragePoolOp<S> op{.kernel = axes("kernel_shape", 0), .stride = axes("strides", 1)};
  const Var<S> in = padded(x(), 0);
  if (in.id != x().id && integer(node(), "count_include_pad", 0) == 0)
    throw refused("pads that do not count (count_include_pad = 0) are not run.");
  refuse_ceiling(in, op.kernel, op.stride);
  set(append(op, {in}));
}

template <AnySpec S> void Recorder<S>::global_average() { set(append(AdaptiveAveragePoolOp<S>{1}, {x()})); }

template <AnySpec S> void Recorder<S>::pad_value() {
  const std::string mode = word(node(), "mode", "constant");
  PadOp<S> op{.mode = mode == "edge" ? PadMode::replicate : mode == "reflect" ? PadMode::reflect : PadMode::constant};
  if (op.mode == PadMode::constant && mode != "constant")
    throw refused(text("mode = ", mode, "; edge, reflect and constant are run."));
  const auto pads = integers(constant(1));
  std::vector<Index> which;
  for (std::size_t d = 0; d < kRank; ++d) which.push_back(static_cast<Index>(d));
  if (given(3)) which = integers(constant(3));
  if (pads.size() != 2 * which.size()) throw bad(text("pads ", list(pads), " for ", which.size(), " axes."));
  for (std::size_t k = 0; k < which.size(); ++k) {
    const std::size_t d = axis_of(which[k], kRank);
    const Index low = pads[k], high = pads[k + which.size()];
    if (d < 2 ? low != 0 || high != 0 : low < 0 || high < 0)
      throw refused(text("pads ", list(pads), "; axes of space are padded, by 0 or more."));
    if (d >= 2) op.low[d - 2] = low, op.high[d - 2] = high;
  }
  if (given(2)) {
    if (constant(2).count() != 1) throw bad(text(constant(2).count(), " values to pad with; must be 1."));
    op.value = static_cast<float>(constant(2).values[0]);
  }
  const bool nothing = op.low == std::array<Index, kDim>{} && op.high == op.low;
  set(nothing ? x() : append(op, {x()}));
}

/// The size that `sizes` or `scales` ask for; a scale that does not give a whole number of voxels is refused.
template <AnySpec S> auto Recorder<S>::resized(const Shape<S::kDim>& from) const -> std::array<Index, kDim> {
  std::array<Index, kDim> to{};
  const auto all = dims_of(from);
  const bool by_size = given(3) && constant(3).count() > 0;
  const Numbers& asked = constant(by_size ? 3 : 2);
  if (asked.values.size() != kRank) throw refused(text(asked.values.size(), " scales or sizes; expected ", kRank, "."));
  for (std::size_t d = 0; d < kRank; ++d) {
    const double size = asked.values[d] * (by_size ? 1.0 : static_cast<double>(all[d])), rounded = std::nearbyint(size);
    if (!(rounded >= 1 && rounded <= static_cast<double>(Axes<S::kDim>::kMost)) || std::abs(size - rounded) > 1e-5 * rounded)
      throw refused(text("axis ", d, " of ", from, " would get ", size, " voxels; must be a whole number of 1 or more."));
    if (d >= 2)
      to[d - 2] = static_cast<Index>(rounded);
    else if (static_cast<Index>(rounded) != all[d])
      throw refused(text("resizes axis ", d, "; only axes of space are."));
  }
  return to;
}

template <AnySpec S>
void Recorder<S>::resize_nearest(UpsampleOp<S>& op, const Shape<S::kDim>& from, const std::array<Index, kDim>& to) const {
  const std::string coordinates = word(node(), "coordinate_transformation_mode", "half_pixel");
  const std::string nearest = word(node(), "nearest_mode", "round_prefer_floor");
  bool multiple = true;   // then no voxel lies in the middle between two, and both roundings are one
  for (std::size_t d = 0; d < kDim; ++d) multiple = multiple && to[d] % from.space[d] == 0;
  if (coordinates == "asymmetric" && nearest == "floor")
    op.mode = UpsampleMode::nearest;
  else if (coordinates == "half_pixel" && (nearest == "round_prefer_ceil" || (nearest == "round_prefer_floor" && multiple)))
    op.mode = UpsampleMode::nearest_exact;
  else
    throw refused(text("nearest with ", coordinates, " and ", nearest, " from ", from,
                       "; run are asymmetric with floor, and half_pixel with round_prefer_ceil."));
}

template <AnySpec S>
void Recorder<S>::resize_linear(UpsampleOp<S>& op, const Shape<S::kDim>& from, const std::array<Index, kDim>& to) const {
  const std::string coordinates = word(node(), "coordinate_transformation_mode", "half_pixel");
  op.mode = UpsampleMode::linear;
  op.align_corners = coordinates == "align_corners";
  bool same = true;   // half_pixel and pytorch_half_pixel differ where one voxel is made of several
  for (std::size_t d = 0; d < kDim; ++d) same = same && (to[d] > 1 || from.space[d] == 1);
  if (!op.align_corners && coordinates != "half_pixel" && !(coordinates == "pytorch_half_pixel" && same))
    throw refused(text("linear with ", coordinates, "; run are half_pixel and align_corners."));
}

template <AnySpec S> void Recorder<S>::resize() {
  refuse_attribute("antialias", 0);
  refuse_attribute("exclude_outside", 0);
  if (node().attributes.contains("axes")) throw refused("axes are given; expected scales or sizes of all axes.");
  if (word(node(), "keep_aspect_ratio_policy", "stretch") != "stretch")
    throw refused("keep_aspect_ratio_policy is not stretch.");
  const Shape<S::kDim> from = x().shape();
  const auto to = resized(from);
  const std::string mode = word(node(), "mode", "nearest");
  UpsampleOp<S> op{.factor = 1, .size = to};
  if (mode == "nearest")
    resize_nearest(op, from, to);
  else if (mode == "linear")
    resize_linear(op, from, to);
  else
    throw refused(text("mode = ", mode, "; nearest and linear are run."));
  set(append(op, {x()}));
}

}   // namespace ctseg::onnx
