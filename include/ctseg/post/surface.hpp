// The surface of a mask or a label as triangles. Between any eight voxels that touch at a corner lies a cell; each sheet of the
// surface that passes a cell gets one vertex in its middle, and each voxel face with background behind it becomes a quad
// between the vertices of four cells. So before smoothing the mesh is the voxels' own faces, with exactly their volume, and
// watertight for any mask; smoothing then moves vertices and touches no edge.
#pragma once
#include <map>

#include "../image/cleanup.hpp"
#include "../image/mesh.hpp"

namespace ctseg {

struct SurfaceOptions {
  std::optional<Index> label{};      // the foreground; unset: everything but 0
  int smooth = 15;                   // rounds of Taubin's filter; 0 leaves the voxels' faces
  double lambda = 0.5, mu = -0.53;   // each round moves vertices by these shares of the way to their neighbours' mean
  double most_voxels = 0.4;          // no vertex moves further along any axis; below 0.5 opposite faces cannot meet
};

namespace surface {

/// What is known of a cell from which of its corners are foreground (bit x + 2 y + 4 z of its code). Edge 4 a + i runs along
/// axis a, bit 0 of i is its place along the next axis, bit 1 that along the one after. Face 2 a + side.
struct CellTable {
  std::array<std::array<std::uint8_t, 12>, 256> sheet{};   // of an edge that the surface crosses
  std::array<std::uint8_t, 256> sheets{};
  std::array<std::uint8_t, 256> pinched{};   // faces that one sheet crosses twice

  CellTable() {
    for (unsigned code = 0; code < 256; ++code) fill(code);
  }

  static int corner(int edge, int end) {
    const int a = edge / 4, b = (a + 1) % 3, c = (a + 2) % 3;
    return (edge & 1) << b | (edge >> 1 & 1) << c | end << a;
  }
  static bool inside(unsigned code, int corner) { return (code >> corner & 1) != 0; }
  static bool crossed(unsigned code, int edge) { return inside(code, corner(edge, 0)) != inside(code, corner(edge, 1)); }
  static int foreground_end(unsigned code, int edge) { return corner(edge, inside(code, corner(edge, 0)) ? 0 : 1); }
  static bool on_face(int edge, int face) {
    const int a = face / 2, side = face % 2;
    return edge / 4 != a && (corner(edge, 0) >> a & 1) == side;
  }

 private:
  /// Two crossings of a face are joined across it. Of four, those are that share a foreground corner: so voxels that touch at
  /// an edge only are parted. The rule looks at the face alone, hence the cell behind it decides the same.
  void fill(unsigned code) {
    std::array<std::uint8_t, 12>& sheet_of = sheet[code];
    for (int e = 0; e < 12; ++e) sheet_of[at(e)] = static_cast<std::uint8_t>(crossed(code, e) ? e : 12);
    for (int face = 0; face < 6; ++face)
      for_pairs(code, face, [&](int e, int f) {
        if (crossings(code, face) == 4 && foreground_end(code, e) != foreground_end(code, f)) return;
        const std::uint8_t from = std::max(sheet_of[at(e)], sheet_of[at(f)]), to = std::min(sheet_of[at(e)], sheet_of[at(f)]);
        for (auto& s : sheet_of) s = s == from ? to : s;
      });
    for (int face = 0; face < 6; ++face)
      for_pairs(code, face, [&](int e, int f) {
        if (crossings(code, face) == 4 && foreground_end(code, e) != foreground_end(code, f) &&
            sheet_of[at(e)] == sheet_of[at(f)])
          pinched[code] = static_cast<std::uint8_t>(pinched[code] | 1 << face);
      });
    for (int first = 0; first < 12; ++first) {   // numbered 0, 1 .. instead of by their first edges
      if (sheet_of[at(first)] != first) continue;
      for (auto& s : sheet_of) s = s == first ? sheets[code] : s;
      ++sheets[code];
    }
  }
  static std::size_t at(int edge) { return static_cast<std::size_t>(edge); }
  static int crossings(unsigned code, int face) {
    int count = 0;
    for (int e = 0; e < 12; ++e) count += on_face(e, face) && crossed(code, e);
    return count;
  }
  template <class F> static void for_pairs(unsigned code, int face, F&& f) {
    for (int e = 0; e < 12; ++e)
      for (int g = e + 1; g < 12; ++g)
        if (on_face(e, face) && on_face(g, face) && crossed(code, e) && crossed(code, g)) f(e, g);
  }
};

/// Vertices in voxel coordinates.
struct IndexMesh {
  std::vector<Xyz<double>> vertices{};
  std::vector<std::array<std::uint32_t, 3>> triangles{};

