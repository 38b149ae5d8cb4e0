// Whole volumes in bounded memory: windows go through the network in z order; logits are handed over, and forgotten, as soon as
// no later window touches them. What is not finished may wait in a file.
#pragma once
#include <cstdio>
#include <optional>

#include "../core/tensor.hpp"
#include "stitcher.hpp"
#include "windows.hpp"

namespace ctseg {

template <int Dim> struct StreamOptions {
  SlidingWindowOptions<Dim> windows{};
  std::optional<float> skip_below{};   // a window without a value above it is not run; its logits are `background`
  std::vector<float> background{};     // one logit for each class
  Index max_memory = 0;                // bytes in all; 0: no limit. Beyond it, unfinished logits wait in a temporary file
  Index in_use = 0;                    // bytes of max_memory that others take: network, image, labels, what the receiver keeps
  std::string spill_folder{};          // of that file; empty: the one that TMPDIR names, else /tmp
};

/// What a stream will hold and do; the same for every run, since it follows from shapes and options alone.
struct StreamPlan {
  Index windows = 0, layers = 0;   // layers: of windows that begin at the same slice
  Index channels = 0;
  std::array<Index, 3> image{}, window{};   // z, y, x
  Index frontier_bytes = 0;                 // unfinished logits, where there are most
  Index resident_bytes = 0;                 // of these, in memory
  Index spill_bytes = 0;                    // of these, in the file: its size
  Index spilled_bytes = 0;                  // written to the file in all, and read again
  Index buffer_bytes = 0;                   // windows on their way to the network, and slices on their way to the receiver
  Index in_use = 0, max_memory = 0;         // of the options

