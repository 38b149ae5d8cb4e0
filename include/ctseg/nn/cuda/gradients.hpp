// Gradients in the card's memory: backward adds to them there, and they need never come to the host.
#pragma once
#include "../../ops/cuda/context.hpp"
#include "../../ops/cuda/gradients.hpp"
#include "../parameter.hpp"

namespace ctseg {

/// As on the CPU, but spans point to device memory, and every parameter begins on 64 bytes; what lies between is 0. Used with
/// one context, which must outlive them.
template <class T, int Dim> class Gradients<Spec<T, Dim, Cuda>> {
  using S = Spec<T, Dim, Cuda>;

 public:
  using Acc = float;
  explicit Gradients(const std::vector<Parameter<S>*>& parameters)
      : places_(parameters, 16),
        memory_(size() * Index{sizeof(float)} + kFacts + cuda::judge_partials(size()) * Index{sizeof(double)}) {
    cuda::clear(stream_, memory_.data(), memory_.bytes());
    cuda::synchronize(stream_);
  }

  /// Whoever is about to work on them says so: what has no context comes behind that on its stream.
  void use(Context<Cuda>& ctx) {
    if (stream_ == ctx.stream()) return;
    cuda::synchronize(stream_);
    stream_ = ctx.stream();
  }

  /// Of these gradients and no others, for as long as somebody keeps it.
  const std::shared_ptr<const void>& identity() const { return identity_; }

  std::span<float> of(const Weights<S>& weights) {
    const auto* place = places_.of(weights);
    return place ? flat().subspan(place->first, place->size) : std::span<float>();
  }
  std::span<float> flat() { return {values(), places_.size()}; }
  std::span<const float> flat() const { return const_cast<Gradients*>(this)->flat(); }
  std::span<float> trained() { return flat().first(places_.trained()); }
  std::span<const float> trained() const { return flat().first(places_.trained()); }
  std::span<float> statistics() { return flat().subspan(places_.trained()); }
  void zero() { cuda::clear(stream_, values(), size() * Index{sizeof(float)} + kFacts); }
  /// Waits for the card.
  bool scale(float factor) {
    multiply(factor);
    cuda::judge(stream_, flat_gradients(), {});
    return !outcome().bad;
  }
  void share_statistics(int processes) {
    cuda::divide(stream_, statistics().data(), static_cast<Index>(statistics().size()), static_cast<float>(processes));
  }
  void multiply(float factor) {
    if (factor != 1) cuda::multiply(stream_, values(), static_cast<Index>(places_.trained()), factor);
  }

  void add_loss(Context<Cuda>& ctx, const float* loss, double share) {
    use(ctx);
    cuda::add_loss(stream_, loss, share, facts());
  }
  /// Waits for the card.
  double loss() const { return outcome().loss; }
  void set_loss(double loss) { cuda::copy_to_device(stream_, &facts()->loss, &loss, Index{sizeof loss}); }

  /// Norm and finiteness, found on the card; a binding judgement unscales, clips or forbids the optimizer's next step.
  void judge(Context<Cuda>& ctx, const cuda::Judgement& judgement) {
    use(ctx);
    cuda::judge(stream_, flat_gradients(), judgement);
  }
  /// Waits for the card.
  cuda::GradientFacts outcome() const {
    cuda::GradientFacts facts;
    cuda::copy_to_host(stream_, &facts, this->facts(), Index{sizeof facts});
    cuda::synchronize(stream_);
    return facts;
  }
  cuda::GradientFacts* facts() const { return reinterpret_cast<cuda::GradientFacts*>(values() + size()); }

  /// Sums over a group: on the card where the group can, else all of them through the host's memory, at the end.
  void begin_sum(ProcessGroup& group, std::size_t first, std::size_t count) {
    if (group.sums_on_device()) group.begin_sum_on_device(flat().subspan(first, count), stream_);
  }
  void finish_sum(ProcessGroup& group) {
    if (group.sums_on_device()) return group.finish_on_device(stream_);
    std::vector<float> all = download();
    group.begin_sum(std::span(all));
    group.finish();
    upload(all);
  }

  /// All of them, or those of one parameter, on the host; and back.
  std::vector<float> download() const { return copy(flat()); }
  std::vector<float> download(const Weights<S>& weights) const { return copy(const_cast<Gradients*>(this)->of(weights)); }
  void upload(std::span<const float> from) { put(flat(), from); }
  void upload(const Weights<S>& weights, std::span<const float> from) { put(of(weights), from); }

 private:
  static constexpr Index kFacts = 64;   // room for them, behind the values
  static_assert(sizeof(cuda::GradientFacts) <= kFacts);

  Index size() const { return static_cast<Index>(places_.size()); }
  float* values() const { return reinterpret_cast<float*>(const_cast<std::byte*>(memory_.data())); }
  cuda::FlatGradients flat_gradients() const {
    return {values(), static_cast<Index>(places_.trained()), size(), facts(),
            reinterpret_cast<double*>(const_cast<std::byte*>(memory_.data()) + size() * Index{sizeof(float)} + kFacts)};
  }
  std::vector<float> copy(std::span<const float> from) const {
    std::vector<float> to(from.size());
    cuda::copy_to_host(stream_, to.data(), from.data(), static_cast<Index>(from.size_bytes()));
    cuda::synchronize(stream_);
    return to;
  }
  void put(std::span<float> to, std::span<const float> from) {
    if (from.size() != to.size())
      throw Error(Code::bad_argument, "gradients",
                  text(static_cast<Index>(from.size()), " values for ", static_cast<Index>(to.size()), " gradients."));
    cuda::copy_to_device(stream_, to.data(), from.data(), static_cast<Index>(from.size_bytes()));
  }

  GradientPlaces<S> places_;
  Memory<Cuda> memory_;
  std::shared_ptr<const void> identity_ = std::make_shared<char>();
  cuda::Stream stream_ = nullptr;   // of the context in use
};

}   // namespace ctseg
