// What a segmentation is asked and what it makes, whatever runs its windows: options and result, the scan prepared before, what
// scores mean, the rules after.
#pragma once
#include <sys/resource.h>

#include <chrono>

#include "../infer/to_original.hpp"
#include "looks.hpp"
#include "model_file.hpp"
#include "prepared_image.hpp"

namespace ctseg {

/// Where progress is told: a fraction from 0 to 1, never falling, on the calling thread.
struct ProgressSink {
  void (*tell)(void* user, double fraction) = nullptr;
  void* user = nullptr;
};

struct SegmentOptions {
  std::optional<double> overlap{};      // unset: the recipe's
  std::optional<Accuracy> accuracy{};   // unset: the context's
  Xyz<bool> mirror{};                   // axes of the prepared image to mirror as well; all combinations are averaged
  bool recipe_mirror = true;            // those of the recipe too
  Index max_memory = 0;                 // bytes in all; 0: no limit. Unfinished logits beyond it wait in a temporary file
  bool dry_run = false;                 // prepare and plan only
  ProgressSink progress{};
  std::string spill_folder{};              // of that file; empty: the one that TMPDIR names, else /tmp
  std::optional<double> skip_air{};        // unset: the recipe's
  std::optional<Index> probability_of{};   // a label whose probability is wanted too
  std::vector<double> scales{};            // of the windows, averaged; empty: 1
  Averaged average = Averaged::logits;     // probabilities: those go back to the scan's grid as well
};

/// Wall time.
struct SegmentSeconds {
  double preprocess = 0, network = 0, stitch = 0, resample = 0;   // resample: decisions too; stitch: the temporary file too
  double postprocess = 0;
  double total = 0;
  double spill = 0;   // of stitch
};

struct Segmentation {
  std::string plan{};                             // lines of text
  std::optional<Volume<std::uint8_t>> labels{};   // ids of ModelRecipe::labels on the scan's grid; none after a dry run
  SegmentSeconds seconds{};
  Index windows = 0;                            // that a network saw, mirrored ones too
  Index planned_memory = 0;                     // bytes, of everything alive at once
  Index peak_memory = 0;                        // bytes, the most that the process ever had resident
  std::optional<Volume<float>> probability{};   // of SegmentOptions::probability_of, on the scan's grid
  Index skipped = 0;                            // windows of air
  Index spilled = 0;                            // bytes that were written to the temporary file
};

namespace segmenting {

class Clock {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Models that can be averaged: what surrounds their networks is the same.
/// Errors    bad_argument with the part that differs.
template <class = void> void check_models(const std::vector<const LoadedModel*>& models) {
  if (models.empty()) throw Error(Code::bad_argument, "segment", "no model; there must be one or more.");
  const Json first = to_json(models[0]->recipe);
  for (std::size_t i = 0; i < models.size(); ++i) {
    const LoadedModel& m = *models[i];
    check(m.recipe);
    const Json recipe = to_json(m.recipe);
    for (const char* part : {"preprocess", "sliding_window", "mirror", "skip_air", "labels", "decision", "previous_labels"})
      if (recipe[part] != first[part])
        throw Error(Code::bad_argument, "segment",
                    text("models 0 and ", i, " of the ensemble have different ", part, ": ", json::shown(first[part]), " and ",
                         json::shown(recipe[part]), "; only networks of the same recipe can be averaged."));
  }
}

/// Errors    bad_argument for the wrong number of channels, and a mask of a first network too few or too many;
///           shape_mismatch for one on another grid.
template <class = void> void check_input(const ModelRecipe& r, const SegmentInput& input) {
  if (const Index wanted = scan_channels_of(r); std::ssize(input.channels) != wanted)
    throw Error(Code::bad_argument, "segment",
                text("the network takes ", wanted, " channels, the scan has ", input.channels.size(),
                     ". Hint: SegmentInput::channels holds a volume for each, in the order of training."));
  if (!r.previous_labels.empty() && input.previous == nullptr)
    throw Error(Code::bad_argument, "segment",
                text("the network is the second of a cascade, and takes a mask with ", r.previous_labels.size(),
                     " labels beside the scan. Hint: SegmentInput::previous is what the first one made."));
  if (r.previous_labels.empty() && input.previous != nullptr)
    throw Error(Code::bad_argument, "segment", "a mask of a first network is given, but the recipe has no previous_labels.");
  if (input.previous && !same_grid(input.previous->grid(), input.channels[0]->grid()))
    throw Error(Code::shape_mismatch, "segment",
                text("the first network's mask (", input.previous->shape(), ") does not lie on the scan's grid (",
                     input.channels[0]->shape(), ")."));
}

/// A scan as the network sees it.
struct Prepared {
  const Preprocessed& scan;
  const Volume<std::uint8_t>* previous = nullptr;   // on the prepared grid
  Index scan_bytes = 0, preparing_bytes = 0;        // of what is segmented; the most while it was prepared
};

/// A recipe and the options of one call, as those who run windows want to hear it. Both must outlive it.
class Terms {
 public:
  static constexpr double kPrepared = 0.05, kInferred = 0.95;   // of the progress

  Terms(const std::vector<const LoadedModel*>& models, const SegmentOptions& options)
      : recipe_(models[0]->recipe), options_(options), channels_(models[0]->model.out_channels()) {}

  const ModelRecipe& recipe() const { return recipe_; }
  const SegmentOptions& options() const { return options_; }
  Index channels() const { return channels_; }
  void tell(double fraction) const {
    if (options_.progress.tell) options_.progress.tell(options_.progress.user, fraction);
  }