  Index total_bytes() const { return resident_bytes + buffer_bytes + in_use; }
};

/// What a stream did.
struct StreamReport {
  StreamPlan plan{};
  Index run = 0, skipped = 0;   // windows
  double seconds = 0;           // in all; of these:
  double network_seconds = 0, spill_seconds = 0, sink_seconds = 0;
};

namespace detail {
inline std::string size_text(Index bytes) { return text((bytes + 999999) / 1000000, " MB"); }
inline std::string extents(const std::array<Index, 3>& zyx) { return text(zyx[2], "x", zyx[1], "x", zyx[0]); }
}   // namespace detail

inline std::string text(const StreamPlan& p) {
  std::string line = text(p.windows, " windows of ", detail::extents(p.window), " over ", detail::extents(p.image), ", ",
                          p.channels, " classes: ", detail::size_text(p.total_bytes()), " = ",
                          detail::size_text(p.resident_bytes), " of unfinished logits + ", detail::size_text(p.buffer_bytes),
                          " of buffers + ", detail::size_text(p.in_use), " in use");
  if (p.max_memory > 0) line += text(", of ", detail::size_text(p.max_memory), " allowed");
  if (p.spill_bytes > 0)
    line += text("; ", detail::size_text(p.spill_bytes), " wait in a file (", detail::size_text(p.spilled_bytes),
                 " written and read in all)");
  return line;
}
inline std::string text(const StreamReport& r) {
  char line[160];
  std::snprintf(line, sizeof line,
                "%.1f s, %.0f %% of it the network, %.1f s the file, %.1f s the receiver; %lld windows not run", r.seconds,
                r.seconds > 0 ? 100 * r.network_seconds / r.seconds : 0, r.spill_seconds, r.sink_seconds,
                static_cast<long long>(r.skipped));
  return text(r.plan) + "; " + line;
}

/// What is streamed: an image of shape [1, Cin, D, H, W], in two dimensions [slices, Cin, H, W], of values of S::T.
template <AnySpec S> struct StreamInput {
  Shape<S::kDim> image{};
  Index channels = 1;   // the network's classes
  bool slabs = true;    // the receiver takes LogitSlab rather than LogitBlock
};

namespace detail {

/// Bytes of everything but unfinished logits.
template <AnySpec S>
Index stream_buffers(const WindowGrid& grid, const StreamInput<S>& input, const StreamOptions<S::kDim>& o) {
  const Index voxels = grid.window[0] * grid.window[1] * grid.window[2] * o.windows.batch;
  Index bytes = voxels * input.image.c * Index{sizeof(typename S::T)} * (grid.padded() ? 2 : 1);
  if constexpr (!std::is_same_v<typename S::T, float>) bytes += voxels * input.channels * Index{sizeof(float)};
  if (input.slabs)   // and the part of a slab that comes from the file
    bytes +=
        2 * Stitcher::slab_slices(grid, input.channels) * grid.image[1] * grid.image[2] * input.channels * Index{sizeof(float)};
  return bytes;
}

/// Errors    out_of_memory if not even one cell fits.
template <AnySpec S>
FrontierOptions frontier_options(const WindowGrid& grid, const StreamInput<S>& input, const StreamOptions<S::kDim>& o) {
  FrontierOptions f{.channels = input.channels, .slabs = input.slabs, .folder = o.spill_folder};
  if (o.max_memory <= 0) return f;
  const Index buffers = stream_buffers(grid, input, o), block = Frontier(grid, f).largest_bytes();
  f.budget = o.max_memory - buffers - o.in_use;
  if (f.budget < block)
    throw Error(Code::out_of_memory, "stream_windows",
                text("max_memory = ", size_text(o.max_memory), ", but ", size_text(o.in_use), " are in use, buffers take ",
                     size_text(buffers), " and one block of unfinished logits ", size_text(block), "; must be at least ",
                     size_text(o.in_use + buffers + block), ". Hint: smaller windows or batches, or more memory."));
  return f;
}

}   // namespace detail

/// Memory and windows of a stream, without running it.
/// Errors    out_of_memory if max_memory is too small even with a file; those of sliding_window.
template <AnySpec S>
StreamPlan plan_stream(Context<Cpu>& ctx, const StreamInput<S>& input, const std::type_identity_t<StreamOptions<S::kDim>>& o) {
  const detail::WindowGrid grid = detail::make_window_grid(input.image, o.windows);
  detail::FrontierOptions f = detail::frontier_options(grid, input, o);
  f.dry = true;
  detail::Stitcher stitcher(ctx, grid, f);
  const auto nobody = [](const LogitBlock&) {};
  for (Index w = 0; w < grid.windows(); ++w) stitcher.add(w, {}, nobody);
  return {.windows = grid.windows(),
          .layers = grid.count(0),
          .channels = input.channels,
          .image = grid.image,
          .window = grid.window,
          .frontier_bytes = stitcher.frontier.most_unfinished,
          .resident_bytes = stitcher.frontier.most_resident,
          .spill_bytes = stitcher.frontier.file_bytes,
          .spilled_bytes = stitcher.frontier.written_bytes,
          .buffer_bytes = detail::stream_buffers(grid, input, o),
          .in_use = o.in_use,
          .max_memory = o.max_memory};
}

/// Any channels-last array as an image whose values become S::T, through `map`, when a window is cut: an int16 scan stays one.
template <AnySpec S, class V, class Map> struct ArraySource {
  const V* data = nullptr;
  Shape<S::kDim> image{};
  Index pitch = 0;   // values from voxel to voxel
  Map map{};

  const Shape<S::kDim>& shape() const { return image; }
  /// Fills `to` with the box of its extents whose first voxel is z, y, x (z: the slice, in two dimensions).
  void read(const std::array<Index, 3>& first, Out<S> to) const {
    const auto size = to.shape.space;
    const Index rows = size[S::kDim - 2], columns = size[S::kDim - 1];
    for (Index r = 0; r < to.shape.voxels() / columns; ++r) {
      const Index z = first[0] + r / rows, y = first[1] + r % rows;
      const V* from = data + ((z * image.space[S::kDim - 2] + y) * image.space[S::kDim - 1] + first[2]) * pitch;
      typename S::T* out = to.data + r * columns * image.c;
      if (pitch == image.c)
        std::transform(from, from + columns * image.c, out, map);
      else
        for (Index x = 0; x < columns; ++x)
          std::transform(from + x * pitch, from + x * pitch + image.c, out + x * image.c, map);
    }
  }
};
template <AnySpec S, class V, class Map>
ArraySource<S, V, Map> array_source(const V* data, const Shape<S::kDim>& image, Map map) {
  return {data, image, image.c, map};
}

namespace detail {

struct SameValue {
  template <class V> V operator()(V value) const { return value; }
};

/// Cuts windows out of a source, into the places of a batch.
template <AnySpec S, class Source> class WindowCutter {
  using T = typename S::T;

 public:
  WindowCutter(Source& source, const WindowGrid& grid, const SlidingWindowOptions<S::kDim>& o)
      : source_(&source), grid_(&grid), outside_(o.outside), batch_(Shape<S::kDim>{o.batch, source.shape().c, o.window.value}) {
    if (!grid.padded()) return;
    Shape<S::kDim> inside{1, source.shape().c, {}};
    for (std::size_t a = 0; a < 3; ++a) {
      const Index size = std::min(grid.window[a], grid.image[a]),
                  first = grid.image[a] < grid.window[a] ? grid.starts[a][0] : 0;
      if (a + S::kDim >= 3) inside.space[a + S::kDim - 3] = size;
      for (Index i = 0; i < grid.window[a]; ++i) from_[a].push_back(padded_at(first + i, size, o.padding));
    }
    inside_ = Tensor<T, S::kDim>(inside);
  }

  In<S> batch() { return batch_.view(); }
  void cut(Index w, Index place) {
    std::array<Index, 3> first = grid_->start(w);
    for (Index& f : first) f = std::max<Index>(f, 0);
    const Out<S> to{batch_.view().at(place, 0), {1, batch_.shape().c, batch_.shape().space}, batch_.shape().c};
    source_->read(first, grid_->padded() ? Out<S>(inside_.view()) : to);
    if (grid_->padded()) pad(to.data);
  }
  bool all_below(Index place, float threshold) {
    const T* values = batch_.view().at(place, 0);
    return std::all_of(values, values + batch_.shape().elements() / batch_.shape().n,
                       [&](T v) { return static_cast<float>(v) <= threshold; });
  }
  /// Places from `used` on get the window before them: a network of one shape takes full batches only.
  void fill_from(Index used) {
    const Index one = batch_.shape().elements() / batch_.shape().n;
    for (; used < batch_.shape().n; ++used) std::copy_n(batch_.data() + (used - 1) * one, one, batch_.data() + used * one);
  }

 private:
  void pad(T* to) const {
    const Index channels = batch_.shape().c, rows = std::ssize(from_[1]);
    const Index inside_rows = std::min(grid_->window[1], grid_->image[1]),
                inside_columns = std::min(grid_->window[2], grid_->image[2]);
    for (std::size_t z = 0; z < from_[0].size(); ++z)
      for (Index y = 0; y < rows; ++y)
        for (const Index x : from_[2]) {
          const Index fz = from_[0][z], fy = from_[1][static_cast<std::size_t>(y)];
          if (fz < 0 || fy < 0 || x < 0)
            std::fill_n(to, channels, T(outside_));
          else
            std::copy_n(inside_.data() + ((fz * inside_rows + fy) * inside_columns + x) * channels, channels, to);
          to += channels;
        }
  }

  Source* source_;
  const WindowGrid* grid_;
  float outside_;
  Tensor<T, S::kDim> batch_, inside_{};
  std::array<std::vector<Index>, 3> from_;   // voxel inside that a voxel of the window shows; -1: outside
};

/// One run: windows gather until a batch is full, go through the network, and are blended in their order.
template <AnySpec S, class Predict, class Source, class Sink> class Stream {
 public:
  Stream(Context<Cpu>& ctx, Predict& predict, Source& source, const StreamOptions<S::kDim>& o, Sink& sink)
      : ctx_(&ctx),
        predict_(&predict),
        options_(&o),
        sink_(&sink),
        image_(source.shape()),
        grid_(make_window_grid(checked(source.shape(), "sliding_window"), o.windows)),
        cutter_(source, grid_, o.windows) {
    if (S::kDim == 3 && image_.n != 1)
      throw Error(Code::shape_mismatch, "sliding_window", text("image is ", image_, "; one image at a time."));
    if (o.skip_below && o.background.empty())
      throw Error(Code::bad_argument, "stream_windows",
                  "skip_below needs the logits of windows that are not run. Hint: set background.");
    if (o.skip_below) prepare(std::ssize(o.background));   // there may be nothing to run
  }

  StreamReport run() {
    const auto start = now();
    for (Index w = 0; w < grid_.windows(); ++w) {
      cutter_.cut(w, waiting_);
      const bool skip = options_->skip_below && cutter_.all_below(waiting_, *options_->skip_below);
      pending_.push_back({w, skip ? -1 : waiting_++});
      if (waiting_ == options_->windows.batch || w + 1 == grid_.windows() || waiting_ == 0) flush();
    }
    report_.seconds = since(start);
    report_.spill_seconds = stitcher_->frontier.seconds, report_.sink_seconds = stitcher_->sink_seconds;
    return report_;
  }

 private:
  struct Pending {
    Index window, place;   // in the batch; -1: not run
  };
  using Clock = std::chrono::steady_clock;
  static Clock::time_point now() { return Clock::now(); }
  static double since(Clock::time_point start) { return std::chrono::duration<double>(now() - start).count(); }

  /// Runs the waiting windows and blends all pending ones.
  void flush() {
    ctx_->check_cancelled("sliding_window");
    In<S> logits{};
    if (waiting_ > 0) {
      cutter_.fill_from(waiting_);
      const auto start = now();
      logits = (*predict_)(cutter_.batch());
      report_.network_seconds += since(start);
      check(logits.shape);
      if (!stitcher_) prepare(logits.shape.c);
    }
    const float* values = waiting_ > 0 ? in_float(logits) : nullptr;
    const Index row = grid_.window[2] * report_.plan.channels, one = grid_.window[0] * grid_.window[1] * row;
    for (const Pending& p : pending_)
      if (p.place < 0)
        stitcher_->add(p.window, {background_.data(), 0}, *sink_), ++report_.skipped;
      else
        stitcher_->add(p.window, {values + p.place * one, row}, *sink_), ++report_.run;
    pending_.clear();
    waiting_ = 0;
  }
  void check(const Shape<S::kDim>& made) const {
    const SlidingWindowOptions<S::kDim>& o = options_->windows;
    if (made.n == o.batch && made.space == o.window.value && (!stitcher_ || made.c == report_.plan.channels)) return;
    throw Error(Code::shape_mismatch, "sliding_window",
                text("predict made ", made, " of a window ", o.window, " (batch ", o.batch,
                     "); it must keep the size and the number of channels",
                     stitcher_ ? text(" (", report_.plan.channels, ")") : std::string(), "."));
  }
  /// The number of classes is known: plan, and make what holds unfinished logits.
  void prepare(Index channels) {
    const StreamInput<S> input{image_, channels, !kTakesBlocks<Sink>};
    report_.plan = plan_stream(*ctx_, input, *options_);
    stitcher_ = std::make_unique<Stitcher>(*ctx_, grid_, frontier_options(grid_, input, *options_));
    for (Index x = 0; x < grid_.window[2]; ++x)
      background_.insert(background_.end(), options_->background.begin(), options_->background.end());
  }
  const float* in_float(const In<S>& logits) {
    if constexpr (std::is_same_v<typename S::T, float>)
      if (logits.contiguous()) return logits.data;
    const Index channels = logits.shape.c;
    float_logits_.resize(static_cast<std::size_t>(logits.shape.elements()));
    parallel_blocks(ctx_->executor(), logits.rows(), 4096, [&](Index from, Index to) {
      for (Index r = from; r < to; ++r)
        std::transform(logits.row(r), logits.row(r) + channels, float_logits_.data() + r * channels,
                       [](typename S::T v) { return static_cast<float>(v); });
    });
    return float_logits_.data();
  }

  Context<Cpu>* ctx_;
  Predict* predict_;
  const StreamOptions<S::kDim>* options_;
  Sink* sink_;
  Shape<S::kDim> image_;
  WindowGrid grid_;
  WindowCutter<S, Source> cutter_;
  std::unique_ptr<Stitcher> stitcher_;
  std::vector<Pending> pending_;
  Index waiting_ = 0;                              // windows in the batch
  std::vector<float> background_, float_logits_;   // background_: a row of it
  StreamReport report_;
};

}   // namespace detail

/// Runs predict on all windows of an image and hands their blended logits to the sink: finished slices, lowest first, to a
/// sink(const LogitSlab&), or finished boxes to a sink(const LogitBlock&), which takes a third less memory.
/// Shapes    image: an In<S> [1, Cin, D, H, W], in two dimensions [slices, Cin, H, W]; or a source with shape() and read(),
///           see ArraySource. predict(In<S> [batch, Cin, window]) -> In<S> [batch, C, window]; the last batch is filled up.
/// Numerics  sums in float, windows in their order: the same bits for any number of threads, any batch and any max_memory.
/// Errors    bad_argument for an overlap outside [0, 1), a window or batch below 1, skip_below without background;
///           shape_mismatch for several volumes at once, or if predict does not keep the window's size; out_of_memory if
///           max_memory cannot be kept; io if the temporary file cannot be written; cancelled between batches.
template <AnySpec S, class Predict, class Source, class Sink>
StreamReport stream_windows(Context<Cpu>& ctx, Predict&& predict, Source&& image,
                            const std::type_identity_t<StreamOptions<S::kDim>>& o, Sink&& sink) {
  using Image = std::remove_cvref_t<Source>;
  if constexpr (std::is_convertible_v<const Image&, In<S>>) {
    const In<S> view = image;
    const ArraySource<S, typename S::T, detail::SameValue> source{view.data, view.shape, view.pitch};
    return stream_windows<S>(ctx, predict, source, o, sink);
  } else {
    using Net = std::remove_reference_t<Predict>;
    return detail::Stream<S, Net, std::remove_reference_t<Source>, std::remove_reference_t<Sink>>(ctx, predict, image, o, sink)
        .run();
  }
}

}   // namespace ctseg
