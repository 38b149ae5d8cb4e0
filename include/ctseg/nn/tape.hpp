// The recorded list. With a context every op runs as it is recorded: for learning, debugging and loops of one's own.
// Without one only shapes are known, and the list becomes a Plan.
#pragma once
#include "node.hpp"
#include "parameter.hpp"

namespace ctseg {

template <AnySpec S> class Tape;

/// Handle to the value of one node; copy it freely. The tape must outlive it.
template <AnySpec S> struct Var {
  Tape<S>* tape = nullptr;
  int id = -1;

  Shape<S::kDim> shape() const { return tape->nodes()[at(id)].info.shape; }
  In<S> value() const { return tape->value(*this).template as<const typename S::T>(); }
  /// The one number of a loss.
  double scalar() const { return tape->scalar(*this); }
  /// A copy of the value on the host.
  Tensor<typename S::T, S::kDim> tensor() const { return tape->tensor(*this); }
};

/// A value that the caller provides.
template <AnySpec S> struct InputOp {
  ValueInfo<S::kDim> value;
  std::string_view name() const { return "Input"; }
  Inferred<S> infer(const Facts<S>&) const {
    checked(value.shape, "input");
    return {.shape = value.shape, .dtype = value.dtype};
  }
  void forward(const Forward<S>&) const {}
  void backward(const Backward<S>&) const {}
};

template <AnySpec S> class Tape {
 public:
  using Device = typename S::Device;

  /// Shapes only, for kernels of `device`.
  explicit Tape(Mode mode, DeviceTraits<Device> device = {}) : mode_(mode), device_(device) {}
  /// Eager.
  Tape(Mode mode, Context<Device>& ctx) : mode_(mode), device_(ctx.traits()), ctx_(&ctx), run_(ctx.next_run()) {}
  Tape(const Tape&) = delete;

  Var<S> input(const Shape<S::kDim>& shape, Dtype dtype = dtype_of<typename S::T>()) {
    return append(InputOp<S>{{shape, dtype}}, {});
  }
  /// A copy of x, activations or labels on the host.
  template <class T> Var<S> input(View<T, S::kDim> x) {
    using U = std::remove_const_t<T>;
    const Var<S> var = input(x.shape, dtype_of<U>());
    if (ctx_) from_host<S>(*ctx_, View<const U, S::kDim>(x), frame_.value[at(var.id)].template as<U>());
    return var;
  }

  /// Infers, records and, with a context, runs. The one door through which ops enter.
  Var<S> append(AnyOp<S> op, std::initializer_list<Var<S>> inputs, std::initializer_list<Weights<S>> weights = {}) {
    return append(std::move(op), std::span<const Var<S>>(inputs.begin(), inputs.size()), std::vector<Weights<S>>(weights));
  }
  Var<S> append(AnyOp<S> op, std::span<const Var<S>> inputs, std::vector<Weights<S>> weights);

  /// Adds d(loss)/d(parameter) to `gradients`. `seed` is d(loss)/d(loss), or a loss scale.
  void backward(Var<S> loss, Gradients<S>& gradients, typename S::Acc seed = 1);
  /// The gradient of any value on a way from a parameter to the loss, after backward.
  In<S> gradient(Var<S> x) const { return frame_.gradient.at(at(x.id)).template as<const typename S::T>(); }

  /// Ops recorded while the returned object lives belong to `name`.
  [[nodiscard]] auto scope(const std::string& name) {
    struct Leave {
      std::string* scope;
      std::string outer;
      ~Leave() { *scope = outer; }
    };
    return Leave{&scope_, std::exchange(scope_, scope_.empty() ? name : scope_ + "/" + name)};
  }

  Mode mode() const { return mode_; }
  bool eager() const { return ctx_ != nullptr; }
  const DeviceTraits<Device>& device() const { return device_; }
  const Nodes<S>& nodes() const { return nodes_; }
  const AnyView<S::kDim>& value(Var<S> x) const {
    if (!ctx_)
      throw Error(Code::bad_argument, "tape", "this tape knows shapes only. Hint: Tape(mode, ctx), or a Plan and a Run.");
    return frame_.value.at(at(x.id));
  }
  double scalar(Var<S> x) const {
    const auto one = value(x).template as<const typename S::Acc>();
    return static_cast<double>(ctx_->read(one.data));
  }
  /// On the host: a copy of a value, of activations or, with T, of losses or labels.
  template <class T = typename S::T> Tensor<T, S::kDim> tensor(Var<S> x) const {
    return to_host<S>(*ctx_, value(x).template as<const T>());
  }
  /// Memory that the tape holds.
  Index bytes() const {
    Index sum = scratch_.bytes();
    for (const auto& m : memory_) sum += m.bytes();
    return sum;
  }

 private:
  void run_last();
  AnyView<S::kDim> allocate(const ValueInfo<S::kDim>& info) {
    return {memory_.emplace_back(ctx_->allocate(bytes_of(info.dtype, info.shape.elements()))).data(), info, info.shape.c};
  }
  Bytes scratch(Index bytes) {
    if (scratch_.bytes() < bytes) scratch_ = ctx_->allocate(bytes);
    return {scratch_.data()};
  }

  Mode mode_;
  DeviceTraits<Device> device_;
  Context<Device>* ctx_ = nullptr;
  RandomKey run_;
  Nodes<S> nodes_;
  std::string scope_;
  Frame<S> frame_;
  std::vector<Memory<Device>> memory_;
  Memory<Device> scratch_;
};

template <AnySpec S> Var<S> Tape<S>::append(AnyOp<S> op, std::span<const Var<S>> inputs, std::vector<Weights<S>> weights) {
  Node<S> node{std::move(op), {}, std::move(weights), {}, scope_, static_cast<int>(nodes_.size())};
  if (std::max(inputs.size(), node.weights.size()) > kMaxInputs)
    throw Error(Code::bad_argument, node.op->name(),
                text(inputs.size(), " inputs and ", node.weights.size(), " weights; at most ", kMaxInputs, " each."));
  for (const Var<S>& x : inputs) {
    if (x.tape != this) throw Error(Code::bad_argument, node.op->name(), "an input belongs to another tape.");
    node.inputs.push_back(x.id);
  }
  try {
    const InputInfos<S> infos(nodes_, node.inputs);
    node.info = node.op->infer({infos.all(), node.weights, mode_, device_});
    checked(node.info.shape, node.op->name());
  } catch (const Error& e) {
    if (scope_.empty()) throw;
    throw Error(e.code(), scope_, e.what());
  }
  nodes_.push_back(std::move(node));
  if (ctx_) try {
      run_last();
    } catch (...) {   // a value that was not made is not on the list
      nodes_.pop_back();
      frame_.value.resize(nodes_.size());
      frame_.saved.resize(nodes_.size());
      frame_.prepared.resize(nodes_.size());
      throw;
    }
  return {this, nodes_.back().origin};
}

template <AnySpec S> void Tape<S>::backward(Var<S> loss, Gradients<S>& gradients, typename S::Acc seed) {
  if (!ctx_ || mode_ == Mode::infer)
    throw Error(Code::bad_argument, "backward", "this tape keeps no values for it. Hint: Tape(Mode::train, ctx), or a Plan.");
  if (loss.tape != this) throw Error(Code::bad_argument, "backward", "the loss belongs to another tape.");
  const auto writer = first_writers(nodes_, loss.id);
  frame_.gradient.assign(nodes_.size(), {});
  for (int i = 0; i <= loss.id; ++i)
    if (writer[at(i)] >= 0) frame_.gradient[at(i)] = allocate(nodes_[at(i)].value());
  if constexpr (requires { gradients.use(*ctx_); }) gradients.use(*ctx_);
  fill_seed<S>(*ctx_, seed, frame_.gradient[at(loss.id)]);
  for (int i = loss.id; i >= 0; --i) {
    ctx_->check_cancelled("backward");
    if (writer[at(i)] >= 0)
      run_backward<S>({*ctx_, mode_, scratch(backward_scratch(nodes_, nodes_[at(i)], writer)), run_}, nodes_, i, frame_, writer,
                      gradients);
  }
}

template <AnySpec S> void Tape<S>::run_last() {
  const Node<S>& node = nodes_.back();
  ctx_->check_cancelled("forward");
  frame_.value.push_back(allocate(node.value()));
  frame_.saved.push_back({memory_.emplace_back(ctx_->allocate(node.info.saved)).data()});
  Memory<Device> prepared = ctx_->allocate(node.info.prepared);   // an eager op prepares its weights for itself alone
  frame_.prepared.push_back({prepared.data()});
  bring<S>(*ctx_, node.weights);
  if (node.info.prepared > 0) run_prepare(*ctx_, nodes_, node, {prepared.data()});
  run_forward<S>({*ctx_, mode_, scratch(node.info.forward_scratch), run_}, nodes_, node.origin, frame_);
  if (mode_ == Mode::train && node.info.reads_prepared)
    memory_.push_back(std::move(prepared));
  else
    frame_.prepared.back() = {};
}

#ifdef CTSEG_PREBUILT   // linked to ctseg::prebuilt, which holds these
CTSEG_PREBUILT template class Tape<Spec<float, 2, Cpu>>;
CTSEG_PREBUILT template class Tape<Spec<float, 3, Cpu>>;
#endif

}   // namespace ctseg
