// A scan to its labels by a model's recipe: prepared, through windows, back on the scan's own grid, all of it in bounded memory:
// logits go slice by slice from the windows to the labels, and are forgotten.
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

/// Bytes, as the plan shows them.
struct Memory {
  Index network = 0, volumes = 0;   // volumes: scan, prepared image, and what becomes the result
  Index preparing = 0;              // before there is a network
  StreamPlan stream{};

  Index in_use() const { return network + volumes; }
  Index most() const { return std::max(preparing, stream.total_bytes()); }
};

/// Everything of one call, for networks of one rank.
template <AnySpec S> class Segmenter {
  static constexpr int kDim = S::kDim;

 public:
  Segmenter(Context<Cpu>& ctx, const std::vector<const LoadedModel*>& models, const SegmentOptions& options)
      : ctx_(ctx),
        first_(models[0]->model),
        recipe_(models[0]->recipe),
        options_(options),
        average_(options.average == Averaged::logits ? Scores::logits : probabilities()),
        nets_(nets_of(models)),
        looks_(ctx, nets_, {mirror(), options.scales, average_}) {
    stream_.windows = std::get<SlidingWindowOptions<kDim>>(recipe_.sliding_window);
    if (options.overlap) stream_.windows.overlap = *options.overlap;
    stream_.max_memory = options.max_memory, stream_.spill_folder = options.spill_folder;
    if (const auto air = options.skip_air ? options.skip_air : recipe_.skip_air) {
      stream_.skip_below = static_cast<float>(*air);
      stream_.background = background();
    }
  }

  Segmentation run(const SegmentInput& input) {
    const Clock all;
    tell(0);
    const Volume<float>& scan = *input.channels[0];
    scans_ = bytes(scan) * std::ssize(input.channels) + (input.previous ? scan.grid().voxels() : 0);
    memory_.preparing = 3 * scans_;   // the scan, its copy, and that turned round or cropped
    if (options_.max_memory > 0 && memory_.preparing > options_.max_memory)
      throw Error(Code::out_of_memory, "segment",
                  text("max_memory = ", options_.max_memory, ", but preparing a scan of ", scan.shape(), " voxels takes ",
                       memory_.preparing, " bytes. Hint: more memory, or a scan cropped before."));
    {
      std::vector<Volume<float>> channels;
      for (const Volume<float>* v : input.channels) channels.push_back(*v);
      const Preprocessed prepared = apply_steps(std::move(channels), recipe_.preprocess, &ctx_.executor());
      std::optional<Volume<std::uint8_t>> previous;
      if (input.previous)
        previous =
            prepared.to_prepared(*input.previous, {.interpolation = Interpolation::label_most, .executor = &ctx_.executor()});
      PreparedImage<S> image(prepared, previous ? &*previous : nullptr, recipe_.previous_labels);
      out_.seconds.preprocess = all.seconds();
      LabelWriter<> writer(prepared.path, first_.out_channels(), to_original());
      plan(image, writer);
      describe(scan, prepared.image);
      tell(kPrepared);
      if (!options_.dry_run) infer(image, writer);
    }
    if (!options_.dry_run) {
      const Clock after;
      out_.labels = apply_rules(std::move(*out_.labels), recipe_.postprocess, &ctx_.executor());
      out_.seconds.postprocess = after.seconds();
    }
    rusage use{};
    if (getrusage(RUSAGE_SELF, &use) == 0) out_.peak_memory = Index{use.ru_maxrss} * 1024;
    out_.seconds.total = all.seconds();
    tell(1);
    return std::move(out_);
  }

 private:
  static constexpr double kPrepared = 0.05, kInferred = 0.95;   // of the progress
  static constexpr float kBackgroundLogit = 10;                 // of air that is not run; it only meets logits of air

  static Index bytes(const Volume<float>& v) { return v.grid().voxels() * Index{sizeof(float)}; }
  static std::vector<const AnyNetwork<S>*> nets_of(const std::vector<const LoadedModel*>& models) {
    std::vector<const AnyNetwork<S>*> nets;
    for (const LoadedModel* m : models)
      m->model.visit([&]<class Net>(const Net& net) {
        if constexpr (std::is_same_v<Net, AnyNetwork<S>>) nets.push_back(&net);
      });
    return nets;
  }
  Xyz<bool> mirror() const {
    const Xyz<bool> own = options_.recipe_mirror ? recipe_.mirror : Xyz<bool>{};
    return {own.x || options_.mirror.x, own.y || options_.mirror.y, own.z || options_.mirror.z};
  }
  void tell(double fraction) const {
    if (options_.progress.tell) options_.progress.tell(options_.progress.user, fraction);
  }

  bool argmax() const { return recipe_.decision.kind == Decide::argmax; }
  Scores probabilities() const { return argmax() ? Scores::softmax : Scores::sigmoid; }
  /// Ids that the channels write.
  std::vector<Index> ids() const {
    std::vector<Index> ids = recipe_.decision.regions_order;
    if (argmax())
      for (const LabelInfo& label : recipe_.labels) ids.push_back(label.id);
    return ids;
  }
  /// Of a voxel of air: label 0 (or the first one) wins, or no region does.
  std::vector<float> background() const {
    const bool given_probabilities = average_ != Scores::logits;
    std::vector<float> scores(static_cast<std::size_t>(first_.out_channels()), given_probabilities ? 0.f : -kBackgroundLogit);
    const std::vector<Index> all = ids();
    const auto zero = std::find(all.begin(), all.end(), 0);
    if (argmax())
      scores[zero == all.end() ? 0 : static_cast<std::size_t>(zero - all.begin())] =
          given_probabilities ? 1.f : kBackgroundLogit;
    return scores;
  }
  ToOriginalOptions to_original() const {
    const WayBack way = recipe_.decision.way_back;
    ToOriginalOptions o{.order = way == WayBack::labels ? InverseOrder::labels_first : InverseOrder::probabilities_first,
                        .given = average_,
                        .scores = way == WayBack::probabilities ? probabilities() : average_,
                        .decision = {recipe_.decision.kind, recipe_.decision.threshold, ids()},
                        .executor = &ctx_.executor()};
    if (!options_.probability_of) return o;
    const auto found = std::find(o.decision.labels.rbegin(), o.decision.labels.rend(), *options_.probability_of);
    if (found == o.decision.labels.rend())
      throw Error(Code::bad_argument, "segment",
                  text("probability_of = ", *options_.probability_of, ", which is the id of no channel of the network."));
    o.probability_of = std::ssize(o.decision.labels) - 1 - (found - o.decision.labels.rbegin());
    return o;
  }

  void plan(const PreparedImage<S>& image, const LabelWriter<>& writer) {
    const Shape<kDim> batch{stream_.windows.batch, image.shape().c, stream_.windows.window.value};
    memory_.network = looks_.mean_bytes(batch.with_channels(first_.out_channels()));
    looks_.each(batch, [&](const AnyNetwork<S>& net, const Shape<kDim>& window) {
      Tape<S> tape(Mode::infer, ctx_.traits());
      const Var<S> y = net.forward(tape.input(window));
      memory_.network += Plan<S>(tape, PlanOptions<S>{.outputs = {y}}).memory().total();
      work_ += summarize(tape).multiply_adds;
    });
    const Index voxels = image.shape().n * image.shape().voxels();
    memory_.volumes = scans_ + voxels * (scan_channels_of(recipe_) * Index{sizeof(float)} + !recipe_.previous_labels.empty()) +
                      writer.bytes();
    stream_.in_use = memory_.in_use();
    memory_.stream = plan_stream<S>(ctx_, {image.shape(), first_.out_channels()}, stream_);
    out_.planned_memory = memory_.most();
  }
  void describe(const Volume<float>& scan, const Volume<float>& image) {
    const StreamPlan& p = memory_.stream;
    const auto& o = stream_.windows;
    char line[320];
    const auto add = [&](auto... parts) {
      std::snprintf(line, sizeof line, parts...);
      out_.plan += line;
    };
    const auto mb = [](Index bytes) { return static_cast<double>(bytes) / 1e6; };
    for (const AnyNetwork<S>* net : nets_)
      out_.plan += text("network   ", text(first_.config()), ", ", parameter_count(*net), " parameters\n");
    out_.plan += text("scan      ", scan.shape(), " voxels of ", scan.spacing_mm(), " mm -> ", image.shape(), " of ",
                      image.spacing_mm(), " mm\n");
    out_.plan +=
        text("windows   ", p.windows, " of ", o.window, ", overlap ", o.overlap,
             looks_.count() > 1 ? text(", each ", looks_.count(), " times", looks_.words()) : std::string(),
             stream_.skip_below ? text(", none where all values are at most ", *stream_.skip_below) : std::string(), "\n");
    add("work      %.3f T multiply-adds\n",
        static_cast<double>((p.windows + o.batch - 1) / o.batch * looks_.mirrors()) * static_cast<double>(work_) * 1e-12);
    add("memory    %.0f MB = network %.0f + volumes %.0f + unfinished logits %.0f + buffers %.0f", mb(p.total_bytes()),
        mb(memory_.network), mb(memory_.volumes), mb(p.resident_bytes), mb(p.buffer_bytes));
    if (p.max_memory > 0) add(", of %.0f allowed", mb(p.max_memory));
    if (memory_.preparing > p.total_bytes()) add("; %.0f while the scan is prepared", mb(memory_.preparing));
    out_.plan += '\n';
    if (p.spill_bytes > 0)
      add("file      %.0f MB of unfinished logits, %.0f MB written and read in all\n", mb(p.spill_bytes), mb(p.spilled_bytes));
  }

  void infer(PreparedImage<S>& image, LabelWriter<>& writer) {
    const auto windows = static_cast<double>(memory_.stream.windows);
    const auto predict = [&](In<S> window) {
      const In<S> scores = looks_(window);
      tell(kPrepared + (kInferred - kPrepared) * static_cast<double>(image.cut()) / windows);
      return scores;
    };
    const StreamReport r = stream_windows<S>(ctx_, predict, image, stream_, writer);
    ctx_.check_cancelled("segment");
    tell(kInferred);
    const Clock clock;
    OnOriginalGrid<std::uint8_t> result = writer.finish();
    const std::vector<Index> all = ids();
    if (argmax() &&
        std::find(all.begin(), all.end(), 0) == all.end())   // 0 is what was cropped away: background has another id
      for (std::uint8_t& label : result.labels.voxels())
        if (label == 0) label = static_cast<std::uint8_t>(all[0]);
    out_.labels = std::move(result.labels), out_.probability = std::move(result.probability);
    out_.seconds.network = r.network_seconds, out_.seconds.spill = r.spill_seconds;
    out_.seconds.stitch = r.seconds - r.network_seconds - r.sink_seconds;
    out_.seconds.resample = r.sink_seconds + clock.seconds();
    out_.windows = r.run * looks_.count(), out_.skipped = r.skipped, out_.spilled = r.plan.spilled_bytes;
  }

  Context<Cpu>& ctx_;
  const AnyModel& first_;
  const ModelRecipe& recipe_;
  const SegmentOptions& options_;
  Scores average_;
  std::vector<const AnyNetwork<S>*> nets_;
  Looks<S> looks_;
  StreamOptions<kDim> stream_{};
  Memory memory_{};
  Index scans_ = 0, work_ = 0;   // bytes of what is segmented; multiply-adds of a batch of windows
  Segmentation out_{};
};

}   // namespace segmenting

