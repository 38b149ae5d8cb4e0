// Starts GatherGradient and the sums behind it: gradients of weights and biases for convolutions of any window. See gather.cuh.
#include "gather.cuh"
#include "layout.hpp"
#include "sums.cuh"

#include "ctseg/ops/cuda/conv_own.hpp"

namespace ctseg::cuda {
namespace {

constexpr Index kFullCard = 528, kLeastPlaces = 1024, kMostPartials = Index{16} << 20;   // floats: 64 MB

/// How the places are split; by shapes alone.
struct Splits {
  Index places_each, count;
  explicit Splits(const ConvProblem& p) {
    const ConvWindow& w = p.window;
    const Index places = p.images * w.output[0] * w.output[1] * w.output[2], values = w.taps() * p.in_channels * p.out_channels;
    const Index blocks = w.taps() * ((p.in_channels + 31) / 32) * ((p.out_channels + 31) / 32);
    const Index most = std::max<Index>(1, std::min(places / kLeastPlaces, kMostPartials / values));
    const Index wanted = std::clamp<Index>((kFullCard + blocks - 1) / blocks, 1, most);
    places_each = ((places + wanted - 1) / wanted + 63) / 64 * 64;
    count = (places + places_each - 1) / places_each;
  }
};

Array dy_rows(const ConvProblem& p) {
  Array a;
  a.n = p.images, a.c = p.out_channels;
  a.space = p.y_side == Side::output ? p.window.output : p.window.input;
  return a;
}

template <class P, int Columns, bool Swapped> void start(Stream stream, const OwnConv& c, float* partials) {
  using Body = GatherGradient<P, Columns, Swapped>;
  const ConvProblem& p = c.problem;
  const Splits splits(p);
  const Relation relation = relate(p.window, Side::output);
  const std::array<Index, 3> still{1, 1, 1};
  const Index tiles = (p.in_channels + 31) / 32 * ((p.out_channels + Columns - 1) / Columns);
  launch(stream, {.blocks = p.window.taps() * tiles, .rows = splits.count, .shared_bytes = Body::kBytes},
         Body{{c.x, Swapped ? still : p.window.stride},
              {c.y, Swapped ? p.window.stride : still},
              partials,
              Sites(p.images, relation.grid),
              splits.places_each,
              relation});
}

}   // namespace

Index gather_gradient_scratch(const ConvProblem& p) {
  const Index values = p.window.taps() * p.in_channels * p.out_channels;
  return std::max(Splits(p).count * values * static_cast<Index>(sizeof(float)),
                  channel_sum_bytes(dy_rows(p).rows(), p.out_channels));
}

void gather_weight_gradient(Stream stream, const OwnConv& c, const OwnConvGradient& g) {
  const ConvProblem& p = c.problem;
  require_gather(p);
  if (g.dw) {
    float* const partials = reinterpret_cast<float*>(g.scratch);
    with_product(c.x.dtype, c.tf32, [&](auto product) {
      using P = decltype(product);
      const bool narrow = p.out_channels <= 8;
      if (p.y_side == Side::output)
        narrow ? start<P, 8, false>(stream, c, partials) : start<P, 32, false>(stream, c, partials);
      else
        narrow ? start<P, 8, true>(stream, c, partials) : start<P, 32, true>(stream, c, partials);
    });
    sum_partials(stream, {partials, g.dw, p.window.taps() * p.in_channels * p.out_channels, Splits(p).count});
  }
  if (g.db) add_channel_sums(stream, c.y, g.db, g.scratch);   // after the sums above, in stream order
}

}   // namespace ctseg::cuda
