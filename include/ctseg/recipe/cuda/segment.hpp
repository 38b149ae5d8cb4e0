// A scan to its labels with the networks on a card: prepared by the CPU, uploaded once, windows, means, blending, the way back
// and decisions on the card, rules of post-processing by the CPU. Programs include <ctseg/cuda.hpp> too and link ctseg::cuda.
#pragma once
#include "../../infer/cuda/test_time.hpp"
#include "../../infer/cuda/to_original.hpp"
#include "../segment.hpp"

namespace ctseg {

/// A loaded model with its network on the card; both must live on.
template <class T = float> struct CardModel {
  const LoadedModel* model = nullptr;
  const AnyModelOf<T, Cuda>* network = nullptr;
};

/// The same weights in a network of another scalar type or device.
/// Errors    shape_mismatch for networks whose parameters differ in number, name or size.
template <class From, class To> void copy_weights(const From& from, To& to) {
  std::vector<std::pair<std::string, std::vector<float>>> all;
  visit(from, [&](const std::string& name, const auto& p) {
    const auto values = p.values();
    all.emplace_back(name, std::vector<float>(values.begin(), values.end()));
  });
  std::size_t i = 0;
  visit(to, [&](const std::string& name, auto& p) {
    const bool fits = i < all.size() && all[i].first == name && std::ssize(all[i].second) == p.size();
    if (!fits)
      throw Error(Code::shape_mismatch, "copy_weights",
                  text("parameter ", i, " is ", name, " of ", p.size(), " values, and ",
                       i < all.size() ? text(all[i].first, " of ", all[i].second.size(), " values") : std::string("none"),
                       " where they come from. Hint: both networks must be made of the same options."));
    const auto values = p.edit();
    std::copy(all[i].second.begin(), all[i].second.end(), values.begin());
    ++i;
  });
  if (i != all.size())
    throw Error(Code::shape_mismatch, "copy_weights", text("there are ", all.size(), " parameters for ", i, "."));
}

/// The network of a model for a card. Compiles all networks where make_model<T, Cuda> is not an extern template.
/// Errors    unsupported for a graph: a network of the recipe's options may have the same weights and compute something else.
template <class T = float> AnyModelOf<T, Cuda> for_card(const LoadedModel& model) {
  if (model.graph)
    throw Error(Code::unsupported, "cuda",
                "the model is a graph (ONNX), and graphs are run by the CPU only. Hint: --device cpu, or auto.");
  AnyModelOf<T, Cuda> network = make_model<T, Cuda>(model.model.config());
  copy_weights(model.model, network);
  return network;
}

namespace segmenting {

/// Bytes on the card, and the host's.
struct CardMemory {
  Index network = 0, scan = 0, logits = 0, result = 0;
  Index host = 0;

