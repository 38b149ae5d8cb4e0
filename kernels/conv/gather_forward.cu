// Starts GatherProduct: convolutions of any window, their data gradients, transposed convolutions. See gather.cuh.
#include "gather.cuh"

#include "ctseg/ops/cuda/conv_own.hpp"

namespace ctseg::cuda {
namespace {

constexpr Index kFullCard = 264;   // blocks; with fewer places the classes and channels of one are shared by several blocks

struct Product {
  const ConvWindow& window;
  Side written;   // of the window
  Index images;
  Array from, to;
  const float *w, *bias;
  bool tf32;
};

template <class P, int Columns, bool Flipped> void start(Stream stream, const Product& p) {
  using Body = GatherProduct<P, Columns, Flipped>;
  const Relation relation = relate(p.window, p.written);
  const Sites places(p.images, relation.grid);
  const Index blocks = (places.count + Body::kRows - 1) / Body::kRows;
  const Index tiles = (p.to.c + Columns - 1) / Columns * relation.class_count;
  const Index wanted = std::clamp<Index>((kFullCard + blocks - 1) / std::max<Index>(blocks, 1), 1, tiles);
  const Index each = (tiles + wanted - 1) / wanted;
  launch(stream, {.blocks = blocks, .rows = (tiles + each - 1) / each, .shared_bytes = Body::kBytes},
         Body{{p.from, relation.read_step}, {p.to, relation.write_step}, p.w, p.bias, places, each, relation});
}

template <bool Flipped> void choose(Stream stream, const Product& p) {
  with_product(p.from.dtype, p.tf32, [&](auto product) {
    if (p.to.c <= 8)
      start<decltype(product), 8, Flipped>(stream, p);
    else
      start<decltype(product), 32, Flipped>(stream, p);
  });
}

}   // namespace

bool gather_supports(const ConvProblem& p) {
  const ConvWindow& w = p.window;
  const Index most = Index{1} << 31;
  return w.taps() <= kMostTaps && w.stride[0] * w.stride[1] * w.stride[2] <= kMostTapClasses &&
         p.images * w.input[0] * w.input[1] * w.input[2] < most && p.images * w.output[0] * w.output[1] * w.output[2] < most;
}

void require_gather(const ConvProblem& p) {
  if (!gather_supports(p))
    throw Error(Code::unsupported, "gathered product",
                text("a window of ", p.window.taps(), " taps, strides ", p.window.stride[0], "x", p.window.stride[1], "x",
                     p.window.stride[2], "; at most ", kMostTaps, " taps, strides of a product of ", kMostTapClasses,
                     ", 2^31 voxels. Hint: leave the choice to the layer."));
}

void gather_forward(Stream stream, const OwnConv& c) {
  require_gather(c.problem);
  const ConvProblem& p = c.problem;
  choose<false>(stream, {p.window, p.y_side, p.images, c.x, c.y, c.w, c.bias, c.tf32});
}

void gather_data_gradient(Stream stream, const OwnConv& c) {
  require_gather(c.problem);
  const ConvProblem& p = c.problem;
  choose<true>(stream, {p.window, other(p.y_side), p.images, c.y, c.x, c.w, nullptr, c.tf32});
}

OwnEngine own_engine(const ConvProblem& p, int shared_bytes) {
  const ConvWindow& w = p.window;
  const std::array<Index, 3> still{1, 1, 1};
  if (w.taps() > 1 && first_layer_supports(p, shared_bytes)) return OwnEngine::first_layer;
  if (!gather_supports(p)) return OwnEngine::none;
  const bool doubles = p.y_side == Side::input && w.stride != still && w.taps() <= 27;
  const bool head = w.kernel == still && w.stride == still && p.in_channels <= 64 && p.out_channels <= 128;
  return doubles || head ? OwnEngine::gather : OwnEngine::none;
}

}   // namespace ctseg::cuda
