// Operators on values: arithmetic, joining and cutting channels, and the reshapes that other operators are written with.
#pragma once
#include "recorder.hpp"

namespace ctseg::onnx {

/// Concatenation of any number of values: the op takes kMaxInputs.
template <AnySpec S> Var<S> Recorder<S>::joined(std::vector<Var<S>> parts) {
  while (parts.size() > 1) {
    std::vector<Var<S>> fewer;
    for (std::size_t k = 0; k < parts.size(); k += kMaxInputs) {
      const std::size_t count = std::min(kMaxInputs, parts.size() - k);
      fewer.push_back(count == 1 ? parts[k]
                                 : tape_->append(AnyOp<S>(ConcatOp<S>{}), std::span<const Var<S>>(&parts[k], count), {}));
    }
    parts = std::move(fewer);
  }
  return parts.front();
}

template <AnySpec S> void Recorder<S>::concat_values() {
  if (axis_of(integer(node(), "axis", 1), kRank) != 1)
    throw refused(text("axis = ", integer(node(), "axis", 1), "; only channels (1) are joined."));
  std::vector<Var<S>> parts;
  for (std::size_t k = 0; k < step_->inputs.size(); ++k) parts.push_back(x(k));
  if (parts.empty()) throw bad("has no inputs.");
  set(joined(std::move(parts)));
}

template <AnySpec S> void Recorder<S>::split() {
  const Var<S> in = x();
  if (axis_of(integer(node(), "axis", 0), kRank) != 1) throw refused("only channels (axis 1) are split.");
  const Index count = std::ssize(step_->outputs), channels = in.shape().c;
  const Index each = (channels + count - 1) / count;
  std::vector<Index> sizes(step_->outputs.size(), each);
  sizes.back() = channels - each * (count - 1);
  if (given(1)) sizes = integers(constant(1));
  if (sizes.size() != step_->outputs.size()) throw bad(text(sizes.size(), " parts for ", count, " outputs."));
  Index first = 0;
  for (std::size_t k = 0; k < sizes.size(); ++k) {
    set(append(SliceOp<S>{first, sizes[k]}, {in}), k);
    first += sizes[k];
  }
}

template <AnySpec S> void Recorder<S>::slice() {
  Var<S> in = x();
  const auto starts = integers(constant(1)), ends = integers(constant(2));
  std::vector<Index> which, steps(starts.size(), 1);
  for (std::size_t k = 0; k < starts.size(); ++k) which.push_back(static_cast<Index>(k));
  if (given(3)) which = integers(constant(3));
  if (given(4)) steps = integers(constant(4));
  if (ends.size() != starts.size() || which.size() != starts.size() || steps.size() != starts.size())
    throw bad(text(starts.size(), " starts, ", ends.size(), " ends, ", which.size(), " axes, ", steps.size(), " steps."));
  const auto dims = dims_of(in.shape());
  for (std::size_t k = 0; k < starts.size(); ++k) {
    const std::size_t d = axis_of(which[k], kRank);
    const Cut c = cut(dims[d], starts[k], ends[k], steps[k]);
    if (c.first == 0 && c.count == dims[d] && c.step == 1) continue;
    if (d != 1 || c.step != 1 || c.count < 1)
      throw refused(text("cuts axis ", d, " of ", in.shape(), " to ", c.count, " in steps of ", c.step,
                         "; only ranges of channels are cut out. Hint: pad instead of cropping."));
    in = append(SliceOp<S>{c.first, c.count}, {in});
  }
  set(in);
}

template <AnySpec S> void Recorder<S>::add_or_subtract() {
  const bool first = value(0).var.tape, second = value(1).var.tape;
  if (!first || !second) return with_constant(first ? 0 : 1);
  set(append(AddOp<S>{node().op == "Sub" ? -1.f : 1.f}, {x(0), x(1)}));
}

template <AnySpec S> void Recorder<S>::multiply_or_divide() {
  const bool first = value(0).var.tape, second = value(1).var.tape;
  if (!first || !second) return with_constant(first ? 0 : 1);
  if (node().op == "Div") throw refused("divides by an activation; only constants divide.");
  const bool swap = x(0).shape().c < x(1).shape().c;   // the op wants the single channel second
  set(append(MultiplyOp<S>{}, {x(swap ? 1 : 0), x(swap ? 0 : 1)}));
}

/// An activation and a constant that is one number, or one per channel.
template <AnySpec S> void Recorder<S>::with_constant(std::size_t activation_at) {
  using Acc = typename S::Acc;
  const Numbers& c = constant(1 - activation_at);
  for (std::size_t d = 0; d < c.dims.size(); ++d)
    if (c.dims[d] != 1 && d + kDim + 1 != c.dims.size())
      throw refused(text("a constant of extents ", list(c.dims), "; must be one number, or one per channel as [C",
                         kDim == 3 ? ",1,1,1]." : ",1,1]."));
  if (c.dims.size() > kRank || c.values.empty()) throw refused(text("a constant of extents ", list(c.dims), "."));
  const std::string& op = node().op;
  if (op == "Div" && activation_at == 1) throw refused("divides by an activation; only constants divide.");
  auto scale = std::make_shared<std::vector<Acc>>(1, Acc(1)), shift = std::make_shared<std::vector<Acc>>(1, Acc(0));
  if (op == "Sub" && activation_at == 1) scale->front() = -1;
  auto& numbers = op == "Mul" || op == "Div" ? *scale : *shift;
  numbers.clear();
  for (const double v : c.values)
    numbers.push_back(static_cast<Acc>(op == "Div" ? 1 / v : op == "Sub" && activation_at == 0 ? -v : v));
  set(append(AffineOp<S>{scale, shift}, {x(activation_at)}));
}

template <AnySpec S> void Recorder<S>::softmax_channels() {
  if (axis_of(integer(node(), "axis", -1), kRank) != 1)
    throw refused(text("axis = ", integer(node(), "axis", -1), "; only channels (1) are run."));
  set(append(SoftmaxOp<S>{}, {x()}));
}

/// Of an activation: from here on a constant.
template <AnySpec S> void Recorder<S>::shape() {
  const auto empty = std::make_shared<const Numbers>(Numbers{.dims = value(0).dims});
  const Constant of[] = {empty};
  set(Value<S>{.constant = std::make_shared<const Numbers>(*fold(node(), of))});
}
template <AnySpec S> void Recorder<S>::size() {
  double product = 1;
  for (const Index e : value(0).dims) product *= static_cast<double>(e);
  set(Value<S>{.constant = std::make_shared<const Numbers>(Numbers{.values = std::vector<double>(1, product)})});
}

/// Changes what the graph sees, not the value: group norm and pixel shuffle are made of it.
template <AnySpec S> void Recorder<S>::reshape() {
  Value<S> v = value(0);
  if (!v.var.tape) throw refused("reshapes a constant to a shape of the activations.");
  v.dims = reshaped(v.dims, integers(constant(1)), integer(node(), "allowzero", 0) == 0);
  set(std::move(v));
}

/// Adds or removes axes of 1: MONAI's VNet drops channels of images so.
template <AnySpec S> void Recorder<S>::squeeze() {
  Value<S> v = value(0);
  if (!v.var.tape) throw refused("its axes depend on the activations.");
  v.dims = squeezed(node(), v.dims, given(1) ? &constant(1) : nullptr);
  set(std::move(v));
}

/// Between two reshapes, in the order that is a pixel shuffle.
template <AnySpec S> void Recorder<S>::transpose() {
  Value<S> v = value(0);
  if (!v.var.tape) throw refused("an unknown value.");
  const Shape<S::kDim>& s = v.var.shape();
  const Index factor = v.dims.size() > 2 ? v.dims[2] : 0;
  std::vector<Index> split = {s.n, 0}, order = {0, 1}, shuffled = {s.n, 0};
  Index parts = 1;
  for (std::size_t d = 0; d < kDim; ++d) split.push_back(factor), parts *= std::clamp<Index>(factor, 0, 64);
  for (std::size_t d = 0; d < kDim; ++d) {
    split.push_back(s.space[d]);
    order.push_back(static_cast<Index>(2 + kDim + d));
    order.push_back(static_cast<Index>(2 + d));
    shuffled.push_back(s.space[d]);
    shuffled.push_back(factor);
  }
  if (parts > 0) split[1] = shuffled[1] = s.c / parts;
  if (parts == 0 || v.dims != split || integers(node(), "perm") != order)
    throw refused(text("of ", s, " reshaped to ", list(v.dims), " by ",
                       list(integers(node(), "perm").value_or(std::vector<Index>{})),
                       "; only the order of a pixel shuffle is run."));
  v.var = append(PixelShuffleOp<S>{factor}, {v.var});
  v.dims = shuffled;
  set(std::move(v));
}

template <AnySpec S> void Recorder<S>::depth_to_space() {
  if (kDim != 2 || word(node(), "mode", "DCR") != "CRD")
    throw refused(text("mode = ", word(node(), "mode", "DCR"), "; only CRD, of images, is run."));
  set(append(PixelShuffleOp<S>{integer(node(), "blocksize", 0)}, {x()}));
}

template <AnySpec S> void Recorder<S>::tile() {
  constexpr Index kMost = 1024;
  const auto times = integers(constant(1));
  for (std::size_t d = 0; d < times.size(); ++d)
    if (times.size() != kRank || times[d] < 1 || times[d] > (d == 1 ? kMost : 1))
      throw refused(text("repeats ", list(times), "; only channels are repeated, at most ", kMost, " times."));
  if (times.size() != kRank) throw refused(text("repeats ", list(times), "."));
  set(joined(std::vector<Var<S>>(at(static_cast<int>(times[1])), x())));
}

template <AnySpec S> void Recorder<S>::expand() {
  const auto to = integers(constant(1)), from = dims_of(x().shape());
  bool same = to.size() <= kRank;
  for (std::size_t d = 0; same && d < to.size(); ++d) same = to[d] == 1 || to[d] == from[d + kRank - to.size()];
  if (!same) throw refused(text("from ", x().shape(), " to ", list(to), "; activations are not expanded."));
  set(x());
}

template <AnySpec S> void Recorder<S>::cast() {
  const auto to = static_cast<Element>(integer(node(), "to", 0));
  if (to != Element::f32 && to != Element::f16 && to != Element::f64 && to != Element::bf16)
    throw refused(text("activations to type ", static_cast<int>(to), "; they stay float."));
  set(value(0));
}

}   // namespace ctseg::onnx
