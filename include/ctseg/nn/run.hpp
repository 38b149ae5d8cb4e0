// A plan at work: prepared weights, which any number of runs and threads share, and the arena of one of them.
#pragma once
#include <bit>

#include "plan.hpp"
#include "replay.hpp"

namespace ctseg {

template <AnySpec S> class Run;

/// Weights in the form that the plan's kernels want (packed, transformed, rounded): made once per plan and weight change. Const
/// after refresh, so that threads share it; the plan and the model must outlive it.
template <AnySpec S> class Prepared {
 public:
  Prepared(const Plan<S>& plan, Context<typename S::Device>& ctx);

  /// Prepares again what changed since. Not while a run uses it.
  void refresh(Context<typename S::Device>& ctx) {
    update(ctx);
    ctx.synchronize();   // runs of other contexts may follow at once
  }
  const Plan<S>& plan() const { return *plan_; }
  Bytes of(int node) const { return {const_cast<std::byte*>(memory_.data()) + offset_[at(node)]}; }

 private:
  friend class Run<S>;
  void update(Context<typename S::Device>& ctx);
  void find_stale(Context<typename S::Device>& ctx);
  void prepare_stale(Context<typename S::Device>& ctx) {
    for (const std::uint64_t i : stale_) run_prepare(ctx, plan_->nodes(), plan_->nodes()[i], {memory_.data() + offset_[i]});
  }
  void forget() { versions_.assign(versions_.size(), ~std::uint64_t{0}); }

  const Plan<S>* plan_;
  Memory<typename S::Device> memory_;
  std::vector<Index> offset_;
  std::vector<std::uint64_t> versions_, stale_;   // nodes to prepare now: in a training the same ones every time
  Replay<typename S::Device> replay_;
};

/// Told after every step of backward: what its node adds to the gradients of parameters is there.
struct StepDone {
  void (*done)(void* user, int step) = nullptr;
  void* user = nullptr;
};

/// seed: d(loss)/d(loss), or a loss scale. depends: numbers that the work behind backward depends on; where one is another, a
/// device that records work records the step again.
template <AnySpec S> struct RunStepOptions {
  typename S::Acc seed = 1;
  std::vector<std::uint64_t> depends{};
};

/// A plan on one context: it owns the arena, allocates nothing more, and serves any number of windows or steps. A device that
/// records work (replay.hpp) does forward and backward, or a whole step, as one launch each from the third time on.
template <AnySpec S> class Run {
 public:
  using Device = typename S::Device;

  /// With weights of its own, refreshed before every forward: for training.
  Run(const Plan<S>& plan, Context<Device>& ctx) : Run(plan, ctx, nullptr) {}
  Run(Plan<S>&&, Context<Device>&) = delete;   // the plan must outlive the run
  /// With weights prepared by the caller and shared by several runs: for inference.
  Run(const Plan<S>& plan, Context<Device>& ctx, const Prepared<S>& shared) : Run(plan, ctx, &shared) {}

  /// Fill it before every forward. It lies in the device's memory: on a card, from_host() fills it.
  Out<S> input(Var<S> x) { return any(x).template as<typename S::T>(); }
  template <class T> View<T, S::kDim> input_as(Var<S> x) { return any(x).template as<T>(); }
  /// Valid until the next forward.
  In<S> output(Var<S> y) const { return any(y).template as<const typename S::T>(); }
  template <class T> View<const T, S::kDim> output_as(Var<S> y) const { return any(y).template as<const T>(); }
  double scalar(Var<S> loss) const {
    return static_cast<double>(ctx_->read(any(loss).template as<const typename S::Acc>().data));
  }
  /// A copy on the host of a value, of activations or, with T, of losses or labels.
  template <class T = typename S::T> Tensor<T, S::kDim> tensor(Var<S> y) const { return to_host<S>(*ctx_, output_as<T>(y)); }
  Memory<Device>& arena() { return arena_; }
  /// Whether forward, or a step, is one launch by now.
  bool recorded() const { return forward_.recorded() || step_.recorded(); }

  void forward();
  /// Adds to `gradients`. `seed` is d(loss)/d(loss), or a loss scale.
  void backward(Gradients<S>& gradients, typename S::Acc seed = 1, StepDone told = {});
  /// Weights prepared, forward, backward and then behind(), which may give work to the device and nothing else: the device can
  /// do all of it as one launch.
  template <class F> void step(Gradients<S>& gradients, F behind, const RunStepOptions<S>& o = {});

 private:
  Run(const Plan<S>& plan, Context<Device>& ctx, const Prepared<S>* shared);

  const AnyView<S::kDim>& any(Var<S> x) const {
    const auto& view = frame_.value.at(at(x.id));
    if (!view) throw Error(Code::bad_argument, "run", text("value ", x.id, " is not part of this plan: no output needs it."));
    return view;
  }

  void do_step(int s, Gradients<S>* gradients) {
    ctx_->check_cancelled("run");
    const auto [kind, node] = plan_->list_.steps[at(s)];
    const StepContext<S> context{*ctx_, plan_->mode_, {arena_.data() + plan_->slots_[plan_->scratch(s)].offset}, key_, true};
    if (kind == Plan<S>::Step::backward)
      run_backward(context, plan_->nodes(), node, frame_, plan_->list_.writer, *gradients);
    else
      run_forward(context, plan_->nodes(), node, frame_, kind == Plan<S>::Step::again);
  }

  const Plan<S>* plan_;
  Context<Device>* ctx_;
  std::unique_ptr<Prepared<S>> own_;
  Memory<Device> arena_;
  Frame<S> frame_;
  /// For a recording that adds to these gradients.
  static ReplayKey key_of(Gradients<S>& gradients, std::vector<std::uint64_t> numbers = {}) {
    if constexpr (requires { gradients.identity(); }) return {gradients.identity(), std::move(numbers)};
    return {nullptr, std::move(numbers)};
  }
  void check_loss() const {
    if (plan_->list_.loss < 0)
      throw Error(Code::bad_argument, "backward", "this plan has no loss. Hint: set PlanOptions::loss.");
  }

  Replay<Device> forward_, backward_, step_;
  RandomKey key_;
  bool ready_ = false;
};

template <AnySpec S> Prepared<S>::Prepared(const Plan<S>& plan, Context<typename S::Device>& ctx) : plan_(&plan) {
  Index bytes = 0;
  for (int i = 0; i < plan.recorded_; ++i) {
    offset_.push_back(bytes);
    bytes += bytes_of<std::byte>(plan.nodes()[at(i)].info.prepared);
  }
  memory_ = ctx.allocate(bytes);
  versions_.assign(offset_.size(), ~std::uint64_t{0});
  refresh(ctx);
}

template <AnySpec S> void Prepared<S>::find_stale(Context<typename S::Device>& ctx) {
  stale_.clear();
  for (int i = 0; i < plan_->recorded_; ++i) {
    const Node<S>& node = plan_->nodes()[at(i)];
    bring<S>(ctx, node.weights);
    if (node.info.prepared == 0) continue;
    std::uint64_t version = 0;
    for (const auto& w : node.weights) version += w.version ? *w.version : 0;
    if (std::exchange(versions_[at(i)], version) != version) stale_.push_back(at(i));
  }
}

template <AnySpec S> void Prepared<S>::update(Context<typename S::Device>& ctx) {
  find_stale(ctx);
  if (stale_.empty()) return;
  try {
    replay_(ctx, {nullptr, stale_}, [&] { prepare_stale(ctx); });
  } catch (...) {
    forget();
    throw;
  }
}

template <AnySpec S> void Run<S>::forward() {
  ready_ = false;
  ctx_->check_cancelled("run");
  if (own_) own_->update(*ctx_);
  key_ = ctx_->next_run();
  forward_(*ctx_, {}, [&] {
    for (int s = 0; s < plan_->list_.forward_steps; ++s) do_step(s, nullptr);
  });
  ready_ = true;
}

template <AnySpec S> void Run<S>::backward(Gradients<S>& gradients, typename S::Acc seed, StepDone told) {
  check_loss();
  if (!std::exchange(ready_, false))   // backward reuses the memory of values, so each needs a forward of its own
    throw Error(Code::bad_argument, "backward", "no finished forward before it. Hint: forward, then backward, once each.");
  ctx_->check_cancelled("run");
  if constexpr (requires { gradients.use(*ctx_); }) gradients.use(*ctx_);
  fill_seed<S>(*ctx_, seed, frame_.gradient[at(plan_->list_.loss)]);
  const auto all = [&] {
    for (int s = plan_->list_.forward_steps; s < plan_->steps(); ++s) {
      do_step(s, &gradients);
      if (told.done) told.done(told.user, s);
    }
  };
  if (told.done || ctx_->runs() != key_.run)   // who is told wants it step by step; a recording draws the latest run's numbers
    all();
  else
    backward_(*ctx_, key_of(gradients), all);
}

template <AnySpec S> template <class F> void Run<S>::step(Gradients<S>& gradients, F behind, const RunStepOptions<S>& o) {
  check_loss();
  ready_ = false;
  ctx_->check_cancelled("run");
  if constexpr (requires { gradients.use(*ctx_); }) gradients.use(*ctx_);
  std::vector<std::uint64_t> numbers = o.depends;
  numbers.push_back(std::bit_cast<std::uint64_t>(static_cast<double>(o.seed)));
  if (own_) own_->find_stale(*ctx_), numbers.insert(numbers.end(), own_->stale_.begin(), own_->stale_.end());
  key_ = ctx_->next_run();
  try {
    step_(*ctx_, key_of(gradients, std::move(numbers)), [&] {
      if (own_) own_->prepare_stale(*ctx_);
      for (int s = 0; s < plan_->list_.forward_steps; ++s) do_step(s, nullptr);
      fill_seed<S>(*ctx_, o.seed, frame_.gradient[at(plan_->list_.loss)]);
      for (int s = plan_->list_.forward_steps; s < plan_->steps(); ++s) do_step(s, &gradients);
      behind();
    });
  } catch (...) {
    if (own_) own_->forget();
    throw;
  }
}

template <AnySpec S> Run<S>::Run(const Plan<S>& plan, Context<Device>& ctx, const Prepared<S>* shared)
    : plan_(&plan), ctx_(&ctx), arena_(ctx.allocate(plan.arena_)) {
  if (!(plan.device() == ctx.traits()))
    throw Error(Code::bad_argument, "run", "the plan was made for another device. Hint: Tape(mode, ctx.traits()).");
  if (shared && &shared->plan() != &plan)
    throw Error(Code::bad_argument, "run", "the prepared weights belong to another plan.");
  if (!shared) own_ = std::make_unique<Prepared<S>>(plan, ctx), shared = own_.get();
  const auto view = [&](int node, int slot) -> AnyView<S::kDim> {
    const auto& s = plan.slots_[slot];
    if (!s.used()) return {};
    return {arena_.data() + s.offset, plan.nodes()[at(node)].value(), s.pitch};
  };
  for (int i = 0; i < static_cast<int>(plan.nodes().size()); ++i) {
    frame_.value.push_back(view(i, plan.value(i)));
    frame_.gradient.push_back(view(i, plan.gradient(i)));
    frame_.saved.push_back({arena_.data() + plan.slots_[plan.saved(i)].offset});
    frame_.prepared.push_back(shared->of(plan.nodes()[at(i)].origin));
  }
}

#ifdef CTSEG_PREBUILT   // linked to ctseg::prebuilt, which holds these
CTSEG_PREBUILT template class Prepared<Spec<float, 2, Cpu>>;
CTSEG_PREBUILT template class Run<Spec<float, 2, Cpu>>;
CTSEG_PREBUILT template class Prepared<Spec<float, 3, Cpu>>;
CTSEG_PREBUILT template class Run<Spec<float, 3, Cpu>>;
#endif

}   // namespace ctseg
