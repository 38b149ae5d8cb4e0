// Argmax over channels on the CPU; the head's values stay in the cache, some rows at a time.
#pragma once
#include <atomic>

#include "../../core/finite.hpp"
#include "../argmax.hpp"
#include "conv_float.hpp"

namespace ctseg {

template <class T, int Dim> struct Kernel<Labelling, Spec<T, Dim, Cpu>> {
  using S = Spec<T, Dim, Cpu>;
  using Acc = typename S::Acc;
  using Conv = Kernel<Convolution, S>;

  /// The head as it runs here: on lines of kRows voxels, which is no different to a convolution of one tap.
  static void facts(const ConvOp<S>& head, const Facts<S>& f, Inferred<S>& out) {
    const ConvProblem p = line(head, kRows);
    const ConvChoice c = Conv::choose(p, Mode::infer, f.device);
    out.choice = c.choice, out.prepared = Conv::prepared_bytes(p, c.choice);
    out.forward_scratch = kSlots * slot_bytes(head), out.backward_scratch = 0;   // one tap needs none of its own
  }
  static void prepare(const ConvOp<S>& head, const Prepare<S>& p) {
    Conv::prepare(p.ctx, line(head, kRows), p.choice, p.w[0], p.prepared);
  }

  static void forward(const std::optional<ConvOp<S>>& head, const Forward<S>& f) {
    const In<S> x = f.x();
    const auto y = f.output.template as<std::uint8_t>();
    if (!head)
      return cpu::for_rows(f.ctx, x.rows(), [&](Index first, Index last) {
        for (Index r = first; r < last; ++r) *y.row(r) = largest(x.row(r), x.shape.c);
      });
    const Index classes = head->out_channels, bytes = slot_bytes(*head);
    std::atomic<Index> next{0};   // memory goes with the slot, rows to whoever is free
    parallel_for(f.ctx.executor(), kSlots, [&](Index slot) {
      T* values = reinterpret_cast<T*>(f.scratch.next + slot * bytes);
      for (Index first = kRows * next++; first < x.rows(); first = kRows * next++) {
        const Index rows = std::min(kRows, x.rows() - first);
        Shape<Dim> shape = x.shape;   // a line
        shape.n = 1, shape.space.fill(1), shape.space.back() = rows;
        const AnyView<Dim> from = In<S>{x.row(first), shape, x.pitch};
        const Out<S> to{values, shape.with_channels(classes), classes};
        Conv::forward(line(*head, rows), Forward<S>{f.ctx, f.mode, f.choice, {&from, 1}, f.w, to, {}, {}, f.prepared, f.key});
        for (Index r = 0; r < rows; ++r) *y.row(first + r) = largest(values + r * classes, classes);
      }
    });
  }

 private:
  static constexpr Index kRows = 512, kSlots = 16;

  static ConvProblem line(const ConvOp<S>& head, Index rows) {
    ConvWindow w;
    w.input[2] = w.output[2] = rows;
    return {w, Side::output, 1, head.in_channels, head.out_channels};
  }
  static Index slot_bytes(const ConvOp<S>& head) { return bytes_of<T>(kRows * head.out_channels); }

  static std::uint8_t largest(const T* values, Index count) {
    Index best = 0;
    for (Index c = 1; c < count; ++c) {
      const Acc v = Acc(values[c]), b = Acc(values[best]);
      if ((v > b || is_nan(v)) && !is_nan(b)) best = c;
    }
    return static_cast<std::uint8_t>(best);
  }
};

}   // namespace ctseg
