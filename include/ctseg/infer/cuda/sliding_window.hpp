// Sliding window on the card: the scan goes up once, labels come back, and nothing else crosses the bus.
#pragma once
#include "../sliding_window.hpp"
#include "receivers.hpp"

namespace ctseg {

/// Labels of a scan on the card, on its own grid. predict takes windows on the card, In<S> [batch, Cin, window], and leaves logits
/// there; a Predictor's input is filled in place. Label is std::uint8_t, or std::uint16_t above 255.
/// Numerics  windows, weights, sums and decisions are those of the CPU, in the same order: of equal logits the same labels, bit
///           for bit, for any batch.
/// Cost      sums of as many slices as a window is thick, 4 bytes a voxel and channel; StreamOptions::max_memory refuses more.
/// Errors    of stream_windows; unsupported for labels that do not fit Label.
template <AnySpec S, class Label = std::uint8_t, class Predict>
Volume<Label> stream_labels(Context<Cuda>& ctx, Predict&& predict, const DeviceScan& scan,
                            const std::type_identity_t<StreamOptions<S::kDim>>& o, const DecisionOptions& decision = {}) {
  using Net = std::remove_reference_t<Predict>;
  cuda::LabelReceiver<Label> receiver(ctx, scan.grid(), decision);
  cuda::WindowStream<S, Net, cuda::LabelReceiver<Label>>(ctx, predict, scan, o, receiver).run();
  return receiver.take();
}

/// The same stream, but logits come to the host: sink(const LogitSlab&), lowest slices first, each once. For receivers that have
/// no twin on the card.
template <AnySpec S, class Predict, class Sink>
StreamReport stream_windows(Context<Cuda>& ctx, Predict&& predict, const DeviceScan& scan,
                            const std::type_identity_t<StreamOptions<S::kDim>>& o, Sink&& sink) {
  using Net = std::remove_reference_t<Predict>;
  using Receiver = cuda::SlabReceiver<std::remove_reference_t<Sink>>;
  Receiver receiver(ctx, sink);
  return cuda::WindowStream<S, Net, Receiver>(ctx, predict, scan, o, receiver).run();
}

/// Labels of a scan that lies on the card. A 2-D network sees the axial slices one by one.
template <class Net>
requires std::is_same_v<typename Net::Spec::Device, Cuda> Volume<std::uint8_t> sliding_window_labels(
    Context<Cuda>& ctx, const Net& net, const DeviceScan& scan,
    const std::type_identity_t<SlidingWindowOptions<Net::Spec::kDim>>& o = {}) {
  using S = typename Net::Spec;
  Predictor<Net> predict(ctx, net, Shape<S::kDim>{o.batch, scan.channels(), o.window.value});
  if (predict.output_shape().c > 256)
    throw Error(Code::unsupported, "sliding_window", text(predict.output_shape().c, " classes do not fit labels of uint8."));
  return stream_labels<S>(ctx, predict, scan, {.windows = o});
}

/// The CPU's function of this name for networks on the card.
template <class Net>
requires std::is_same_v<typename Net::Spec::Device, Cuda> Volume<std::uint8_t> sliding_window_labels(
    Context<typename Net::Spec::Device>& ctx, const Net& net, const Volume<float>& image,
    const std::type_identity_t<SlidingWindowOptions<Net::Spec::kDim>>& o = {}) {
  return sliding_window_labels(ctx, net, DeviceScan(ctx, image), o);
}

}   // namespace ctseg
