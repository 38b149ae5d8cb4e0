// What becomes of finished slices on the card: labels on the windows' own grid, or slices on their way to the host.
#pragma once
#include "../decision.hpp"
#include "window_stream.hpp"

namespace ctseg::cuda {

/// A volume of labels on the card, and the rule that writes them.
template <class Label> class DeviceLabels {
 public:
  LabelRule rule{};

  /// Errors    unsupported for a label that does not fit Label.
  DeviceLabels(Context<Cuda>& ctx, Index voxels, const Decision& decision)
      : ctx_(&ctx), labels_(ctx.allocate(voxels * Index{sizeof(Label)})), voxels_(voxels) {
    const std::vector<Label> names = decision.template labels<Label>();
    const Index at = names_.add(std::vector<std::uint16_t>(names.begin(), names.end()));
    names_.upload(ctx);
    clear(ctx.stream(), labels_.data(), voxels * Index{sizeof(Label)});
    rule = {decision.by_threshold(), sizeof(Label) == 2, decision.threshold(), names_.at<std::uint16_t>(at), labels_.data()};
  }
  std::vector<Label> take() {
    std::vector<Label> labels(static_cast<std::size_t>(voxels_));
    copy_to_host(ctx_->stream(), labels.data(), labels_.data(), voxels_ * Index{sizeof(Label)});
    synchronize(ctx_->stream());
    return labels;
  }

 private:
  Context<Cuda>* ctx_;
  Memory<Cuda> labels_;
  Tables names_;
  Index voxels_;
};

/// Labels on the scan's prepared grid. Few channels are decided in the blending pass, more in one pass behind it.
template <class Label> class LabelReceiver {
 public:
  LabelReceiver(Context<Cuda>& ctx, const Grid& grid, const DecisionOptions& o) : ctx_(&ctx), grid_(grid), options_(o) {}

  LabelRule prepare(Index channels) {
    fused_ = channels <= kMostFusedChannels;
    labels_.emplace(*ctx_, grid_.voxels(), Decision(channels, Scores::logits, options_));
    return labels_->rule;
  }
  Index kept() const { return 0; }
  void operator()(const SliceJob& slices) {
    if (!fused_) decide_slices(ctx_->stream(), slices, labels_->rule);
  }
  Volume<Label> take() { return Volume<Label>(grid_, labels_->take()); }

 private:
  Context<Cuda>* ctx_;
  Grid grid_;
  DecisionOptions options_;
  std::optional<DeviceLabels<Label>> labels_;
  bool fused_ = false;
};

/// Slices come to the host as slabs of a size that does not depend on the volume's.
template <class Sink> class SlabReceiver {
 public:
  SlabReceiver(Context<Cuda>& ctx, Sink& sink) : ctx_(&ctx), sink_(&sink) {}
  LabelRule prepare(Index) { return {}; }
  Index kept() const { return 0; }
  void operator()(const SliceJob& job) {
    const SliceRing& r = job.ring;
    const Index slice = Index{r.rows} * r.columns * r.channels, most = std::max<Index>(1, kSlab / slice);
    for (Index z = job.first; z < job.last;) {
      const Index place = z % r.slices, count = std::min({most, job.last - z, r.slices - place});
      slab_.resize(static_cast<std::size_t>(count * slice));
      copy_to_host(ctx_->stream(), slab_.data(), r.values + place * slice, std::ssize(slab_) * Index{sizeof(float)});
      synchronize(ctx_->stream());
      (*sink_)(LogitSlab{z, count, r.rows, r.columns, r.channels, slab_.data()});
      z += count;
    }
  }

 private:
  static constexpr Index kSlab = Index{16} << 20;   // values
  Context<Cuda>* ctx_;
  Sink* sink_;
  std::vector<float> slab_;
};

}   // namespace ctseg::cuda
