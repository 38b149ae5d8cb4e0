// From logits on the prepared grid to labels on the scan's own, slice by slice: all channels of a target voxel are interpolated
// and decided at once, so that no volume of channels exists on either grid.
#pragma once
#include "label_stream.hpp"

namespace ctseg {

/// probabilities_first  scores are interpolated (linear; nearest along a coarse axis of nnU-Net's rule), labels decided on the
///                      scan's grid: nnU-Net, MONAI's Invertd(nearest_interp=False) before AsDiscreted
/// labels_first         labels are decided on the prepared grid, and each voxel takes the nearest one: AsDiscreted before
///                      MONAI's Invertd(nearest_interp=True); cheaper, and borders keep the steps of the coarser grid
enum class InverseOrder { probabilities_first, labels_first };

struct ToOriginalOptions {
  InverseOrder order = InverseOrder::probabilities_first;
  Scores given = Scores::logits;    // what the slabs hold
  Scores scores = Scores::logits;   // what is interpolated and decided on: logits as nnU-Net does, softmax in MONAI's recipes
  DecisionOptions decision{};
  std::optional<Index> probability_of{};   // a channel whose probability is wanted too, on the scan's grid
  Executor* executor = nullptr;            // unset: the calling thread
};

namespace way_back {

/// Where the way resamples more than once, or turns by something else than quarter turns: all scores are kept, and go back
/// channel by channel.
template <class Label> class LabelsOfVolumes {
 public:
  LabelsOfVolumes(StreamJob job, const GridPath& path) : job_(std::move(job)), path_(path) {
    names_ = job_.decision.template labels<Label>();
    if (job_.probability_of && job_.scores == Scores::logits && !job_.decision.by_threshold())
      throw Error(
          Code::unsupported, "to_original",
          "probability_of with logits needs all channels of a voxel at once, and this way back goes channel by channel. "
          "Hint: scores = Scores::softmax.");
  }
  void operator()(const LogitSlab& slab) {
    const auto channels = static_cast<std::size_t>(slab.channels);
    scores_.resize(channels);
    for (auto& channel : scores_) channel.resize(static_cast<std::size_t>(path_.prepared().voxels()));
    mask::for_tasks(job_.pass.options.executor, slab.slices, [&](Index slice) {
      std::vector<float> v(channels);
      const Index plane = slab.rows * slab.columns, first = (slab.first + slice) * plane;
      for (Index i = 0; i < plane; ++i) {
        const std::span logits(slab.row(slab.first + slice, 0, i), channels);
        to_scores(logits, job_.scores == job_.given ? Scores::logits : job_.scores, v.data());
        for (std::size_t c = 0; c < channels; ++c) scores_[c][static_cast<std::size_t>(first + i)] = v[c];
      }
    });
  }
  Volume<Label> take_labels() {
    const Volume<std::uint8_t> kept = path_.to_original(Volume<std::uint8_t>(path_.prepared(), 1), job_.pass.options);
    Volume<Label> labels(path_.original());
    std::vector<float> best(kept.voxels().size(), std::numeric_limits<float>::lowest());
    std::vector<std::uint16_t> winner(best.size(), 0);
    for (std::size_t c = 0; c < scores_.size(); ++c) {
      const Volume<float> at = path_.to_original(Volume<float>(path_.prepared(), std::move(scores_[c])), job_.pass.options);
      for (std::size_t i = 0; i < best.size(); ++i) {
        const float v = at.voxels()[i];
        if (job_.decision.by_threshold() && v > job_.decision.threshold()) winner[i] = static_cast<std::uint16_t>(c + 1);
        if (!job_.decision.by_threshold() && (c == 0 || best[i] < v)) best[i] = v, winner[i] = static_cast<std::uint16_t>(c);
      }
      if (job_.probability_of && static_cast<std::size_t>(*job_.probability_of) == c) keep_probability(at, kept);
    }
    for (std::size_t i = 0; i < best.size(); ++i) labels.voxels()[i] = kept.voxels()[i] ? names_[winner[i]] : Label(0);
    return labels;
  }
  Volume<float> take_probability() { return std::move(*probability_); }

 private:
  void keep_probability(const Volume<float>& at, const Volume<std::uint8_t>& kept) {
    probability_.emplace(at);
    for (std::size_t i = 0; i < kept.voxels().size(); ++i) {
      float& v = probability_->voxels()[i];
      v = !kept.voxels()[i] ? 0 : job_.scores == Scores::logits ? 1 / (1 + std::exp(-v)) : v;
    }
  }

  StreamJob job_;
  GridPath path_;
  std::vector<Label> names_;
  std::vector<std::vector<float>> scores_;
  std::optional<Volume<float>> probability_;
};

}   // namespace way_back

/// What finish() returns, both on exactly the scan's grid; 0 where the prepared grid had no voxel.
template <class Label> struct OnOriginalGrid {
  Volume<Label> labels;
  std::optional<Volume<float>> probability{};   // of ToOriginalOptions::probability_of
};

/// Takes slabs of logits, lowest first, and makes labels on the scan's grid. Label is std::uint8_t, or std::uint16_t above 255.
/// Numerics  the labels of path.to_original() of every channel and then argmax: bit for bit where the scan's axes have the
///           order of the prepared grid's, else but for ties of the last bit. Same bits for any cut into slabs and any threads.
/// Cost      beside the result (1 byte a voxel, 4 more for a probability; twice where axes are swapped) two slices of scores
///           and winners: bytes(). A way that resamples twice cannot stream (streams() is false): all channels are kept on the
///           prepared grid, bytes() says how much.
/// Errors    bad_argument for channels, labels, thresholds or scores that make no sense; unsupported for labels too large;
///           shape_mismatch for a slab that is not the next one or not of the prepared grid, and for a finish() too early.
template <class Label = std::uint8_t> class LabelWriter {
 public:
  LabelWriter(const GridPath& path, Index channels, const ToOriginalOptions& options = {})
      : shape_(path.prepared().shape), channels_(channels), has_probability_(options.probability_of.has_value()) {
    way_back::StreamJob job{{path.prepared(), path.original(), {}, {}},
                            Decision(channels, options.scores, options.decision),
                            options.given,
                            options.scores,
                            options.probability_of};
    check(options);
    ResampleOptions how{.executor = options.executor};
    if (options.order == InverseOrder::labels_first) how.interpolation = Interpolation::nearest;
    job.pass.options = how;
    if (const auto pass = path.pass_to_original(how)) {
      job.pass = *pass;
      if (auto taps = way_back::stream_taps(job.pass)) stream_.emplace(std::move(job), std::move(*taps));
    }
    bytes_ = path.original().voxels() * (Index{sizeof(Label)} + (has_probability_ ? Index{sizeof(float)} : 0));
    if (stream_) {
      bytes_ = bytes_ * (stream_->turned() ? 2 : 1) + stream_->slice_bytes();
    } else {   // the scores of all channels; then a channel on the scan's grid, the best score, its channel, what was kept
      bytes_ += path.prepared().voxels() * channels * Index{sizeof(float)} + path.original().voxels() * 11;
      whole_.emplace(std::move(job), path);
    }
  }

  /// False if all logits have to be kept until finish(): the way resamples twice, or between grids turned against each other.
  bool streams() const { return stream_.has_value(); }
  /// Memory of the writer at its most, the result included, without the slabs.
  Index bytes() const { return bytes_; }

  void operator()(const LogitSlab& slab) {
    if (slab.first != next_ || slab.slices < 1 || slab.last() > shape_.z || slab.rows != shape_.y || slab.columns != shape_.x ||
        slab.channels != channels_)
      throw Error(Code::shape_mismatch, "label_writer",
                  text("a slab of slices ", slab.first, " to ", slab.last(), ", ", slab.columns, " x ", slab.rows, " with ",
                       slab.channels, " channels; expected are slices from ", next_, " of ", shape_, " with ", channels_,
                       " channels, lowest first and each once."));
    next_ = slab.last();
    stream_ ? (*stream_)(slab) : (*whole_)(slab);
  }
  OnOriginalGrid<Label> finish() {
    if (next_ != shape_.z)
      throw Error(Code::shape_mismatch, "label_writer",
                  text("slices ", next_, " to ", shape_.z, " of ", shape_.z, " have not come, or finish() was called before."));
    next_ = -1;
    return stream_ ? taken(*stream_) : taken(*whole_);
  }

 private:
  void check(const ToOriginalOptions& o) const {
    if (o.given != o.scores && o.given != Scores::logits)
      throw Error(
          Code::bad_argument, "to_original",
          text("the slabs hold ", text(o.given), ", and ", text(o.scores), " cannot be made of them. Hint: scores = given."));
    if (o.probability_of && (*o.probability_of < 0 || *o.probability_of >= channels_))
      throw Error(Code::bad_argument, "to_original",
                  text("probability_of = ", *o.probability_of, "; must be 0 to ", channels_ - 1, "."));
  }
  template <class Way> OnOriginalGrid<Label> taken(Way& way) const {
    OnOriginalGrid<Label> out{way.take_labels()};
    if (has_probability_) out.probability = way.take_probability();
    return out;
  }

  Xyz<Index> shape_;
  Index channels_;
  bool has_probability_;
  Index next_ = 0, bytes_ = 0;
  std::optional<way_back::LabelStream<Label>> stream_;
  std::optional<way_back::LabelsOfVolumes<Label>> whole_;
};

}   // namespace ctseg
