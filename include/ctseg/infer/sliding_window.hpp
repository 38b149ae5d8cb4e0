// Sliding window: a volume of any size through windows of one size, blended where they overlap. It takes any callable.
#pragma once
#include <cmath>

#include "../core/context.hpp"
#include "../core/finite.hpp"
#include "../core/tensor.hpp"
#include "../image/volume.hpp"
#include "../nn/predictor.hpp"
#include "../ops/axes.hpp"

namespace ctseg {

enum class Blend { gaussian, constant };

template <int Dim> struct SlidingWindowOptions {
  Axes<Dim> window = 96;
  double overlap = 0.5;   // fraction of the window that neighbours share
  Blend blend = Blend::gaussian;
  float outside = 0;   // image value around a volume that is smaller than the window
};

/// First voxels of the windows along one axis: every step, the last one moved back to end with the volume.
/// Source    MONAI dense_patch_slices: step = int(window * (1 - overlap)), at least 1.
inline std::vector<Index> window_starts(Index extent, Index window, double overlap) {
  if (extent <= window) return {0};
  const Index step = std::max<Index>(1, static_cast<Index>(static_cast<double>(window) * (1 - overlap)));
  std::vector<Index> starts;
  for (Index s = 0; s + window < extent; s += step) starts.push_back(s);
  starts.push_back(extent - window);
  return starts;
}

/// Weight of every voxel along one axis: a Gaussian of sigma window / 8 around the middle.
inline std::vector<float> blend_profile(Index window, Blend blend) {
  std::vector<float> w(static_cast<std::size_t>(window), 1.f);
  const double sigma = 0.125 * static_cast<double>(window), middle = static_cast<double>(window - 1) / 2;
  for (std::size_t i = 0; blend == Blend::gaussian && i < w.size(); ++i) {
    const double d = (static_cast<double>(i) - middle) / sigma;
    w[i] = static_cast<float>(std::exp(-0.5 * d * d));
  }
  return w;
}

namespace detail {

/// Where the voxels of one window are, and what they weigh: shared by cutting out and adding back.
template <int Dim> struct WindowGrid {
  std::array<Index, 3> image{1, 1, 1}, window{1, 1, 1};
  std::array<std::vector<Index>, 3> starts{{{0}, {0}, {0}}};
  std::array<std::vector<float>, 3> weights{{{1.f}, {1.f}, {1.f}}};

  WindowGrid(const std::array<Index, Dim>& space, const SlidingWindowOptions<Dim>& o) {
    if (!is_finite(o.overlap) || o.overlap < 0 || o.overlap >= 1)
      throw Error(Code::bad_argument, "sliding_window", text("overlap = ", o.overlap, "; must be at least 0 and below 1."));
    for (std::size_t d = 0; d < Dim; ++d) {
      const std::size_t a = d + 3 - Dim;
      if (o.window.value[d] < 1)
        throw Error(Code::bad_argument, "sliding_window", text("window ", o.window, "; must be 1 or more."));
      image[a] = space[d];
      window[a] = o.window.value[d];
      starts[a] = window_starts(image[a], window[a], o.overlap);
      if (image[a] < window[a]) starts[a] = {-((window[a] - image[a]) / 2)};   // a small volume sits in the middle
      weights[a] = blend_profile(window[a], o.blend);
    }
  }
  /// f(row of the image, row of the window, weight) for the voxels of window slices [first, last) that are inside the image.
  template <class F> void each(const std::array<Index, 3>& start, Index first, Index last, F f) const {
    for (Index z = first; z < last; ++z)
      for (Index y = 0; y < window[1]; ++y)
        for (Index x = 0; x < window[2]; ++x) {
          const std::array<Index, 3> at = {start[0] + z, start[1] + y, start[2] + x};
          if (at[0] < 0 || at[0] >= image[0] || at[1] < 0 || at[1] >= image[1] || at[2] < 0 || at[2] >= image[2]) continue;
          const float w = weights[0][static_cast<std::size_t>(z)] * weights[1][static_cast<std::size_t>(y)] *
                          weights[2][static_cast<std::size_t>(x)];
          f((at[0] * image[1] + at[1]) * image[2] + at[2], (z * window[1] + y) * window[2] + x, std::max(w, 1e-3f));
        }
  }
};

}   // namespace detail

/// Weighted mean of predict's output over all windows that cover a voxel.
/// Shapes    image [1, Cin, D, H, W]; predict(In<S> [1, Cin, window]) -> In<S> [1, C, window]; result [1, C, D, H, W] in float
/// Numerics  sums in float, windows in a fixed order: the same bits for any number of threads.
/// Errors    bad_argument for an overlap outside [0, 1) or a window below 1; shape_mismatch for several images at once, or if
///           predict does not keep the window's size; cancelled between windows.
template <AnySpec S, class Predict>
Tensor<float, S::kDim> sliding_window(Context<Cpu>& ctx, Predict&& predict, In<S> image,
                                      const std::type_identity_t<SlidingWindowOptions<S::kDim>>& o) {
  using T = typename S::T;
  if (image.shape.n != 1)
    throw Error(Code::shape_mismatch, "sliding_window", text("image is ", image.shape, "; one image at a time."));
  const detail::WindowGrid<S::kDim> grid(image.shape.space, o);
  Tensor<T, S::kDim> window(Shape<S::kDim>{1, image.shape.c, o.window.value});
  Tensor<float, S::kDim> sum;
  std::vector<float> total(static_cast<std::size_t>(image.shape.voxels()), 0.f);
  for (Index z : grid.starts[0])
    for (Index y : grid.starts[1])
      for (Index x : grid.starts[2]) {
        ctx.check_cancelled("sliding_window");
        std::fill_n(window.data(), window.shape().elements(), T(o.outside));
        parallel_for(ctx.executor(), grid.window[0], [&](Index slice) {
          grid.each({z, y, x}, slice, slice + 1, [&](Index row, Index at, float) {
            std::copy_n(image.row(row), image.shape.c, window.data() + at * image.shape.c);
          });
        });
        const In<S> logits = predict(In<S>(window.view()));
        if (logits.shape.n != 1 || logits.shape.space != o.window.value ||
            (sum.shape().c > 0 && logits.shape.c != sum.shape().c))
          throw Error(Code::shape_mismatch, "sliding_window",
                      text("predict made ", logits.shape, " of a window ", o.window,
                           "; it must keep the size and the number of channels."));
        if (sum.shape().c == 0) sum = Tensor<float, S::kDim>(image.shape.with_channels(logits.shape.c));
        parallel_for(ctx.executor(), grid.window[0], [&](Index slice) {
          grid.each({z, y, x}, slice, slice + 1, [&](Index row, Index at, float w) {
            float* to = sum.data() + row * logits.shape.c;
            for (Index c = 0; c < logits.shape.c; ++c) to[c] += w * static_cast<float>(logits.row(at)[c]);
            total[static_cast<std::size_t>(row)] += w;
          });
        });
      }
  const Index channels = sum.shape().c;
  parallel_blocks(ctx.executor(), std::ssize(total), 65536, [&](Index first, Index last) {
    for (Index r = first; r < last; ++r)
      for (Index c = 0; c < channels; ++c) sum.data()[r * channels + c] /= total[static_cast<std::size_t>(r)];
  });
  return sum;
}

/// Class of the largest logit of every voxel, the lowest class of equals; of one channel: 1 where the logit is above 0.
template <int Dim> void argmax(const Tensor<float, Dim>& logits, std::uint8_t* labels) {
  const Index classes = logits.shape().c;
  for (Index r = 0; r < logits.shape().voxels(); ++r) {
    const float* row = logits.data() + r * classes;
    labels[r] = static_cast<std::uint8_t>(classes == 1 ? row[0] > 0 : std::max_element(row, row + classes) - row);
  }
}

/// Labels of a whole volume on its own grid. A 2-D network sees the axial slices one by one.
template <class Net>
Volume<std::uint8_t> sliding_window_labels(Context<typename Net::Spec::Device>& ctx, const Net& net, const Volume<float>& image,
                                           const std::type_identity_t<SlidingWindowOptions<Net::Spec::kDim>>& o = {}) {
  using S = typename Net::Spec;
  using T = typename S::T;
  Predictor<Net> predict(ctx, net, Shape<S::kDim>{1, 1, o.window.value});
  if (predict.output_shape().c > 256)
    throw Error(Code::unsupported, "sliding_window", text(predict.output_shape().c, " classes do not fit labels of uint8."));
  Volume<std::uint8_t> labels(image.grid());
  const auto slices = image.tensor_shape().space[0];
  Shape<S::kDim> shape{1, 1, {}};
  std::copy_n(image.tensor_shape().space.end() - S::kDim, S::kDim, shape.space.begin());
  for (Index k = 0; k < (S::kDim == 3 ? 1 : slices); ++k) {
    Tensor<T, S::kDim> piece(shape);
    const Index first = k * shape.voxels();
    std::transform(image.data() + first, image.data() + first + shape.voxels(), piece.data(), [](float v) { return T(v); });
    argmax(sliding_window<S>(ctx, predict, In<S>(piece.view()), o), labels.data() + first);
  }
  return labels;
}

}   // namespace ctseg
