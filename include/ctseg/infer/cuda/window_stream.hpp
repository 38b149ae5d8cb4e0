// Windows of a scan on the card through a network on the card: gathered, run, blended, and finished slices handed to whoever
// makes labels of them. The host counts windows and launches; it reads nothing back but which windows are air.
#pragma once
#include <chrono>
#include <cstring>

#include "../../nn/predictor.hpp"
#include "../streaming.hpp"
#include "scan.hpp"

namespace ctseg::cuda {

/// Small tables that go to the card in one copy.
class Tables {
 public:
  /// Where the values will be, for at().
  template <class V> Index add(const std::vector<V>& values) {
    const Index at = (std::ssize(host_) + 15) / 16 * 16, bytes = std::ssize(values) * Index{sizeof(V)};
    host_.resize(static_cast<std::size_t>(at + bytes));
    if (bytes > 0) std::memcpy(host_.data() + at, values.data(), static_cast<std::size_t>(bytes));
    return at;
  }
  void upload(Context<Cuda>& ctx) {
    memory_ = ctx.allocate(std::ssize(host_));
    copy_to_device(ctx.stream(), memory_.data(), host_.data(), std::ssize(host_));
  }
  template <class V> const V* at(Index offset) const { return reinterpret_cast<const V*>(memory_.data() + offset); }
  Index bytes() const { return std::ssize(host_); }

 private:
  std::vector<std::byte> host_;
  Memory<Cuda> memory_;
};

/// The windows' grid on the card.
class DeviceWindows {
 public:
  DeviceWindows(Context<Cuda>& ctx, const detail::WindowGrid& grid) {
    std::array<std::array<Index, 3>, 3> at{};
    for (std::size_t a = 0; a < 3; ++a) {
      std::vector<int> starts, cover;
      for (const Index s : grid.starts[a]) starts.push_back(static_cast<int>(s));
      for (Index v = 0; v < grid.image[a]; ++v) {
        const auto first = std::upper_bound(starts.begin(), starts.end(), static_cast<int>(v - grid.window[a]));
        cover.push_back(static_cast<int>(first - starts.begin()));
        cover.push_back(static_cast<int>(std::upper_bound(first, starts.end(), static_cast<int>(v)) - starts.begin()));
      }
      at[a] = {memory_.add(starts), memory_.add(cover), memory_.add(grid.profile[a])};
    }
    memory_.upload(ctx);
    for (std::size_t a = 0; a < 3; ++a) {
      tables.image[a] = static_cast<int>(grid.image[a]), tables.window[a] = static_cast<int>(grid.window[a]);
      tables.count[a] = static_cast<int>(grid.count(a));
      tables.start[a] = memory_.at<int>(at[a][0]), tables.cover[a] = memory_.at<int>(at[a][1]);
      tables.profile[a] = memory_.at<float>(at[a][2]);
    }
    tables.least = grid.least;
  }
  WindowTables tables{};

