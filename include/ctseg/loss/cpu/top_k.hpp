// Cross entropy of the hardest voxels on the CPU: every voxel's loss is kept, those not chosen as -1.
#pragma once
#include "../../ops/cpu/loss_row.hpp"
#include "../top_k.hpp"

namespace ctseg {

template <class T, int Dim> struct Kernel<TopK, Spec<T, Dim, Cpu>> {
  using S = Spec<T, Dim, Cpu>;
  using Acc = typename S::Acc;

  struct LossMemory {
    Index saved, scratch;
  };
  static LossMemory memory(const Shape<Dim>& x) {
    const Index rows = x.n * x.voxels();
    return {bytes_of<Acc>(rows), bytes_of<Acc>(rows) + cpu::partial_bytes<double>(rows, 1)};
  }

  static void forward(const SegmentationLossOptions& o, Index count, const Forward<S>& f) {
    const In<S> x = f.x();
    const Index rows = x.rows();
    Bytes saved = f.saved, scratch = f.scratch;
    Acc* const each = take<Acc>(saved, rows);
    Acc* const order = take<Acc>(scratch, rows);
    double* const partials = take<double>(scratch, cpu::RowBlocks(rows).count);
    const cpu::Targets<Dim> targets(o, f.inputs[1], x.shape.c);
    const cpu::VoxelTerm<T> term(o.voxel, x.shape.c);
    for_voxels(f.ctx, x, targets, [&](Index r, const Voxel& v) {
      Acc loss = v.counts ? static_cast<Acc>(term.share(x.row(r), v.q, v.p, v.log_sum).loss) : Acc(0);
      if (is_nan(loss)) loss = std::numeric_limits<Acc>::infinity();
      each[r] = loss;
    });
    choose({each, order}, rows, count);
    double sum = 0;
    cpu::sum_rows(f.ctx, rows, 1, partials, &sum, [&](Index first, Index last, double* part) {
      for (Index r = first; r < last; ++r)
        if (each[r] >= 0) *part += static_cast<double>(each[r]);
    });
    f.output.template as<Acc>().data[0] = static_cast<Acc>(sum / static_cast<double>(count));
  }

  static void backward(const SegmentationLossOptions& o, Index count, const Backward<S>& b) {
    const In<S> x = b.x();
    const Out<S> dx = b.dx();
    Bytes saved = b.saved;
    const Acc* const each = take<Acc>(saved, x.rows());
    const double scale = static_cast<double>(b.output_gradient.template as<const Acc>().data[0]) / static_cast<double>(count);
    const cpu::Targets<Dim> targets(o, b.inputs[1], x.shape.c);
    const cpu::VoxelTerm<T> term(o.voxel, x.shape.c);
    for_voxels(b.ctx, x, targets, [&](Index r, Voxel& v) {
      double d[kMostClasses];
      std::fill_n(d, x.shape.c, 0.0);
      if (each[r] >= 0 && v.counts) term.add_derivatives(x.row(r), v.q, v.p, v.log_sum, scale, d);
      for (Index c = 0; c < x.shape.c; ++c) dx.row(r)[c] = T(static_cast<Acc>(d[c]));
    });
  }

 private:
  struct Voxel {
    bool counts;
    double log_sum;
    double p[kMostClasses];
    cpu::VoxelLabels q;
  };
  template <class F> static void for_voxels(Context<Cpu>& ctx, In<S> x, const cpu::Targets<Dim>& targets, F f) {
    cpu::for_rows(ctx, x.rows(), [&](Index first, Index last) {
      Voxel v;
      for (Index r = first; r < last; ++r) {
        v.counts = targets.read(r, v.q);
        if (v.counts) v.log_sum = cpu::probabilities(x.row(r), x.shape.c, x.shape.c == 1, v.p);
        f(r, v);
      }
    });
  }

  struct Losses {
    Acc *each, *order;
  };
  static void choose(const Losses& l, Index rows, Index count) {
    std::copy_n(l.each, rows, l.order);
    std::nth_element(l.order, l.order + count - 1, l.order + rows, std::greater<>());
    const Acc least = l.order[count - 1];
    Index equal = std::count(l.order, l.order + count, least);   // of those at the threshold so many are chosen
    for (Index r = 0; r < rows; ++r)
      if (l.each[r] < least || (l.each[r] == least && equal-- <= 0)) l.each[r] = -1;
  }
};

}   // namespace ctseg
