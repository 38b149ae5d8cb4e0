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

  /// A voxel starts as its own winner. What is before it in memory wins a draw (dilation), so it comes from near to far.
  static void forward(Context<Cpu>& ctx, bool dilate, const Values& v) {
    for_taps(ctx, dilate, v.to.shape, 1, [&](const Tap& tap, const Line& line) {
      runs(v, line, tap.offset, [&](const T* x, T* y, Index winner, Index count) {
        std::uint8_t* const w = v.winner ? v.winner + winner : nullptr;
        if (tap.offset == 0) {
          std::copy_n(x, count, y);
          if (w) std::fill_n(w, count, tap.number);
          return;
        }
        const Acc sign = dilate ? Acc(1) : Acc(-1);
        const bool draws = dilate && tap.offset < 0;
        for (Index k = 0; k < count; ++k) {
          const Acc a = sign * Acc(x[k]), b = sign * Acc(y[k]);
          const bool wins = draws ? a >= b : a > b;
          y[k] = wins ? x[k] : y[k];
          if (w) w[k] = wins ? tap.number : w[k];
        }
      });
    });
  }

  /// Every voxel asks the windows that it is in whether it won them.
  static void backward(Context<Cpu>& ctx, bool dilate, const Values& v) {
    const Index channels = v.to.shape.c;
    for_taps(ctx, dilate, v.to.shape, -1, [&](const Tap& tap, const Line& line) {
      runs(v, line, tap.offset, [&](const T* dy, T* dx, Index at, Index count) {
        const std::uint8_t* const w = v.winner + at + tap.offset * channels;
        if (tap.offset == 0)
          for (Index k = 0; k < count; ++k) dx[k] = w[k] == tap.number ? dy[k] : T(Acc(0));
        else
          for (Index k = 0; k < count; ++k) dx[k] = T(Acc(dx[k]) + (w[k] == tap.number ? Acc(dy[k]) : Acc(0)));
      });
    });
  }

 private:
  struct Tap {
    Index offset;          // in rows
    std::uint8_t number;   // the same for a voxel's neighbour and for the window that has the voxel there
  };
  struct Line {
    Index first, last;   // rows
  };

  /// f(from, to, place of a winner, values) for the values of a line; all at once where they lie together.
  template <class F> static void runs(const Values& v, const Line& line, Index offset, F f) {
    const Index channels = v.to.shape.c;
    if (v.from.contiguous() && v.to.contiguous())
      f(v.from.row(line.first + offset), v.to.row(line.first), line.first * channels, (line.last - line.first) * channels);
    else
      for (Index r = line.first; r < line.last; ++r) f(v.from.row(r + offset), v.to.row(r), r * channels, channels);
  }

  /// f(tap, line) for every line along x, without the ends that the tap leaves; the voxel itself comes first, then what is
  /// before it in memory, then what is behind. sign -1: the windows that have a voxel in place of those that it has.
  template <class F> static void for_taps(Context<Cpu>& ctx, bool dilate, const Shape<Dim>& shape, Index sign, F f) {
    constexpr Index kSelf = Dim == 3 ? 13 : 4, kAll = 2 * kSelf + 1;
    const Index length = shape.space[Dim - 1], height = shape.space[Dim - 2], depth = Dim == 3 ? shape.space[0] : 1;
    cpu::for_rows(ctx, shape.n * depth * height, [&](Index first, Index last) {
      for (Index line = first; line < last; ++line)
        for (Index k = 0; k < kAll; ++k) {
          const Index code = k <= kSelf ? kSelf - k : k;
          const Index dz = Dim == 3 ? code / 9 - 1 : 0, dy = code / 3 % 3 - 1, dx = code % 3 - 1;
          if (!dilate && std::abs(dz) + std::abs(dy) + std::abs(dx) > 1) continue;
          const Index y = line % height + sign * dy, z = line / height % depth + sign * dz;
          if (y < 0 || y >= height || z < 0 || z >= depth) continue;
          const Index begin = std::max<Index>(0, -sign * dx), end = length - std::max<Index>(0, sign * dx);
          if (begin < end)
            f({sign * ((dz * height + dy) * length + dx), static_cast<std::uint8_t>(code)},
              {line * length + begin, line * length + end});
        }
    });
  }
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