  Index total() const { return network + scan + logits + result; }
};

/// Segmenter on a card.
template <AnySpec S> class CardSegmenter {
  static constexpr int kDim = S::kDim;
  using T = typename S::T;
  static constexpr Index kFloat = sizeof(float);

 public:
  CardSegmenter(Context<Cuda>& ctx, const std::vector<CardModel<T>>& models, const Terms& terms)
      : ctx_(ctx),
        terms_(terms),
        nets_(nets_of(models)),
        looks_(ctx, nets_, terms.looks()),
        stream_(terms.template stream<kDim>()) {}

  Segmentation run(const SegmentInput& input) {
    return terms_.run(ctx_.host(), input, [&](const Prepared& p, Segmentation& out) {
      plan(p);
      out.planned_memory = memory_.host;
      out.plan = described(*input.channels[0], p.scan.image);
      check_memory();
      terms_.tell(Terms::kPrepared);
      if (!terms_.options().dry_run) infer(p, out);
    });
  }

 private:
  static std::vector<const AnyNetwork<S>*> nets_of(const std::vector<CardModel<T>>& models) {
    std::vector<const AnyNetwork<S>*> nets;
    for (const CardModel<T>& m : models)
      m.network->visit([&]<class Net>(const Net& net) {
        if constexpr (std::is_same_v<Net, AnyNetwork<S>>) nets.push_back(&net);
      });
    return nets;
  }

  void plan(const Prepared& p) {
    const Xyz<Index> image = p.scan.image.shape(), scan = p.scan.path.original().shape;
    const Index voxels = image.x * image.y * image.z, channels = in_channels_of(terms_.recipe().network);
    const Shape<kDim> batch{stream_.windows.batch, channels, stream_.windows.window.value};
    const LabelWriter<> writer(p.scan.path, terms_.channels(), terms_.to_original(ctx_.executor()));
    Shape<kDim> whole{kDim == 2 ? image.z : 1, channels, {}};
    const std::array<Index, 3> zyx{image.z, image.y, image.x};
    std::copy_n(zyx.end() - kDim, kDim, whole.space.begin());
    windows_ = detail::make_window_grid(whole, stream_.windows).windows();
    memory_.network = looks_.mean_bytes(batch.with_channels(terms_.channels())) + batch.elements() * Index{sizeof(T)};
    looks_.each(batch, [&](const AnyNetwork<S>& net, const Shape<kDim>& window) {
      Tape<S> tape(Mode::infer, ctx_.traits());
      const Var<S> y = net.forward(tape.input(window));
      memory_.network += Plan<S>(tape, PlanOptions<S>{.outputs = {y}}).memory().total();
    });
    memory_.scan = voxels * (channels + 1) * kFloat;   // 1: a channel on its way
    const Index thick = kDim == 3 ? stream_.windows.window.value[0] : 1;
    memory_.logits = std::min(image.z, thick + 1) * image.y * image.x * terms_.channels() * kFloat;
    memory_.result = scan.x * scan.y * scan.z * (1 + (terms_.options().probability_of ? kFloat : 0));
    streams_ = writer.streams();
    memory_.host = std::max(p.preparing_bytes, p.scan_bytes + voxels * channels * kFloat + writer.bytes());
  }
  /// Errors    out_of_memory with both numbers.
  void check_memory() const {
    const Index allowed = terms_.options().max_memory, free = cuda::memory_facts().free;
    if (allowed > 0 && memory_.host > allowed)
      throw Error(Code::out_of_memory, "segment",
                  text("max_memory = ", allowed, ", and beside the card ", memory_.host, " bytes are needed."));
    if (memory_.total() > free)
      throw Error(Code::out_of_memory, "segment",
                  text("on the card ", detail::size_text(memory_.total()), " are needed, ", detail::size_text(free),
                       " are free. Hint: smaller windows or batches, or the CPU."));
  }
  std::string described(const Volume<float>& scan, const Volume<float>& image) const {
    const auto& o = stream_.windows;
    std::string all;
    for (const AnyNetwork<S>* net : nets_)
      all += text("network   ", text(terms_.recipe().network), ", ", parameter_count(*net), " parameters\n");
    all += text("scan      ", scan.shape(), " voxels of ", scan.spacing_mm(), " mm -> ", image.shape(), " of ",
                image.spacing_mm(), " mm\n");
    all += text("windows   ", windows_, " of ", o.window, ", overlap ", o.overlap,
                looks_.count() > 1 ? text(", each ", looks_.count(), " times", looks_.words()) : std::string(), "\n");
    all += text("card      ", detail::size_text(memory_.total()), " = network ", detail::size_text(memory_.network), " + scan ",
                detail::size_text(memory_.scan), " + unfinished logits ", detail::size_text(memory_.logits), " + labels ",
                detail::size_text(memory_.result), "\n");
    all += text("memory    ", detail::size_text(memory_.host), " beside the card",
                streams_ ? "" : ": this way back keeps all logits there", "\n");
    return all;
  }

  /// Channels as the network has them: those of the scan, then ones and zeros of the first network's labels.
  DeviceScan upload(const Prepared& p) {
    std::vector<Volume<float>> channels;
    if (p.scan.more.empty() && !p.previous) return DeviceScan(ctx_, p.scan.image);
    for (std::size_t c = 0; c <= p.scan.more.size(); ++c) channels.push_back(p.scan.channel(c));
    for (const Index label : terms_.recipe().previous_labels) {
      Volume<float>& v = channels.emplace_back(p.scan.image.grid());
      std::transform(p.previous->voxels().begin(), p.previous->voxels().end(), v.voxels().begin(),
                     [&](std::uint8_t here) { return Index{here} == label ? 1.f : 0.f; });
    }
    return DeviceScan(ctx_, channels);
  }

  void infer(const Prepared& p, Segmentation& out) {
    const Clock clock;
    Index run = 0;
    const auto predict = [&](In<S> windows) {
      const In<S> scores = looks_(windows);
      ctx_.synchronize();   // else progress and cancelling would be hundreds of windows ahead of the card
      run += windows.shape.n;
      const double done = std::min(1., static_cast<double>(run) / static_cast<double>(windows_));
      terms_.tell(Terms::kPrepared + (Terms::kInferred - Terms::kPrepared) * done);
      return scores;
    };
    OnOriginalGrid<std::uint8_t> result =
        stream_to_original<S>(ctx_, predict, upload(p), p.scan.path, stream_, terms_.to_original(ctx_.executor()));
    ctx_.check_cancelled("segment");
    terms_.tell(Terms::kInferred);
    out.labels = std::move(result.labels), out.probability = std::move(result.probability);
    run = std::min(run, windows_);   // the last batch is filled up, and counts so
    out.windows = run * looks_.count(), out.skipped = windows_ - run;
    out.seconds.network = clock.seconds();
  }

  Context<Cuda>& ctx_;
  const Terms& terms_;
  std::vector<const AnyNetwork<S>*> nets_;
  Looks<S> looks_;
  StreamOptions<kDim> stream_;
  CardMemory memory_{};
  Index windows_ = 0;
  bool streams_ = true;
};

}   // namespace segmenting

/// As segment() on the CPU, ensembles, mirrors, scales and masks of a first network included. `accuracy` is not asked: the
/// context says whether convolutions use TF32. `max_memory` is the host's; nothing waits in a file.
/// Numerics  logits of the card; from there on the CPU's order of sums, so that labels differ where two logits are equal but
///           for rounding. SegmentSeconds::network is all that the card does.
/// Cost      the prepared scan crosses the bus once, labels come back; logits too, for ways back that cannot stream.
/// Errors    out_of_memory before any window, with what the card would need and has; device for what the driver refuses; of
///           segment() on the CPU.
template <class T = float> Segmentation segment(Context<Cuda>& ctx, const std::vector<CardModel<T>>& models,
                                                const SegmentInput& input, const SegmentOptions& o = {}) {
  std::vector<const LoadedModel*> loaded;
  for (const CardModel<T>& m : models) loaded.push_back(m.model);
  segmenting::check_models(loaded);
  segmenting::check_input(loaded[0]->recipe, input);
  const segmenting::Terms terms(loaded, o);
  return models[0].network->visit(
      [&]<AnySpec S>(const AnyNetwork<S>&) { return segmenting::CardSegmenter<S>(ctx, models, terms).run(input); });
}

}   // namespace ctseg
