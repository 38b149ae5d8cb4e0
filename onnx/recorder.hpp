// From a program to the recorded list: one function per operator of ONNX. Shapes are known here, so shape arithmetic is
// computed while recording, and what stays are ops of ours.
#pragma once
#include <ctseg/nn/functional.hpp>

#include "affine.hpp"
#include "program.hpp"

namespace ctseg::onnx {

/// A value of the graph while it is recorded: an activation or a constant.
template <AnySpec S> struct Value {
  Var<S> var{};
  std::vector<Index> dims{};   // of an activation as the graph sees it: its own, or those that a Reshape gave it
  Constant constant{};

  bool known() const { return var.tape || constant; }
};

template <int Dim> std::vector<Index> dims_of(const Shape<Dim>& s) {
  std::vector<Index> dims = {s.n, s.c};
  dims.insert(dims.end(), s.space.begin(), s.space.end());
  return dims;
}

template <AnySpec S> class Recorder {
 public:
  using Weight = std::pair<std::string, Parameter<S>>;
  static constexpr std::size_t kDim = S::kDim, kRank = kDim + 2;

  Recorder(const Program& program, const std::vector<Weight>& weights)
      : program_(program), weights_(weights), values_(program.values.size()) {
    for (std::size_t i = 0; i < values_.size(); ++i) values_[i].constant = program.values[i];
  }

  std::vector<Var<S>> run(Var<S> x);

  struct Operator {
    std::string_view name;
    void (Recorder::*record)();
  };
  static std::span<const Operator> operators();

 private:
  const GraphNode& node() const { return step_->node; }
  Error refused(const std::string& message) const { return {Code::unsupported, "graph", message}; }
  Error bad(const std::string& message) const { return {Code::bad_input, "graph", message}; }

  bool given(std::size_t k) const { return k < step_->inputs.size() && step_->inputs[k] >= 0; }
  const Value<S>& value(std::size_t k) const {
    if (!given(k)) throw bad(text("input ", k, " is missing."));
    const Value<S>& v = values_[at(step_->inputs[k])];
    if (!v.known()) throw refused(text("input ", k, " is an output that is not computed here, such as a mask or an index."));
    return v;
  }
  /// Input k, an activation that no Reshape has changed.
  Var<S> x(std::size_t k = 0) const {
    const Value<S>& v = value(k);
    if (!v.var.tape) throw refused(text("input ", k, " is a constant; expected an activation."));
    if (v.dims != dims_of(v.var.shape()))
      throw refused(text("input ", k, " was reshaped to ", list(v.dims),
                         "; Reshape is run as a part of group norm and of pixel shuffle only."));
    return v.var;
  }
  const Numbers& constant(std::size_t k) const {
    const Value<S>& v = value(k);
    if (!v.constant) throw refused(text("input ", k, " depends on the activations; expected a constant or a shape."));
    return *v.constant;
  }
  Weights<S> weight(std::size_t k) const {
    if (k >= step_->weights.size() || step_->weights[k] < 0) return {};
    return weights_[at(step_->weights[k])].second;
  }
  const std::vector<Index>& weight_shape(std::size_t k) const {
    if (k >= step_->weights.size() || step_->weights[k] < 0) throw bad(text("input ", k, ", weights, is missing."));
    return weights_[at(step_->weights[k])].second.shape();
  }

  void set(Value<S> v, std::size_t k = 0) {
    if (k < step_->outputs.size() && step_->outputs[k] >= 0) values_[at(step_->outputs[k])] = std::move(v);
  }
  void set(Var<S> v, std::size_t k = 0) { set(Value<S>{v, dims_of(v.shape()), nullptr}, k); }
  template <class O> Var<S> append(O op, std::initializer_list<Var<S>> inputs, std::vector<Weights<S>> weights = {}) {
    return tape_->append(AnyOp<S>(std::move(op)), std::span<const Var<S>>(inputs.begin(), inputs.size()), std::move(weights));
  }

  void run_step();
  bool fold_step();

  // Attributes that several operators share.
  Axes<S::kDim> axes(const char* name, Index otherwise) const;
  void refuse_attribute(const char* name, Index expected) const;
  /// pads as [low..., high...]; auto_pad other than its default is refused.
  std::pair<std::array<Index, kDim>, std::array<Index, kDim>> pads() const;
  void refuse_ceiling(Var<S> in, const Axes<S::kDim>& kernel, const Axes<S::kDim>& stride) const;
  Var<S> padded(Var<S> in, float value);

  void conv();
  void batch_norm();
  void instance_norm();
  void group_normalization();
  void groups_of_channels(const Value<S>& v);
  NormOp<S> norm_of_step(std::vector<Weights<S>>& weights) const;
  Activation activation_of_step(std::vector<Weights<S>>& weights) const;
  /// Appends a norm and what is joined to it; `weights` are those of a convolution in front of it.
  void norm_and_behind(const ConvOp<S>* conv, Var<S> in, std::vector<Weights<S>> weights);
  void activation();
  void max_pool_windows();
  void average_pool_windows();
  void global_average();
  void concat_values();
  void split();
  void slice();
  void add_or_subtract();
  void multiply_or_divide();
  void with_constant(std::size_t activation_at);
  void pad_value();
  void resize();
  void resize_nearest(UpsampleOp<S>& op, const Shape<S::kDim>& from, const std::array<Index, kDim>& to) const;
  void resize_linear(UpsampleOp<S>& op, const Shape<S::kDim>& from, const std::array<Index, kDim>& to) const;
  std::array<Index, kDim> resized(const Shape<S::kDim>& from) const;
  void softmax_channels();
  void shape();
  void size();
  void reshape();
  void squeeze();
  void transpose();
  void depth_to_space();
  void tile();
  void expand();
  void cast();

  Var<S> joined(std::vector<Var<S>> parts);

  const Program& program_;
  const std::vector<Weight>& weights_;
  std::vector<Value<S>> values_;
  const ProgramStep* step_ = nullptr;
  Tape<S>* tape_ = nullptr;
  Index folded_ = 0;
};

template <AnySpec S> std::vector<Var<S>> Recorder<S>::run(Var<S> in) {
  tape_ = in.tape;
  if (tape_->mode() != Mode::infer)
    throw Error(Code::bad_argument, "onnx", "a graph is for inference. Hint: Tape(Mode::infer, ctx), or a Predictor.");
  const auto dims = dims_of(in.shape());
  const auto& fixed = program_.input_extents;
  for (std::size_t d = 0; d < kRank; ++d)
    if (fixed[d] != 0 && fixed[d] != dims[d])
      throw Error(Code::shape_mismatch, "onnx",
                  text("input ", in.shape(), ", the graph takes ", list(fixed), " (0: any) as N,C,",
                       kDim == 3 ? "D,H,W" : "H,W", ". Hint: export it with dynamic axes, or for this shape."));
  values_[at(program_.input)] = {in, dims, nullptr};
  for (const ProgramStep& s : program_.steps) {
    step_ = &s;
    const auto scope = tape_->scope(s.node.name.empty() ? s.node.op : s.node.name);
    try {
      run_step();
    } catch (const Error& e) {
      throw Error(e.code(), "onnx", text(name_of(step_->node), ": ", e.what()));
    }
  }
  std::vector<Var<S>> outputs;
  for (std::size_t k = 0; k < program_.outputs.size(); ++k) {
    const Value<S>& v = values_[at(program_.outputs[k])];
    if (!v.var.tape || v.dims != dims_of(v.var.shape()))
      throw Error(Code::unsupported, "onnx",
                  text("output \"", program_.output_names[k], "\" is ",
                       v.var.tape   ? "a reshaped value."
                       : v.constant ? "a constant."
                                    : "not computed here, as a mask or an index."));
    outputs.push_back(v.var);
  }
  return outputs;
}

template <AnySpec S> void Recorder<S>::run_step() {
  if (fold_step()) return;
  for (const Operator& o : operators())
    if (o.name == node().op) return (this->*o.record)();
  throw refused("its inputs depend on the activations; it is run with constants and shapes only.");
}

/// Shape arithmetic: all inputs are constants by now.
template <AnySpec S> bool Recorder<S>::fold_step() {
  std::vector<Constant> inputs;
  for (std::size_t k = 0; k < step_->inputs.size(); ++k) {
    if (step_->weights[k] >= 0) return false;
    inputs.push_back(given(k) ? values_[at(step_->inputs[k])].constant : nullptr);
    if (given(k) && !inputs.back()) return false;
  }
  auto result = fold(node(), inputs);
  if (!result) return false;
  folded_ += result->count();
  if (folded_ > kMostConstants) throw bad(text("more than ", kMostConstants, " values of constants."));
  set(Value<S>{.constant = std::make_shared<const Numbers>(std::move(*result))});
  return true;
}

template <AnySpec S> std::span<const typename Recorder<S>::Operator> Recorder<S>::operators() {
  using R = Recorder;
  static constexpr Operator kAll[] = {{"Add", &R::add_or_subtract},
                                      {"AveragePool", &R::average_pool_windows},
                                      {"BatchNormalization", &R::batch_norm},
                                      {"Cast", &R::cast},
                                      {"Concat", &R::concat_values},
                                      {"Conv", &R::conv},
                                      {"ConvTranspose", &R::conv},
                                      {"DepthToSpace", &R::depth_to_space},
                                      {"Div", &R::multiply_or_divide},
                                      {"Elu", &R::activation},
                                      {"Expand", &R::expand},
                                      {"Gelu", &R::activation},
                                      {"GlobalAveragePool", &R::global_average},
                                      {"GroupNormalization", &R::group_normalization},
                                      {"InstanceNormalization", &R::instance_norm},
                                      {"LeakyRelu", &R::activation},
                                      {"MaxPool", &R::max_pool_windows},
                                      {"Mul", &R::multiply_or_divide},
                                      {"PRelu", &R::activation},
                                      {"Pad", &R::pad_value},
                                      {"Relu", &R::activation},
                                      {"Reshape", &R::reshape},
                                      {"Resize", &R::resize},
                                      {"Shape", &R::shape},
                                      {"Sigmoid", &R::activation},
                                      {"Size", &R::size},
                                      {"Slice", &R::slice},
                                      {"Softmax", &R::softmax_channels},
                                      {"Split", &R::split},
                                      {"Squeeze", &R::squeeze},
                                      {"Sub", &R::add_or_subtract},
                                      {"Tile", &R::tile},
                                      {"Transpose", &R::transpose},
                                      {"Unsqueeze", &R::squeeze}};
  return kAll;
}

}   // namespace ctseg::onnx
