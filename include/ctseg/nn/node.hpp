// One line of the recorded list, and how it runs: eager tapes and plans both go through run_forward and run_backward here.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "../core/tensor.hpp"
#include "../ops/elementwise.hpp"

namespace ctseg {

/// Any op, as an immutable value. get<ConvOp<S>>() gives the struct back to exporters and rewriters.
template <AnySpec S> class AnyOp {
  struct Base {
    virtual ~Base() = default;
    virtual std::string_view name() const = 0;
    virtual Inferred<S> infer(const Facts<S>&) const = 0;
    virtual void prepare(const Prepare<S>&) const = 0;
    virtual void forward(const Forward<S>&) const = 0;
    virtual void backward(const Backward<S>&) const = 0;
    virtual std::string engine(const ValueInfo<S::kDim>& x, int choice) const = 0;
    virtual const void* address(const void* type) const = 0;
  };
  template <class O> static const void* type_id() {   // an address per type: works with -fno-rtti
    static const char id = 0;
    return &id;
  }
  template <class O> struct Holder final : Base {
    explicit Holder(O o) : op(std::move(o)) {}
    std::string_view name() const override { return op.name(); }
    Inferred<S> infer(const Facts<S>& f) const override { return op.infer(f); }
    void prepare(const Prepare<S>& p) const override {
      if constexpr (requires { op.prepare(p); }) op.prepare(p);
    }
    void forward(const Forward<S>& f) const override { op.forward(f); }
    void backward(const Backward<S>& b) const override { op.backward(b); }
    std::string engine(const ValueInfo<S::kDim>& x, int choice) const override {
      if constexpr (requires { op.engine(x.shape, choice); }) return op.engine(x.shape, choice);
      return {};
    }
    const void* address(const void* type) const override { return type == type_id<O>() ? &op : nullptr; }
    O op;
  };

 public:
  template <class O>
  requires(!std::same_as<O, AnyOp>) AnyOp(O op) {
    static_assert(Op<O, S>,
                  "ctseg: an op has const members name(), infer(Facts<S>), forward(Forward<S>) and backward(Backward<S>); "
                  "ops/dropout.hpp is a short one");
    if constexpr (Op<O, S>) hold(std::move(op));
  }
  const Base* operator->() const { return self_.get(); }
  template <class O> const O* get() const { return static_cast<const O*>(self_->address(type_id<O>())); }

 private:
  template <class O> void hold(O op);
  std::shared_ptr<const Base> self_;
};

/// All kernels of an op hang on this function: a file that does not compile it compiles none of them (prebuilt_ops.hpp).
template <AnySpec S> template <class O> void AnyOp<S>::hold(O op) { self_ = std::make_shared<const Holder<O>>(std::move(op)); }

/// Node i makes value i. origin: itself, or the node that it recomputes; gradients and random numbers belong to the origin.
template <AnySpec S> struct Node {
  AnyOp<S> op;
  std::vector<int> inputs;
  std::vector<Weights<S>> weights;
  Inferred<S> info;
  std::string scope;   // "down_1": names in summaries and errors, and what checkpointing selects
  int origin = 0;

  ValueInfo<S::kDim> value() const { return {info.shape, info.dtype}; }
  Index value_bytes() const { return bytes_of(info.dtype, info.shape.elements()); }
};
template <AnySpec S> using Nodes = std::vector<Node<S>>;

inline constexpr std::size_t kMaxInputs = 8;
constexpr std::size_t at(int node) { return static_cast<std::size_t>(node); }

/// How the node's kernel computes its result, where it has several ways: "direct", "F(4,3)"; else empty.
template <AnySpec S> std::string engine_of(const Nodes<S>& nodes, const Node<S>& node) {
  return node.inputs.empty() ? std::string() : node.op->engine(nodes[at(node.inputs[0])].value(), node.info.choice);
}

/// Shapes and types of a node's inputs, on the stack.
template <AnySpec S> struct InputInfos {
  std::array<ValueInfo<S::kDim>, kMaxInputs> info;
  std::size_t count;
  InputInfos(const Nodes<S>& nodes, const std::vector<int>& inputs) : count(inputs.size()) {
    for (std::size_t k = 0; k < count; ++k) info[k] = nodes[at(inputs[k])].value();
  }
  std::span<const ValueInfo<S::kDim>> all() const { return {info.data(), count}; }
};

/// Where the values, gradients, saved bytes and prepared weights of one run live, by node.
template <AnySpec S> struct Frame {
  std::vector<AnyView<S::kDim>> value, gradient;
  std::vector<Bytes> saved, prepared;
};

/// For every value the node whose backward writes its gradient first (the last consumer on a way from a parameter to the
/// loss; later writers add); -1 where no gradient is needed; for the loss itself, itself.
template <AnySpec S> std::vector<int> first_writers(const Nodes<S>& nodes, int loss) {
  std::vector<int> writer(nodes.size(), -1);
  std::vector<bool> trainable(nodes.size());
  for (std::size_t i = 0; i < nodes.size(); ++i)
    trainable[i] = !nodes[i].weights.empty() ||
                   std::any_of(nodes[i].inputs.begin(), nodes[i].inputs.end(), [&](int v) { return trainable[at(v)]; });
  writer[at(loss)] = loss;
  for (int i = loss; i >= 0; --i)
    for (int v : nodes[at(i)].inputs)
      if (writer[at(i)] >= 0 && trainable[at(v)] && writer[at(v)] < 0) writer[at(v)] = i;
  return writer;
}

/// True where input k is the first to write its gradient: it assigns in place, everybody later goes through scratch.
template <AnySpec S> bool assigns(const Nodes<S>& nodes, const Node<S>& node, std::size_t k, const std::vector<int>& writer) {
  const auto origin = [&](int v) { return nodes[at(v)].origin; };   // one value may come as two twins
  const auto same = [&](int v) { return origin(v) == origin(node.inputs[k]); };
  const auto first = std::find_if(node.inputs.begin(), node.inputs.end(), same) - node.inputs.begin();
  return writer[at(origin(node.inputs[k]))] == node.origin && first == static_cast<std::ptrdiff_t>(k);
}

/// Scratch of a node's backward: the op's own, and room for every gradient that must be added rather than assigned.
template <AnySpec S> Index backward_scratch(const Nodes<S>& nodes, const Node<S>& node, const std::vector<int>& writer) {
  Index bytes = node.info.backward_scratch;
  for (std::size_t k = 0; k < node.inputs.size(); ++k) {
    const Node<S>& input = nodes[at(node.inputs[k])];
    if (writer[at(input.origin)] >= 0 && !assigns(nodes, node, k, writer)) bytes += input.value_bytes();
  }
  return bytes;
}

template <AnySpec S>
void run_prepare(Context<typename S::Device>& ctx, const Nodes<S>& nodes, const Node<S>& node, Bytes prepared) {
  const InputInfos<S> inputs(nodes, node.inputs);
  node.op->prepare({ctx, node.info.choice, inputs.all(), node.weights, prepared});
}

/// What a step needs beside the list and the frame.
template <AnySpec S> struct StepContext {
  Context<typename S::Device>& ctx;
  Mode mode;
  Bytes scratch;
  RandomKey run;
  bool gradients_die = false;   // a node's own, once its backward has read it

  RandomKey key(const Node<S>& node) const { return {run.seed, run.run, static_cast<std::uint32_t>(node.origin)}; }
};

template <AnySpec S>
void run_forward(const StepContext<S>& step, const Nodes<S>& nodes, int i, const Frame<S>& frame, bool again = false) {
  const Node<S>& node = nodes[at(i)];
  std::array<AnyView<S::kDim>, kMaxInputs> x;
  for (std::size_t k = 0; k < node.inputs.size(); ++k) x[k] = frame.value[at(node.inputs[k])];
  node.op->forward({step.ctx,
                    step.mode,
                    node.info.choice,
                    {x.data(), node.inputs.size()},
                    node.weights,
                    frame.value[at(i)],
                    frame.saved[at(i)],
                    step.scratch,
                    frame.prepared[at(i)],
                    step.key(node),
                    again});
}

template <AnySpec S> void add_any(Context<typename S::Device>& ctx, const AnyView<S::kDim>& from, const AnyView<S::kDim>& to) {
  using T = typename S::T;
  using Acc = typename S::Acc;
  if (to.dtype == dtype_of<T>())
    Kernel<Elementwise, S>::add(ctx, from.template as<const T>(), to.template as<T>());
  else
    Kernel<Elementwise, S>::add(ctx, from.template as<const Acc>(), to.template as<Acc>());
}

/// Sets the gradient that backward starts from: a loss is Acc, any other value S::T.
template <AnySpec S> void fill_seed(Context<typename S::Device>& ctx, typename S::Acc seed, const AnyView<S::kDim>& to) {
  using T = typename S::T;
  using Acc = typename S::Acc;
  if (to.dtype == dtype_of<T>())
    Kernel<Elementwise, S>::fill(ctx, T(seed), to.template as<T>());
  else
    Kernel<Elementwise, S>::fill(ctx, seed, to.template as<Acc>());
}

/// Values of the host into memory of the device, and back; on the CPU they are copies.
template <AnySpec S, class T>
void from_host(Context<typename S::Device>& ctx, View<const T, S::kDim> from, std::type_identity_t<View<T, S::kDim>> to) {
  if constexpr (Memory<typename S::Device>::kOnHost)
    Kernel<Elementwise, S>::copy(ctx, from, to);
  else
    ctx.upload(from, to);
}
template <AnySpec S, class T> Tensor<T, S::kDim> to_host(Context<typename S::Device>& ctx, View<const T, S::kDim> from) {
  Tensor<T, S::kDim> host(from.shape);
  if constexpr (Memory<typename S::Device>::kOnHost)
    Kernel<Elementwise, S>::copy(ctx, from, host.view());
  else
    ctx.download(from, host.view());
  return host;
}

/// Gives the op room for every wanted gradient, then sums what several consumers send to one value, in list order.
template <AnySpec S, class Gradients> void run_backward(const StepContext<S>& step, const Nodes<S>& nodes, int i,
                                                        const Frame<S>& frame, const std::vector<int>& writer,
                                                        Gradients& gradients) {
  const Node<S>& node = nodes[at(i)];
  const std::size_t inputs = node.inputs.size();
  std::array<AnyView<S::kDim>, kMaxInputs> x, dx;
  std::array<std::span<typename S::Acc>, kMaxInputs> dw;
  Bytes scratch = step.scratch;
  for (std::size_t k = 0; k < inputs; ++k) {
    const Node<S>& input = nodes[at(node.inputs[k])];
    const int v = input.origin;
    x[k] = frame.value[at(node.inputs[k])];
    if (!node.info.reads_inputs && x[k].dtype == dtype_of<typename S::T>()) x[k].data = nullptr;
    dx[k].shape = input.info.shape;
    dx[k].dtype = input.info.dtype;
    if (writer[at(v)] < 0) continue;
    if (assigns(nodes, node, k, writer))
      dx[k] = frame.gradient[at(v)];
    else
      dx[k] = AnyView<S::kDim>(take<std::byte>(scratch, input.value_bytes()), input.value(), input.info.shape.c);
  }
  for (std::size_t k = 0; k < node.weights.size(); ++k) dw[k] = gradients.of(node.weights[k]);
  AnyView<S::kDim> y = frame.value[at(i)];
  if (!node.info.reads_output) y.data = nullptr;
  node.op->backward({step.ctx,
                     step.mode,
                     node.info.choice,
                     {x.data(), inputs},
                     node.weights,
                     y,
                     frame.gradient[at(node.origin)],
                     {dx.data(), inputs},
                     {dw.data(), node.weights.size()},
                     frame.saved[at(i)],
                     scratch,
                     step.key(node),
                     step.gradients_die,
                     frame.prepared[at(i)]});
  for (std::size_t k = 0; k < inputs; ++k)
    if (dx[k] && !assigns(nodes, node, k, writer))
      add_any<S>(step.ctx, dx[k], frame.gradient[at(nodes[at(node.inputs[k])].origin)]);
}

}   // namespace ctseg
