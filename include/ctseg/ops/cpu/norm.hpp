// Normalisation on the CPU: statistics in one pass, then one pass that normalises and activates.
#pragma once
#include "../conv.hpp"
#include "../norm.hpp"
#include "rows.hpp"

namespace ctseg {

template <class T, int Dim> struct Kernel<Normalization, Spec<T, Dim, Cpu>> {
  using S = Spec<T, Dim, Cpu>;
  using Acc = typename S::Acc;

  struct NormMemory {
    Index saved, forward_scratch, backward_scratch;
  };
  static NormMemory memory(const NormOp<S>& op, const Shape<Dim>& x) {
    const Index batches = op.batches(x), rows = x.n * x.voxels() / batches;
    return {bytes_of<Acc>(2 * batches * x.c), statistics_bytes(rows, x.c) + bytes_of<Acc>(2 * x.c),
            cpu::partial_bytes<Acc>(rows, 3 * x.c) + bytes_of<Acc>(5 * x.c) + bytes_of<Acc>(2 * x.c)};
  }

  /// With the statistics of x, where whoever made x has taken them.
  static void forward(const NormOp<S>& op, const Forward<S>& f, const Moments& taken = {}) {
    const In<S> x = f.x(), residual = f.inputs.size() > 1 ? f.x(1) : In<S>{};
    const Out<S> y = f.y();
    const Index channels = x.shape.c, batches = op.batches(x.shape), rows = x.rows() / batches;
    Bytes saved = f.saved, scratch = f.scratch;
    Acc* mean = take<Acc>(saved, 2 * batches * channels);
    Acc* rstd = mean + batches * channels;
    Acc* scale = take<Acc>(scratch, 2 * channels);
    Acc* shift = scale + channels;
    for (Index g = 0; g < batches; ++g, mean += channels, rstd += channels) {
      if (op.uses_running(f.mode))
        running(op, f.w, channels, mean, rstd);
      else if (taken.data)
        merge(f.ctx, op, taken, g, channels, mean, rstd, scratch);
      else if (!f.again)   // else they are saved
        statistics(f.ctx, op, x, g * rows, rows, mean, rstd, scratch);
      affine(op, f.w, channels, scale);
      for (Index c = 0; c < channels; ++c) scale[c] *= rstd[c];
      if constexpr (std::is_same_v<T, float>)
        if (const auto bend = cpu::bend_of<S>(op.activation, slopes(op, f.w))) {
          cpu::for_rows_backwards(f.ctx, rows, [&](Index first, Index last) {
            simd::row_passes(f.ctx.traits().isa)
                .norm({.x = cpu::rows_of(x, g * rows + first),
                       .residual = cpu::rows_of(residual, g * rows + first),
                       .y = cpu::rows_of(y, g * rows + first),
                       .rows = last - first,
                       .channels = channels,
                       .mean = mean,
                       .scale = scale,
                       .shift = shift,
                       .act = *bend},
                      0);
          });
          continue;
        }
      with_activation<S>(op.activation, slopes(op, f.w), [&](auto act) {
        cpu::for_rows(f.ctx, rows, [&](Index first, Index last) {
          for (Index r = g * rows + first; r < g * rows + last; ++r)
            cpu::for_pieces(channels, [&](Index c, auto count) {
              Acc value[cpu::kPiece];
              for (Index k = 0; k < count; ++k) value[k] = (Acc(x.row(r)[c + k]) - mean[c + k]) * scale[c + k] + shift[c + k];
              if (residual)
                for (Index k = 0; k < count; ++k) value[k] += Acc(residual.row(r)[c + k]);
              for (Index k = 0; k < count; ++k) value[k] = act.value(value[k], c + k);
              for (Index k = 0; k < count; ++k) y.row(r)[c + k] = T(value[k]);
            });
        });
      });
    }
  }

  /// What the convolution in front needs to do inference's batch norm, or none, itself: mean, scale and shift in scratch.
  static ConvEpilogue<S> epilogue(const NormOp<S>& op, AllWeights<S> w, const Shape<Dim>& y, Bytes scratch) {
    const Index channels = y.c;
    Acc *mean = take<Acc>(scratch, 4 * channels), *scale = mean + channels, *rstd = scale + 2 * channels;
    running(op, w, channels, mean, rstd);
    affine(op, w, channels, scale);
    for (Index c = 0; c < channels; ++c) scale[c] *= rstd[c];
    return {.mean = mean, .scale = scale, .shift = scale + channels, .activation = op.activation, .slopes = slopes(op, w)};
  }
  static Index epilogue_bytes(Index channels) { return bytes_of<Acc>(4 * channels); }

  /// With u = xhat * gamma + beta (+ residual) and du = act'(u) dy, which is the residual's gradient:
  /// dx = (gamma du - mean(gamma du) - xhat * mean(gamma du * xhat)) / sigma, means over all that shares the statistics; both
  /// are 0 where the statistics are the running ones.
  static void backward(const NormOp<S>& op, const Backward<S>& b) {
    const Index channels = b.x().shape.c, batches = op.batches(b.x().shape), rows = b.x().rows() / batches;
    Bytes saved = b.saved, scratch = b.scratch;
    const Acc* mean = take<Acc>(saved, 2 * batches * channels);
    const Acc* rstd = mean + batches * channels;
    Acc* sums = take<Acc>(scratch, 5 * channels);   // of du, du * xhat, dslope; then the two of dx
    Acc* gamma = take<Acc>(scratch, 2 * channels);
    Acc* partials = take<Acc>(scratch, cpu::RowBlocks(rows).count * 3 * channels);
    affine(op, b.w, channels, gamma);
    for (Index g = 0; g < batches; ++g, mean += channels, rstd += channels) {
      std::fill_n(sums, 5 * channels, Acc(0));
      const Pass pass{b, g * rows, rows, mean, rstd, gamma, sums, op.activation, slopes(op, b.w)};
      pass.sum(partials);
      ProcessGroup* const group = op.uses_running(b.mode) ? nullptr : sharing(b.ctx, op);
      const Index all_rows = group ? rows * group->size() : rows;
      add_parameter_gradients(op, b, {mean, static_cast<std::size_t>(channels)}, rstd, sums, all_rows);
      if (!b.wants() && !pass.wants_residual()) continue;
      if (group) group->sum(std::span(sums, static_cast<std::size_t>(2 * channels)));
      if (!op.uses_running(b.mode)) average(op.width(channels), all_rows, {gamma, static_cast<std::size_t>(channels)}, sums);
      pass.assign();
    }
  }

 private:
  /// The rows of one set of statistics on their way back: first sums over all of them, then their gradients.
  struct Pass {
    const Backward<S>& b;
    Index first_row, rows;
    const Acc *mean, *rstd, *gamma;   // [channels]; beta behind gamma
    Acc* sums;
    const Activation& activation;
    Weights<S> slopes;
    In<S> x = b.x(), dy = b.dy(), residual = b.inputs.size() > 1 ? b.x(1) : In<S>{};
    Index channels = x.shape.c;

    bool wants_residual() const { return residual && b.wants(1); }

    void sum(Acc* partials) const {
      if constexpr (std::is_same_v<T, float>)
        if (const auto bend = cpu::bend_of<S>(activation, slopes))
          return cpu::sum_rows(b.ctx, rows, 3 * channels, partials, sums, [&](Index first, Index last, Acc* sum) {
            simd::NormPass pass = vector_pass(first_row + first, last - first, *bend);
            pass.sums = sum;
            simd::row_passes(b.ctx.traits().isa).norm_sums(pass, 0);
          });
      with_activation<S>(activation, slopes, [&](auto act) { sum(act, partials); });
    }
    void assign() const {
      if constexpr (std::is_same_v<T, float>)
        if (const auto bend = cpu::bend_of<S>(activation, slopes))
          return cpu::for_rows_backwards(b.ctx, rows, [&](Index first, Index last) {   // sum() came last by the last rows
            simd::NormPass pass = vector_pass(first_row + first, last - first, *bend);
            pass.y = cpu::rows_of(b.dx(), first_row + first);
            if (wants_residual()) pass.dresidual = cpu::rows_of(b.dx(1), first_row + first);
            simd::row_passes(b.ctx.traits().isa).norm_assign(pass, 0);
          });
      with_activation<S>(activation, slopes, [&](auto act) { assign(act); });
    }

   private:
    template <class Act> void sum(Act act, Acc* partials) const {
      cpu::sum_rows(b.ctx, rows, 3 * channels, partials, sums, [&](Index first, Index last, Acc* sum) {
        for (Index r = first_row + first; r < first_row + last; ++r)
          cpu::for_pieces(channels, [&](Index c0, auto count) {
            Acc xhat[cpu::kPiece], u[cpu::kPiece], du[cpu::kPiece], below[cpu::kPiece];   // below 0: prelu's slope
            look(r, c0, count, xhat, u);
            for (Index k = 0; k < count; ++k) {
              const Acc d = Acc(dy.row(r)[c0 + k]);
              du[k] = d * act.derivative(u[k], c0 + k);
              below[k] = u[k] > 0 ? Acc(0) : d * u[k];
            }
            for (Index k = 0; k < count; ++k) sum[c0 + k] += du[k];
            for (Index k = 0; k < count; ++k) sum[channels + c0 + k] += du[k] * xhat[k];
            for (Index k = 0; k < count; ++k) sum[2 * channels + c0 + k] += below[k];
          });
      });
    }
    template <class Act> void assign(Act act) const {
      const Out<S> dx = b.dx(), dresidual = wants_residual() ? b.dx(1) : Out<S>{};
      const Acc *du_mean = sums + 3 * channels, *dot_mean = sums + 4 * channels;
      cpu::for_rows(b.ctx, rows, [&](Index first, Index last) {
        for (Index r = first_row + first; r < first_row + last; ++r)
          cpu::for_pieces(channels, [&](Index c0, auto count) {
            Acc xhat[cpu::kPiece], u[cpu::kPiece], du[cpu::kPiece];
            look(r, c0, count, xhat, u);
            for (Index k = 0; k < count; ++k) du[k] = Acc(dy.row(r)[c0 + k]) * act.derivative(u[k], c0 + k);
            if (dresidual)   // before dx, which may lie on dy
              for (Index k = 0; k < count; ++k) dresidual.row(r)[c0 + k] = T(du[k]);
            if (!dx) return;
            for (Index k = 0; k < count; ++k) {
              const Index c = c0 + k;
              du[k] = rstd[c] * (gamma[c] * du[k] - du_mean[c] - xhat[k] * dot_mean[c]);
            }
            for (Index k = 0; k < count; ++k) dx.row(r)[c0 + k] = T(du[k]);
          });
      });
    }

    simd::NormPass vector_pass(Index first, Index count, const simd::Bend& bend) const {
      return {.x = cpu::rows_of(x, first),
              .residual = cpu::rows_of(residual, first),
              .dy = cpu::rows_of(dy, first),
              .rows = count,
              .channels = channels,
              .mean = mean,
              .shift = gamma + channels,
              .rstd = rstd,
              .gamma = gamma,
              .du_mean = sums + 3 * channels,
              .dot_mean = sums + 4 * channels,
              .act = bend};
    }
    /// What the activation saw.
    template <class Count> void look(Index r, Index c0, Count count, Acc* xhat, Acc* u) const {
      const Acc* beta = gamma + channels;
      for (Index k = 0; k < count; ++k) {
        const Index c = c0 + k;
        xhat[k] = (Acc(x.row(r)[c]) - mean[c]) * rstd[c];
        u[k] = xhat[k] * gamma[c] + beta[c];
      }
      if (residual)
        for (Index k = 0; k < count; ++k) u[k] += Acc(residual.row(r)[c0 + k]);
    }
  };

  static void running(const NormOp<S>& op, AllWeights<S> w, Index channels, Acc* mean, Acc* rstd) {
    const bool none = op.kind == NormKind::none;
    for (Index c = 0; c < channels; ++c) {
      mean[c] = none ? Acc(0) : w[op.running_at()][c];
      rstd[c] = none ? Acc(1) : 1 / std::sqrt(w[op.running_at() + 1][c] + Acc(op.eps));
    }
  }
  static Index statistics_bytes(Index rows, Index channels) {
    const Index blocks = cpu::RowBlocks(rows).count;
    return bytes_of<double>((blocks + 1) * 2 * channels) + bytes_of<Acc>(blocks * 2 * channels);
  }
  /// gamma, then beta; 1 and 0 where the norm has none.
  static void affine(const NormOp<S>& op, AllWeights<S> w, Index channels, Acc* to) {
    std::fill_n(to, channels, Acc(1));
    std::fill_n(to + channels, channels, Acc(0));
    for (std::size_t k = 0; op.affine && k < 2; ++k) std::copy_n(w[k].data(), channels, to + static_cast<Index>(k) * channels);
  }
  static Weights<S> slopes(const NormOp<S>& op, AllWeights<S> w) {
    return w.size() > op.slopes_at() ? w[op.slopes_at()] : Weights<S>{};
  }

  /// Mean and squared deviations of what was seen so far, per channel; two of them merge without cancelling.
  struct Sums {
    double count;
    double *mean, *deviation;   // [channels]

    void merge(Index c, double n, double m, double d) {
      const double delta = m - mean[c], total = count + n;
      deviation[c] += d + delta * delta * count * n / total;
      mean[c] += delta * n / total;
    }
  };

  /// The parts of batch g, in order.
  static void merge(Context<Cpu>& ctx, const NormOp<S>& op, const Moments& taken, Index g, Index channels, Acc* mean, Acc* rstd,
                    Bytes scratch) {
    double* memory = take<double>(scratch, 2 * channels);
    std::fill_n(memory, 2 * channels, 0.0);
    Sums all{0, memory, memory + channels};
    const MomentParts& parts = taken.parts;
    const Index last = op.kind == NormKind::batch ? parts.count() : parts.last(g);
    for (Index i = parts.first(g); i < last; ++i) {
      const double n = taken.data[i * Moments::kNumbers * taken.width];
      for (Index c = 0; n > 0 && c < channels; ++c) {
        const double* part =
            taken.data + c / taken.width * taken.size() + i * Moments::kNumbers * taken.width + c % taken.width;
        all.merge(c, n, part[taken.width], part[2 * taken.width]);
      }
      all.count += n;
    }
    finish(ctx, op, all, channels, mean, rstd);
  }

  /// Every block goes through tiles of rows that stay in the cache: first a tile's mean, then its deviations from it. So memory
  /// is read once, and neither a large mean nor an odd first row costs digits. Tiles, then blocks, merge in double, in order.
  static void statistics(Context<Cpu>& ctx, const NormOp<S>& op, In<S> x, Index first_row, Index rows, Acc* mean, Acc* rstd,
                         Bytes scratch) {
    const cpu::RowBlocks blocks(rows);
    const Index channels = x.shape.c, tile = std::max<Index>(16, 4096 / channels);
    double* moments = take<double>(scratch, (blocks.count + 1) * 2 * channels);
    Acc* sums = take<Acc>(scratch, blocks.count * 2 * channels);
    const auto moments_of = [&](Index b) { return Sums{0, moments + b * 2 * channels, moments + (b * 2 + 1) * channels}; };
    parallel_for(ctx.executor(), blocks.count, [&](Index b) {
      Sums block = moments_of(b);
      std::fill_n(block.mean, 2 * channels, 0.0);
      Acc *sum = sums + b * 2 * channels, *square = sum + channels;
      for (Index begin = blocks.first(b); begin < blocks.last(b); begin += tile) {
        const Index end = std::min(blocks.last(b), begin + tile);
        const Acc n = static_cast<Acc>(end - begin);
        if constexpr (std::is_same_v<T, float>) {
          simd::row_passes(ctx.traits().isa)
              .moments({cpu::rows_of(x, first_row + begin), end - begin, channels, sum, square}, 0);
        } else {
          std::fill_n(sum, 2 * channels, Acc(0));
          for (Index r = first_row + begin; r < first_row + end; ++r)
            for (Index c = 0; c < channels; ++c) sum[c] += Acc(x.row(r)[c]);
          for (Index c = 0; c < channels; ++c) sum[c] /= n;
          for (Index r = first_row + begin; r < first_row + end; ++r)
            for (Index c = 0; c < channels; ++c) square[c] += (Acc(x.row(r)[c]) - sum[c]) * (Acc(x.row(r)[c]) - sum[c]);
        }
        for (Index c = 0; c < channels; ++c) block.merge(c, double(n), double(sum[c]), double(square[c]));
        block.count += double(n);
      }
    });
    Sums all = moments_of(blocks.count);
    std::fill_n(all.mean, 2 * channels, 0.0);
    for (Index b = 0; b < blocks.count; ++b) {
      const Sums block = moments_of(b);
      const double n = double(blocks.last(b) - blocks.first(b));
      for (Index c = 0; c < channels; ++c) all.merge(c, n, block.mean[c], block.deviation[c]);
      all.count += n;
    }
    finish(ctx, op, all, channels, mean, rstd);
  }

  /// The processes with which a norm shares statistics.
  static ProcessGroup* sharing(const Context<Cpu>& ctx, const NormOp<S>& op) {
    return op.kind == NormKind::batch ? ctx.statistics_group() : nullptr;
  }
  /// Of as many rows in every process: first the mean of means, then the deviations from it.
  static void share(ProcessGroup& group, Sums& all, Index channels) {
    const auto n = static_cast<std::size_t>(channels);
    const std::vector<double> own(all.mean, all.mean + channels);
    group.sum(std::span(all.mean, n));
    for (std::size_t c = 0; c < n; ++c) {
      all.mean[c] /= group.size();
      all.deviation[c] += all.count * (own[c] - all.mean[c]) * (own[c] - all.mean[c]);
    }
    group.sum(std::span(all.deviation, n));
    all.count *= group.size();
  }

  /// Channels that share statistics merge; then mean and 1 / sigma.
  static void finish(Context<Cpu>& ctx, const NormOp<S>& op, Sums all, Index channels, Acc* mean, Acc* rstd) {
    const Index width = op.width(channels);
    if (ProcessGroup* group = sharing(ctx, op)) share(*group, all, channels);
    for (Index first = 0; first < channels; first += width) {
      Sums group{all.count, all.mean + first, all.deviation + first};
      for (Index k = 1; k < width; ++k, group.count += all.count) group.merge(0, all.count, group.mean[k], group.deviation[k]);
      std::fill_n(mean + first, width, static_cast<Acc>(group.mean[0]));
      std::fill_n(rstd + first, width,
                  static_cast<Acc>(1 / std::sqrt(std::max(0.0, group.deviation[0]) / group.count + double{op.eps})));
    }
  }

  /// Of the sums of du and du * xhat per channel: the two means of dx, per `width` channels that share statistics.
  static void average(Index width, Index rows, std::span<const Acc> gamma, Acc* sums) {
    const Index channels = std::ssize(gamma);
    for (Index which = 0; which < 2; ++which)
      for (Index first = 0; first < channels; first += width) {
        double total = 0;
        for (Index c = first; c < first + width; ++c)
          total += double{gamma[static_cast<std::size_t>(c)]} * double{sums[which * channels + c]};
        std::fill_n(sums + (3 + which) * channels + first, width, static_cast<Acc>(total / static_cast<double>(rows * width)));
      }
  }

  static void add_parameter_gradients(const NormOp<S>& op, const Backward<S>& b, std::span<const Acc> mean, const Acc* rstd,
                                      const Acc* sums, Index rows) {
    const Index channels = std::ssize(mean);
    const auto add = [&](std::size_t k, auto gradient) {
      if (k < b.dw.size() && !b.dw[k].empty())
        for (Index c = 0; c < channels; ++c) b.dw[k][static_cast<std::size_t>(c)] += gradient(c);
    };
    if (op.affine) {
      add(0, [&](Index c) { return sums[channels + c]; });
      add(1, [&](Index c) { return sums[c]; });
    }
    if (op.kind == NormKind::batch && b.mode == Mode::train) {
      const auto &running_mean = b.w[op.running_at()], &running_variance = b.w[op.running_at() + 1];
      add(op.running_at(), [&](Index c) { return running_mean[c] - mean[static_cast<std::size_t>(c)]; });
      add(op.running_at() + 1, [&](Index c) {
        const Acc biased = 1 / (rstd[c] * rstd[c]) - Acc(op.eps);
        return running_variance[c] - biased * Acc(rows) / Acc(std::max<Index>(rows - 1, 1));
      });
    }
    if (op.activation.kind != ActivationKind::prelu || b.dw[op.slopes_at()].empty()) return;
    const auto dslope = b.dw[op.slopes_at()];
    for (Index c = 0; c < channels; ++c) dslope[dslope.size() > 1 ? static_cast<std::size_t>(c) : 0] += sums[2 * channels + c];
  }
};

}   // namespace ctseg
