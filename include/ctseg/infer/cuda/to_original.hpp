// From logits on the card to labels on the scan's own grid: LabelWriter's work, where the logits are.
#pragma once
#include "../to_original.hpp"
#include "sliding_window.hpp"

namespace ctseg {
namespace cuda {

/// A way back that resamples at most once, between parallel grids.
template <class Label> class GridReceiver {
 public:
  GridReceiver(Context<Cuda>& ctx, const path::Pass& pass, const way_back::StreamTaps& taps, const ToOriginalOptions& o)
      : ctx_(&ctx), to_(pass.to), options_(o), taps_(taps) {}

  LabelRule prepare(Index channels) {
    const Decision decision(channels, options_.scores, options_.decision);
    labels_.emplace(*ctx_, to_.voxels(), decision);
    job_.labels = labels_->rule;
    job_.scores = options_.scores;
    if (options_.probability_of) {
      if (*options_.probability_of < 0 || *options_.probability_of >= channels)
        throw Error(Code::bad_argument, "to_original",
                    ctseg::text("probability_of = ", *options_.probability_of, "; must be 0 to ", channels - 1, "."));
      job_.probability_of = *options_.probability_of;
      const Index bytes = to_.voxels() * Index{sizeof(float)};
      probability_ = ctx_->allocate(bytes);
      clear(ctx_->stream(), probability_.data(), bytes);
      job_.probability = reinterpret_cast<float*>(probability_.data());
    }
    make_tables();
    return {};
  }
  Index kept() const { return 1; }   // target slices may lie between the last one and the next
  void operator()(const SliceJob& slices) {
    if (options_.scores != options_.given) score_slices(ctx_->stream(), slices, options_.scores);
    const auto first = static_cast<std::size_t>(slices.first), last = static_cast<std::size_t>(slices.last);
    job_.ring = slices.ring;
    job_.slices = tables_.at<int>(ready_at_) + begin_[first];
    job_.count = begin_[last] - begin_[first];
    slices_to_grid(ctx_->stream(), job_);
  }
  OnOriginalGrid<Label> take() {
    OnOriginalGrid<Label> out{Volume<Label>(to_, labels_->take())};
    if (!options_.probability_of) return out;
    out.probability.emplace(to_);
    copy_to_host(ctx_->stream(), out.probability->data(), probability_.data(), to_.voxels() * Index{sizeof(float)});
    synchronize(ctx_->stream());
    return out;
  }

 private:
  void make_tables() {
    const std::array<Index, 3> stride{1, to_.shape.x, to_.shape.x * to_.shape.y};
    std::array<std::array<Index, 3>, 3> at{};
    for (std::size_t a = 0; a < 3; ++a) {   // the taps' axes are x, y, z
      const way_back::AxisTaps& t = taps_.taps[2 - a];
      at[a] = {tables_.add(std::vector<int>(t.low.begin(), t.low.end())), tables_.add(t.weight), tables_.add(t.inside)};
    }
    std::vector<int> ready;   // target slices in the order in which source slices complete them
    for (const auto& slices : taps_.ready) {
      begin_.push_back(static_cast<int>(ready.size()));
      for (const Index z : slices) ready.push_back(static_cast<int>(z));
    }
    begin_.push_back(static_cast<int>(ready.size()));
    ready_at_ = tables_.add(ready);
    tables_.upload(*ctx_);
    for (std::size_t a = 0; a < 3; ++a) {
      const way_back::AxisTaps& t = taps_.taps[2 - a];
      job_.axis[a] = {tables_.at<int>(at[a][0]), tables_.at<double>(at[a][1]), tables_.at<std::uint8_t>(at[a][2]), t.count(),
                      0};
    }
    for (std::size_t j = 0; j < 3; ++j) job_.axis[2 - taps_.axes[j]].stride = stride[j];
  }

  Context<Cuda>* ctx_;
  Grid to_;
  ToOriginalOptions options_;
  way_back::StreamTaps taps_;
  std::optional<DeviceLabels<Label>> labels_;
  Memory<Cuda> probability_;
  Tables tables_;
  Index ready_at_ = 0;
  std::vector<int> begin_;
  ToGridJob job_{};
};

}   // namespace cuda

/// Labels on exactly the scan's grid from windows on the card: what LabelWriter makes of the same logits, bit for bit;
/// probabilities but for the last digits of exp. `scan` lies on the path's prepared grid. Ways back that LabelWriter cannot
/// stream take the CPU's way, and logits cross the bus.
/// Errors    shape_mismatch for a scan on another grid; of stream_labels and LabelWriter.
template <AnySpec S, class Label = std::uint8_t, class Predict>
OnOriginalGrid<Label> stream_to_original(Context<Cuda>& ctx, Predict&& predict, const DeviceScan& scan, const GridPath& path,
                                         const std::type_identity_t<StreamOptions<S::kDim>>& o,
                                         const ToOriginalOptions& to = {}) {
  using Net = std::remove_reference_t<Predict>;
  if (!(scan.grid().shape == path.prepared().shape))
    throw Error(
        Code::shape_mismatch, "to_original",
        ctseg::text("the scan on the card has ", scan.grid().shape, " voxels, the prepared grid ", path.prepared().shape, "."));
  if (to.given != to.scores && to.given != Scores::logits)
    throw Error(Code::bad_argument, "to_original",
                ctseg::text("the network gives ", ctseg::text(to.given), ", and ", ctseg::text(to.scores),
                            " cannot be made of them. Hint: scores = given."));
  ResampleOptions how{.executor = to.executor};
  if (to.order == InverseOrder::labels_first) how.interpolation = Interpolation::nearest;
  if (const auto pass = path.pass_to_original(how))
    if (const auto taps = way_back::stream_taps(*pass)) {
      cuda::GridReceiver<Label> receiver(ctx, *pass, *taps, to);
      cuda::WindowStream<S, Net, cuda::GridReceiver<Label>>(ctx, predict, scan, o, receiver).run();
      return receiver.take();
    }
  std::optional<LabelWriter<Label>> writer;
  stream_windows<S>(ctx, predict, scan, o, [&](const LogitSlab& slab) {
    if (!writer) writer.emplace(path, slab.channels, to);
    (*writer)(slab);
  });
  return writer->finish();
}

}   // namespace ctseg
