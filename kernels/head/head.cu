// Starts the fused end of a segmentation network. See head.cuh.
#include "head.cuh"

#include "../conv/sums.cuh"
#include "ctseg/ops/cuda/head.hpp"

namespace ctseg::cuda {
namespace {

constexpr Index kMostParts = 528;   // blocks of all images together, or one each

struct Parts {
  Index each, count;   // of an image: voxels of a block, blocks
  explicit Parts(const Array& x) {
    const Index wanted = std::max<Index>(1, kMostParts / std::max<Index>(x.n, 1));
    each = std::max<Index>(((x.voxels() + wanted - 1) / wanted + 255) / 256 * 256, 1024);
    count = (x.voxels() + each - 1) / each;
  }
};

HeadOptions options_of(const SegmentationLossOptions& o, Index classes) {
  const auto weight = [](const std::vector<double>& all, std::size_t k) {
    return all.empty() ? 1 : all.size() == 1 ? all[0] : k < all.size() ? all[k] : 0;
  };
  HeadOptions out{o.overlap.weight,
                  o.voxel.weight,
                  o.overlap.ratio.numerator,
                  o.overlap.ratio.meet,
                  o.overlap.ratio.predicted,
                  o.overlap.ratio.labelled,
                  o.overlap.smooth_numerator,
                  o.overlap.smooth_denominator,
                  o.overlap.least_denominator,
                  {},
                  {},
                  classes > 1 && !o.overlap.include_background,
                  classes > 1 && !o.voxel.include_background,
                  o.ignore_label ? static_cast<int>(*o.ignore_label) : -1,
                  o.overlap.batch,
                  o.overlap.squared_pred,
                  o.overlap.negative,
                  o.voxel.weighted_mean};
  for (std::size_t k = 0; k < kMostHeadClasses; ++k) {
    out.class_weights[k] = weight(o.overlap.class_weights, k);
    out.positive[k] = static_cast<float>(weight(o.voxel.positive, k));
  }
  return out;
}

int padded_classes(Index classes) { return classes <= 2 ? 2 : classes <= 4 ? 4 : 8; }
template <class F> void with_classes(Index classes, F f) {
  if (classes <= 2) return f(std::integral_constant<int, 2>{});
  if (classes <= 4) return f(std::integral_constant<int, 4>{});
  f(std::integral_constant<int, 8>{});
}

template <class T, int K> HeadInput<T, K> input_of(const HeadLoss& h) {
  return {{h.x, {1, 1, 1}},
          h.labels.data,
          h.w,
          h.bias,
          static_cast<int>(h.classes),
          static_cast<int>(h.x.voxels()),
          h.labels.dtype == Dtype::u16};
}

void require_head(const SegmentationLossOptions& o, const HeadLoss& h) {
  if (!head_loss_supports(o, h.x.c, h.classes))
    throw Error(Code::unsupported, o.name,
                text("the fused head takes up to ", kMostHeadChannels, " channels and 2 to ", kMostHeadClasses,
                     " classes, softmax terms without focal exponent, label smoothing and volume weights; these are ", h.x.c,
                     " channels, ", h.classes, " classes. Hint: convolution and loss apart."));
}

}   // namespace

bool head_loss_supports(const SegmentationLossOptions& o, Index channels, Index classes) {
  const bool softmax = (o.overlap.weight == 0 || !o.overlap.sigmoid) && (o.voxel.weight == 0 || !o.voxel.sigmoid);
  return softmax && channels <= kMostHeadChannels && classes >= 2 && classes <= kMostHeadClasses && o.voxel.gamma == 0 &&
         o.voxel.label_smoothing == 0 && o.overlap.volume_weight == VolumeWeight::none;
}

HeadLossMemory head_loss_memory(const HeadLoss& h) {
  const Index parts = h.x.n * Parts(h.x).count, real = sizeof(float);
  return {(2 * h.x.n * h.classes + 1) * static_cast<Index>(sizeof(double)), parts * (3 * padded_classes(h.classes) + 3) * real,
          parts * (h.x.c + 1) * h.classes * real};
}

void head_loss_forward(Stream stream, const SegmentationLossOptions& options, const HeadLoss& h, const HeadLossForward& f) {
  require_head(options, h);
  const Parts parts(h.x);
  const HeadOptions o = options_of(options, h.classes);
  float* const partials = reinterpret_cast<float*>(f.scratch);
  with_classes(h.classes, [&](auto k) {
    constexpr int kClasses = decltype(k)::value;
    with_storage(h.x.dtype, [&](auto value) {
      using T = decltype(value);
      using Body = HeadSums<T, kClasses>;
      const auto in = input_of<T, kClasses>(h);
      launch(stream, {.blocks = parts.count, .rows = h.x.n, .shared_bytes = Body::bytes(in.padded())},
             Body{in, o, partials, parts.each});
    });
    using End = HeadLossEnd<kClasses>;
    launch(stream, {.blocks = 1, .shared_bytes = End::kBytes},
           End{o, partials, f.loss, f.saved, parts.count, static_cast<int>(h.x.n), static_cast<int>(h.classes)});
  });
}

void head_loss_backward(Stream stream, const SegmentationLossOptions& options, const HeadLoss& h, const HeadLossGradient& g) {
  require_head(options, h);
  const Parts parts(h.x);
  const Index blocks = h.x.n * parts.count, weights = h.x.c * h.classes;
  float* const weight_partials = reinterpret_cast<float*>(g.scratch);
  float* const bias_partials = weight_partials + blocks * weights;
  with_classes(h.classes, [&](auto k) {
    constexpr int kClasses = decltype(k)::value;
    with_storage(h.x.dtype, [&](auto value) {
      using T = decltype(value);
      const HeadGradient<T, kClasses> body{input_of<T, kClasses>(h),
                                           options_of(options, h.classes),
                                           g.seed,
                                           g.saved,
                                           {g.dx, {1, 1, 1}},
                                           g.dw ? weight_partials : nullptr,
                                           g.db ? bias_partials : nullptr,
                                           static_cast<int>(h.x.n),
                                           static_cast<int>(parts.each)};
      launch(stream, {.blocks = parts.count, .rows = h.x.n, .shared_bytes = body.bytes()}, body);
    });
  });
  if (g.dw) sum_partials(stream, {weight_partials, g.dw, weights, blocks});
  if (g.db) sum_partials(stream, {bias_partials, g.db, h.classes, blocks});
}

}   // namespace ctseg::cuda
