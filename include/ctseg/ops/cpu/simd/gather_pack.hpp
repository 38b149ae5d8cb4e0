// Weights in the order in which gather reads them (gather.hpp).
#pragma once
#include "scatter.hpp"

namespace ctseg::simd {

/// Bytes that gather_pack fills: all taps, with the result channels rounded up to whole vectors.
inline Index gather_packed_bytes(const ConvPlan& plan) {
  if (scatters(plan)) return scatter_packed_bytes(plan);
  const Index lanes = tiles(plan.isa, plan.to).lanes;
  return plan.window.taps() * plan.from * ceil_div(plan.to, lanes) * lanes * Index{sizeof(float)};
}

/// Weights into the order in which gather reads them: [phase][block of result channels][tap][from][channel in block],
/// with zeros in the channels that do not exist; a second vector begins so early that all of its channels do.
inline void gather_pack(Executor& executor, const ConvPlan& plan, const PackBuffers& b) {
  if (scatters(plan)) return scatter_pack(executor, plan, b);
  const Index from = plan.from, to = plan.to, block = tiles(plan.isa, to).block(), lanes = block / 2;
  const Index tap_from = b.flipped ? 1 : to, tap_to = b.flipped ? from : 1, padded = ceil_div(to, lanes) * lanes;
  float* packed = b.packed;
  for (Index p = 0; p < phases(plan); ++p) {
    const Phase ph = phase(plan, p);
    parallel_for(executor, ph.taps(), [&](Index t) {
      const Index z = ph.z.tap(t / ph.x.taps / ph.y.taps), y = ph.y.tap(t / ph.x.taps % ph.y.taps), x = ph.x.tap(t % ph.x.taps);
      const float* w = b.w + ((z * plan.window.kernel[1] + y) * plan.window.kernel[2] + x) * from * to;
      for (Index first = 0; first < to; first += block) {
        const Index real = std::min(block, to - first), width = ceil_div(real, lanes) * lanes;
        const Index full = std::min(real, lanes), second = first - (width > lanes ? width - real : 0);
        float* out = packed + (ph.taps() * first + t * width) * from;
        for (Index i = 0; i < from; ++i, out += width) {
          for (Index c = 0; c < full; ++c) out[c] = w[i * tap_from + (first + c) * tap_to];
          std::fill(out + full, out + lanes, 0.0f);
          for (Index c = lanes; c < width; ++c) out[c] = w[i * tap_from + (second + c) * tap_to];
        }
      }
    });
    packed += ph.taps() * from * padded;
  }
}

}   // namespace ctseg::simd
