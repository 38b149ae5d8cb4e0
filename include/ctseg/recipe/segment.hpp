// A scan to its labels by a model's recipe: prepared, through windows, back on the scan's own grid.
#pragma once
#include <sys/resource.h>

#include <chrono>

#include "model_file.hpp"

namespace ctseg {

/// Where progress is told: a fraction from 0 to 1, never falling, on the calling thread.
struct ProgressSink {
  void (*tell)(void* user, double fraction) = nullptr;
  void* user = nullptr;
};

struct SegmentOptions {
  std::optional<double> overlap{};      // unset: the recipe's
  std::optional<Accuracy> accuracy{};   // unset: the context's
  Xyz<bool> mirror{};                   // axes of the prepared image to mirror as well; all combinations are averaged in logits
  Index max_memory = 0;                 // bytes that the plan may need; 0: no limit
  bool dry_run = false;                 // prepare and plan only
  ProgressSink progress{};
};

/// Wall time.
struct SegmentSeconds {
  double preprocess = 0, network = 0, stitch = 0, resample = 0;   // resample: decisions too
  double postprocess = 0;
  double total = 0;
};

struct Segmentation {
  std::string plan{};                             // lines of text
  std::optional<Volume<std::uint8_t>> labels{};   // ids of ModelRecipe::labels on the scan's grid; none after a dry run
  SegmentSeconds seconds{};
  Index windows = 0;          // that the network saw, mirrored ones too
  Index planned_memory = 0;   // bytes, of everything alive at once
  Index peak_memory = 0;      // bytes, the most that the process ever had resident
};

namespace segmenting {

class Clock {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Logits of the prepared image, channels fastest.
struct Logits {
  Grid grid;
  Tensor<float, 3> values{};
  Index channels() const { return values.shape().c; }
};

/// The mean of a network's logits over mirrored inputs.
template <class Net> class Mirrored {
 public:
  using S = typename Net::Spec;
  Mirrored(Context<Cpu>& ctx, const Net& net, const Shape<S::kDim>& window, const std::array<bool, 3>& axes)
      : ctx_(ctx), predict_(ctx, net, window), flipped_(window) {
    for (std::size_t d = 0; d < S::kDim; ++d)
      if (axes[d + 3 - S::kDim]) axes_.push_back(d);
  }
  Index count() const { return Index{1} << axes_.size(); }
  double seconds() const { return seconds_; }

  In<S> operator()(In<S> window) {
    if (axes_.empty()) return run(window);
    for (Index k = 0; k < count(); ++k) {
      copy_flipped(k, window, flipped_.data());
      const In<S> out = run(In<S>(flipped_.view()));
      if (k == 0) mean_ = Tensor<float, S::kDim>(out.shape), back_ = Tensor<float, S::kDim>(out.shape);
      copy_flipped(k, out, back_.data());
      const float share = 1.f / static_cast<float>(count());
      for (Index i = 0; i < mean_.shape().elements(); ++i) mean_.data()[i] += share * back_.data()[i];
    }
    return In<S>(mean_.view());
  }

 private:
  In<S> run(In<S> window) {
    const Clock clock;
    const In<S> out = predict_(window);
    seconds_ += clock.seconds();
    return out;
  }
  void copy_flipped(Index which, In<S> from, float* to) const {
    std::array<Index, S::kDim> at{};
    for (Index row = 0; row < from.shape.voxels(); ++row) {
      std::array<Index, S::kDim> source = at;
      for (std::size_t a = 0; a < axes_.size(); ++a)
        if (which >> a & 1) source[axes_[a]] = from.shape.space[axes_[a]] - 1 - at[axes_[a]];
      Index flat = 0;
      for (std::size_t d = 0; d < S::kDim; ++d) flat = flat * from.shape.space[d] + source[d];
      std::copy_n(from.row(flat), from.shape.c, to + row * from.shape.c);
      for (std::size_t d = S::kDim; d-- > 0;) {
        if (++at[d] < from.shape.space[d]) break;
        at[d] = 0;
      }
    }
  }

  Context<Cpu>& ctx_;
  Predictor<Net> predict_;
  std::vector<std::size_t> axes_{};
  Tensor<float, S::kDim> flipped_, mean_{}, back_{};
  double seconds_ = 0;
};

/// Everything of one call.
template <class = void> class Segmenter {
 public:
  Segmenter(Context<Cpu>& ctx, const LoadedModel& model, const SegmentOptions& options)
      : ctx_(ctx), model_(model.model), recipe_(model.recipe), options_(options) {
    check(recipe_);
    if (model_.in_channels() != 1)
      throw Error(Code::unsupported, "segment", text("the network takes ", model_.in_channels(), " channels; a scan has 1."));
    if (options.overlap) std::visit([&](auto& o) { o.overlap = *options.overlap; }, recipe_.sliding_window);
  }

  Segmentation run(const Volume<float>& scan) {
    const Clock all;
    tell(0);
    const Preprocessed prepared = apply_steps(scan, recipe_.preprocess, &ctx_.executor());
    out_.seconds.preprocess = all.seconds();
    model_.visit([&](const auto& net) { plan(net, scan.grid(), prepared.image.grid()); });
    tell(kPrepared);
    if (!options_.dry_run) {
      Logits logits = model_.visit([&](const auto& net) { return infer(net, prepared.image); });
      ctx_.check_cancelled("segment");
      tell(kInferred);
      const Clock clock;
      out_.labels = decide(std::move(logits), prepared.path);
      out_.seconds.resample = clock.seconds();
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

  void tell(double fraction) const {
    if (options_.progress.tell) options_.progress.tell(options_.progress.user, fraction);
  }
  template <AnySpec S> const SlidingWindowOptions<S::kDim>& window_options(const AnyNetwork<S>&) const {
    return std::get<SlidingWindowOptions<S::kDim>>(recipe_.sliding_window);
  }

  template <AnySpec S> void plan(const AnyNetwork<S>& net, const Grid& scan, const Grid& prepared) {
    const auto& o = window_options(net);
    const std::array<Index, 3> size{prepared.shape.z, prepared.shape.y, prepared.shape.x};
    Index windows = S::kDim == 2 ? size[0] : 1;
    for (std::size_t d = 0; d < S::kDim; ++d)
      windows *= std::ssize(window_starts(size[d + 3 - S::kDim], o.window.value[d], o.overlap));
    const Index mirrored = Index{1} << (options_.mirror.x + options_.mirror.y + (S::kDim == 3 && options_.mirror.z));
    out_.windows = options_.dry_run ? 0 : windows * mirrored;
    const WindowShape window = model_file::window_of(recipe_);
    const MemoryEstimate network = model_.memory(window, ctx_.traits());
    Tape<S> tape(Mode::infer, ctx_.traits());
    net.forward(tape.input({1, 1, o.window.value}));
    const Index voxels = prepared.voxels(), original = scan.voxels();
    const Index logits = (model_.out_channels() + 1) * voxels * 4, volumes = (2 * voxels + 3 * original) * 4;
    out_.planned_memory = network.total() + logits + volumes;
    char line[240];
    const auto add = [&](auto... parts) {
      std::snprintf(line, sizeof line, parts...);
      out_.plan += line;
    };
    const auto mb = [](Index bytes) { return static_cast<double>(bytes) / 1e6; };
    out_.plan = text("network   ", text(model_.config()), ", ", model_.parameter_count(), " parameters\n");
    out_.plan += text("scan      ", scan.shape, " voxels of ", scan.spacing_mm(), " mm -> ", prepared.shape, " of ",
                      prepared.spacing_mm(), " mm\n");
    out_.plan += text("windows   ", windows, " of ", o.window, ", overlap ", o.overlap,
                      mirrored > 1 ? text(", each ", mirrored, " times mirrored") : std::string(), "\n");
    add("work      %.3f T multiply-adds\n",
        static_cast<double>(windows * mirrored) * static_cast<double>(summarize(tape).multiply_adds) * 1e-12);
    add("memory    %.0f MB = network %.0f + logits %.0f + volumes %.0f\n", mb(out_.planned_memory), mb(network.total()),
        mb(logits), mb(volumes));
    if (options_.max_memory > 0 && out_.planned_memory > options_.max_memory)
      throw Error(Code::out_of_memory, "segment",
                  text("needs ", out_.planned_memory, " bytes (network ", network.total(), ", logits ", logits, ", volumes ",
                       volumes, "); max_memory is ", options_.max_memory,
                       ". Hint: a larger spacing, a crop to the foreground or a smaller window needs less."));
  }

  /// All windows, stitched. What follows the windows in bounded memory goes here and into decide().
  template <AnySpec S> Logits infer(const AnyNetwork<S>& net, const Volume<float>& image) {
    const auto& o = window_options(net);
    const std::array<bool, 3> axes{options_.mirror.z, options_.mirror.y, options_.mirror.x};
    Mirrored<AnyNetwork<S>> predict(ctx_, net, Shape<S::kDim>{1, 1, o.window.value}, axes);
    const Clock clock;
    Index done = 0;
    const auto step = [&](In<S> window) {
      const In<S> logits = predict(window);
      done += predict.count();
      tell(kPrepared + (kInferred - kPrepared) * static_cast<double>(done) / static_cast<double>(out_.windows));
      return logits;
    };
    Logits all{image.grid()};
    if constexpr (S::kDim == 3) {
      all.values = sliding_window<S>(ctx_, step, In<S>{image.data(), image.tensor_shape(), 1}, o);
    } else {   // slice by slice
      const Shape<3> whole = image.tensor_shape();
      const Shape<2> slice{1, 1, {whole.space[1], whole.space[2]}};
      all.values = Tensor<float, 3>(whole.with_channels(model_.out_channels()));
      for (Index z = 0; z < whole.space[0]; ++z) {
        const auto part = sliding_window<S>(ctx_, step, In<S>{image.data() + z * slice.voxels(), slice, 1}, o);
        std::copy_n(part.data(), part.shape().elements(), all.values.data() + z * part.shape().elements());
      }
    }
    out_.seconds.network = predict.seconds();
    out_.seconds.stitch = clock.seconds() - predict.seconds();
    return all;
  }

  /// f(voxel) for all of them.
  template <class F> void each_voxel(Index voxels, F f) const {
    parallel_blocks(ctx_.executor(), voxels, Index{1} << 16, [&](Index first, Index last) {
      for (Index i = first; i < last; ++i) f(i);
    });
  }
  bool argmax() const { return recipe_.decision.kind == LabelDecision::argmax; }

  void to_probabilities(Logits& logits) const {
    const Index channels = logits.channels();
    each_voxel(logits.grid.voxels(), [&](Index i) {
      float* const row = logits.values.data() + i * channels;
      if (!argmax()) {
        for (Index c = 0; c < channels; ++c) row[c] = Sigmoid<float>{}.value(row[c], 0);
        return;
      }
      const float most = *std::max_element(row, row + channels);
      float sum = 0;
      for (Index c = 0; c < channels; ++c) sum += row[c] = std::exp(row[c] - most);
      for (Index c = 0; c < channels; ++c) row[c] /= sum;
    });
  }

  /// Ids on the scan's grid. One channel at a time comes back, so that this needs three volumes of the scan's size.
  Volume<std::uint8_t> decide(Logits logits, const GridPath& path) const {
    const WayBack way = recipe_.decision.way_back;
    if (way == WayBack::labels) {
      const GridPath here(logits.grid);
      const double outside = argmax() && !has_zero() ? static_cast<double>(recipe_.labels[0].id) : 0;   // as decide_on has it
      return path.to_original(decide_on(logits, here, threshold_of(WayBack::logits)),
                              {.outside = outside, .executor = &ctx_.executor()});
    }
    if (way == WayBack::probabilities) to_probabilities(logits);
    return decide_on(logits, path, threshold_of(way));
  }
  float threshold_of(WayBack way) const {
    const double t = recipe_.decision.threshold;
    return static_cast<float>(way == WayBack::probabilities ? t : std::log(t / (1 - t)));
  }

  Volume<std::uint8_t> decide_on(const Logits& logits, const GridPath& path, float threshold) const {
    Volume<std::uint8_t> labels(path.original());
    std::optional<Volume<float>> best;
    for (Index c = 0; c < logits.channels(); ++c) {
      ctx_.check_cancelled("segment");
      Volume<float> channel(logits.grid);
      each_voxel(logits.grid.voxels(), [&](Index i) { channel.data()[i] = logits.values.data()[i * logits.channels() + c]; });
      const Index id = argmax() ? recipe_.labels[static_cast<std::size_t>(c)].id
                                : recipe_.decision.regions_order[static_cast<std::size_t>(c)];
      // What was cropped away is background: label 0, or the first channel.
      const bool background = argmax() && (id == 0 || (c == 0 && !has_zero()));
      Volume<float> here = path.to_original(channel, {.outside = background ? 0.0 : -1e30, .executor = &ctx_.executor()});
      const auto set = [&](Index i) { labels.data()[i] = static_cast<std::uint8_t>(id); };
      if (!argmax()) {
        each_voxel(labels.grid().voxels(), [&](Index i) {
          if (here.data()[i] > threshold) set(i);
        });
      } else if (!best) {
        each_voxel(labels.grid().voxels(), set);
        best = std::move(here);
      } else {
        each_voxel(labels.grid().voxels(), [&](Index i) {
          if (here.data()[i] > best->data()[i]) best->data()[i] = here.data()[i], set(i);
        });
      }
    }
    return labels;
  }
  bool has_zero() const {
    return std::any_of(recipe_.labels.begin(), recipe_.labels.end(), [](const LabelInfo& l) { return l.id == 0; });
  }

  Context<Cpu>& ctx_;
  const AnyModel& model_;
  ModelRecipe recipe_;
  const SegmentOptions& options_;
  Segmentation out_{};
};

}   // namespace segmenting

/// The labels of a scan, on exactly its grid. ModelRecipe::postprocess comes last.
/// Cost      Segmentation::plan says it; all logits of the prepared image are in memory.
/// Errors    out_of_memory before any window if the plan needs more than max_memory; cancelled between windows and stages;
///           unsupported for networks of several input channels; those of the steps.
template <class = void>
Segmentation segment(Context<Cpu>& ctx, const LoadedModel& model, const Volume<float>& scan, const SegmentOptions& o = {}) {
  if (!o.accuracy || *o.accuracy == ctx.traits().accuracy) return segmenting::Segmenter<>(ctx, model, o).run(scan);
  ContextOptions same = ctx.options();
  same.accuracy = *o.accuracy;
  Context<Cpu> own(same);
  return segmenting::Segmenter<>(own, model, o).run(scan);
}

}   // namespace ctseg
