// Centre lines of masks: voxels are taken off the six sides in turn as long as that changes no connection, no hole and no
// cavity, and ends of lines stay. What is left is a voxel thin.
#pragma once
#include "mask.hpp"

namespace ctseg {

struct SkeletonOptions {
  std::optional<Index> label{};   // the foreground; unset: everything but 0
};

namespace skeleton {

/// Bit 9 (z + 1) + 3 (y + 1) + (x + 1) of a neighbourhood is its voxel x, y, z; 13 is the middle.
using Neighbours = std::uint32_t;
inline constexpr Neighbours kMiddle = 1u << 13, kAll = (1u << 27) - 1;

/// Of every voxel of a neighbourhood, which voxels around the middle touch it.
template <class = void> std::array<Neighbours, 27> touching(int steps) {
  std::array<Neighbours, 27> out{};
  for (int a = 0; a < 27; ++a)
    for (int b = 0; b < 27; ++b) {
      const int x = std::abs(a % 3 - b % 3), y = std::abs(a / 3 % 3 - b / 3 % 3), z = std::abs(a / 9 - b / 9);
      if (a != b && b != 13 && std::max({x, y, z}) == 1 && x + y + z <= steps) out[static_cast<std::size_t>(a)] |= 1u << b;
    }
  return out;
}

struct Tables {
  std::array<Neighbours, 27> corners = touching(3), faces = touching(1);
  Neighbours near = 0;   // the 18 that share a face or an edge with the middle
  Tables() {
    for (int i = 0; i < 27; ++i)
      if (std::abs(i % 3 - 1) + std::abs(i / 3 % 3 - 1) + std::abs(i / 9 - 1) <= 2 && i != 13) near |= 1u << i;
  }
};

/// What is left of a set after the component of its lowest voxel is taken out.
inline Neighbours without_component(Neighbours set, Neighbours seed, const std::array<Neighbours, 27>& touch) {
  for (Neighbours grown = set & seed; grown != 0;) {
    set &= ~grown;
    Neighbours next = 0;
    for (Neighbours rest = grown; rest != 0; rest &= rest - 1) next |= touch[static_cast<std::size_t>(std::countr_zero(rest))];
    grown = next & set;
  }
  return set;
}
/// Whether the foreground around the middle is at most one component (26 neighbours).
inline bool stays_connected(Neighbours n, const Tables& tables) {
  const Neighbours set = n & ~kMiddle;
  return without_component(set, set & (0 - set), tables.corners) == 0;
}
/// Whether the background that touches the middle by a face is one component (6 neighbours, among the 18).
inline bool opens_nothing(Neighbours n, const Tables& tables) {
  const Neighbours set = ~n & tables.near, faces = set & tables.faces[13];
  return (without_component(set, faces & (0 - faces), tables.faces) & tables.faces[13]) == 0;
}

/// A mask with one empty voxel on each side.
class Padded {
 public:
  template <class T> Padded(const T* voxels, Xyz<Index> shape, mask::Foreground<T> inside)
      : up_(shape.x + 2), slice_(up_ * (shape.y + 2)), flags_(static_cast<std::size_t>(slice_ * (shape.z + 2))) {
    for (Index z = 0; z < shape.z; ++z)
      for (Index y = 0; y < shape.y; ++y)
        mask::for_runs(voxels + (z * shape.y + y) * shape.x, shape.x, inside, [&](Index begin, Index end) {
          for (Index x = begin; x < end; ++x) {
            places_.push_back(at(x, y, z));
            flag(places_.back()) = 1;
          }
        });
  }

  Index at(Index x, Index y, Index z) const { return (z + 1) * slice_ + (y + 1) * up_ + x + 1; }
  std::uint8_t& flag(Index place) { return flags_[static_cast<std::size_t>(place)]; }

  /// Voxels of one side that may go, one after the other. Returns whether any did.
  bool thin(Index side) {
    std::vector<Index> going;
    for (const Index place : places_) {
      if (flag(place + side)) continue;
      const Neighbours n = around(place);
      if (std::popcount(n) != 2 && (n & ~kMiddle) != 0 && opens_nothing(n, tables_) && stays_connected(n, tables_))
        going.push_back(place);
    }
    bool changed = false;
    for (const Index place : going)
      if (stays_connected(around(place), tables_)) flag(place) = 0, changed = true;
    if (changed) std::erase_if(places_, [&](Index place) { return !flag(place); });
    return changed;
  }
  /// Until nothing goes: the order of the sides is that of scikit-image (and ImageJ).
  void thin_all(bool flat) {
    const Index sides[] = {-up_, up_, 1, -1, slice_, -slice_};
    for (bool changed = true; changed;) {
      changed = false;
      for (const Index side : std::span(sides).first(flat ? 4 : 6)) changed |= thin(side);
    }
  }

 private:
  Neighbours around(Index place) {
    Neighbours n = 0;
    int bit = 0;
    for (const Index z : {-slice_, Index{0}, slice_})
      for (const Index y : {-up_, Index{0}, up_})
        for (const Index x : {-1, 0, 1}) n |= static_cast<Neighbours>(flag(place + x + y + z)) << bit++;
    return n;
  }

  Index up_, slice_;
  std::vector<std::uint8_t> flags_;
  std::vector<Index> places_{};   // of the foreground, in the order of memory
  Tables tables_{};
};

}   // namespace skeleton

/// The centre lines of a mask, voxels 0 or 1: skimage.morphology.skeletonize(mask, method="lee"), voxel for voxel.
/// Shapes    as the mask; a volume of one slice is thinned as a picture. Spacing does not matter.
/// Cost      a few hundred operations for each voxel of the foreground and each voxel of thickness; one thread.
/// Errors    bad_argument for a label that T cannot hold.
/// Source    Lee, Kashyap and Chu, Building skeleton models via 3-D medial surface/axis thinning algorithms, CVGIP 56(6), 1994.
///           A voxel may go if foreground and background around it are one component each (Bertrand and Malandain, 1994), which
///           is what their tables of Euler characteristics say.
template <class T>
std::vector<std::uint8_t> skeletonize(const T* voxels, Xyz<Index> shape, const SkeletonOptions& options = {}) {
  mask::checked_extents(shape, "skeletonize");
  skeleton::Padded padded(voxels, shape, mask::foreground<T>(options.label, "skeletonize"));
  padded.thin_all(shape.z == 1);
  std::vector<std::uint8_t> out(static_cast<std::size_t>(shape.x * shape.y * shape.z));
  std::size_t i = 0;
  for (Index z = 0; z < shape.z; ++z)
    for (Index y = 0; y < shape.y; ++y)
      for (Index x = 0; x < shape.x; ++x) out[i++] = padded.flag(padded.at(x, y, z));
  return out;
}
template <class T> Volume<std::uint8_t> skeletonize(const Volume<T>& volume, const SkeletonOptions& options = {}) {
  return {volume.grid(), skeletonize(volume.data(), volume.shape(), options)};
}

}   // namespace ctseg
