// The seam between convolutions and the library that computes them: three passes over a window, on packed values.
// kernels/cudnn runs them on a card, kernels/emulated on the host; nothing else knows which.
#pragma once
#include <vector>

#include "ctseg/ops/cuda/conv_plans.hpp"
#include "ctseg/ops/cuda/runtime.hpp"
#include "ctseg/ops/window.hpp"

namespace ctseg::cuda {

/// forward writes the output side, data (its gradient, and a transposed convolution) the input side, filter the filter, which
/// is [output channels, taps, input channels].
struct ConvPass {
  enum Kind { forward, data, filter };
  Kind kind = forward;
  ConvWindow window{};
  Index images = 1, input_channels = 1, output_channels = 1;
  Dtype dtype = Dtype::f32;
  bool tf32 = false, deterministic = true;
  Index workspace = 0;   // at most, in bytes

  bool operator==(const ConvPass&) const = default;
};
struct PassBuffers {
  void *input = nullptr, *filter = nullptr, *output = nullptr, *workspace = nullptr;
};

class ConvPlans {
 public:
  ConvPlans() = default;
  ConvPlans(const ConvPlans&) = delete;
  virtual ~ConvPlans();

  /// Errors    unsupported where the library has no way that keeps the limits.
  virtual void run(Stream, const ConvPass&, const PassBuffers&) = 0;

  /// Device memory that stays where it is while this object lives, for packed copies that no plan could foresee: whether a
  /// value has a pitch is known when it runs. In stream order: the next call gets the same.
  std::byte* staging(Index bytes);

 private:
  std::vector<void*> staging_;   // each at least twice the one before; older ones may be part of a recording
  Index staging_bytes_ = 0;
};

}   // namespace ctseg::cuda
