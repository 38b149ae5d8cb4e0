// Fewer triangles for the same surface. The edge whose end points can be joined at the least cost goes first; the cost is the
// sum of squared distances to the planes of all triangles that were there before. Only edges go whose loss leaves the surface
// closed and turns no triangle over.
#pragma once
#include <iterator>
#include <queue>
#include <utility>

#include "../image/mesh.hpp"

namespace ctseg {

struct DecimateOptions {
  double keep = 0.25;   // share of the triangles
};

namespace decimation {

/// Squared distances to planes, weighted by area: x' a x + 2 b' x + c.
struct Quadric {
  Eigen::Matrix3d a = Eigen::Matrix3d::Zero();
  Eigen::Vector3d b = Eigen::Vector3d::Zero();
  double c = 0;

  void add(const Quadric& q) { a += q.a, b += q.b, c += q.c; }
  double at(const Eigen::Vector3d& x) const { return x.dot(a * x) + 2 * b.dot(x) + c; }
};

class Decimator {
 public:
  Decimator(std::vector<Eigen::Vector3d> vertices, std::vector<std::array<std::uint32_t, 3>> triangles)
      : vertices_(std::move(vertices)),
        triangles_(std::move(triangles)),
        quadrics_(vertices_.size()),
        stamps_(vertices_.size()),
        stars_(vertices_.size()),
        left_(triangles_.size()) {
    for (std::uint32_t i = 0; i < triangles_.size(); ++i) {
      const Quadric q = plane_of(triangles_[i]);
      for (const std::uint32_t v : triangles_[i]) quadrics_[v].add(q), stars_[v].push_back(i);
    }
    for (const auto& t : triangles_)
      for (std::size_t i = 0; i < 3; ++i)
        if (t[i] < t[(i + 1) % 3]) push(t[i], t[(i + 1) % 3]);   // every edge is met in both directions
  }

  void reduce_to(std::size_t wanted) {
    while (left_ > wanted && !candidates_.empty()) {
      const Candidate next = candidates_.top();
      candidates_.pop();
      if (next.stamp != stamps_[next.a] + stamps_[next.b]) continue;   // one of its ends has moved since: there is a newer one
      const Eigen::Vector3d place = best_place(next.a, next.b);
      if (stays_closed(next.a, next.b) && !turns_over(next.a, next.b, place) && !turns_over(next.b, next.a, place))
        join(next.a, next.b, place);
    }
  }

  const Eigen::Vector3d& vertex(std::uint32_t i) const { return vertices_[i]; }
  /// A triangle that is gone has equal corners.
  const std::vector<std::array<std::uint32_t, 3>>& triangles() const { return triangles_; }

 private:
  struct Candidate {
    double cost;
    std::uint32_t a, b;
    std::uint64_t stamp;   // stamps only grow, so that the sum of two tells whether any changed
    /// The heap's top is the cheapest, of equal ones that with the lowest vertices: the order never depends on the heap.
    bool operator<(const Candidate& o) const {
      if (cost != o.cost) return cost > o.cost;
      return a != o.a ? a > o.a : b > o.b;
    }
  };

  Eigen::Vector3d normal(const Eigen::Vector3d& p, const Eigen::Vector3d& q, const Eigen::Vector3d& r) const {
    const Eigen::Vector3d u = q - p, v = r - p;   // twice the area long
    return {u.y() * v.z() - u.z() * v.y(), u.z() * v.x() - u.x() * v.z(), u.x() * v.y() - u.y() * v.x()};
  }
  Quadric plane_of(const std::array<std::uint32_t, 3>& t) const {
    Eigen::Vector3d n = normal(vertices_[t[0]], vertices_[t[1]], vertices_[t[2]]);
    const double length = n.norm();
    if (length == 0) return {};
    n /= length;
    const double d = -n.dot(vertices_[t[0]]);
    return {length * n * n.transpose(), length * d * n, length * d * d};
  }

  /// Where the summed quadric is least. Along directions that it leaves open, as in a plane, the middle of the edge: hence the
  /// little that is added to its diagonal.
  Eigen::Vector3d best_place(std::uint32_t a, std::uint32_t b) const {
    Quadric q = quadrics_[a];
    q.add(quadrics_[b]);
    const Eigen::Vector3d middle = 0.5 * (vertices_[a] + vertices_[b]);
    const double little = 1e-6 * q.a.trace();
    if (little == 0) return middle;
    const Eigen::Matrix3d firm = q.a + little * Eigen::Matrix3d::Identity();
    return middle - firm.inverse() * (q.a * middle + q.b);
  }
  void push(std::uint32_t a, std::uint32_t b) {
    if (a > b) std::swap(a, b);
    Quadric q = quadrics_[a];
    q.add(quadrics_[b]);
    const double length2 = (vertices_[a] - vertices_[b]).squaredNorm();   // in a plane short edges go first
    candidates_.push({q.at(best_place(a, b)) + 1e-5 * q.a.trace() * length2, a, b, stamps_[a] + stamps_[b]});
  }

