// A network as a plain callable: windows in, logits out. The plan is made once, the arena is reused for every call.
#pragma once
#include "run.hpp"

namespace ctseg {

/// Calls net.forward on values of one fixed shape. The net must outlive it; a const net serves any number of predictors, one
/// per context.
template <class Net> class Predictor {
 public:
  using S = typename Net::Spec;
  using Device = typename S::Device;

  Predictor(Context<Device>& ctx, const Net& net, const Shape<S::kDim>& shape)
      : ctx_(&ctx),
        tape_(std::make_unique<Tape<S>>(Mode::infer, ctx.traits())),
        x_(tape_->input(shape)),
        y_(net.forward(x_)),
        plan_(std::make_unique<Plan<S>>(*tape_, PlanOptions<S>{.outputs = {y_}})),
        run_(*plan_, ctx) {}

  Shape<S::kDim> input_shape() const { return x_.shape(); }
  Shape<S::kDim> output_shape() const { return y_.shape(); }
  MemoryEstimate memory() const { return plan_->memory(); }

  /// Where the next windows go; then call. Valid logits until the next call.
  Out<S> input() { return run_.input(x_); }
  In<S> operator()() {
    run_.forward();
    return run_.output(y_);
  }
  /// Windows on the host.
  In<S> operator()(In<S> windows) {
    if (windows.shape != input_shape())
      throw Error(Code::shape_mismatch, "predictor", text("windows are ", windows.shape, ", made for ", input_shape(), "."));
    from_host<S>(*ctx_, windows, input());
    return (*this)();
  }

 private:
  Context<Device>* ctx_;
  std::unique_ptr<Tape<S>> tape_;   // on the heap: values point at it
  Var<S> x_, y_;
  std::unique_ptr<Plan<S>> plan_;
  Run<S> run_;
};

}   // namespace ctseg
