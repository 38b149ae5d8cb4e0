// A step of training on the card: batches cross while the card is busy with the one before, and between the first op and the
// new weights nothing waits for the host.
#pragma once
#include <algorithm>
#include <bit>

#include "../../optim/cuda/optimizer.hpp"
#include "../../optim/cuda/weight_average.hpp"
#include "../step.hpp"

namespace ctseg::detail {

/// Two batches in pinned memory and two on the card, in turn; a stream of its own carries them over.
template <class T, int Dim> class Feed<Spec<T, Dim, Cuda>> {
  using S = Spec<T, Dim, Cuda>;

 public:
  Feed(Context<Cuda>& ctx, const BatchPlace<S>& run)
      : ctx_(&ctx), run_(run), images_(run.images.shape.elements() * Index{sizeof(T)}), labels_(run.labels.shape.elements()) {
    for (Lane& lane : lanes_) {
      lane.there = ctx.allocate(bytes_of<std::byte>(images_) + labels_);
      lane.here.reset(static_cast<std::byte*>(cuda::allocate_pinned(lane.there.bytes())));
    }
  }
  ~Feed() {
    try {
      cuda::synchronize(stream_.get());   // nothing is under way when its memory goes
    } catch (const Error&) {}
  }
  Feed(const Feed&) = delete;

  template <class Draw> std::vector<std::size_t> load(Index number, Draw draw) {
    if (ready_ != number) ahead(number, draw);
    ready_ = -1;
    const Lane& lane = lanes_[next_];
    cuda::synchronize(stream_.get());
    const std::byte* there = lane.there.data();
    cuda::copy_on_device(ctx_->stream(), run_.images.data, there, images_);
    cuda::copy_on_device(ctx_->stream(), run_.labels.data, there + bytes_of<std::byte>(images_), labels_);
    next_ = 1 - next_, ++unsettled_;
    return std::move(cases_);
  }
  template <class Draw> void ahead(Index number, Draw draw) {
    if (unsettled_ > 1) ctx_->synchronize(), unsettled_ = 0;   // the lane's last batch may not have been read yet
    Lane& lane = lanes_[next_];
    std::byte* const labels = lane.here.get() + bytes_of<std::byte>(images_);
    cases_ = draw(number, BatchPlace<S>{{reinterpret_cast<T*>(lane.here.get()), run_.images.shape, run_.images.shape.c},
                                        {reinterpret_cast<std::uint8_t*>(labels), run_.labels.shape, run_.labels.shape.c}});
    cuda::copy_to_device(stream_.get(), lane.there.data(), lane.here.get(), lane.there.bytes());
    ready_ = number;
  }
  void settled() { unsettled_ = 0; }
  static Index bytes(Index batch, int) { return 2 * batch; }

 private:
  struct Release {
    void operator()(std::byte* p) const { cuda::release_pinned(p); }
  };
  struct Lane {
    Memory<Cuda> there;
    std::unique_ptr<std::byte, Release> here;
  };

  Context<Cuda>* ctx_;
  BatchPlace<S> run_;
  Index images_, labels_;   // bytes
  cuda::OwnedStream stream_;
  std::array<Lane, 2> lanes_;
  std::vector<std::size_t> cases_;   // of the batch that is ready
  std::size_t next_ = 0;
  Index ready_ = -1;
  int unsettled_ = 0;   // batches read since the card was last known to be idle
};

/// The card judges, and moves the weights or leaves them; the host learns of it at the end. What differs between steps, the
/// optimizer's numbers, lies in the card's memory, so that the launches can be part of a recording.
template <class T, int Dim, class Optimizer> class StepEnd<Spec<T, Dim, Cuda>, Optimizer> {
 public:
  explicit StepEnd(const StepParts<Spec<T, Dim, Cuda>, Optimizer>& parts)
      : parts_(parts), judgement_{.inverse_scale = 1 / parts.scaler.scale(), .longest = parts.clip_norm, .binding = true} {}

  void begin() {
    const auto& e = parts_;
    e.optimizer.ready(e.ctx, e.gradients, e.optimizer.next(e.rate));
    if (e.average) e.average->ready(e.ctx, e.gradients.facts());
  }
  void launch() {
    const auto& e = parts_;
    e.gradients.judge(e.ctx, judgement_);
    e.optimizer.launch(e.ctx);
    if (e.average) e.average->launch(e.ctx);
  }
  std::vector<std::uint64_t> depends() const {
    std::vector<std::uint64_t> all = parts_.optimizer.depends();
    for (const double v : {judgement_.inverse_scale, judgement_.longest}) all.push_back(std::bit_cast<std::uint64_t>(v));
    if (parts_.average)
      for (const std::uint64_t v : parts_.average->depends()) all.push_back(v);
    return all;
  }
  template <class F> StepOutcome finish(F meanwhile) {
    const auto& e = parts_;
    e.optimizer.moved(e.ctx, e.gradients);
    meanwhile();
    const cuda::GradientFacts facts = e.gradients.outcome();
    StepOutcome outcome{.loss = facts.loss, .finite = facts.bad == 0};
    if (!outcome.finite) return outcome;
    if (e.clip_norm != 0) outcome.norm = facts.norm;
    e.optimizer.set_steps(e.optimizer.steps() + 1);
    if (e.average) e.average->set_updates(e.average->updates() + 1);
    return outcome;
  }

 private:
  StepParts<Spec<T, Dim, Cuda>, Optimizer> parts_;
  cuda::Judgement judgement_;
};

/// What the card has free, but for a sixteenth: plans of convolutions and the driver take some. In a group the least of all:
/// cards differ in what is free, and plans must not.
inline Index free_memory(Context<Cuda>& ctx) {
  ctx.stream();   // makes its card this thread's
  const Index free = cuda::memory_facts().free;
  ProcessGroup* const group = ctx.group();
  if (!group) return free - free / 16;
  std::vector<double> all(static_cast<std::size_t>(group->size()));
  all[static_cast<std::size_t>(group->rank())] = static_cast<double>(free - free / 16);
  group->sum(std::span(all));
  return static_cast<Index>(*std::min_element(all.begin(), all.end()));
}
inline bool can_hold(Context<Cuda>& ctx, Index bytes) {
  double refused = 0;   // by so many cards
  try {
    ctx.allocate(bytes);
  } catch (const Error& error) {
    if (error.code() != Code::out_of_memory) throw;
    refused = 1;
  }
  if (ctx.group()) ctx.group()->sum(std::span(&refused, 1));
  return refused == 0;
}

}   // namespace ctseg::detail