  /// Ascending, without v itself.
  std::vector<std::uint32_t> neighbours(std::uint32_t v) const {
    std::vector<std::uint32_t> all;
    for (const std::uint32_t t : stars_[v])
      for (const std::uint32_t w : triangles_[t])
        if (w != v) all.push_back(w);
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return all;
  }
  /// The two ends share the two vertices across their edge and no other: else two sheets would be glued together. A tetrahedron
  /// has nothing to give.
  bool stays_closed(std::uint32_t a, std::uint32_t b) const {
    const auto of_a = neighbours(a), of_b = neighbours(b);
    std::vector<std::uint32_t> both;
    std::set_intersection(of_a.begin(), of_a.end(), of_b.begin(), of_b.end(), std::back_inserter(both));
    if (both.size() != 2) return false;
    return stars_[both[0]].size() > 3 && stars_[both[1]].size() > 3;
  }
  /// Whether a triangle of `moved` that stays would turn by more than about 80 degrees.
  bool turns_over(std::uint32_t moved, std::uint32_t other, const Eigen::Vector3d& place) const {
    for (const std::uint32_t i : stars_[moved]) {
      const auto& t = triangles_[i];
      if (t[0] == other || t[1] == other || t[2] == other) continue;
      const auto corner = [&](std::uint32_t v) -> const Eigen::Vector3d& { return v == moved ? place : vertices_[v]; };
      const Eigen::Vector3d before = normal(vertices_[t[0]], vertices_[t[1]], vertices_[t[2]]);
      const Eigen::Vector3d after = normal(corner(t[0]), corner(t[1]), corner(t[2]));
      if (!(before.dot(after) > 0.2 * before.norm() * after.norm())) return true;
    }
    return false;
  }

  void join(std::uint32_t a, std::uint32_t b, const Eigen::Vector3d& place) {
    vertices_[a] = place;
    quadrics_[a].add(quadrics_[b]);
    for (const std::uint32_t i : stars_[b]) {
      auto& t = triangles_[i];
      const bool gone = t[0] == a || t[1] == a || t[2] == a;
      if (!gone) {
        std::replace(t.begin(), t.end(), b, a);
        stars_[a].push_back(i);
        continue;
      }
      for (const std::uint32_t v : t)
        if (v != b) std::erase(stars_[v], i);
      t = {0, 0, 0};
      --left_;
    }
    stars_[b].clear();
    ++stamps_[a], ++stamps_[b];
    for (const std::uint32_t v : neighbours(a)) push(a, v);
  }

  std::vector<Eigen::Vector3d> vertices_;
  std::vector<std::array<std::uint32_t, 3>> triangles_;
  std::vector<Quadric> quadrics_;
  std::vector<std::uint64_t> stamps_;
  std::vector<std::vector<std::uint32_t>> stars_;   // triangles around each vertex
  std::priority_queue<Candidate> candidates_;
  std::size_t left_;
};

}   // namespace decimation

/// The same surface with a share of its triangles; what is flat loses them first. The result is watertight as the mesh was, and
/// no vertex is left over.
/// Numerics  ends with more triangles than asked for where no edge can go: every closed part keeps at least four.
/// Cost      one thread, 5 to 15 us for each triangle that goes.
/// Errors    bad_argument for a mesh that is not watertight, or a share outside (0, 1].
/// Source    Garland and Heckbert, Surface simplification using quadric error metrics, SIGGRAPH 1997.
template <class Frame> Mesh<Frame> decimate(const Mesh<Frame>& mesh, const DecimateOptions& options = {}) {
  if (!(options.keep > 0 && options.keep <= 1))
    throw Error(Code::bad_argument, "decimate", text("keep = ", options.keep, "; must be more than 0 and at most 1."));
  if (!is_watertight(mesh))
    throw Error(
        Code::bad_argument, "decimate",
        text("the mesh of ", mesh.triangles.size(), " triangles is not watertight; it must be, as surface_of makes it."));
  const Point<Frame> origin = mesh.vertices.front();   // far from 0 squares would cost digits
  std::vector<Eigen::Vector3d> places;
  for (const auto& p : mesh.vertices) places.emplace_back(p.x - origin.x, p.y - origin.y, p.z - origin.z);
  decimation::Decimator work(std::move(places), mesh.triangles);
  work.reduce_to(static_cast<std::size_t>(std::ceil(options.keep * static_cast<double>(mesh.triangles.size()))));

  constexpr std::uint32_t kUnseen = 0xffffffffu;
  std::vector<std::uint32_t> number(mesh.vertices.size(), kUnseen);
  Mesh<Frame> out;
  for (auto t : work.triangles()) {
    if (t[0] == t[1]) continue;
    for (std::uint32_t& v : t) {
      if (number[v] == kUnseen) {
        number[v] = static_cast<std::uint32_t>(out.vertices.size());
        const Eigen::Vector3d& p = work.vertex(v);
        out.vertices.push_back({p.x() + origin.x, p.y() + origin.y, p.z() + origin.z});
      }
      v = number[v];
    }
    out.triangles.push_back(t);
  }
  return out;
}

}   // namespace ctseg
