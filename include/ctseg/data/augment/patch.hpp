// A patch on its way through augmentation, and the larger volume that it is cut from.
#pragma once
#include <algorithm>
#include <memory>
#include <mutex>
#include <vector>

#include "../../image/moves.hpp"
#include "kernels.hpp"

namespace ctseg {

/// Voxels along z, y, x. A 2-D patch has one along z.
using Extent = std::array<Index, 3>;
inline Index voxels_of(const Extent& size) { return size[0] * size[1] * size[2]; }

/// Image channels one after the other, each in order z, y, x, and one label map (none if empty). Results of the steps go to the
/// spare buffers and change places with the front ones, so a patch that is used again allocates nothing.
struct Patch {
  Extent size{};
  Index channels = 1;
  std::vector<float> image{};
  std::vector<std::uint8_t> label{};
  Isa isa = detect_isa();   // which inner loops run; all give the same bits
  std::vector<float> spare_image{}, offsets{};
  std::vector<std::uint8_t> spare_label{};

  Index voxels() const { return voxels_of(size); }
  float* channel(Index c) { return image.data() + c * voxels(); }
  const float* channel(Index c) const { return image.data() + c * voxels(); }
};

/// Patches between two samples, with the memory that they have: what it takes to get fresh memory from the system is more than
/// most transforms do. Any thread takes and gives back.
class PatchPool {
 public:
  std::unique_ptr<Patch> take() {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) return std::make_unique<Patch>();
    std::unique_ptr<Patch> patch = std::move(idle_.back());
    idle_.pop_back();
    return patch;
  }
  void give(std::unique_ptr<Patch> patch) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(patch));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Patch>> idle_;
};

/// What a patch is cut from: channels one after the other. The patch's first voxel lies at `corner`, which may be outside.
struct PatchSource {
  const float* image = nullptr;
  const std::uint8_t* label = nullptr;
  Extent size{};
  Extent corner{};
  Index channels = 1;
  float outside = 0;   // image value beyond the border, where the border rule is `zeros`; the label there is 0
};
inline PatchSource source_of(const Patch& patch) {
  return {patch.image.data(), patch.label.empty() ? nullptr : patch.label.data(), patch.size, {}, patch.channels};
}

namespace augment {

inline std::string list(const Extent& e) { return text("[", e[0], ",", e[1], ",", e[2], "]"); }

inline void check(const PatchSource& source, const Extent& patch) {
  const Extent& s = source.size;
  if (source.channels < 1 || !source.image || std::min({s[0], s[1], s[2], patch[0], patch[1], patch[2]}) < 1)
    throw Error(Code::bad_argument, "augment",
                text("a patch of ", list(patch), " from ", source.channels, " channels of ", list(s),
                     "; every extent must be 1 or more."));
  for (const Extent& e : {s, patch})   // as double, which does not overflow
    if (static_cast<double>(e[0]) * static_cast<double>(e[1]) * static_cast<double>(e[2]) >= 0x1p31)
      throw Error(Code::unsupported, "augment", text(list(e), " are 2^31 voxels or more; cut it into parts."));
}

/// Buffers for a patch of this source, in the spare place; shown by flip().
inline void reserve_spare(Patch& patch, const PatchSource& source) {
  const auto voxels = static_cast<std::size_t>(patch.voxels());
  patch.spare_image.resize(voxels * static_cast<std::size_t>(source.channels));
  patch.spare_label.resize(source.label ? voxels : 0);
}
inline void show_spare(Patch& patch, const PatchSource& source) {
  patch.channels = source.channels;
  patch.image.swap(patch.spare_image);
  patch.label.swap(patch.spare_label);
}

}   // namespace augment

/// Fills a patch of `patch.size` from its source as it is.
inline void cut(Patch& patch, const PatchSource& source) {
  augment::check(source, patch.size);
  augment::reserve_spare(patch, source);
  const moves::BoxCut box{source.size, source.corner, patch.size};
  const Index from = voxels_of(source.size), to = patch.voxels();
  for (Index c = 0; c < source.channels; ++c)
    moves::copy_box<float>(source.image + c * from, box, source.outside, patch.spare_image.data() + c * to);
  if (source.label) moves::copy_box<std::uint8_t>(source.label, box, std::uint8_t{0}, patch.spare_label.data());
  augment::show_spare(patch, source);
}

}   // namespace ctseg
