// A scan to its labels by a model's recipe: prepared, through windows, back on the scan's own grid, all of it in bounded memory:
// logits go slice by slice from the windows to the labels, and are forgotten.
#pragma once
#include "segment_terms.hpp"

namespace ctseg {
namespace segmenting {

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
        terms_(models, options),
        nets_(nets_of(models)),
        looks_(ctx, nets_, terms_.looks()),
        stream_(terms_.template stream<kDim>()) {
    stream_.max_memory = options.max_memory, stream_.spill_folder = options.spill_folder;
  }

  Segmentation run(const SegmentInput& input) {
    return terms_.run(ctx_, input, [&](const Prepared& p, Segmentation& out) {
      PreparedImage<S> image(p.scan, p.previous, terms_.recipe().previous_labels);
      LabelWriter<> writer(p.scan.path, first_.out_channels(), terms_.to_original(ctx_.executor()));
      plan(p, image, writer);
      out.planned_memory = memory_.most();
      out.plan = described(*input.channels[0], p.scan.image);
      terms_.tell(Terms::kPrepared);
      if (!terms_.options().dry_run) infer(image, writer, out);
    });
  }

 private:
  static std::vector<const AnyNetwork<S>*> nets_of(const std::vector<const LoadedModel*>& models) {
    std::vector<const AnyNetwork<S>*> nets;
    for (const LoadedModel* m : models)
      m->model.visit([&]<class Net>(const Net& net) {
        if constexpr (std::is_same_v<Net, AnyNetwork<S>>) nets.push_back(&net);
      });
    return nets;
  }

  void plan(const Prepared& p, const PreparedImage<S>& image, const LabelWriter<>& writer) {
    const ModelRecipe& recipe = terms_.recipe();
    const Shape<kDim> batch{stream_.windows.batch, image.shape().c, stream_.windows.window.value};
    memory_.network = looks_.mean_bytes(batch.with_channels(first_.out_channels()));
    looks_.each(batch, [&](const AnyNetwork<S>& net, const Shape<kDim>& window) {
      Tape<S> tape(Mode::infer, ctx_.traits());
      const Var<S> y = net.forward(tape.input(window));
      memory_.network += Plan<S>(tape, PlanOptions<S>{.outputs = {y}}).memory().total();
      work_ += summarize(tape).multiply_adds;
    });
    const Index voxels = image.shape().n * image.shape().voxels();
    memory_.preparing = p.preparing_bytes;
    memory_.volumes = p.scan_bytes + writer.bytes() +
                      voxels * (scan_channels_of(recipe) * Index{sizeof(float)} + !recipe.previous_labels.empty());
    stream_.in_use = memory_.in_use();
    memory_.stream = plan_stream<S>(ctx_, {image.shape(), first_.out_channels()}, stream_);
  }
  std::string described(const Volume<float>& scan, const Volume<float>& image) const {
    const StreamPlan& p = memory_.stream;
    const auto& o = stream_.windows;
    std::string all;
    char line[320];
    const auto add = [&](auto... parts) {
      std::snprintf(line, sizeof line, parts...);
      all += line;
    };
    const auto mb = [](Index bytes) { return static_cast<double>(bytes) / 1e6; };
    for (const AnyNetwork<S>* net : nets_)
      all += text("network   ", text(first_.config()), ", ", parameter_count(*net), " parameters\n");
    all += text("scan      ", scan.shape(), " voxels of ", scan.spacing_mm(), " mm -> ", image.shape(), " of ",
                image.spacing_mm(), " mm\n");
    all +=
        text("windows   ", p.windows, " of ", o.window, ", overlap ", o.overlap,
             looks_.count() > 1 ? text(", each ", looks_.count(), " times", looks_.words()) : std::string(),
             stream_.skip_below ? text(", none where all values are at most ", *stream_.skip_below) : std::string(), "\n");
    add("work      %.3f T multiply-adds\n",
        static_cast<double>((p.windows + o.batch - 1) / o.batch * looks_.mirrors()) * static_cast<double>(work_) * 1e-12);
    add("memory    %.0f MB = network %.0f + volumes %.0f + unfinished logits %.0f + buffers %.0f", mb(p.total_bytes()),
        mb(memory_.network), mb(memory_.volumes), mb(p.resident_bytes), mb(p.buffer_bytes));
    if (p.max_memory > 0) add(", of %.0f allowed", mb(p.max_memory));
    if (memory_.preparing > p.total_bytes()) add("; %.0f while the scan is prepared", mb(memory_.preparing));
    all += '\n';
    if (p.spill_bytes > 0)
      add("file      %.0f MB of unfinished logits, %.0f MB written and read in all\n", mb(p.spill_bytes), mb(p.spilled_bytes));
    return all;
  }

  void infer(PreparedImage<S>& image, LabelWriter<>& writer, Segmentation& out) {
    const auto windows = static_cast<double>(memory_.stream.windows);
    const auto predict = [&](In<S> window) {
      const In<S> scores = looks_(window);
      terms_.tell(Terms::kPrepared + (Terms::kInferred - Terms::kPrepared) * static_cast<double>(image.cut()) / windows);
      return scores;
    };
    const StreamReport r = stream_windows<S>(ctx_, predict, image, stream_, writer);
    ctx_.check_cancelled("segment");
    terms_.tell(Terms::kInferred);
    const Clock clock;
    OnOriginalGrid<std::uint8_t> result = writer.finish();
    out.labels = std::move(result.labels), out.probability = std::move(result.probability);
    out.seconds.network = r.network_seconds, out.seconds.spill = r.spill_seconds;
    out.seconds.stitch = r.seconds - r.network_seconds - r.sink_seconds;
    out.seconds.resample = r.sink_seconds + clock.seconds();
    out.windows = r.run * looks_.count(), out.skipped = r.skipped, out.spilled = r.plan.spilled_bytes;
  }

  Context<Cpu>& ctx_;
  const AnyModel& first_;
  Terms terms_;
  std::vector<const AnyNetwork<S>*> nets_;
  Looks<S> looks_;
  StreamOptions<kDim> stream_;
  Memory memory_{};
  Index work_ = 0;   // multiply-adds of a batch of windows
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
