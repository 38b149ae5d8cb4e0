// Operators that are layers: convolutions, norms, activations, pooling, padding, resizing.
#pragma once
#include <cmath>
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
  set(append(op, {in}, {weight(1), weight(2)}));
}

template <AnySpec S> void Recorder<S>::batch_norm() {
  refuse_attribute("training_mode", 0);
  const NormOp<S> op{.kind = NormKind::batch, .eps = number(node(), "epsilon", 1e-5f)};
  set(append(op, {x()}, {weight(1), weight(2), weight(3), weight(4)}));
}

/// Of an activation; or of one whose channels a Reshape put together in groups: then it is group norm.
template <AnySpec S> void Recorder<S>::instance_norm() {
  const Value<S>& v = value(0);
  const bool affine = !weight(1).empty();
  if (v.var.tape && v.dims != dims_of(v.var.shape())) {
    if (affine) throw refused("scale or bias on groups of channels; only 1 and 0 are run there.");
    const Shape<S::kDim>& s = v.var.shape();
    if (v.dims.size() < 2 || v.dims[0] != s.n || v.dims[1] < 1 || s.c % v.dims[1] != 0)
      throw refused(text("input of shape ", s, " was reshaped to ", list(v.dims), "; expected groups of channels."));
    return norm_groups(v.var, v.dims, v.dims[1]);
  }
  const NormOp<S> op{.kind = NormKind::instance, .affine = affine, .eps = number(node(), "epsilon", 1e-5f)};
  set(affine ? append(op, {x()}, {weight(1), weight(2)}) : append(op, {x()}));
}

template <AnySpec S> void Recorder<S>::norm_groups(Var<S> in, std::vector<Index> dims, Index groups) {
  const NormOp<S> op{.kind = NormKind::group, .affine = false, .eps = number(node(), "epsilon", 1e-5f), .groups = groups};
  set(Value<S>{append(op, {in}), std::move(dims), nullptr});
}

/// Opset 18 has a scale and a bias per group, opset 21 per channel.
template <AnySpec S> void Recorder<S>::group_normalization() {
  const Var<S> in = x();
  const Index groups = integer(node(), "num_groups", 0), channels = in.shape().c;
  if (groups < 1 || channels % groups != 0)
    throw bad(text("num_groups = ", groups, " does not divide the ", channels, " channels of ", in.shape(), "."));
  const Index wanted = program_.opset < 21 ? groups : channels;
  std::array<std::shared_ptr<std::vector<typename S::Acc>>, 2> numbers;
  for (std::size_t k = 0; k < 2; ++k) {
    const Numbers& given = constant(k + 1);
    if (given.count() != wanted) throw bad(text(given.count(), " numbers in input ", k + 1, "; must be ", wanted, "."));
    numbers[k] = std::make_shared<std::vector<typename S::Acc>>();
    for (Index c = 0; c < channels; ++c)
      numbers[k]->push_back(static_cast<typename S::Acc>(given.values[at(static_cast<int>(c * wanted / channels))]));
  }
  const NormOp<S> op{.kind = NormKind::group, .affine = false, .eps = number(node(), "epsilon", 1e-5f), .groups = groups};
  set(append(AffineOp<S>{numbers[0], numbers[1]}, {append(op, {in})}));
}

template <AnySpec S> template <ActivationKind kind> void Recorder<S>::activation() {
  constexpr float kDefault = kind == ActivationKind::leaky_relu ? 0.01f : kind == ActivationKind::elu ? 1.f : 0.f;
  if (kind == ActivationKind::gelu && word(node(), "approximate", "none") != "none")
    throw refused(text("approximate = ", word(node(), "approximate", "none"), "; only none is run."));
  set(append(ActivationOp<S>{{kind, number(node(), "alpha", kDefault)}}, {x()}));
}

template <AnySpec S> void Recorder<S>::prelu_slopes() {
  const auto& shape = weight_shape(1);   // broadcast from the right: channels lie kDim axes before the end
  for (std::size_t d = 0; d < shape.size(); ++d)
    if (shape[d] != 1 && d + kDim + 1 != shape.size())
      throw refused(text("slopes of extents ", list(shape), "; must be one, or one per channel as [C",
                         kDim == 3 ? ",1,1,1]." : ",1,1]."));
  set(append(ActivationOp<S>{prelu()}, {x()}, {weight(1)}));
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