  std::uint32_t add(Xyz<double> v) {
    if (vertices.size() > std::numeric_limits<std::uint32_t>::max() - 1)
      throw Error(Code::unsupported, "surface_of", "the surface has more than 4294967295 vertices. Hint: resample the mask.");
    vertices.push_back(v);
    return static_cast<std::uint32_t>(vertices.size() - 1);
  }
};

/// Foreground's box, both corners inside; high < low where there is none.
template <class T> std::pair<Xyz<Index>, Xyz<Index>> box_of(const Volume<T>& volume, mask::Foreground<T> foreground) {
  const Xyz<Index> n = volume.shape();
  Xyz<Index> low = n, high{-1, -1, -1};
  for (Index row = 0; row < n.y * n.z; ++row)
    mask::for_runs(volume.data() + row * n.x, n.x, foreground, [&](Index begin, Index end) {
      low = {std::min(low.x, begin), std::min(low.y, row % n.y), std::min(low.z, row / n.y)};
      high = {std::max(high.x, end - 1), std::max(high.y, row % n.y), row / n.y};
    });
  return {low, high};
}

/// Walks over the cells layer by layer; a quad is made at the last of its four cells. Cell (x, y, z) has voxel
/// low + (x, y, z) at its last corner, so that cells start half outside the box and the surface closes at the volume's border.
template <class T> class Builder {
 public:
  Builder(const Volume<T>& volume, mask::Foreground<T> foreground, Xyz<Index> low, Xyz<Index> high)
      : volume_(volume),
        foreground_(foreground),
        low_(low),
        cells_{high.x - low.x + 2, high.y - low.y + 2, high.z - low.z + 2} {
    for (auto* layer : {&below_, &here_}) layer->resize(static_cast<std::size_t>(cells_.x * cells_.y));
    for (auto* slice : {&slice_below_, &slice_}) slice->assign(static_cast<std::size_t>((cells_.x + 1) * (cells_.y + 1)), 0);
  }

  IndexMesh build() && {
    for (Index z = 0; z < cells_.z; ++z) {
      read_slice(z);
      for (Index y = 0; y < cells_.y; ++y) add_row(y, z);
      std::swap(below_, here_);
    }
    return std::move(mesh_);
  }

 private:
  struct Cell {
    std::uint32_t first = 0;   // vertex of sheet 0; the others follow
    std::uint8_t code = 0;
  };
  static constexpr unsigned kAxisBits[3] = {1, 2, 4};

  /// Voxels of one slice of the box as 0 and 1, with a rim of background; beyond the last slice all are background.
  void read_slice(Index z) {
    std::swap(slice_, slice_below_);
    std::fill(slice_.begin(), slice_.end(), std::uint8_t{0});
    if (z == cells_.z - 1) return;
    const Index width = cells_.x - 1;
    for (Index y = 0; y < cells_.y - 1; ++y)
      mask::for_runs(&volume_(low_.z + z, low_.y + y, low_.x), width, foreground_, [&](Index begin, Index end) {
        const auto row = slice_.begin() + (y + 1) * (cells_.x + 1) + 1;
        std::fill(row + begin, row + end, std::uint8_t{1});
      });
  }

  void add_row(Index y, Index z) {
    const std::uint8_t* rows[4];   // of the corners, at x = 0
    for (int i = 0; i < 4; ++i) rows[i] = (i < 2 ? slice_below_ : slice_).data() + (y + i % 2) * (cells_.x + 1);
    unsigned code = 0;
    for (Index x = 0; x < cells_.x; ++x) {
      code = code >> 1 & 0x55u;   // the last corners become the first ones
      for (int i = 0; i < 4; ++i) code |= static_cast<unsigned>(rows[i][x + 1]) << (2 * i + 1);
      Cell& cell = here_[static_cast<std::size_t>(y * cells_.x + x)];
      cell.code = static_cast<std::uint8_t>(code);
      if (code == 0 || code == 255) continue;
      for (int s = 0; s < table_.sheets[code]; ++s) {
        const std::uint32_t v = mesh_.add(middle(x, y, z));
        if (s == 0) cell.first = v;
      }
      for (int axis = 0; axis < 3; ++axis)
        if (CellTable::crossed(code, 4 * axis)) add_quad(axis, {x, y, z});
    }
  }

  Xyz<double> middle(Index x, Index y, Index z) const {
    return {static_cast<double>(low_.x + x) - 0.5, static_cast<double>(low_.y + y) - 0.5,
            static_cast<double>(low_.z + z) - 0.5};
  }
  /// A cell before `at` by the steps whose axes are set in `back`.
  const Cell& cell(Xyz<Index> at, unsigned back) const {
    const auto i = static_cast<std::size_t>((at.y - (back >> 1 & 1)) * cells_.x + at.x - (back & 1));
    return (back & 4 ? below_ : here_)[i];
  }

  /// The voxel face across the cell's first edge along `axis`, counterclockwise seen from the background.
  void add_quad(int axis, Xyz<Index> at) {
    const int b = (axis + 1) % 3, c = (axis + 2) % 3;
    const int around[4] = {3, 2, 0, 1};   // steps back: bit 0 along b, bit 1 along c; counterclockwise seen from +axis
    std::uint32_t corners[8];
    int count = 0, extra = -1;
    for (int k = 0; k < 4; ++k) {
      const int here = around[k], next = around[(k + 1) % 4];
      const unsigned back = steps(here, b, c);
      const Cell& from = cell(at, back);
      corners[count++] = from.first + table_.sheet[from.code][static_cast<std::size_t>(4 * axis + here)];
      const int across = k % 2 == 0 ? b : c, forward = next < here;   // the face between this cell and the next
      const Cell& to = cell(at, steps(next, b, c));
      if ((table_.pinched[from.code] >> (2 * across + forward) & 1) == 0) continue;
      if ((table_.pinched[to.code] >> (2 * across + 1 - forward) & 1) == 0) continue;
      extra = count;
      corners[count++] = split(axis, at, std::min(here, next), across);
    }
    const bool outward = CellTable::inside(cell(at, 0).code, 0);   // along the axis
    for (int i = 1; i + 1 < count; ++i) {   // a fan, from an extra vertex if there is one: it has no other way to be needed
      const int start = std::max(extra, 0);
      std::array<std::uint32_t, 3> t = {corners[start], corners[(start + i) % count], corners[(start + i + 1) % count]};
      if (!outward) std::swap(t[1], t[2]);
      mesh_.triangles.push_back(t);
    }
  }
  static unsigned steps(int bits, int b, int c) { return (bits & 1 ? kAxisBits[b] : 0u) | (bits & 2 ? kAxisBits[c] : 0u); }

  /// Where one sheet passes a face twice on both of its sides, four quads would meet in one edge. Each pair of them that shares
  /// a foreground voxel gets an edge of its own, through a vertex in the middle of the face. `steps_back` leads from the cell
  /// `at` to the cell whose first face along `across` it is.
  std::uint32_t split(int axis, Xyz<Index> at, int steps_back, int across) {
    const int b = (axis + 1) % 3, c = (axis + 2) % 3, edge = 4 * axis + steps_back;
    const unsigned back = steps(steps_back, b, c);
    const int voxel = CellTable::foreground_end(cell(at, back).code, edge);
    const Index x = at.x - (back & 1), y = at.y - (back >> 1 & 1), z = at.z - (back >> 2 & 1);
    const std::array<Index, 3> key = {(z * cells_.y + y) * cells_.x + x, across, voxel >> (across + 1) % 3 & 1};
    const auto known = splits_.find(key);
    if (known != splits_.end()) return known->second;
    Xyz<double> v = middle(x, y, z);
    (across == 0 ? v.x : across == 1 ? v.y : v.z) -= 0.5;
    return splits_[key] = mesh_.add(v);
  }

  const Volume<T>& volume_;
  mask::Foreground<T> foreground_;
  Xyz<Index> low_, cells_;
  CellTable table_;
  std::vector<Cell> below_, here_;
  std::vector<std::uint8_t> slice_below_, slice_;
  std::map<std::array<Index, 3>, std::uint32_t> splits_;
  IndexMesh mesh_;
};

/// Moves every vertex by a share of the way to the mean of its neighbours, within the box around its first place.
inline void relax(IndexMesh& mesh, const std::vector<Xyz<double>>& first, double share, double most) {
  struct Sum {
    double x = 0, y = 0, z = 0, count = 0;
  };
  std::vector<Sum> sums(mesh.vertices.size());
  for (const auto& t : mesh.triangles)   // closed and with one side outside: every neighbour is met once
    for (std::size_t i = 0; i < 3; ++i) {
      const Xyz<double>& p = mesh.vertices[t[(i + 1) % 3]];
      Sum& s = sums[t[i]];
      s.x += p.x, s.y += p.y, s.z += p.z, s.count += 1;
    }
  const auto moved = [&](double at, double sum, double count, double start) {
    return std::clamp(at + share * (sum / count - at), start - most, start + most);
  };
  for (std::size_t i = 0; i < sums.size(); ++i) {
    Xyz<double>& v = mesh.vertices[i];
    const Sum& s = sums[i];
    v = {moved(v.x, s.x, s.count, first[i].x), moved(v.y, s.y, s.count, first[i].y), moved(v.z, s.z, s.count, first[i].z)};
  }
}

inline void smooth(IndexMesh& mesh, const SurfaceOptions& options) {
  const std::vector<Xyz<double>> first = mesh.vertices;
  for (int round = 0; round < options.smooth; ++round) {
    relax(mesh, first, options.lambda, options.most_voxels);
    relax(mesh, first, options.mu, options.most_voxels);
  }
}

template <class T> [[noreturn]] void refuse_empty(const Volume<T>& volume, std::optional<Index> label) {
  std::string there;
  int listed = 0;
  for (const T value : cleanup::values_of(volume.data(), volume.shape())) {
    if (++listed == 20) there += ", ..";
    if (listed < 20) there += (listed == 1 ? "" : ", ") + text(static_cast<double>(value));
  }
  if (!label)
    throw Error(Code::bad_argument, "surface_of", text("all voxels of ", volume.shape(), " are 0; some must not be."));
  throw Error(Code::bad_argument, "surface_of",
              text("no voxel of ", volume.shape(), " has label ", *label, "; the labels there are ",
                   there.empty() ? std::string("none but 0") : there, "."));
}

inline void check(const SurfaceOptions& o, const Grid& grid) {
  if (o.smooth < 0) throw Error(Code::bad_argument, "surface_of", text("smooth = ", o.smooth, "; must be 0 or more rounds."));
  if (!(o.lambda > 0 && o.lambda < 1) || !(o.mu < 0 && o.mu > -1))
    throw Error(Code::bad_argument, "surface_of",
                text("lambda = ", o.lambda, ", mu = ", o.mu, "; must be between 0 and 1, and between -1 and 0. ",
                     "Hint: a mu a little beyond -lambda keeps the volume."));
  if (!(o.most_voxels >= 0 && o.most_voxels < 0.5))
    throw Error(Code::bad_argument, "surface_of",
                text("most_voxels = ", o.most_voxels, "; must be at least 0 and below 0.5, where opposite faces would meet."));
  const double size = grid.affine.voxel_mm3();
  if (!is_finite(size) || size == 0)
    throw Error(Code::bad_argument, "surface_of", text("the affine gives voxels of ", size, " mm3; must be more than 0."));
}

}   // namespace surface

/// Surface of a mask, or of one label, outward for any affine. Voxels that touch at an edge or a corner only are parted,
/// cavities have a surface of their own, and the border of the volume is closed.
/// Numerics  without smoothing exactly the voxels' faces and volume; vertices of parted voxels then lie on one another. With it
///           no vertex leaves the box of +-most_voxels around where it was. Volume of a ball of radius 12 voxels + 0.3 %, of 4
///           + 2 %; of a bar 2 voxels thick - 10 %; what is 1 thick keeps a few per cent. Hint: smooth = 0 for tiny lesions.
/// Cost      one thread: a few ns for each voxel of the foreground's box, about 40 ns for each voxel face and round.
/// Errors    bad_argument for a label that does not occur, or options out of range.
/// Source    Gibson, Constrained elastic surface nets, MICCAI 1998; Nielson, Dual marching cubes, IEEE Visualization 2004;
///           Taubin, A signal processing approach to fair surface design, SIGGRAPH 1995.
template <class T> Mesh<Ras> surface_of(const Volume<T>& volume, const SurfaceOptions& options = {}) {
  surface::check(options, volume.grid());
  const mask::Foreground<T> foreground = mask::foreground<T>(options.label, "surface_of");
  const auto [low, high] = surface::box_of(volume, foreground);
  if (high.x < low.x) surface::refuse_empty(volume, options.label);
  surface::IndexMesh net = surface::Builder<T>(volume, foreground, low, high).build();
  surface::smooth(net, options);
  if (volume.affine().matrix.template block<3, 3>(0, 0).determinant() < 0)   // a mirror turns the inside out
    for (auto& t : net.triangles) std::swap(t[1], t[2]);
  Mesh<Ras> mesh{{}, std::move(net.triangles)};
  mesh.vertices.reserve(net.vertices.size());
  for (const auto& v : net.vertices) mesh.vertices.push_back(volume.affine()(v.x, v.y, v.z));
  return mesh;
}

}   // namespace ctseg
