// Sums of losses: one loss made of two, each with its weight.
#pragma once
#include "segmentation_loss.hpp"

namespace ctseg {

/// y = sum over k of weights[k] * x[k].
/// Shapes    up to 8 losses or activations of one shape -> the same.
/// Numerics  in Acc, rounded after every term, from first to last.
/// Gradient  dx[k] = weights[k] * dy, assigned. Reads nothing again.
/// Cost      one multiply-add per value and input; keeps nothing.
/// Errors    shape_mismatch if shapes or types differ; bad_argument for a weight that is not a number, or one too many or few.
template <AnySpec S> struct WeightedSumOp {
  std::vector<double> weights;

  std::string_view name() const { return "WeightedSum"; }
  Inferred<S> infer(const Facts<S>& f) const {
    if (weights.empty() || weights.size() != f.inputs.size())
      throw Error(Code::bad_argument, "weighted_sum",
                  text(weights.size(), " weights for ", f.inputs.size(), " inputs; must be one each."));
    for (const double& w : weights)
      if (!is_finite(w)) throw Error(Code::bad_argument, "weighted_sum", text("a weight is ", w, "; must be a number."));
    for (const auto& x : f.inputs)
      if (x != f.inputs[0])
        throw Error(Code::shape_mismatch, "weighted_sum",
                    text("cannot add ", x, " to ", f.inputs[0], "; all must be the same."));
    return {.shape = f.inputs[0].shape, .dtype = f.inputs[0].dtype};
  }
  void forward(const Forward<S>& f) const {
    visit_type(f.output.dtype, [&]<class T>(T*) {
      const auto y = f.output.template as<T>();
      Kernel<Elementwise, S>::copy(f.ctx, f.inputs[0].template as<const T>(), y, weight(0));
      for (std::size_t k = 1; k < weights.size(); ++k)
        Kernel<Elementwise, S>::add(f.ctx, f.inputs[k].template as<const T>(), y, weight(k));
    });
  }
  void backward(const Backward<S>& b) const {
    visit_type(b.output_gradient.dtype, [&]<class T>(T*) {
      const auto dy = b.output_gradient.template as<const T>();
      for (std::size_t k = 0; k < weights.size(); ++k)
        if (b.wants(k)) Kernel<Elementwise, S>::copy(b.ctx, dy, b.input_gradients[k].template as<T>(), weight(k));
    });
  }

 private:
  typename S::Acc weight(std::size_t k) const { return static_cast<typename S::Acc>(weights[k]); }
  template <class F> static void visit_type(Dtype dtype, F f) {
    if (dtype == dtype_of<typename S::T>())
      f(static_cast<typename S::T*>(nullptr));
    else
      f(static_cast<typename S::Acc*>(nullptr));
  }
};

struct LossWeights {
  double first = 1, second = 1;
};
template <class A, class B> struct SumOfLosses {
  A a;
  B b;
  LossWeights weights;

  template <AnySpec S> Var<S> operator()(Var<S> logits, Var<S> labels) const {
    return logits.tape->append(WeightedSumOp<S>{{weights.first, weights.second}}, {a(logits, labels), b(logits, labels)});
  }
  Index largest_label(Index channels) const { return std::min(largest_label_of(a, channels), largest_label_of(b, channels)); }
};
/// weights.first * a + weights.second * b, a loss like any other: sum_of(dice_loss(), top_k_loss()).
template <class A, class B> SumOfLosses<A, B> sum_of(A a, B b, const LossWeights& weights = {}) {
  return {std::move(a), std::move(b), weights};
}

}   // namespace ctseg
