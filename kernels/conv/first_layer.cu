// Starts FirstLayer and FirstLayerGradient: convolutions of 1 to 4 input channels. See first_layer.cuh.
#include "first_layer.cuh"
#include "layout.hpp"
#include "sums.cuh"

#include "ctseg/ops/cuda/conv_own.hpp"

namespace ctseg::cuda {
namespace {

constexpr Index kMostBlocksOfGradient = 528;

Index tiles_per_block(const FirstLayerTiles& t) { return (t.count + kMostBlocksOfGradient - 1) / kMostBlocksOfGradient; }

FirstLayerInput input_of(const OwnConv& c, const HuWindow& hu) {
  return {{c.x, {1, 1, 1}}, hu.low, hu.high, c.x.dtype == Dtype::i16};
}
/// Whatever the card: one that has too little shared memory for it refuses the launch.
bool is_first_layer(const ConvProblem& p) {
  const ConvWindow& w = p.window;
  if (p.y_side != Side::output || p.in_channels > 4) return false;
  for (std::size_t d = 0; d < 3; ++d)
    if (w.kernel[d] > 5 || w.stride[d] > 2 || w.dilation[d] != 1) return false;
  return p.images * w.output[0] * w.output[1] * w.output[2] < Index{1} << 31;
}

}   // namespace

bool first_layer_supports(const ConvProblem& p, int shared_bytes) {
  if (!is_first_layer(p)) return false;
  const FirstLayerTiles tiles(p.window, p.images, p.in_channels);
  return FirstLayer<WarpProduct<float>>{tiles, {}, {}, nullptr, nullptr}.bytes() <= shared_bytes &&
         FirstLayerGradient<WarpProduct<float>>{tiles, {}, {}, nullptr, 1}.bytes() <= shared_bytes;
}

namespace {
void require_first_layer(const OwnConv& c) {
  if (!is_first_layer(c.problem))
    throw Error(
        Code::unsupported, "first layer",
        text(c.problem.in_channels, " channels, ", c.problem.window.taps(), " taps",
             "; 1 to 4 channels, up to 5 taps an axis, stride 1 or 2, no dilation. Hint: leave the choice to the layer."));
}
}   // namespace

void first_layer_forward(Stream stream, const OwnConv& c, const HuWindow& hu) {
  require_first_layer(c);
  const FirstLayerTiles tiles(c.problem.window, c.problem.images, c.problem.in_channels);
  with_product(c.y.dtype, false, [&](auto product) {
    const FirstLayer<decltype(product)> body{tiles, input_of(c, hu), {c.y, {1, 1, 1}}, c.w, c.bias};
    launch(stream, {.blocks = tiles.count, .shared_bytes = body.bytes()}, body);
  });
}

Index first_layer_gradient_scratch(const ConvProblem& p) {
  const FirstLayerTiles tiles(p.window, p.images, p.in_channels);
  const Index each = tiles_per_block(tiles), blocks = (tiles.count + each - 1) / std::max<Index>(each, 1);
  const Index rows = p.images * p.window.output[0] * p.window.output[1] * p.window.output[2];
  return std::max(blocks * tiles.depth * p.out_channels * static_cast<Index>(sizeof(float)),
                  channel_sum_bytes(rows, p.out_channels));
}

void first_layer_weight_gradient(Stream stream, const OwnConv& c, const OwnConvGradient& g, const HuWindow& hu) {
  require_first_layer(c);
  const FirstLayerTiles tiles(c.problem.window, c.problem.images, c.problem.in_channels);
  const Index each = tiles_per_block(tiles), blocks = (tiles.count + each - 1) / std::max<Index>(each, 1);
  if (g.dw) {
    float* const partials = reinterpret_cast<float*>(g.scratch);
    with_product(c.y.dtype, false, [&](auto product) {
      const FirstLayerGradient<decltype(product)> body{tiles, input_of(c, hu), {c.y, {1, 1, 1}}, partials, each};
      const Index pieces = (tiles.depth + 31) / 32 * ((c.y.c + 31) / 32);
      launch(stream, {.blocks = blocks, .rows = pieces, .shared_bytes = body.bytes()}, body);
    });
    sum_partials(stream, {partials, g.dw, tiles.depth * c.y.c, blocks});
  }
  if (g.db) add_channel_sums(stream, c.y, g.db, g.scratch);
}

}   // namespace ctseg::cuda
