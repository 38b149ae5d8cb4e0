// The value and the gradient of a loss on numbers written down in a test.
#pragma once
#include <doctest/doctest.h>

#include <ctseg/core/finite.hpp>
#include <ctseg/core/tensor.hpp>
#include <ctseg/loss/loss.hpp>
#include <ctseg/ops/cpu.hpp>

namespace ctseg::test {

/// A layer that does nothing, with a weight: tapes make gradients on ways to parameters alone.
template <AnySpec S> struct HookOp {
  std::string_view name() const { return "Hook"; }
  Inferred<S> infer(const Facts<S>& f) const { return {.shape = f.x()}; }
  void forward(const Forward<S>& f) const { Kernel<Elementwise, S>::copy(f.ctx, f.x(), f.y()); }
  void backward(const Backward<S>&) const {}
};

/// Logits and labels in memory order: voxel after voxel, its channels together. As many labels as voxels or as logits.
template <AnySpec S> class LossOnNumbers {
 public:
  LossOnNumbers(const Loss<S>& loss, const Shape<S::kDim>& shape, const std::vector<double>& logits,
                const std::vector<int>& labels)
      : ctx_({.threads = 1}), weight_({.shape = {1, 1}}), tape_(Mode::train, ctx_) {
    Tensor<typename S::T, S::kDim> x(shape);
    REQUIRE(std::ssize(logits) == shape.elements());
    for (std::size_t i = 0; i < logits.size(); ++i) x.data()[i] = typename S::T(static_cast<typename S::Acc>(logits[i]));
    const bool wide = std::ssize(labels) == shape.elements();
    Tensor<std::uint8_t, S::kDim> q(wide ? shape : shape.with_channels(1));
    REQUIRE(std::ssize(labels) == q.shape().elements());
    for (std::size_t i = 0; i < labels.size(); ++i) q.data()[i] = static_cast<std::uint8_t>(labels[i]);
    logits_ = tape_.append(HookOp<S>{}, {tape_.input(x.view())}, {weight_});
    loss_ = loss(logits_, tape_.input(q.view()));
    Gradients<S> gradients({&weight_});
    tape_.backward(loss_, gradients);
  }
  double value() const { return loss_.scalar(); }
  In<S> gradient() const { return tape_.gradient(logits_); }

 private:
  Context<Cpu> ctx_;
  Parameter<S> weight_;
  Tape<S> tape_;
  Var<S> logits_, loss_;
};

template <AnySpec S> double value_of(const Loss<S>& loss, const Shape<S::kDim>& shape, const std::vector<double>& logits,
                                     const std::vector<int>& labels) {
  return LossOnNumbers<S>(loss, shape, logits, labels).value();
}
template <AnySpec S> bool all_finite_of(const Loss<S>& loss, const Shape<S::kDim>& shape, const std::vector<double>& logits,
                                        const std::vector<int>& labels) {
  const LossOnNumbers<S> run(loss, shape, logits, labels);
  bool all = is_finite(run.value());
  for (Index i = 0; i < shape.elements(); ++i) all = all && is_finite(double(run.gradient().data[i]));
  return all;
}

}   // namespace ctseg::test
