// Sliding windows as one would write them down: everything in memory, voxel by voxel. What streams must equal bit for bit.
#pragma once
#include <ctseg/core/random.hpp>
#include <ctseg/infer/streaming.hpp>

namespace ctseg::test {

using S3 = Spec<float, 3, Cpu>;
using S2 = Spec<float, 2, Cpu>;

template <int Dim> Tensor<float, Dim> noise(const Shape<Dim>& shape, std::uint64_t seed = 1) {
  Tensor<float, Dim> t(shape);
  RandomStream random({seed});
  for (Index i = 0; i < shape.elements(); ++i) t.data()[i] = static_cast<float>(random.normal());
  return t;
}

/// A network that knows its neighbours and where it is in the window: logit c of a voxel depends on both.
template <AnySpec S> struct Neighbours {
  Index channels = 3;
  Index calls = 0;
  Tensor<float, S::kDim> made{};

  In<S> operator()(In<S> x) {
    ++calls;
    made = Tensor<float, S::kDim>(x.shape.with_channels(channels));
    const Index voxels = x.shape.voxels();
    for (Index n = 0; n < x.shape.n; ++n)
      for (Index v = 0; v < voxels; ++v)
        for (Index c = 0; c < channels; ++c)
          made.view().at(n, v)[c] = x.at(n, v)[0] * static_cast<float>(c + 1) - 0.5f * x.at(n, (v + 1 + c) % voxels)[0] +
                                    0.01f * static_cast<float>(v % 7);
    return made.view();
  }
};

/// Logits of a whole image that is nowhere smaller than the window.
template <AnySpec S> Tensor<float, S::kDim> whole(In<S> image, const SlidingWindowOptions<S::kDim>& o, Index channels) {
  const detail::WindowGrid g = detail::make_window_grid(image.shape, o);
  Neighbours<S> net{channels};
  Tensor<float, S::kDim> sum(image.shape.with_channels(channels)), window(Shape<S::kDim>{1, image.shape.c, o.window.value});
  std::vector<float> total(static_cast<std::size_t>(image.rows()), 0.f);
  for (Index w = 0; w < g.windows(); ++w) {
    const auto start = g.start(w);
    const auto each = [&](auto f) {
      Index at = 0;
      for (Index z = 0; z < g.window[0]; ++z)
        for (Index y = 0; y < g.window[1]; ++y)
          for (Index x = 0; x < g.window[2]; ++x, ++at)
            f(((start[0] + z) * g.image[1] + start[1] + y) * g.image[2] + start[2] + x, at,
              std::max(g.profile[0][static_cast<std::size_t>(z)] * g.profile[1][static_cast<std::size_t>(y)] *
                           g.profile[2][static_cast<std::size_t>(x)],
                       g.least));
    };
    each([&](Index row, Index at, float) { std::copy_n(image.row(row), image.shape.c, window.view().row(at)); });
    const In<S> logits = net(window.view());
    each([&](Index row, Index at, float weight) {
      for (Index c = 0; c < channels; ++c) sum.view().row(row)[c] += weight * logits.row(at)[c];
      total[static_cast<std::size_t>(row)] += weight;
    });
  }
  for (Index r = 0; r < image.rows(); ++r)
    for (Index c = 0; c < channels; ++c) sum.view().row(r)[c] /= total[static_cast<std::size_t>(r)];
  return sum;
}

}   // namespace ctseg::test
