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

/// The surface of one mask on the grid of voxels, or of their corners.
struct Found {
  Xyz<Index> shape{};
  std::vector<std::uint8_t> flags;    // of that grid: 0 or not
  std::vector<Index> places;          // where they are not 0, in the order of memory
  std::vector<std::uint8_t> kinds{};   // of each place, the code of its area; none if all count 1
};

/// A mask cut out with one empty voxel on each side.
inline std::vector<std::uint8_t> padded_mask(const std::uint8_t* voxels, const MaskPair& pair, Executor* executor) {
  const Xyz<Index> n = pair.box.shape();
  std::vector<std::uint8_t> out = mask::zeros<std::uint8_t>((n.x + 2) * (n.y + 2) * (n.z + 2), executor);
  mask::for_tasks(executor, n.z, [&](Index z) {
    for (Index y = 0; y < n.y; ++y) {
      const std::uint8_t* from =
          voxels + ((z + pair.box.begin.z) * pair.shape.y + y + pair.box.begin.y) * pair.shape.x + pair.box.begin.x;
      std::uint8_t* to = out.data() + ((z + 1) * (n.y + 2) + y + 1) * (n.x + 2) + 1;
      for (Index x = 0; x < n.x; ++x) to[x] = from[x] == pair.label;
    }
  });
  return out;
}

/// Foreground with a neighbour across a face that is none.
inline void border_row(const std::uint8_t* row, Index n, Index up, Index slice, std::uint8_t* out) {
  for (Index x = 0; x < n; ++x) {
    const int inside = row[x - 1] & row[x + 1] & row[x - up] & row[x + up] & row[x - slice] & row[x + slice];
    out[x] = static_cast<std::uint8_t>(row[x] & (inside ^ 1));
  }
}
/// Codes of a row of n corners between the rows a, b (of the slice before) and c, d; 0 where all voxels are foreground, too.
inline void code_row(std::array<const std::uint8_t*, 4> rows, Index n, std::uint8_t* out) {
  const auto [a, b, c, d] = rows;
  for (Index x = 0; x < n; ++x) {
    const int low = a[x - 1] | b[x - 1] << 2 | c[x - 1] << 4 | d[x - 1] << 6;
    const int high = a[x] | b[x] << 2 | c[x] << 4 | d[x] << 6;
    const int code = low | high << 1;
    out[x] = static_cast<std::uint8_t>(code == 255 ? 0 : code);
  }
}

struct HowToFind {
  Surface surface = Surface::voxels;
  bool planar = false;
  Executor* executor = nullptr;
};

/// The surface of one mask of the pair.
inline Found find_surface(const std::uint8_t* voxels, const MaskPair& pair, const HowToFind& how) {
  const Xyz<Index> n = pair.box.shape();
  const std::vector<std::uint8_t> padded = padded_mask(voxels, pair, how.executor);
  const Index up = n.x + 2, slice = up * (n.y + 2);
  const bool corners = how.surface == Surface::elements;
  Found out{.shape = corners ? Xyz<Index>{n.x + 1, n.y + 1, n.z + (how.planar ? 0 : 1)} : n, .flags = {}, .places = {}};
  const Xyz<Index> m = out.shape;
  out.flags = mask::zeros<std::uint8_t>(m.x * m.y * m.z, how.executor);
  std::vector<std::vector<Index>> places(static_cast<std::size_t>(m.z));
  mask::for_tasks(how.executor, m.z, [&](Index z) {
    for (Index y = 0; y < m.y; ++y) {
      const Index first = (z * m.y + y) * m.x;
      std::uint8_t* const to = out.flags.data() + first;
      const std::uint8_t* const row = padded.data() + (z + 1) * slice + (y + 1) * up + 1;   // voxel (0, y, z)
      if (!corners)
        border_row(row, m.x, up, how.planar ? 0 : slice, to);
      else if (how.planar)   // the same rows twice: bits 0 to 3 are those of the plane, and all set stays all set
        code_row({row - up, row, row - up, row}, m.x, to);
      else
        code_row({row - slice - up, row - slice, row - up, row}, m.x, to);
      mask::for_runs(to, m.x, mask::Foreground<std::uint8_t>{}, [&](Index begin, Index end) {
        for (Index x = begin; x < end; ++x) places[static_cast<std::size_t>(z)].push_back(first + x);
      });
    }
  });
  for (const auto& some : places) out.places.insert(out.places.end(), some.begin(), some.end());
  if (corners)
    for (const Index at : out.places) out.kinds.push_back(static_cast<std::uint8_t>(out.flags[static_cast<std::size_t>(at)] & (how.planar ? 15 : 255)));
  return out;
}

}   // namespace surfaces
}   // namespace ctseg
