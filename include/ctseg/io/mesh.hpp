// Surfaces as files that viewers, planning programs and printers read: STL, PLY (both binary) and OBJ. None of these formats
// says which way x and y point, so the header says it in the words 3D Slicer writes and looks for: SPACE=LPS.
#pragma once
#include <bit>
#include <charconv>
#include <cstring>

#include "../core/finite.hpp"
#include "../image/mesh.hpp"
#include "file.hpp"
#include "reading.hpp"

namespace ctseg::io {

enum class WorldFrame { lps, ras };   // DICOM's and ITK's; NIfTI's

struct WriteMeshOptions {
  WorldFrame frame = WorldFrame::lps;
};

namespace mesh_file {

static_assert(std::endian::native == std::endian::little, "ctseg: meshes are written on little-endian machines");

/// Bytes on their way to a file, handed on in large pieces.
class Writer {
 public:
  explicit Writer(const std::filesystem::path& path) : file_(path) { bytes_.reserve(kPiece + 256); }

  template <class T> void put(const T& value) { append(&value, sizeof value); }
  void put_text(std::string_view words) { append(words.data(), words.size()); }
  void commit() {
    file_.write(bytes_);
    file_.commit();
  }

 private:
  static constexpr std::size_t kPiece = std::size_t{1} << 18;

