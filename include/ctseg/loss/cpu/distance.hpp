// Distance losses on the CPU: fields lie channel after channel, as the distance transform makes them.
#pragma once
#include "../../image/distance.hpp"
#include "../../ops/cpu/loss_row.hpp"
#include "../distance.hpp"

namespace ctseg {

template <class T, int Dim> struct Kernel<DistanceLosses, Spec<T, Dim, Cpu>> {
  using S = Spec<T, Dim, Cpu>;
  using Acc = typename S::Acc;

  struct LossMemory {
    Index saved, scratch;
  };
  /// saved: the fields, and the slope of the logarithm. scratch: probabilities and labels of one image, a mask, partial sums.
  static LossMemory memory(const Shape<Dim>& x) {
    const Index values = x.c * x.voxels();
    return {bytes_of<Acc>(x.n * values) + bytes_of<double>(1), bytes_of<Acc>(values) + bytes_of<std::uint8_t>(values) +
                                                                   bytes_of<std::uint8_t>(x.voxels()) +
                                                                   cpu::partial_bytes<double>(x.voxels(), 1)};
  }

  static void forward(const DistanceLossOptions& o, const SegmentationLossOptions& terms, const Forward<S>& f) {
    const In<S> x = f.x();
    const Index classes = x.shape.c, voxels = x.shape.voxels(), first_class = skipped(o, classes);
    Bytes saved = f.saved, scratch = f.scratch;
    Acc* const fields = take<Acc>(saved, x.shape.n * classes * voxels);
    double& slope = *take<double>(saved, 1);
    Acc* const p = take<Acc>(scratch, classes * voxels);
    std::uint8_t* const q = take<std::uint8_t>(scratch, classes * voxels);
    std::uint8_t* const mask = take<std::uint8_t>(scratch, voxels);
    double* const partials = take<double>(scratch, cpu::RowBlocks(voxels).count);
    const cpu::Targets<Dim> targets(terms, f.inputs[1], classes);
    double sum = 0;
    for (Index n = 0; n < x.shape.n; ++n) {
      by_channels(f.ctx, {x, targets, n}, {o.common.sigmoid, p, q});
      for (Index c = first_class; c < classes; ++c) {
        Acc* const field = fields + (n * classes + c) * voxels;
        const Acc* const pc = p + c * voxels;
        const std::uint8_t* const qc = q + c * voxels;
        std::fill_n(field, voxels, Acc(0));
        add_field(f.ctx, o, {qc, x.shape, field});
        if (!o.boundary) {
          for (Index v = 0; v < voxels; ++v) mask[v] = pc[v] > Acc(0.5);
          add_field(f.ctx, o, {mask, x.shape, field});
        }
        cpu::sum_rows(f.ctx, voxels, 1, partials, &sum, [&](Index first, Index last, double* part) {
          for (Index v = first; v < last; ++v) {
            const double wrong = static_cast<double>(pc[v]) - qc[v];
            *part += static_cast<double>(field[v]) * (o.boundary ? static_cast<double>(pc[v]) : wrong * wrong);
          }
        });
      }
    }
    const double loss = sum / static_cast<double>(x.shape.n * (classes - first_class) * voxels);
    const bool logarithm = o.common.logarithm && !o.boundary;
    slope = logarithm ? 1 / (1 + loss) : 1;
    f.output.template as<Acc>().data[0] = static_cast<Acc>(logarithm ? std::log1p(loss) : loss);
  }

  static void backward(const DistanceLossOptions& o, const SegmentationLossOptions& terms, const Backward<S>& b) {
    const In<S> x = b.x();
    const Out<S> dx = b.dx();
    const Index classes = x.shape.c, voxels = x.shape.voxels(), first_class = skipped(o, classes);
    Bytes saved = b.saved;
    const Acc* const fields = take<Acc>(saved, x.shape.n * classes * voxels);
    const double scale = static_cast<double>(b.output_gradient.template as<const Acc>().data[0]) * *take<double>(saved, 1) /
                         static_cast<double>(x.shape.n * (classes - first_class) * voxels);
    const cpu::Targets<Dim> targets(terms, b.inputs[1], classes);
    const bool sigmoid = o.common.sigmoid || classes == 1;
    cpu::for_rows(b.ctx, x.rows(), [&](Index first, Index last) {
      double p[kMostClasses], g[kMostClasses];
      cpu::VoxelLabels q;
      for (Index r = first; r < last; ++r) {
        cpu::probabilities(x.row(r), classes, sigmoid, p);
        targets.read(r, q);
        double mean = 0;
        for (Index c = 0; c < classes; ++c) {
          const Index image = r / voxels, place = (image * classes + c) * voxels + r % voxels;
          g[c] = c < first_class ? 0 : scale * static_cast<double>(fields[place]) * (o.boundary ? 1 : 2 * (p[c] - q(c)));
          mean += p[c] * g[c];
        }
        for (Index c = 0; c < classes; ++c)
          dx.row(r)[c] = T(static_cast<Acc>(p[c] * (sigmoid ? (1 - p[c]) * g[c] : g[c] - mean)));
      }
    });
  }

 private:
  static Index skipped(const DistanceLossOptions& o, Index classes) {
    return classes > 1 && !o.common.include_background ? 1 : 0;
  }

  struct Image {
    In<S> x;
    const cpu::Targets<Dim>& targets;
    Index n;
  };
  struct Planes {
    bool sigmoid;
    Acc* p;
    std::uint8_t* q;
  };
  static void by_channels(Context<Cpu>& ctx, const Image& image, const Planes& to) {
    const Index classes = image.x.shape.c, voxels = image.x.shape.voxels();
    cpu::for_rows(ctx, voxels, [&](Index first, Index last) {
      double p[kMostClasses];
      cpu::VoxelLabels q;
      for (Index v = first; v < last; ++v) {
        cpu::probabilities(image.x.at(image.n, v), classes, to.sigmoid || classes == 1, p);
        image.targets.read(image.n * voxels + v, q);
        for (Index c = 0; c < classes; ++c) {
          to.p[c * voxels + v] = static_cast<Acc>(p[c]);
          to.q[c * voxels + v] = static_cast<std::uint8_t>(q(c));
        }
      }
    });
  }

  struct Field {
    const std::uint8_t* mask;
    const Shape<Dim>& shape;
    Acc* field;
  };
  /// Nothing where the mask is empty or full: there is no boundary to be far from.
  static void add_field(Context<Cpu>& ctx, const DistanceLossOptions& o, const Field& f) {
    const Index voxels = f.shape.voxels();
    if (std::find(f.mask, f.mask + voxels, std::uint8_t{0}) == f.mask + voxels ||
        std::find(f.mask, f.mask + voxels, std::uint8_t{1}) == f.mask + voxels)
      return;
    const auto& e = f.shape.space;
    const Xyz<Index> extents{e[Dim - 1], e[Dim - 2], Dim == 3 ? e[0] : 1};
    const std::vector<float> distance =
        signed_distance(f.mask, extents, {.spacing_mm = o.common.spacing_mm, .executor = &ctx.executor()});
    for (Index v = 0; v < voxels; ++v) {
      const double d = static_cast<double>(distance[static_cast<std::size_t>(v)]);
      f.field[v] += static_cast<Acc>(o.boundary ? (d < 0 ? d + 1 : d) : cpu::power(std::abs(d), o.common.alpha));
    }
  }
};

}   // namespace ctseg