 private:
  Tables memory_;
};

/// What a stream asks of a receiver: prepare(channels) gives the rule by which the blending pass itself may write labels (none:
/// no labels in it), kept() how many finished slices must stay in the ring beside those handed over, and receiver(SliceJob) is
/// called for finished slices, lowest first, each once.
template <AnySpec S, class Predict, class Receiver> class WindowStream {
 public:
  WindowStream(Context<Cuda>& ctx, Predict& predict, const DeviceScan& scan, const StreamOptions<S::kDim>& o,
               Receiver& receiver)
      : ctx_(&ctx),
        predict_(&predict),
        options_(&o),
        receiver_(&receiver),
        image_(image_shape(scan)),
        grid_(detail::make_window_grid(checked(image_, "sliding_window"), o.windows)),
        windows_(ctx, grid_),
        source_{scan.values(), scan.channels(), windows_.tables, o.windows.padding, o.windows.outside} {
    if (o.skip_below && o.background.empty())
      throw Error(Code::bad_argument, "stream_windows",
                  "skip_below needs the logits of windows that are not run. Hint: set background.");
    if (grid_.windows() >= Index{1} << 31)
      throw Error(Code::unsupported, "stream_windows",
                  ctseg::text(grid_.windows(), " windows; must be below 2^31. Hint: less overlap."));
    find_places();
    if constexpr (!kOwnInput) batch_ = ctx.allocate(window_shape().elements() * Index{sizeof(typename S::T)});
    if (o.skip_below) prepare(std::ssize(o.background));   // there may be nothing to run
  }

  StreamReport run() {
    const auto start = std::chrono::steady_clock::now();
    const auto n = static_cast<int>(grid_.windows());
    std::vector<int> batch;
    for (int w = 0, first = 0; w < n; ++w) {
      if (place_[static_cast<std::size_t>(w)] >= 0) batch.push_back(w);
      if (std::ssize(batch) < options_->windows.batch && w + 1 < n && !batch.empty()) continue;
      ctx_->check_cancelled("sliding_window");
      flush(first, w + 1, batch);
      batch.clear(), first = w + 1;
    }
    synchronize(ctx_->stream());
    report_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return report_;
  }

 private:
  // A Predictor's input is filled in place; other callables get a batch of the stream's own.
  static constexpr bool kOwnInput = requires(Predict & p) {
    { p.input() } -> std::same_as<Out<S>>;
    p();
  };

  static Shape<S::kDim> image_shape(const DeviceScan& scan) {
    const auto e = scan.extents();
    Shape<S::kDim> shape{S::kDim == 2 ? e[0] : 1, scan.channels(), {}};
    std::copy_n(e.end() - S::kDim, S::kDim, shape.space.begin());
    return shape;
  }
  Shape<S::kDim> window_shape() const { return {options_->windows.batch, image_.c, options_->windows.window.value}; }

  /// Which windows are run, and as which of their batch.
  void find_places() {
    const auto n = static_cast<std::size_t>(grid_.windows());
    std::vector<std::uint8_t> occupied(n, 1);
    if (options_->skip_below) {
      Memory<Cuda> flags = ctx_->allocate(grid_.windows());
      clear(ctx_->stream(), flags.data(), grid_.windows());
      find_occupied(ctx_->stream(), source_,
                    {dtype_of<typename S::T>(), *options_->skip_below, reinterpret_cast<std::uint8_t*>(flags.data())});
      copy_to_host(ctx_->stream(), occupied.data(), flags.data(), grid_.windows());
      synchronize(ctx_->stream());
    }
    Index waiting = 0;
    for (std::size_t w = 0; w < n; ++w) {
      place_.push_back(occupied[w] ? static_cast<int>(waiting++) : -1);
      if (waiting == options_->windows.batch) waiting = 0;
    }
    places_at_ = tables_.add(place_), background_at_ = tables_.add(options_->background);
    tables_.upload(*ctx_);
  }

  void flush(int first, int last, const std::vector<int>& batch) {
    In<S> logits{};
    if (!batch.empty()) {
      logits = look(batch);
      check(logits.shape);
      if (!prepared_) prepare(logits.shape.c);
    }
    report_.run += std::ssize(batch), report_.skipped += last - first - std::ssize(batch);
    const int layer = windows_.tables.count[1] * windows_.tables.count[2];
    while (first < last) {   // a layer at a time: its windows need the ring's places of slices that the one before finishes
      const int end = std::min(last, (first / layer + 1) * layer);
      blend(first, end, logits);
      if (end % layer == 0) hand_over(end / layer);
      first = end;
    }
  }
  /// The last batch is filled up with its last window: a network of one shape takes full batches only.
  In<S> look(const std::vector<int>& batch) {
    Out<S> to{};
    if constexpr (kOwnInput)
      to = predict_->input();
    else
      to = {reinterpret_cast<typename S::T*>(batch_.data()), window_shape(), image_.c};
    if (to.shape != window_shape())
      throw Error(Code::shape_mismatch, "predictor", ctseg::text("windows are ", window_shape(), ", made for ", to.shape, "."));
    for (Index n = 0; n < to.shape.n; n += WindowNumbers::kMost) {
      WindowNumbers numbers{.count = static_cast<int>(std::min<Index>(WindowNumbers::kMost, to.shape.n - n))};
      for (int i = 0; i < numbers.count; ++i)
        numbers.at[i] = batch[static_cast<std::size_t>(std::min(n + i, std::ssize(batch) - 1))];
      gather_windows(ctx_->stream(), source_, numbers, array_of(Out<S>{to.at(n, 0), to.shape, to.pitch}));
    }
    if constexpr (kOwnInput)
      return (*predict_)();
    else
      return (*predict_)(In<S>(to));
  }
  void check(const Shape<S::kDim>& made) const {
    const SlidingWindowOptions<S::kDim>& o = options_->windows;
    if (made.n == o.batch && made.space == o.window.value && (!prepared_ || made.c == report_.plan.channels)) return;
    throw Error(Code::shape_mismatch, "sliding_window",
                ctseg::text("predict made ", made, " of a window ", o.window, " (batch ", o.batch,
                            "); it must keep the size and the number of channels",
                            prepared_ ? ctseg::text(" (", report_.plan.channels, ")") : std::string(), "."));
  }

  /// The number of classes is known: make the ring.
  void prepare(Index channels) {
    prepared_ = true;
    rule_ = receiver_->prepare(channels);
    if (channels > kMostFusedChannels) rule_.labels = nullptr;
    const Index slices = std::min(grid_.image[0], grid_.window[0] + receiver_->kept());
    ring_ = {nullptr, static_cast<int>(slices), static_cast<int>(grid_.image[1]), static_cast<int>(grid_.image[2]),
             static_cast<int>(channels)};
    const Index bytes = slices * grid_.image[1] * grid_.image[2] * channels * Index{sizeof(float)};
    report_.plan = {.windows = grid_.windows(),
                    .layers = grid_.count(0),
                    .channels = channels,
                    .image = grid_.image,
                    .window = grid_.window,
                    .frontier_bytes = bytes,
                    .resident_bytes = bytes,
                    .buffer_bytes = batch_.bytes() + tables_.bytes(),
                    .in_use = options_->in_use,
                    .max_memory = options_->max_memory};
    if (options_->max_memory > 0 && report_.plan.total_bytes() > options_->max_memory)
      throw Error(
          Code::out_of_memory, "stream_windows",
          ctseg::text(ctseg::text(report_.plan), "; on the card nothing waits in a file. Hint: smaller windows, or the CPU."));
    ring_memory_ = ctx_->allocate(bytes);
    ring_.values = reinterpret_cast<float*>(ring_memory_.data());
  }

  /// Windows [first, last), all of one layer.
  void blend(int first, int last, const In<S>& logits) {
    const WindowTables& t = windows_.tables;
    BlendJob job{.tables = t,
                 .first = first,
                 .last = last,
                 .place = tables_.at<int>(places_at_),
                 .background = tables_.at<float>(background_at_),
                 .ring = ring_,
                 .labels = rule_};
    const std::array<Index, 3> from = grid_.place(first), to = grid_.place(last - 1);
    bool whole = false;   // axes behind one along which the pass has several windows are covered from end to end
    for (std::size_t a = 0; a < 3; ++a) {
      const auto& starts = grid_.starts[a];
      const Index low = whole ? 0 : starts[static_cast<std::size_t>(from[a])],
                  high = (whole ? starts.back() : starts[static_cast<std::size_t>(to[a])]) + grid_.window[a];
      job.low[a] = static_cast<int>(std::max<Index>(low, 0)), job.high[a] = static_cast<int>(std::min(high, grid_.image[a]));
      whole = whole || from[a] != to[a];
    }
    blend_windows(ctx_->stream(), job, logits ? array_of(logits) : Array{.dtype = dtype_of<typename S::T>()});
  }
  /// Layers up to this one are blended: what the next one does not reach is finished.
  void hand_over(int layers) {
    const auto& starts = grid_.starts[0];
    const Index end = layers < std::ssize(starts) ? starts[static_cast<std::size_t>(layers)] : grid_.image[0];
    if (end > done_) (*receiver_)(SliceJob{ring_, static_cast<int>(done_), static_cast<int>(end)});
    done_ = std::max(done_, end);
  }

  Context<Cuda>* ctx_;
  Predict* predict_;
  const StreamOptions<S::kDim>* options_;
  Receiver* receiver_;
  Shape<S::kDim> image_;
  detail::WindowGrid grid_;
  DeviceWindows windows_;
  WindowSource source_;
  std::vector<int> place_;
  Tables tables_;
  Index places_at_ = 0, background_at_ = 0, done_ = 0;
  bool prepared_ = false;
  LabelRule rule_{};
  SliceRing ring_{};
  Memory<Cuda> batch_, ring_memory_;
  StreamReport report_;
};

}   // namespace ctseg::cuda
