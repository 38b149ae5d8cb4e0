// Outlines of a label in one slice, along the edges between pixels.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include <ctseg/image/geometry.hpp>

namespace ctseg::io::dicom {

/// A corner between pixels: pixel (x, y) spans x - 0.5 to x + 0.5, its first corner is (x, y) here.
struct Corner {
  int x = 0, y = 0;
};
using Contour = std::vector<Corner>;   // closed; the last is joined to the first

/// All outlines of `label` in a slice of `columns` wide rows. Regions that touch at a corner only stay apart; a hole is an
/// outline of its own, so that the even-odd rule gives the pixels back.
std::vector<Contour> contours_of(std::span<const std::uint8_t> slice, Index columns, std::uint8_t label);

}   // namespace ctseg::io::dicom
