// A scan on the card: uploaded once, made what the network sees there, and kept until its labels are back.
#pragma once
#include <variant>
#include <vector>

#include "../../image/intensity.hpp"
#include "../../image/volume.hpp"
#include "../../ops/cuda/context.hpp"
#include "launchers.hpp"

namespace ctseg {

/// Steps of preprocessing that the card does, to the bit as the CPU; others (their numbers come from the whole scan) before.
using DeviceStep = std::variant<WindowHu, ScaleIntensityRange, CtNormalization>;

namespace cuda {

inline ValueStep value_step(const WindowHu& w) {
  check(w);
  return {.subtract = w.low, .scale = 1 / (w.high - w.low), .low = 0, .high = 1, .of_nan = 0};
}
inline ValueStep value_step(const ScaleIntensityRange& r) {
  if (r.a_min == r.a_max) return {.subtract = r.a_min, .add = r.b_min};
  ValueStep s{.subtract = r.a_min, .scale = (r.b_max - r.b_min) / (r.a_max - r.a_min), .add = r.b_min};
  if (r.clip) s.low = r.b_min, s.high = r.b_max;
  return s;
}
inline ValueStep value_step(const CtNormalization& n) {
  if (!(n.low <= n.high) || !(n.deviation >= 0))
    throw Error(Code::bad_argument, "normalize_ct",
                ctseg::text("low = ", n.low, ", high = ", n.high, ", deviation = ", n.deviation,
                            "; low must not be above high, the deviation not below 0."));
  return {.in_low = n.low, .in_high = n.high, .subtract = n.mean, .scale = 1 / std::max(n.deviation, 1e-8)};
}

}   // namespace cuda

/// The voxels of one or more channels on one grid as float in device memory, channels last; V is float or std::int16_t.
/// Cost      sizeof(V) bytes a voxel cross the bus, once; 4 a voxel and channel stay on the card.
/// Errors    shape_mismatch for channels on different grids; bad_argument for none, for more than four steps, or a step's own.
class DeviceScan {
 public:
  template <class V> DeviceScan(Context<Cuda>& ctx, const Volume<V>& scan, const std::vector<DeviceStep>& steps = {})
      : grid_(scan.grid()), channels_(1) {
    upload<V>(ctx, {&scan}, steps);
  }
  template <class V>
  DeviceScan(Context<Cuda>& ctx, const std::vector<Volume<V>>& channels, const std::vector<DeviceStep>& steps = {})
      : grid_(first_of(channels).grid()), channels_(std::ssize(channels)) {
    std::vector<const Volume<V>*> all;
    for (const Volume<V>& v : channels) all.push_back(&v);
    upload(ctx, all, steps);
  }

  const Grid& grid() const { return grid_; }
  Index channels() const { return channels_; }
  std::array<Index, 3> extents() const { return {grid_.shape.z, grid_.shape.y, grid_.shape.x}; }
  const float* values() const { return reinterpret_cast<const float*>(memory_.data()); }

 private:
  template <class V> static const Volume<V>& first_of(const std::vector<Volume<V>>& channels) {
    if (channels.empty()) throw Error(Code::bad_argument, "device_scan", "no channel; a scan has one or more.");
    return channels.front();
  }
  template <class V>
  void upload(Context<Cuda>& ctx, const std::vector<const Volume<V>*>& channels, const std::vector<DeviceStep>& steps) {
    static_assert(std::is_same_v<V, float> || std::is_same_v<V, std::int16_t>, "ctseg: a DeviceScan is made of float or int16");
    cuda::ScanJob job{.count = grid_.voxels(), .step = channels_};
    if (std::ssize(steps) > cuda::ValueSteps::kMost)
      throw Error(Code::bad_argument, "device_scan",
                  ctseg::text(steps.size(), " steps; at most ", cuda::ValueSteps::kMost, "."));
    for (const DeviceStep& step : steps)
      job.steps.at[job.steps.count++] = std::visit([](const auto& s) { return cuda::value_step(s); }, step);
    memory_ = ctx.allocate(grid_.voxels() * channels_ * Index{sizeof(float)});
    Memory<Cuda> raw = ctx.allocate(grid_.voxels() * Index{sizeof(V)});
    for (std::size_t c = 0; c < channels.size(); ++c) {
      if (!same_grid(grid_, channels[c]->grid()))
        throw Error(Code::shape_mismatch, "device_scan",
                    ctseg::text("channel ", c, " (", channels[c]->shape(), ") does not lie on the grid of channel 0 (",
                                grid_.shape, ")."));
      cuda::copy_to_device(ctx.stream(), raw.data(), channels[c]->data(), job.count * Index{sizeof(V)});
      job.from = raw.data(), job.to = reinterpret_cast<float*>(memory_.data()) + c;
      cuda::prepare_scan(ctx.stream(), job, dtype_of<V>());
    }
    cuda::synchronize(ctx.stream());   // `raw` goes
  }

  Grid grid_;
  Index channels_;
  Memory<Cuda> memory_;
};

}   // namespace ctseg
