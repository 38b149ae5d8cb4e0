// One batch through network and loss, planned before the first step: how much memory a training takes, and what is done if it
// is too much.
#pragma once
#include "../loss/head_loss.hpp"
#include "fit_options.hpp"
#include "step.hpp"

namespace ctseg {

/// What a network gives to a loss: the logits of all heads, finest first, if the loss takes them and the network has
/// forward_deep; else those of forward.
template <class Net, AnySpec S> std::vector<Var<S>> outputs_for(const Loss<S>& loss, const Net& net, Var<S> x) {
  if constexpr (requires { net.forward_deep(x); })
    if (loss.takes_heads()) return net.forward_deep(x);
  return {net.forward(x)};
}

namespace detail {

/// The largest batch and the least recomputing that the memory allows.
template <class Net> class TrainingStep {
 public:
  using S = typename Net::Spec;
  using Device = typename S::Device;

  /// moments: numbers that the optimizer keeps for every parameter.
  template <class Sampler>
  TrainingStep(Context<Device>& ctx, const Net& net, const Sampler& sampler, const FitOptions<S>& o, Index moments)
      : batch(o.batch), accumulate(o.accumulate), recomputed(o.recompute) {
    Index validation = o.observer && o.validate_every > 0 ? o.observer->validation_bytes() : 0;
    if (ctx.group()) ctx.group()->broadcast(std::as_writable_bytes(std::span(&validation, 1)));   // rank 0's: it judges
    const Index limit = o.max_memory > 0 ? o.max_memory : free_memory(ctx);
    for (;;) {
      record(ctx, net, sampler, o.loss);
      measure(o, moments);
      memory.validation = validation;
      const bool allowed = limit <= 0 || memory.total() <= limit;
      if (allowed && can_hold(ctx, memory.arena + memory.prepared)) return;
      const std::string need =
          text("training needs ", memory.total() >> 20, " MiB, ",
               allowed ? text("and the device cannot give ", memory.arena >> 20)
                       : text(o.max_memory > 0 ? "allowed are " : "the device has ", limit >> 20),
               allowed ? " MiB at once" : " MiB");
      const std::string fact = "fit: " + need;
      if (const auto all = scopes(); recomputed.size() < all.size()) {
        recomputed = all;
        ctx.log(text(fact, ": recomputing ", all.size(), " stages"));
      } else if (batch % 2 == 0) {
        batch /= 2, accumulate *= 2;
        ctx.log(text(fact, ": batches of ", batch, ", ", accumulate, " a step"));
      } else {
        throw Error(Code::out_of_memory, "fit",
                    text(need, ", with every stage recomputed and a batch of ", batch, ", of which validation ",
                         memory.validation >> 20, " MiB. Hint: a smaller patch",
                         Memory<Device>::kOnHost ? "." : "; or the CPU, with Spec<float, Dim, Cpu>."));
      }
    }
  }

  Index batch, accumulate;
  std::vector<std::string> recomputed;
  FitMemory memory;
  std::optional<Tape<S>> tape;
  std::optional<Var<S>> x, labels, loss;
  std::vector<Var<S>> outputs;
  Index classes = 0;
  std::optional<Plan<S>> plan;

 private:
  template <class Sampler> void record(Context<Device>& ctx, const Net& net, const Sampler& sampler, const Loss<S>& loss_of) {
    plan.reset();
    tape.emplace(Mode::train, ctx.traits());
    x = tape->input(sampler.shape(batch)), labels = tape->input(sampler.shape(batch), Dtype::u8);
    outputs = outputs_for(loss_of, net, *x);
    classes = outputs.front().shape().c;
    loss = with_head(loss_of(outputs, *labels));
    if (loss->shape().elements() != 1)
      throw Error(Code::shape_mismatch, "fit", text("the loss is ", loss->shape(), "; it must be one number."));
    plan.emplace(*tape, PlanOptions<S>{.loss = *loss, .checkpoint = recomputed});
  }
  void measure(const FitOptions<S>& o, Index moments) {
    const MemoryEstimate m = plan->memory();
    memory = {.arena = m.arena, .prepared = m.prepared, .parameters = m.parameters, .gradients = m.gradients};
    memory.optimizer = moments * m.parameters;
    if (o.average) memory.average = o.average->bytes();
    const Index one = x->shape().elements() * Index{sizeof(typename S::T)} + labels->shape().elements();
    memory.ahead = Feed<S>::bytes(one, o.workers);
  }
  std::vector<std::string> scopes() const {
    std::vector<std::string> all;
    for (const auto& node : tape->nodes())
      if (!node.scope.empty() && !node.inputs.empty() && std::find(all.begin(), all.end(), node.scope) == all.end())
        all.push_back(node.scope);
    return all;
  }
};

}   // namespace detail
}   // namespace ctseg
