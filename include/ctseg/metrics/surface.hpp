// What the surface of a mask is. Toolkits differ: MONAI, SciPy and medpy take the voxels on the border, each counting the same;
// DeepMind's surface-distance takes the corners between voxels, each with the area that marching cubes puts around it. The
// masks are cut out to the box that holds both first: organs fill a small part of a scan.
#pragma once
#include "../image/distance.hpp"
#include "label_scan.hpp"

namespace ctseg {

/// What a surface is made of.
enum class Surface {
  voxels,     // foreground that shares a face with background or with the end of the volume; each counts 1 (MONAI)
  elements,   // corners of voxels with foreground and background around them, weighted by area in mm2 (DeepMind)
};
inline std::string text(Surface s) { return s == Surface::voxels ? "voxels" : "elements"; }

namespace surfaces {

/// The area around a corner for each of the 256 ways in which 8 voxels can be set; voxel (x, y, z) is bit x + 2y + 4z. Marching
/// cubes knows 14 of them, all others are turned, mirrored or have the sides swapped. Each patch is a triangle's (or two
/// triangles') area along x, y and z in eighths of a voxel's faces.
/// Source    Lorensen and Cline, Marching cubes, SIGGRAPH 1987; Nikolov et al., arXiv:1809.04430 (choice of the triangles).
inline std::array<double, 256> element_areas(Xyz<double> spacing) {
  struct Patch {
    std::array<int, 3> eighths{};
    int times = 0;
  };
  struct Case {
    unsigned corners;
    std::array<Patch, 3> patches;
  };
  constexpr Patch kCut{{1, 1, 1}, 1}, kWide{{2, 2, 2}, 1}, kFlat{{0, 0, 4}, 1};
  constexpr Case kCases[] = {
      {1, {kCut}},
      {3, {Patch{{0, 2, 2}, 2}}},
      {6, {Patch{{1, 1, 1}, 2}}},
      {7, {kFlat, kWide, kCut}},
      {15, {Patch{{0, 0, 4}, 2}}},
      {22, {Patch{{1, 1, 1}, 3}}},
      {23, {Patch{{1, 1, 1}, 2}, Patch{{2, 2, 2}, 2}}},
      {24, {Patch{{1, 1, 1}, 2}}},
      {25, {Patch{{2, 2, 0}, 2}, kCut}},
      {27, {Patch{{4, 4, 4}, 1}, Patch{{2, 2, 0}, 1}, Patch{{2, 0, 2}, 1}}},   // 3 + 1 eighths, parallel
      {30, {kFlat, kWide, Patch{{1, 1, 1}, 2}}},
      {60, {Patch{{0, 2, 2}, 4}}},
      {105, {Patch{{1, 1, 1}, 4}}},
  };
  constexpr int kOrders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  const double face[3] = {spacing.y * spacing.z / 8, spacing.x * spacing.z / 8, spacing.x * spacing.y / 8};
  std::array<double, 256> areas{};
  for (const Case& one : kCases)
    for (const auto& axis : kOrders) {
      double area = 0;
      for (const Patch& p : one.patches) {
        double squares = 0;
        for (std::size_t i = 0; i < 3; ++i) squares += std::pow(p.eighths[i] * face[axis[i]], 2);
        area += p.times * std::sqrt(squares);
      }
      for (unsigned mirrored = 0; mirrored < 8; ++mirrored) {
        unsigned code = 0;
        for (unsigned corner = 0; corner < 8; ++corner) {
          if (!(one.corners >> corner & 1)) continue;
          const unsigned at = corner ^ mirrored;
          code |= 1u << ((at & 1) << axis[0] | (at >> 1 & 1) << axis[1] | (at >> 2) << axis[2]);
        }
        areas[code] = areas[255 - code] = area;
      }
    }
  return areas;
}

/// The length of the contour around a corner of pixels for the 16 ways in which 4 can be set; pixel (x, y) is bit x + 2y.
inline std::array<double, 256> element_lengths(Xyz<double> spacing) {
  const double x = spacing.x, y = spacing.y, cut = std::hypot(x, y) / 2;
  return {0, cut, cut, x, cut, y, 2 * cut, cut, cut, 2 * cut, y, cut, x, cut, cut};
}

/// A place on a surface: a voxel of the pair's box, or the corner before it.
struct Place {
  std::int32_t x, y, z;
};
/// The surface of one mask, in the order of memory.
struct Found {
  std::vector<Place> places{};
  std::vector<std::uint8_t> kinds{};   // of each, the code of its area; none if all count 1
};
struct HowToFind {
  Surface surface = Surface::voxels;
  bool planar = false;
  Executor* executor = nullptr;
};

/// Three slices of a mask that follow each other, each with an empty voxel around it, as 0 and 1.
class Slices {
 public:
  Slices(const std::uint8_t* voxels, const MaskPair& pair)
      : voxels_(voxels), pair_(pair), n_(pair.box.shape()), up_(n_.x + 2), slice_(up_ * (n_.y + 2)) {
    flags_.resize(static_cast<std::size_t>(3 * slice_));
    filled_.resize(static_cast<std::size_t>(3 * (n_.y + 2)));
  }
  /// Makes slice z of the box one of the three, in the place of slice z - 3.
  void load(Index z) {
    for (Index y = 0; y < n_.y; ++y) {
      std::uint8_t* const to = flags_.data() + offset(y, z);
      std::uint8_t& filled = filled_[static_cast<std::size_t>(line(y, z))];
      if (filled) std::fill(to, to + n_.x, std::uint8_t{0});
      filled = 0;
      if (z < 0 || z >= n_.z) continue;
      const Xyz<Index> at = pair_.box.begin;
      const std::uint8_t* const from = voxels_ + ((z + at.z) * pair_.shape.y + y + at.y) * pair_.shape.x + at.x;
      const mask::Foreground<std::uint8_t> label{pair_.label, true};
      const Index first = mask::find(from, 0, n_.x, label);
      if (first == n_.x) continue;
      filled = 1;
      for (Index x = first; x < n_.x; ++x) to[x] = from[x] == pair_.label;
    }
  }
  /// Voxel (0, y, z); y may be one beyond the box, and so may x.
  const std::uint8_t* row(Index y, Index z) const { return flags_.data() + offset(y, z); }
  bool filled(Index y, Index z) const { return filled_[static_cast<std::size_t>(line(y, z))] != 0; }