  LookOptions looks() const {
    const Xyz<bool> own = options_.recipe_mirror ? recipe_.mirror : Xyz<bool>{}, more = options_.mirror;
    return {{own.x || more.x, own.y || more.y, own.z || more.z}, options_.scales, average()};
  }
  template <int Dim> StreamOptions<Dim> stream() const {
    StreamOptions<Dim> o{.windows = std::get<SlidingWindowOptions<Dim>>(recipe_.sliding_window)};
    if (options_.overlap) o.windows.overlap = *options_.overlap;
    if (const auto air = options_.skip_air ? options_.skip_air : recipe_.skip_air) {
      o.skip_below = static_cast<float>(*air);
      o.background = background();
    }
    return o;
  }
  /// Errors    bad_argument for a probability_of that no channel has.
  ToOriginalOptions to_original(Executor& executor) const {
    const WayBack way = recipe_.decision.way_back;
    ToOriginalOptions o{.order = way == WayBack::labels ? InverseOrder::labels_first : InverseOrder::probabilities_first,
                        .given = average(),
                        .scores = way == WayBack::probabilities ? probabilities() : average(),
                        .decision = {recipe_.decision.kind, recipe_.decision.threshold, ids()},
                        .executor = &executor};
    if (!options_.probability_of) return o;
    const auto found = std::find(o.decision.labels.rbegin(), o.decision.labels.rend(), *options_.probability_of);
    if (found == o.decision.labels.rend())
      throw Error(Code::bad_argument, "segment",
                  text("probability_of = ", *options_.probability_of, ", which is the id of no channel of the network."));
    o.probability_of = std::ssize(o.decision.labels) - 1 - (found - o.decision.labels.rbegin());
    return o;
  }

  /// make(Prepared, Segmentation&), which may end early in a dry run, between preparing and the rules.
  /// Errors    out_of_memory for a scan that cannot be prepared within max_memory.
  template <class Make> Segmentation run(Context<Cpu>& ctx, const SegmentInput& input, Make make) const {
    const Clock all;
    Segmentation out;
    tell(0);
    const Volume<float>& scan = *input.channels[0];
    const Index voxels = scan.grid().voxels();
    const Index scans = voxels * Index{sizeof(float)} * std::ssize(input.channels) + (input.previous ? voxels : 0);
    const Index preparing = 3 * scans;   // the scan, its copy, and that turned round or cropped
    if (options_.max_memory > 0 && preparing > options_.max_memory)
      throw Error(Code::out_of_memory, "segment",
                  text("max_memory = ", options_.max_memory, ", but preparing a scan of ", scan.shape(), " voxels takes ",
                       preparing, " bytes. Hint: more memory, or a scan cropped before."));
    {
      std::vector<Volume<float>> channels;
      for (const Volume<float>* v : input.channels) channels.push_back(*v);
      const Preprocessed prepared = apply_steps(std::move(channels), recipe_.preprocess, &ctx.executor());
      std::optional<Volume<std::uint8_t>> previous;
      if (input.previous)
        previous =
            prepared.to_prepared(*input.previous, {.interpolation = Interpolation::label_most, .executor = &ctx.executor()});
      out.seconds.preprocess = all.seconds();
      make(Prepared{prepared, previous ? &*previous : nullptr, scans, preparing}, out);
    }
    if (!options_.dry_run) {
      const Clock after;
      name_outside(*out.labels);
      out.labels = apply_rules(std::move(*out.labels), recipe_.postprocess, &ctx.executor());
      out.seconds.postprocess = after.seconds();
    }
    rusage use{};
    if (getrusage(RUSAGE_SELF, &use) == 0) out.peak_memory = Index{use.ru_maxrss} * 1024;
    out.seconds.total = all.seconds();
    tell(1);
    return out;
  }

 private:
  static constexpr float kBackgroundLogit = 10;   // of air that is not run; it only meets logits of air

  bool argmax() const { return recipe_.decision.kind == Decide::argmax; }
  Scores probabilities() const { return argmax() ? Scores::softmax : Scores::sigmoid; }
  Scores average() const { return options_.average == Averaged::logits ? Scores::logits : probabilities(); }
  /// Ids that the channels write.
  std::vector<Index> ids() const {
    std::vector<Index> ids = recipe_.decision.regions_order;
    if (argmax())
      for (const LabelInfo& label : recipe_.labels) ids.push_back(label.id);
    return ids;
  }
  /// Of a voxel of air: label 0 (or the first one) wins, or no region does.
  std::vector<float> background() const {
    const bool given_probabilities = average() != Scores::logits;
    std::vector<float> scores(static_cast<std::size_t>(channels_), given_probabilities ? 0.f : -kBackgroundLogit);
    const std::vector<Index> all = ids();
    const auto zero = std::find(all.begin(), all.end(), 0);
    if (argmax())
      scores[zero == all.end() ? 0 : static_cast<std::size_t>(zero - all.begin())] =
          given_probabilities ? 1.f : kBackgroundLogit;
    return scores;
  }
  /// 0 is what was cropped away: where background has another id, that.
  void name_outside(Volume<std::uint8_t>& labels) const {
    const std::vector<Index> all = ids();
    if (!argmax() || std::find(all.begin(), all.end(), 0) != all.end()) return;
    for (std::uint8_t& label : labels.voxels())
      if (label == 0) label = static_cast<std::uint8_t>(all[0]);
  }

  const ModelRecipe& recipe_;
  const SegmentOptions& options_;
  Index channels_;
};

}   // namespace segmenting
}   // namespace ctseg
