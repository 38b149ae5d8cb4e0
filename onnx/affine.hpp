// y = scale x + shift: what graphs do with constants, channel by channel.
#pragma once
#include <ctseg/nn/tape.hpp>
#include <ctseg/ops/cpu/rows.hpp>

namespace ctseg::onnx {

/// y = scale[c] x + shift[c], for inference only. The op owns its numbers: a graph's constants are no parameters.
/// Shapes    x [N, C, D, H, W] -> y the same; scale and shift have C numbers each, or one.
/// Numerics  in Acc, rounded once.
template <AnySpec S> struct AffineOp {
  std::shared_ptr<const std::vector<typename S::Acc>> scale, shift;

  std::string_view name() const { return "Affine"; }
  Inferred<S> infer(const Facts<S>& f) const {
    for (const auto* v : {scale.get(), shift.get()})
      if (v->size() != 1 && std::ssize(*v) != f.x().c)
        throw Error(Code::shape_mismatch, "affine",
                    text(v->size(), " numbers for ", f.x().c, " channels; must be 1 or ", f.x().c, "."));
    if (f.mode == Mode::train) throw Error(Code::unsupported, "affine", "constants of a graph are not trained.");
    return {.shape = f.x(), .sharing = Sharing::in_place};
  }
  void forward(const Forward<S>& f) const {
    using T = typename S::T;
    const In<S> x = f.x();
    const Out<S> y = f.y();
    const std::size_t a = scale->size() > 1 ? 1 : 0, b = shift->size() > 1 ? 1 : 0;
    cpu::for_rows(f.ctx, x.rows(), [&](Index first, Index last) {
      for (Index r = first; r < last; ++r)
        for (Index c = 0; c < x.shape.c; ++c) {
          const auto k = static_cast<std::size_t>(c);
          y.row(r)[c] = static_cast<T>((*scale)[a * k] * static_cast<typename S::Acc>(x.row(r)[c]) + (*shift)[b * k]);
        }
    });
  }
  void backward(const Backward<S>&) const {}
};

}   // namespace ctseg::onnx