 private:
  Index line(Index y, Index z) const { return (z + 3) % 3 * (n_.y + 2) + y + 1; }
  Index offset(Index y, Index z) const { return line(y, z) * up_ + 1; }
  const std::uint8_t* voxels_;
  const MaskPair& pair_;
  Xyz<Index> n_;
  Index up_, slice_;
  std::vector<std::uint8_t> flags_{}, filled_{};
};

/// Foreground with a neighbour across a face that is none; the rows before, behind, below and above follow the row.
inline void border_row(const std::array<const std::uint8_t*, 5>& rows, Index n, std::uint8_t* out) {
  const auto [row, before, behind, below, above] = rows;
  for (Index x = 0; x < n; ++x) {
    const int inside = row[x - 1] & row[x + 1] & before[x] & behind[x] & below[x] & above[x];
    out[x] = static_cast<std::uint8_t>(row[x] & (inside ^ 1));
  }
}
/// Codes of a row of n corners between the rows a, b (of the slice before) and c, d; 0 where all voxels are foreground, too.
inline void code_row(const std::array<const std::uint8_t*, 4>& rows, Index n, std::uint8_t* out) {
  const auto [a, b, c, d] = rows;
  for (Index x = 0; x < n; ++x) {
    const int low = a[x - 1] | b[x - 1] << 2 | c[x - 1] << 4 | d[x - 1] << 6;
    const int high = a[x] | b[x] << 2 | c[x] << 4 | d[x] << 6;
    const int code = low | high << 1;
    out[x] = static_cast<std::uint8_t>(code == 255 ? 0 : code);
  }
}

/// One row of the surface; false if nothing around it is foreground.
inline bool surface_row(const Slices& of, Index y, Index z, const HowToFind& how, std::span<std::uint8_t> out) {
  const Index n = std::ssize(out);
  if (how.surface == Surface::voxels) {
    if (!of.filled(y, z)) return false;
    const Index below = how.planar ? z : z - 1, above = how.planar ? z : z + 1;
    border_row({of.row(y, z), of.row(y - 1, z), of.row(y + 1, z), of.row(y, below), of.row(y, above)}, n, out.data());
    return true;
  }
  const Index below = how.planar ? z : z - 1;   // the same rows twice: bits 0 to 3 say it all, and all set stays all set
  if (!of.filled(y - 1, below) && !of.filled(y, below) && !of.filled(y - 1, z) && !of.filled(y, z)) return false;
  code_row({of.row(y - 1, below), of.row(y, below), of.row(y - 1, z), of.row(y, z)}, n, out.data());
  return true;
}

/// The surface of one mask of the pair. Slabs of slices are tasks.
inline Found find_surface(const std::uint8_t* voxels, const MaskPair& pair, const HowToFind& how) {
  constexpr Index kSlab = 16;
  const Xyz<Index> n = pair.box.shape();
  const bool corners = how.surface == Surface::elements;
  const Xyz<Index> m = corners ? Xyz<Index>{n.x + 1, n.y + 1, how.planar ? n.z : n.z + 1} : n;
  std::vector<Found> slabs(static_cast<std::size_t>((m.z + kSlab - 1) / kSlab));
  mask::for_tasks(how.executor, std::ssize(slabs), [&](Index slab) {
    Found& found = slabs[static_cast<std::size_t>(slab)];
    Slices slices(voxels, pair);
    std::vector<std::uint8_t> row(static_cast<std::size_t>(m.x));
    slices.load(slab * kSlab - 1);
    slices.load(slab * kSlab);
    for (Index z = slab * kSlab; z < std::min(m.z, (slab + 1) * kSlab); ++z) {
      slices.load(z + 1);
      for (Index y = 0; y < m.y; ++y) {
        if (!surface_row(slices, y, z, how, row)) continue;
        mask::for_runs(row.data(), m.x, mask::Foreground<std::uint8_t>{}, [&](Index begin, Index end) {
          for (Index x = begin; x < end; ++x) {
            found.places.push_back({static_cast<std::int32_t>(x), static_cast<std::int32_t>(y), static_cast<std::int32_t>(z)});
            if (corners)
              found.kinds.push_back(static_cast<std::uint8_t>(row[static_cast<std::size_t>(x)] & (how.planar ? 15 : 255)));
          }
        });
      }
    }
  });
  Found all;
  for (const Found& one : slabs) {
    all.places.insert(all.places.end(), one.places.begin(), one.places.end());
    all.kinds.insert(all.kinds.end(), one.kinds.begin(), one.kinds.end());
  }
  return all;
}

}   // namespace surfaces
}   // namespace ctseg