/// The labels of a scan, on exactly its grid, from the mean of one model or more of the same recipe. The first one's
/// ModelRecipe::postprocess comes last.
/// Cost      Segmentation::plan says it: logits of the windows that are not finished yet, never those of the whole image, but
///           for ways back that resample twice or between oblique grids.
/// Errors    out_of_memory before any window if max_memory cannot be kept even with a file; io if that cannot be written;
///           cancelled between windows and stages; bad_argument for models that do not fit together, the wrong number of
///           channels, or a label that is none; those of the steps.
template <class = void> Segmentation segment(Context<Cpu>& ctx, const std::vector<const LoadedModel*>& models,
                                             const SegmentInput& input, const SegmentOptions& o = {}) {
  segmenting::check_models(models);
  segmenting::check_input(models[0]->recipe, input);
  ContextOptions own = ctx.options();
  own.accuracy = o.accuracy.value_or(ctx.traits().accuracy);
  std::optional<Context<Cpu>> other;
  if (own.accuracy != ctx.traits().accuracy) other.emplace(own);
  return models[0]->model.visit(
      [&]<AnySpec S>(const AnyNetwork<S>&) { return segmenting::Segmenter<S>(other ? *other : ctx, models, o).run(input); });
}
template <class = void> Segmentation segment(Context<Cpu>& ctx, const std::vector<const LoadedModel*>& models,
                                             const Volume<float>& scan, const SegmentOptions& o = {}) {
  return segment(ctx, models, SegmentInput{.channels = {&scan}}, o);
}
/// A volume for each channel of the network.
template <class = void> Segmentation segment(Context<Cpu>& ctx, const std::vector<const LoadedModel*>& models,
                                             const std::vector<Volume<float>>& channels, const SegmentOptions& o = {}) {
  SegmentInput input;
  for (const Volume<float>& v : channels) input.channels.push_back(&v);
  return segment(ctx, models, input, o);
}
template <class = void>
Segmentation segment(Context<Cpu>& ctx, const LoadedModel& model, const Volume<float>& scan, const SegmentOptions& o = {}) {
  return segment(ctx, std::vector<const LoadedModel*>{&model}, scan, o);
}

#ifdef CTSEG_PREBUILT_RECIPES   // linked to ctseg::prebuilt, which holds these
CTSEG_PREBUILT_RECIPES template class segmenting::Segmenter<Spec<float, 2, Cpu>>;
CTSEG_PREBUILT_RECIPES template class segmenting::Segmenter<Spec<float, 3, Cpu>>;
#endif

}   // namespace ctseg
