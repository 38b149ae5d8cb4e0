// Soft morphology and the overlap of centre lines on the CPU.
#pragma once
#include "../../ops/cpu/rows.hpp"
#include "../cldice.hpp"

namespace ctseg {

template <class T, int Dim> struct Kernel<SoftMorphology, Spec<T, Dim, Cpu>> {
  using S = Spec<T, Dim, Cpu>;
  using Acc = typename S::Acc;

  /// forward: x, y; backward: dy, dx. winner: which neighbour, for every value of y; null where nobody asks.
  struct Values {
    In<S> from;
    Out<S> to;
    std::uint8_t* winner;
  };

  static void forward(Context<Cpu>& ctx, bool dilate, const Values& v) {
    const Neighbours neighbours(dilate, v.to.shape);
    const Index channels = v.to.shape.c;
    cpu::for_rows(ctx, v.to.rows(), [&](Index first, Index last) {
      for (Index r = first; r < last; ++r) {
        T* const y = v.to.row(r);
        std::uint8_t* const winner = v.winner ? v.winner + r * channels : nullptr;
        bool any = false;
        neighbours.each(r, 1, [&](std::uint8_t tap, Index near) {
          const T* const x = v.from.row(near);
          for (Index c = 0; c < channels; ++c) {
            if (any && !(dilate ? Acc(x[c]) > Acc(y[c]) : Acc(x[c]) < Acc(y[c]))) continue;
            y[c] = x[c];
            if (winner) winner[c] = tap;
          }
          any = true;
        });
      }
    });
  }

  /// Every voxel asks the windows that it is in whether it won them.
  static void backward(Context<Cpu>& ctx, bool dilate, const Values& v) {
    const Neighbours neighbours(dilate, v.to.shape);
    const Index channels = v.to.shape.c;
    cpu::for_rows(ctx, v.to.rows(), [&](Index first, Index last) {
      for (Index r = first; r < last; ++r)
        for (Index c = 0; c < channels; ++c) {
          Acc sum = 0;
          neighbours.each(r, -1, [&](std::uint8_t tap, Index window) {
            if (v.winner[window * channels + c] == tap) sum += Acc(v.from.row(window)[c]);
          });
          v.to.row(r)[c] = T(sum);
        }
    });
  }

 private:
  /// The taps of a window: erosion has the voxel itself and then its faces, dilation all in the order of memory.
  class Neighbours {
   public:
    Neighbours(bool dilate, const Shape<Dim>& shape) : shape_(shape) {
      if (!dilate) add({});
      for (Index code = 0; code < (Dim == 3 ? 27 : 9); ++code) {
        std::array<Index, Dim> step;
        Index rest = code, apart = 0;
        for (std::size_t d = Dim; d-- > 0; rest /= 3) {
          step[d] = rest % 3 - 1;
          apart += step[d] != 0;
        }
        if (dilate || apart == 1) add(step);
      }
    }
    /// f(tap, row) for the taps that exist; sign -1: the windows in which `row` is that tap.
    template <class F> void each(Index row, Index sign, F f) const {
      std::array<Index, Dim> at;
      Index rest = row;
      for (std::size_t d = Dim; d-- > 0; rest /= shape_.space[d]) at[d] = rest % shape_.space[d];
      for (std::size_t k = 0; k < count_; ++k) {
        Index offset = 0;
        bool inside = true;
        for (std::size_t d = 0; d < Dim; ++d) {
          const Index step = sign * taps_[k][d], place = at[d] + step;
          inside = inside && place >= 0 && place < shape_.space[d];
          offset = offset * shape_.space[d] + step;
        }
        if (inside) f(static_cast<std::uint8_t>(k), row + offset);
      }
    }

   private:
    void add(const std::array<Index, Dim>& step) { taps_[count_++] = step; }
    Shape<Dim> shape_;
    std::array<std::array<Index, Dim>, 27> taps_{};
    std::size_t count_ = 0;
  };
};

template <class T, int Dim> struct Kernel<CenterlineDice, Spec<T, Dim, Cpu>> {
  using S = Spec<T, Dim, Cpu>;
  using Acc = typename S::Acc;

  struct LossMemory {
    Index saved, scratch;
  };
  /// Of every image: sum a q, sum a, sum b p, sum b.
  static LossMemory memory(const Shape<Dim>& x) {
    return {bytes_of<double>(4 * x.n), cpu::partial_bytes<double>(x.voxels(), 4)};
  }

  static void forward(const ClDiceOptions& o, const Forward<S>& f) {
    const In<S> a = f.x(0), p = f.x(1), b = f.x(2), q = f.x(3);
    const Index voxels = a.shape.voxels(), images = a.shape.n;
    Bytes saved = f.saved, scratch = f.scratch;
    double* const sums = take<double>(saved, 4 * images);
    double* const partials = take<double>(scratch, 4 * cpu::RowBlocks(voxels).count);
    std::fill_n(sums, 4 * images, 0.0);
    double loss = 0;
    for (Index n = 0; n < images; ++n) {
      cpu::sum_rows(f.ctx, voxels, 4, partials, sums + 4 * n, [&](Index first, Index last, double* sum) {
        for (Index r = n * voxels + first; r < n * voxels + last; ++r)
          for (Index c = 0; c < a.shape.c; ++c) {
            sum[0] += number(a.row(r)[c]) * number(q.row(r)[c]), sum[1] += number(a.row(r)[c]);
            sum[2] += number(b.row(r)[c]) * number(p.row(r)[c]), sum[3] += number(b.row(r)[c]);
          }
      });
      const Ratios ratios(o, sums + 4 * n);
      loss += 1 - 2 * ratios.t * ratios.s / ratios.total;
    }
    f.output.template as<Acc>().data[0] = static_cast<Acc>(loss / static_cast<double>(images));
  }

  static void backward(const ClDiceOptions& o, const Backward<S>& back) {
    const In<S> a = back.x(0), p = back.x(1), b = back.x(2), q = back.x(3);
    const Index voxels = a.shape.voxels();
    Bytes saved = back.saved;
    const double* const sums = take<double>(saved, 4 * a.shape.n);
    const double seed =
        static_cast<double>(back.output_gradient.template as<const Acc>().data[0]) / static_cast<double>(a.shape.n);
    const Out<S> da = back.dx(0), dp = back.dx(1), db = back.dx(2), dq = back.dx(3);
    cpu::for_rows(back.ctx, a.rows(), [&](Index first, Index last) {
      for (Index r = first; r < last; ++r) {
        const Ratios k(o, sums + 4 * (r / voxels));
        const double square = k.total * k.total;
        const double by_t = -2 * seed * k.s * (k.total - k.t) / square / k.below_t;
        const double by_s = -2 * seed * k.t * (k.total - k.s) / square / k.below_s;
        for (Index c = 0; c < a.shape.c; ++c) {
          if (da) da.row(r)[c] = T(static_cast<Acc>(by_t * (number(q.row(r)[c]) - k.t)));
          if (dq) dq.row(r)[c] = T(static_cast<Acc>(by_t * number(a.row(r)[c])));
          if (db) db.row(r)[c] = T(static_cast<Acc>(by_s * (number(p.row(r)[c]) - k.s)));
          if (dp) dp.row(r)[c] = T(static_cast<Acc>(by_s * number(b.row(r)[c])));
        }
      }
    });
  }

 private:
  static double number(T v) { return static_cast<double>(Acc(v)); }
  struct Ratios {
    double below_t, below_s, t, s, total;
    Ratios(const ClDiceOptions& o, const double* sums)
        : below_t(sums[1] + o.smooth_denominator),
          below_s(sums[3] + o.smooth_denominator),
          t((sums[0] + o.smooth_numerator) / below_t),
          s((sums[2] + o.smooth_numerator) / below_s),
          total(t + s + o.smooth) {}
  };
};

}   // namespace ctseg
