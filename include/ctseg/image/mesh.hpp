// Surfaces as triangles in the patient. The frame is part of the type, as it is of points: LPS cannot be taken for RAS.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "geometry.hpp"

namespace ctseg {

/// Triangles between vertices in millimetres. Seen from outside, the corners of a triangle go counterclockwise.
template <class Frame> struct Mesh {
  std::vector<Point<Frame>> vertices{};
  std::vector<std::array<std::uint32_t, 3>> triangles{};   // indices into vertices
};

inline Mesh<Lps> to_lps(const Mesh<Ras>& mesh) {
  Mesh<Lps> out{{}, mesh.triangles};   // half a turn about z: what was outside stays outside
  for (const auto& p : mesh.vertices) out.vertices.push_back(to_lps(p));
  return out;
}
inline Mesh<Ras> to_ras(const Mesh<Lps>& mesh) {
  Mesh<Ras> out{{}, mesh.triangles};
  for (const auto& p : mesh.vertices) out.vertices.push_back(to_ras(p));
  return out;
}

/// Throws unless every triangle names three vertices that are there.
template <class Frame> void check_indices(const Mesh<Frame>& mesh, std::string_view where) {
  for (std::size_t i = 0; i < mesh.triangles.size(); ++i)
    for (const std::uint32_t v : mesh.triangles[i])
      if (v >= mesh.vertices.size())
        throw Error(Code::bad_argument, where,
                    text("triangle ", i, " names vertex ", static_cast<Index>(v), " of a mesh with ", mesh.vertices.size(),
                         " vertices, counted from 0."));
}

/// The volume a watertight mesh encloses, negative if it is inside out. Cavities are taken off.
/// Numerics  sum of signed tetrahedra; their tip is a vertex of the mesh, so that a place far from the origin costs no digits.
/// Errors    bad_argument for a triangle of vertices that are not there.
template <class Frame> double volume_mm3(const Mesh<Frame>& mesh) {
  check_indices(mesh, "volume_mm3");
  double six_times = 0;
  for (const auto& t : mesh.triangles) {
    const Point<Frame>& tip = mesh.vertices[mesh.triangles[0][0]];
    const auto from_tip = [&](std::uint32_t i) {
      const Point<Frame>& p = mesh.vertices[i];
      return Xyz<double>{p.x - tip.x, p.y - tip.y, p.z - tip.z};
    };
    const Xyz<double> a = from_tip(t[0]), b = from_tip(t[1]), c = from_tip(t[2]);
    six_times += a.x * (b.y * c.z - b.z * c.y) + a.y * (b.z * c.x - b.x * c.z) + a.z * (b.x * c.y - b.y * c.x);
  }
  return six_times / 6;
}

/// Whether every edge belongs to exactly two triangles that pass it in opposite directions: closed, and one side is outside.
/// A mesh without triangles encloses nothing and is not.
/// Errors    bad_argument for a triangle of vertices that are not there.
template <class Frame> bool is_watertight(const Mesh<Frame>& mesh) {
  check_indices(mesh, "is_watertight");
  std::vector<std::uint64_t> edges;   // from << 32 | to
  edges.reserve(3 * mesh.triangles.size());
  for (const auto& t : mesh.triangles)
    for (std::size_t i = 0; i < 3; ++i) {
      if (t[i] == t[(i + 1) % 3]) return false;
      edges.push_back(std::uint64_t{t[i]} << 32 | t[(i + 1) % 3]);
    }
  std::sort(edges.begin(), edges.end());
  if (std::adjacent_find(edges.begin(), edges.end()) != edges.end()) return false;
  return !edges.empty() && std::all_of(edges.begin(), edges.end(), [&](std::uint64_t edge) {
    return std::binary_search(edges.begin(), edges.end(), edge << 32 | edge >> 32);
  });
}

}   // namespace ctseg
