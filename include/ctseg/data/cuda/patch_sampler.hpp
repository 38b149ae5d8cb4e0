// Patches for training made on the card, from cases that stay there: what crosses the bus is each case, once, if they all fit.
#pragma once
#include "../patch_sampler.hpp"
#include "augment.hpp"

namespace ctseg {

/// Cases on the card, the least recently used given up when they are more than `max_bytes` (one at least stays), or when a
/// training took so much meanwhile that the card has no room.
class DeviceCases {
 public:
  /// `max_bytes` 0: half of what the card has free now.
  DeviceCases(Context<Cuda>& ctx, Index max_bytes)
      : max_bytes_(max_bytes > 0 ? max_bytes : (ctx.stream(), cuda::memory_facts().free / 2)) {}

  struct OnCard {
    const float* image;
    const std::uint8_t* label;
  };
  /// Case number k of the caller's; valid until the next call.
  OnCard get(Context<Cuda>& ctx, std::size_t k, const Case& c) {
    if (slots_.size() <= k) slots_.resize(k + 1);
    Slot& slot = slots_[k];
    slot.used = ++clock_;
    if (slot.bytes == 0) {
      const Index voxels = c.image.grid().voxels(), image = voxels * Index{sizeof(float)};
      make_room(ctx, image + voxels);
      slot.image = allocate(ctx, image), slot.label = allocate(ctx, voxels);
      slot.bytes = image + voxels, bytes_ += slot.bytes, ++uploads_;
      cuda::copy_to_device(ctx.stream(), slot.image.data(), c.image.data(), image);
      cuda::copy_to_device(ctx.stream(), slot.label.data(), c.label.data(), voxels);
    }
    return {reinterpret_cast<const float*>(slot.image.data()), reinterpret_cast<const std::uint8_t*>(slot.label.data())};
  }
  Index bytes() const { return bytes_; }
  Index uploads() const { return uploads_; }

 private:
  struct Slot {
    Memory<Cuda> image = Memory<Cuda>(), label = Memory<Cuda>();
    Index bytes = 0;   // 0: not on the card
    std::uint64_t used = 0;
  };
  void make_room(Context<Cuda>& ctx, Index bytes) {
    while (bytes_ > 0 && bytes_ + bytes > max_bytes_) give_up_one(ctx);
  }
  void give_up_one(Context<Cuda>& ctx) {
    Slot* oldest = nullptr;
    for (Slot& s : slots_)
      if (s.bytes > 0 && (!oldest || s.used < oldest->used)) oldest = &s;
    ctx.synchronize();   // patches may still be cut from it
    bytes_ -= oldest->bytes;
    *oldest = Slot();
  }
  Memory<Cuda> allocate(Context<Cuda>& ctx, Index bytes) {
    for (;;) {
      try {
        return ctx.allocate(bytes);
      } catch (const Error& error) {
        if (error.code() != Code::out_of_memory || bytes_ == 0) throw;
        give_up_one(ctx);
      }
    }
  }

  Index max_bytes_, bytes_ = 0, uploads_ = 0;
  std::uint64_t clock_ = 0;
  std::vector<Slot> slots_;
};

/// PatchSampler's patches, made where the network is: the same draws, so the same samples (cut_and_apply says how exactly), but
/// nothing waits for the processor. fill's images and labels are views of device memory, filled by work on the context's stream.
/// Errors    those of PatchSampler.
template <AnySpec S> class DevicePatchSampler {
  static_assert(std::is_same_v<typename S::Device, Cuda>, "ctseg: a DevicePatchSampler is for a Spec on Cuda");

 public:
  using Host = PatchSampler<Spec<typename S::T, S::kDim, Cpu>>;

  DevicePatchSampler(Context<Cuda>& ctx, std::vector<Case> cases, const PatchSamplerOptions<S::kDim>& options,
                     Index max_bytes = 0)
      : DevicePatchSampler(ctx, Host(std::move(cases), options), max_bytes) {}
  DevicePatchSampler(Context<Cuda>& ctx, Host host, Index max_bytes = 0)
      : host_(std::move(host)), card_(std::make_unique<Card>(ctx, max_bytes)) {}

  Shape<S::kDim> shape(Index batch) const { return host_.shape(batch); }
  const std::vector<Case>& cases() const { return host_.cases(); }
  std::uint8_t largest_label() const { return host_.largest_label(); }
  std::vector<std::pair<std::string, std::string>> settings() const { return host_.settings(); }
  const DeviceCases& on_card() const { return card_->cases; }

  /// Samples number first, first + 1, ...; returns the cases they came from. One caller at a time.
  std::vector<std::size_t> fill(Context<Cuda>& ctx, const RandomKey& key, Index first, Out<S> images,
                                View<std::uint8_t, S::kDim> labels) const {
    std::vector<std::size_t> used;
    for (Index n = 0; n < images.shape.n; ++n) {
      const auto place = host_.place(key, first + n);
      make(ctx, place, {key.seed, static_cast<std::uint64_t>(first + n), key.op});
      store(ctx, images, labels, n);
      used.push_back(place.index);
    }
    return used;
  }

  /// The same samples in memory of the host.
  std::vector<std::size_t> fill(const RandomKey& key, Index first, Out<S> images, View<std::uint8_t, S::kDim> labels) const {
    return host_.fill(key, first, images, labels);
  }

 private:
  struct Card {
    DeviceCases cases;
    cuda::DevicePatch patch{};
    Card(Context<Cuda>& ctx, Index max_bytes) : cases(ctx, max_bytes) {}
  };

  /// Sample number key.run; whatever a transform throws is told with its name.
  void make(Context<Cuda>& ctx, const typename Host::Place& place, const RandomKey& key) const {
    const Case& c = host_.cases()[place.index];
    cuda::DevicePatch& patch = card_->patch;
    patch.size = {1, 1, 1};
    std::copy(host_.options().patch.value.begin(), host_.options().patch.value.end(), patch.size.end() - S::kDim);
    const auto on_card = card_->cases.get(ctx, place.index, c);
    const Xyz<Index> n = c.image.shape();
    const cuda::DevicePatchSource source{.image = on_card.image,
                                         .label = on_card.label,
                                         .size = {n.z, n.y, n.x},
                                         .corner = place.corner,
                                         .outside = host_.options().outside};
    try {
      Augmentation drawn;
      if (const AugmentOption& o = host_.options().augment; !o.empty()) drawn = draw(o.recipe(), key, {patch.size, 1});
      cut_and_apply(ctx, drawn, source, patch);
    } catch (const Error& error) {
      throw Error(error.code(), text("case ", c.name, ", sample ", static_cast<std::size_t>(key.run)), error.what());
    }
  }
  void store(Context<Cuda>& ctx, Out<S> images, View<std::uint8_t, S::kDim> labels, Index n) const {
    const Out<S> image{images.at(n, 0), {1, 1, images.shape.space}, images.pitch};
    cuda::store_patch(ctx.stream(), card_->patch.image.template data<float>(), cuda::array_of(image));
    cuda::copy_on_device(ctx.stream(), labels.at(n, 0), card_->patch.label.template data<std::uint8_t>(),
                         labels.shape.voxels());
  }

  Host host_;
  std::unique_ptr<Card> card_;
};

}   // namespace ctseg
