// Sliding window: a volume of any size through windows of one size, blended where they overlap. It takes any callable.
#pragma once
#include "../image/volume.hpp"
#include "../nn/predictor.hpp"
#include "streaming.hpp"

namespace ctseg {

/// Weighted mean of predict's output over all windows that cover a voxel; stream_windows without the stream.
/// Shapes    image [1, Cin, D, H, W]; predict(In<S> [batch, Cin, window]) -> In<S> [batch, C, window]; result [1, C, D, H, W]
///           in float. In two dimensions image and result may be several slices, [slices, ...].
/// Numerics, Errors    of stream_windows.
template <AnySpec S, class Predict>
Tensor<float, S::kDim> sliding_window(Context<Cpu>& ctx, Predict&& predict, In<S> image,
                                      const std::type_identity_t<SlidingWindowOptions<S::kDim>>& o) {
  Tensor<float, S::kDim> all;
  const Index rows = image.shape.space[S::kDim - 2], columns = image.shape.space[S::kDim - 1];
  const auto keep = [&](const LogitBlock& b) {
    if (all.shape().c == 0) all = Tensor<float, S::kDim>(image.shape.with_channels(b.channels));
    parallel_for(ctx.executor(), b.size[0], [&](Index slice) {
      const Index z = b.first[0] + slice;
      for (Index y = b.first[1]; y < b.first[1] + b.size[1]; ++y)
        std::copy_n(b.row(z, y), b.size[2] * b.channels, all.data() + ((z * rows + y) * columns + b.first[2]) * b.channels);
    });
  };
  stream_windows<S>(ctx, predict, image, {.windows = o}, keep);
  return all;
}

/// Classes of the largest logits of some voxels, the lowest class of equals; of one channel: 1 where the logit is above 0.
struct LogitRow {
  const float* values;
  Index voxels, channels;
};
inline void argmax(const LogitRow& logits, std::uint8_t* labels) {
  for (Index v = 0; v < logits.voxels; ++v) {
    const float* row = logits.values + v * logits.channels;
    labels[v] =
        static_cast<std::uint8_t>(logits.channels == 1 ? row[0] > 0 : std::max_element(row, row + logits.channels) - row);
  }
}
template <int Dim> void argmax(const Tensor<float, Dim>& logits, std::uint8_t* labels) {
  argmax(LogitRow{logits.data(), logits.shape().voxels() * logits.shape().n, logits.shape().c}, labels);
}

/// A receiver of stream_windows that keeps labels, of all voxels in order z, y, x.
struct LabelSink {
  Context<Cpu>* ctx;
  std::uint8_t* labels;
  Index rows, columns;

  void operator()(const LogitBlock& b) const {
    parallel_for(ctx->executor(), b.size[0], [&](Index slice) {
      const Index z = b.first[0] + slice;
      for (Index y = b.first[1]; y < b.first[1] + b.size[1]; ++y)
        argmax({b.row(z, y), b.size[2], b.channels}, labels + (z * rows + y) * columns + b.first[2]);
    });
  }
};

/// Labels of a whole volume on its own grid, in bounded memory. A 2-D network sees the axial slices one by one.
template <class Net>
Volume<std::uint8_t> sliding_window_labels(Context<typename Net::Spec::Device>& ctx, const Net& net, const Volume<float>& image,
                                           const std::type_identity_t<SlidingWindowOptions<Net::Spec::kDim>>& o = {}) {
  using S = typename Net::Spec;
  static_assert(std::is_same_v<typename S::Device, Cpu>,
                "ctseg: a network on Cuda needs #include <ctseg/infer/cuda/sliding_window.hpp>");
  Predictor<Net> predict(ctx, net, Shape<S::kDim>{o.batch, 1, o.window.value});
  if (predict.output_shape().c > 256)
    throw Error(Code::unsupported, "sliding_window", text(predict.output_shape().c, " classes do not fit labels of uint8."));
  const auto space = image.tensor_shape().space;
  Shape<S::kDim> shape{S::kDim == 2 ? space[0] : 1, 1, {}};
  std::copy_n(space.end() - S::kDim, S::kDim, shape.space.begin());
  Volume<std::uint8_t> labels(image.grid());
  const auto source = array_source<S>(image.data(), shape, [](float v) { return typename S::T(v); });
  stream_windows<S>(ctx, predict, source, {.windows = o}, LabelSink{&ctx, labels.data(), space[1], space[2]});
  return labels;
}

}   // namespace ctseg
