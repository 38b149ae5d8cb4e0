// copy, add and fill: the three moves that the executor itself needs, beside ops. And the add op.
#pragma once
#include "op.hpp"

namespace ctseg {

struct Elementwise;   // Kernel<Elementwise, S>: copy(ctx, from, to, scale), add(ctx, from, to, scale), fill(ctx, value, to)

/// y = a + scale * b: residual connections (scale 1) and weighted losses (deep supervision).
/// Shapes    a, b [N, C, D, H, W], activations or losses -> y the same.
/// Numerics  in Acc, rounded once.
/// Gradient  da = dy, db = scale * dy, assigned. Reads neither a nor b again.
/// Cost      2 FLOP per value; reads a and b, writes y (or on a, where a plan lets it); keeps nothing.
/// Errors    shape_mismatch if shapes or types differ.
/// PyTorch   torch.add(a, b, alpha=scale)
template <AnySpec S> struct AddOp {
  typename S::Acc scale = 1;

  std::string_view name() const { return "Add"; }
  Inferred<S> infer(const Facts<S>& f) const {
    if (f.inputs[0] != f.inputs[1])
      throw Error(Code::shape_mismatch, "add",
                  text("cannot add ", f.inputs[1], " to ", f.inputs[0], "; both must be the same."));
    return {.shape = f.inputs[0].shape, .dtype = f.inputs[0].dtype, .sharing = Sharing::in_place};
  }
  void forward(const Forward<S>& f) const {
    const bool in_place = f.output.data == f.inputs[0].data;
    visit_type(f.output.dtype, [&]<class T>(T*) {
      const auto y = f.output.template as<T>();
      if (!in_place) Kernel<Elementwise, S>::copy(f.ctx, f.inputs[0].template as<const T>(), y);
      Kernel<Elementwise, S>::add(f.ctx, f.inputs[1].template as<const T>(), y, scale);
    });
  }
  void backward(const Backward<S>& b) const {
    visit_type(b.output_gradient.dtype, [&]<class T>(T*) {
      const auto dy = b.output_gradient.template as<const T>();
      if (b.wants(1)) Kernel<Elementwise, S>::copy(b.ctx, dy, b.input_gradients[1].template as<T>(), scale);
      if (b.wants(0) && b.input_gradients[0].data != b.output_gradient.data)
        Kernel<Elementwise, S>::copy(b.ctx, dy, b.input_gradients[0].template as<T>());
    });
  }

 private:
  /// Activations or losses: the two types a gradient can have.
  template <class F> static void visit_type(Dtype dtype, F f) {
    if (dtype == dtype_of<typename S::T>())
      f(static_cast<typename S::T*>(nullptr));
    else
      f(static_cast<typename S::Acc*>(nullptr));
  }
};

}   // namespace ctseg
