// Surfaces of masks: compact for the 3-D view, whole for downloads.
#include <ctseg/io/mesh.hpp>
#include <ctseg/post/decimate.hpp>
#include <ctseg/post/surface.hpp>

#include "masks.hpp"

namespace viewer {

namespace {

/// Every other voxel along each axis, set where most of its eight are: a view of a large organ needs no more. What is thin, a
/// vessel, would vanish so: where no such voxel is near, and beside those places, one of eight is enough.
cs::Volume<std::uint8_t> halved(const cs::Volume<std::uint8_t>& mask) {
  const auto n = mask.shape();
  Eigen::Matrix4d to_full = Eigen::Matrix4d::Identity();
  for (int i = 0; i < 3; ++i) to_full(i, i) = 2, to_full(i, 3) = 0.5;
  cs::Volume<std::uint8_t> out(
      cs::Grid{{(n.x + 1) / 2, (n.y + 1) / 2, (n.z + 1) / 2}, cs::Affine<cs::Ras>(mask.affine().matrix * to_full)});
  const auto m = out.shape();
  enum : std::uint8_t { kNone, kFew, kMost, kThin };
  const auto each = [&](auto&& visit) {
    for (Index z = 0; z < m.z; ++z)
      for (Index y = 0; y < m.y; ++y)
        for (Index x = 0; x < m.x; ++x) visit(z, y, x);
  };
  const auto near = [&](Index z, Index y, Index x, std::uint8_t kind) {
    for (Index k = std::max<Index>(z - 1, 0); k <= std::min(z + 1, m.z - 1); ++k)
      for (Index j = std::max<Index>(y - 1, 0); j <= std::min(y + 1, m.y - 1); ++j)
        for (Index i = std::max<Index>(x - 1, 0); i <= std::min(x + 1, m.x - 1); ++i)
          if (out(k, j, i) == kind) return true;
    return false;
  };
  each([&](Index z, Index y, Index x) {
    int count = 0;
    for (int k = 0; k < 8; ++k)
      count += mask(std::min(2 * z + (k >> 2), n.z - 1), std::min(2 * y + (k >> 1 & 1), n.y - 1),
                    std::min(2 * x + (k & 1), n.x - 1)) != 0;
    out(z, y, x) = count >= 4 ? kMost : count > 0 ? kFew : kNone;
  });
  each([&](Index z, Index y, Index x) {
    if (out(z, y, x) == kFew && !near(z, y, x, kMost)) out(z, y, x) = kThin;
  });
  each([&](Index z, Index y, Index x) {   // where it leaves the organ, too
    if (out(z, y, x) == kFew && near(z, y, x, kThin)) out(z, y, x) = kMost;
  });
  for (std::uint8_t& v : out.voxels()) v = v >= kMost;
  return out;
}

/// Voxel faces are two triangles each, and about a third of them look along x.
Index about_triangles(const cs::Volume<std::uint8_t>& mask) {
  Index steps = 0;
  for (std::size_t i = 1; i < mask.voxels().size(); ++i) steps += mask.voxels()[i] != mask.voxels()[i - 1];
  return 6 * steps;
}

/// The mask of one label, or of everything.
cs::Volume<std::uint8_t> chosen(const OpenScan& scan, std::vector<std::uint8_t> voxels, Index label) {
  for (std::uint8_t& v : voxels) v = label == 0 ? v != 0 : v == label;
  if (std::find(voxels.begin(), voxels.end(), std::uint8_t{1}) == voxels.end())
    throw Refusal{404, label == 0 ? std::string("the mask is empty.") : text("the mask has no voxel of label ", label, ".")};
  return cs::Volume<std::uint8_t>(scan.display.grid(), std::move(voxels));
}

}   // namespace

CompactMesh Masks::compact_mesh(const MaskRow& m, Index label, Index most_triangles) {
  std::unique_lock lock(views_);
  const auto scan = scans_.open(m.scan);
  cs::Volume<std::uint8_t> mask = chosen(*scan, *voxels(m, *scan), label);
  CompactMesh out;
  while (about_triangles(mask) > 3 * most_triangles)   // taking triangles away one by one would take seconds
    mask = halved(mask), out.simplified = true;
  cs::Mesh<cs::Ras> mesh = cs::surface_of(mask);
  if (std::ssize(mesh.triangles) > most_triangles) {
    mesh = cs::decimate(mesh, {.keep = static_cast<double>(most_triangles) / static_cast<double>(mesh.triangles.size())});
    out.simplified = true;
  }
  lock.unlock();
  keep_surface(m.id, label);
  const cs::Mesh<cs::Lps> lps = cs::to_lps(mesh);
  const auto put = [&](const auto& value) { out.bytes.append(reinterpret_cast<const char*>(&value), sizeof value); };
  put(static_cast<std::uint32_t>(lps.vertices.size())), put(static_cast<std::uint32_t>(lps.triangles.size()));
  for (const auto& p : lps.vertices)
    put(std::array<float, 3>{static_cast<float>(p.x), static_cast<float>(p.y), static_cast<float>(p.z)});
  for (const auto& t : lps.triangles) put(t);
  return out;
}

fs::path Masks::surface_file(const MaskRow& m, Index label, const std::string& format) {
  const std::lock_guard lock(files_);
  const std::string file = text("scans/", m.scan, "/mesh_", m.version, label == 0 ? "_all" : text("_", label), ".", format);
  const fs::path path = store_ / file;
  if (fs::exists(path)) return path;   // masks do not change
  const auto scan = scans_.open(m.scan);
  const cs::Mesh<cs::Ras> mesh = cs::surface_of(chosen(*scan, *voxels(m, *scan), label));
  cs::io::write_mesh(path, mesh);
  store_.add(MeshRow{
      .mask = m.id, .label = label, .triangles = std::ssize(mesh.triangles), .file = fs::path(file).filename().string()});
  return path;
}

void Masks::keep_surface(Index mask, Index label) {
  const std::lock_guard lock(wanted_mutex_);
  const std::pair<Index, Index> one(mask, label);
  if (std::find(wanted_.begin(), wanted_.end(), one) != wanted_.end()) return;
  wanted_.push_back(one);
  changed_.notify_all();
}

void Masks::keep_surfaces(const std::stop_token& stop) {
  std::unique_lock lock(wanted_mutex_);
  while (changed_.wait(lock, stop, [&] { return !wanted_.empty(); }) && !stop.stop_requested()) {
    const auto [mask, label] = wanted_.front();   // it stays there while it is made: nobody asks for it twice
    lock.unlock();
    try {
      surface_file(row(mask), label, "stl");
    } catch (...) {   // the disk is full, or the scan was deleted: whoever downloads the file is told
    }
    lock.lock();
    wanted_.pop_front();
  }
}

}   // namespace viewer
