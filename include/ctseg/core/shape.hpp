// Shapes in logical order N, C, (D,) H, W.
#pragma once
#include <array>
#include <limits>

#include "error.hpp"

namespace ctseg {

template <int Dim> struct Shape {
  Index n = 1, c = 1;
  std::array<Index, Dim> space{};   // z, y, x or y, x: the last one runs fastest

  Index voxels() const {
    Index v = 1;
    for (Index e : space) v *= e;
    return v;
  }
  Index elements() const { return n * c * voxels(); }
  Shape with_channels(Index channels) const { return {n, channels, space}; }
  bool operator==(const Shape&) const = default;
};

template <int Dim> std::string text(const Shape<Dim>& s) {
  std::string out = text("[", s.n, ",", s.c);
  for (Index e : s.space) out.append(",").append(text(e));
  return out.append("]");
}

/// A shape whose extents are all positive and whose elements can be counted and addressed; else an error naming it.
template <int Dim> const Shape<Dim>& checked(const Shape<Dim>& s, std::string_view where) {
  constexpr Index kMost = std::numeric_limits<Index>::max() / 64;   // room for 8-byte elements and rounding
  Index count = 1;
  const auto include = [&](Index extent) {
    if (extent <= 0)
      throw Error(Code::shape_mismatch, where,
                  text("shape ", s, " has an extent of ", extent, "; every extent must be 1 or more."));
    if (count > kMost / extent)
      throw Error(Code::shape_mismatch, where, text("shape ", s, " has more elements than can be counted."));
    count *= extent;
  };
  include(s.n);
  include(s.c);
  for (Index e : s.space) include(e);
  return s;
}

}   // namespace ctseg