  void append(const void* data, std::size_t size) {
    const auto* first = static_cast<const std::byte*>(data);
    bytes_.insert(bytes_.end(), first, first + size);
    if (bytes_.size() < kPiece) return;
    file_.write(bytes_);
    bytes_.clear();
  }
  OutputFile file_;
  std::vector<std::byte> bytes_;
};

inline std::string comment(const WriteMeshOptions& options) {
  return text("ctseg surface; SPACE=", options.frame == WorldFrame::lps ? "LPS" : "RAS", "; millimetres");
}

using Vertex = std::array<float, 3>;

/// Vertices as they are written: float, in the frame that was asked for.
/// Errors    bad_argument for a mesh without triangles, with vertices that are not there, or places that are no numbers.
template <class Frame>
std::vector<Vertex> vertices_of(const Mesh<Frame>& mesh, const WriteMeshOptions& options, const std::filesystem::path& path) {
  if (mesh.triangles.empty()) throw Error(Code::bad_argument, path.string(), "the mesh has no triangle; it must have some.");
  if (std::max(mesh.vertices.size(), mesh.triangles.size()) > 0x7fffffffu)
    throw Error(Code::unsupported, path.string(),
                text("the mesh has ", mesh.vertices.size(), " vertices and ", mesh.triangles.size(),
                     " triangles; mesh files count to 2147483647."));
  check_indices(mesh, path.string());
  const double turn = std::is_same_v<Frame, Lps> == (options.frame == WorldFrame::lps) ? 1 : -1;
  std::vector<Vertex> out;
  out.reserve(mesh.vertices.size());
  for (const auto& p : mesh.vertices) {
    const Vertex v{static_cast<float>(turn * p.x), static_cast<float>(turn * p.y), static_cast<float>(p.z)};
    if (!is_finite(v[0]) || !is_finite(v[1]) || !is_finite(v[2]))
      throw Error(Code::bad_argument, path.string(), text("vertex ", out.size(), " is not at a finite place."));
    out.push_back(v);
  }
  return out;
}

/// Of length 1, or 0 for a triangle without area: what readers expect there.
inline Vertex normal_of(const Vertex& a, const Vertex& b, const Vertex& c) {
  double u[3], v[3];
  for (std::size_t i = 0; i < 3; ++i) u[i] = double{b[i]} - double{a[i]}, v[i] = double{c[i]} - double{a[i]};
  const double x = u[1] * v[2] - u[2] * v[1], y = u[2] * v[0] - u[0] * v[2], z = u[0] * v[1] - u[1] * v[0];
  const double length = std::sqrt(x * x + y * y + z * z);
  if (length == 0) return {};
  return {static_cast<float>(x / length), static_cast<float>(y / length), static_cast<float>(z / length)};
}

}   // namespace mesh_file

/// Binary STL: 84 bytes and 50 for each triangle, every triangle with its own corners. Readers join corners at equal places, so
/// an unsmoothed surface can lose its watertightness there where parted voxels touch; PLY and OBJ keep it.
/// Errors    bad_argument for a mesh that is empty or damaged; io if a write failed.
template <class Frame>
void write_stl(const std::filesystem::path& path, const Mesh<Frame>& mesh, const WriteMeshOptions& options = {}) {
  const auto vertices = mesh_file::vertices_of(mesh, options, path);
  mesh_file::Writer out(path);
  std::string header = mesh_file::comment(options);   // must not begin with "solid", which says that the file is text
  header.resize(80, ' ');
  out.put_text(header);
  out.put(static_cast<std::uint32_t>(mesh.triangles.size()));
  for (const auto& t : mesh.triangles) {
    const mesh_file::Vertex corners[3] = {vertices[t[0]], vertices[t[1]], vertices[t[2]]};
    out.put(mesh_file::normal_of(corners[0], corners[1], corners[2]));
    out.put(corners);
    out.put(std::uint16_t{0});
  }
  out.commit();
}

/// Binary little-endian PLY: float vertices, lists of three int32.
/// Errors    bad_argument for a mesh that is empty or damaged; io if a write failed.
template <class Frame>
void write_ply(const std::filesystem::path& path, const Mesh<Frame>& mesh, const WriteMeshOptions& options = {}) {
  const auto vertices = mesh_file::vertices_of(mesh, options, path);
  mesh_file::Writer out(path);
  out.put_text(text("ply\nformat binary_little_endian 1.0\ncomment ", mesh_file::comment(options), "\nelement vertex ",
                    vertices.size(), "\nproperty float x\nproperty float y\nproperty float z\nelement face ",
                    mesh.triangles.size(), "\nproperty list uchar int vertex_indices\nend_header\n"));
  for (const auto& v : vertices) out.put(v);
  for (const auto& t : mesh.triangles) {
    out.put(std::uint8_t{3});
    out.put(t);
  }
  out.commit();
}

/// Wavefront OBJ, text. Numbers are the shortest that read back as the same float, with a point in any locale.
/// Errors    bad_argument for a mesh that is empty or damaged; io if a write failed.
template <class Frame>
void write_obj(const std::filesystem::path& path, const Mesh<Frame>& mesh, const WriteMeshOptions& options = {}) {
  const auto vertices = mesh_file::vertices_of(mesh, options, path);
  mesh_file::Writer out(path);
  const auto line = [&](char kind, const auto& numbers) {
    char words[64];
    char* end = words;
    *end++ = kind;
    for (const auto& number : numbers) {
      *end++ = ' ';
      end = std::to_chars(end, words + sizeof words - 1, number).ptr;
    }
    *end++ = '\n';
    out.put_text({words, static_cast<std::size_t>(end - words)});
  };
  out.put_text(text("# ", mesh_file::comment(options), "\n"));
  for (const auto& v : vertices) line('v', v);
  for (const auto& t : mesh.triangles) line('f', std::array<std::uint32_t, 3>{t[0] + 1, t[1] + 1, t[2] + 1});
  out.commit();
}

/// Writes a surface in the format its name tells: .stl, .ply or .obj, whole or not at all.
/// Errors    bad_argument for other names; those of the three.
template <class Frame>
void write_mesh(const std::filesystem::path& path, const Mesh<Frame>& mesh, const WriteMeshOptions& options = {}) {
  if (ends_with(path, ".stl")) return write_stl(path, mesh, options);
  if (ends_with(path, ".ply")) return write_ply(path, mesh, options);
  if (ends_with(path, ".obj")) return write_obj(path, mesh, options);
  throw Error(Code::bad_argument, path.string(), "the name must end in .stl, .ply or .obj.");
}

}   // namespace ctseg::io
