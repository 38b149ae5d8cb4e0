// Winograd's minimal filtering in one dimension: what the passes of winograd.hpp are made of.
//
// Worked by hand for two results of a kernel of three, F(2, 3). Four inputs d0..d3 and the taps g0, g1, g2 give
//   y0 = d0 g0 + d1 g1 + d2 g2
//   y1 = d1 g0 + d2 g1 + d3 g2        six multiplications. The same two numbers from four:
//   m0 = (d0 - d2) g0      m1 = (d1 + d2)(g0 + g1 + g2) / 2      m2 = (d2 - d1)(g0 - g1 + g2) / 2      m3 = (d1 - d3) g2
//   y0 = m0 + m1 + m2      y1 = m1 - m2 - m3
// The bracket with d is the input transform, the one with g is made once per weight change, the last line is the output
// transform. Behind it is a product of polynomials, taken at the points 0, 1, -1 and infinity and put together again.
// In three dimensions the transforms are nested, one axis after the other: F(2, 3) needs 4^3 = 64 multiplications for 8 results
// instead of 8 * 27 = 216, F(4, 3) with the points 0, 1, -1, 2, -2 and infinity 216 for 64 results instead of 1728: an eighth.
// The price is rounding: the larger points of F(4, 3) cost one to two digits, F(2, 3) is as exact as the direct sum.
// Two more points, 1/2 and -1/2, make F(4, 5) and F(6, 3), which share their input transform as F(4, 3) and F(2, 5) do.
#pragma once
#include <array>
#include <string>

#include "tiles.hpp"

namespace ctseg::simd {

/// How one axis is cut into tiles. F(m, k) of a kernel of k makes m results from m + k - 1 inputs; `whole` is an axis with one
/// tap. A kernel of three with stride 2 falls into phases: results of f2s2 and f4s2 meet odd voxels with two taps, by F(m, 2),
/// and even ones with one tap, as they are.
enum class Tiling : unsigned char { whole, f2k3, f4k3, f2k5, f4k5, f6k3, f2s2, f4s2 };
inline constexpr int kTilings = 8, kTilingsOfStride1 = 6;
struct TilingFacts {
  Index results, inputs, taps;   // of a tile
  Index weights;                 // of its products, one an input, as many differ; from the last of these on, they are the same
};
inline constexpr TilingFacts kTilingFacts[kTilings] = {{1, 1, 1, 1}, {2, 4, 3, 4}, {4, 6, 3, 6}, {2, 6, 5, 6},
                                                       {4, 8, 5, 8}, {6, 8, 3, 8}, {2, 5, 3, 4}, {4, 9, 3, 6}};
constexpr const TilingFacts& facts_of(Tiling t) { return kTilingFacts[static_cast<int>(t)]; }
constexpr Index results_of(Tiling t) { return facts_of(t).results; }
constexpr Index taps_of(Tiling t) { return facts_of(t).taps; }
constexpr Index inputs_of(Tiling t) { return facts_of(t).inputs; }
constexpr Index stride_of(Tiling t) { return t < Tiling::f2s2 ? 1 : 2; }
/// "F(4,3)"; "F(4,3)F(4,3)F(2,3)" where the axes differ; an axis with one tap has no name.
inline std::string text(const std::array<Tiling, 3>& tiling) {
  constexpr const char* names[] = {"", "F(2,3)", "F(4,3)", "F(2,5)", "F(4,5)", "F(6,3)", "F(2,2)", "F(4,2)"};
  std::string all, last;
  bool equal = true;
  for (const Tiling t : tiling) {
    const std::string name = names[static_cast<std::size_t>(t)];
    equal = equal && (name.empty() || last.empty() || name == last);
    if (!name.empty()) last = name;
    all += name;
  }
  return equal ? last : all;
}

inline constexpr Index kMostInputs = 9, kMostResults = 6;   // along one axis

/// Lines of vectors transformed along one axis. Steps count floats; a value of a line is one vector of channels.
struct TransformPass {
  struct Walk {   // between the values of a line, between lines, planes of lines, sheets of planes
    Index value, line, plane, sheet = 0;
  };
  const float* from;
  Walk step;
  float* to;
  Walk to_step;
  Index lines, planes, sheets = 1;
  Index results = 0;             // output transforms store that many of a line
  const float* bias = nullptr;   // output transforms: a vector to add, or none
};
using Transform = void (*)(const TransformPass&);

/// The passes of one instruction set, by Tiling; the last two are transposes, for the weight gradient.
struct TransformTable {
  Transform input[kTilings], weights[kTilings], output[kTilings];
  Transform output_adjoint[kTilingsOfStride1], weight_adjoint[kTilingsOfStride1];
};

}   // namespace ctseg::simd
