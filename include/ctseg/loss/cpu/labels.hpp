// Ops on labels on the CPU.
#pragma once
#include "../../ops/cpu/loss_row.hpp"
#include "../labels.hpp"

namespace ctseg {

template <class T, int Dim> struct Kernel<LabelMoves, Spec<T, Dim, Cpu>> {
  using S = Spec<T, Dim, Cpu>;
  using Any = AnyView<Dim>;

  static void resize(Context<Cpu>& ctx, const Any& from, const Any& to) {
    each_type(to.dtype, [&]<class L>(L*) {
      const auto x = from.template as<const L>();
      const auto y = to.template as<L>();
      cpu::for_rows(ctx, y.rows(), [&](Index first, Index last) {
        for (Index r = first; r < last; ++r) {
          Index rest = r, source = 0, scale = 1;
          for (std::size_t d = Dim; d-- > 0;) {
            const Index in = x.shape.space[d], out = y.shape.space[d];
            source += (2 * (rest % out) + 1) * in / (2 * out) * scale;
            rest /= out, scale *= in;
          }
          std::copy_n(x.row(rest * scale + source), x.shape.c, y.row(r));
        }
      });
    });
  }

  static void regions(Context<Cpu>& ctx, const RegionsOp<S>& o, const Any& from, const Any& to) {
    each_type(to.dtype, [&]<class L>(L*) {
      const auto x = from.template as<const L>();
      const auto y = to.template as<L>();
      cpu::for_rows(ctx, y.rows(), [&](Index first, Index last) {
        for (Index r = first; r < last; ++r) {
          const L label = *x.row(r);
          L* out = y.row(r);
          for (const auto& region : o.regions)
            *out++ = o.ignore_label == Index{label} ? label : L(std::find(region.begin(), region.end(), label) != region.end());
        }
      });
    });
  }

  static void one_hot(Context<Cpu>& ctx, const SegmentationLossOptions& o, const Any& from, Out<S> y) {
    const cpu::Targets<Dim> targets(o, from, y.shape.c);
    cpu::for_rows(ctx, y.rows(), [&](Index first, Index last) {
      cpu::VoxelLabels q;
      for (Index r = first; r < last; ++r) {
        targets.read(r, q);
        for (Index c = 0; c < y.shape.c; ++c) y.row(r)[c] = T(static_cast<typename S::Acc>(q(c)));
      }
    });
  }

 private:
  template <class F> static void each_type(Dtype dtype, F f) {
    if (dtype == Dtype::u8)
      f(static_cast<std::uint8_t*>(nullptr));
    else
      f(static_cast<std::uint16_t*>(nullptr));
  }
};

}   // namespace ctseg
