// Mesh files, taken apart byte by byte by readers of a few lines.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <sstream>

#include <ctseg/io/mesh.hpp>

#include "temp_folder.hpp"

using namespace ctseg;

namespace {

/// A tetrahedron with edges along the axes, outward; places that no decimal fraction hits.
Mesh<Ras> tetrahedron() {
  return {{{10, 20, 30}, {11.1, 20, 30}, {10, 22.3, 30}, {10, 20, -30.7}}, {{0, 1, 2}, {0, 3, 1}, {0, 2, 3}, {1, 3, 2}}};
}

struct Soup {
  std::vector<std::array<float, 3>> vertices{};
  std::vector<std::array<std::uint32_t, 3>> triangles{};
};

template <class T> T take(const std::string& bytes, std::size_t& at) {
  T value;
  REQUIRE(at + sizeof value <= bytes.size());
  std::memcpy(&value, bytes.data() + at, sizeof value);
  at += sizeof value;
  return value;
}

Soup parse_ply(const std::string& bytes) {
  std::size_t at = bytes.find("end_header\n");
  REQUIRE(at != std::string::npos);
  const auto count = [&](const std::string& word) { return std::stoul(bytes.substr(bytes.find(word) + word.size())); };
  at += 11;
  Soup out;
  for (std::size_t i = count("element vertex "); i > 0; --i) out.vertices.push_back(take<std::array<float, 3>>(bytes, at));
  for (std::size_t i = count("element face "); i > 0; --i) {
    CHECK(take<std::uint8_t>(bytes, at) == 3);
    out.triangles.push_back(take<std::array<std::uint32_t, 3>>(bytes, at));
  }
  CHECK(at == bytes.size());
  return out;
}

Soup parse_obj(const std::string& bytes) {
  Soup out;
  std::istringstream lines(bytes);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string kind;
    words >> kind;
    std::array<float, 3> v{};
    std::array<std::uint32_t, 3> t{};
    if (kind == "v") words >> v[0] >> v[1] >> v[2], out.vertices.push_back(v);
    if (kind == "f") words >> t[0] >> t[1] >> t[2], out.triangles.push_back({t[0] - 1, t[1] - 1, t[2] - 1});
    CHECK((kind == "#" || !words.fail()));
  }
  return out;
}

void check_same(const Soup& read, const Mesh<Lps>& mesh) {
  REQUIRE(read.vertices.size() == mesh.vertices.size());
  CHECK(read.triangles == mesh.triangles);
  for (std::size_t i = 0; i < read.vertices.size(); ++i) {
    CHECK(read.vertices[i][0] == static_cast<float>(mesh.vertices[i].x));
    CHECK(read.vertices[i][1] == static_cast<float>(mesh.vertices[i].y));
    CHECK(read.vertices[i][2] == static_cast<float>(mesh.vertices[i].z));
  }
}

}   // namespace

TEST_CASE("STL has 84 + 50 n bytes: a header that names the frame, outward normals, corners in LPS") {
  const TempFolder folder;
  const Mesh<Ras> mesh = tetrahedron();
  CHECK(volume_mm3(mesh) > 0);   // outward: its tip is below the other three
  io::write_stl(folder / "a.stl", mesh);
  const std::string bytes = slurp(folder / "a.stl");
  REQUIRE(bytes.size() == 84 + 50 * mesh.triangles.size());
  CHECK(bytes.starts_with("ctseg surface; SPACE=LPS; millimetres   "));
  std::size_t at = 80;
  CHECK(take<std::uint32_t>(bytes, at) == 4);
  for (const auto& t : mesh.triangles) {
    const auto normal = take<std::array<float, 3>>(bytes, at);
    const auto corners = take<std::array<std::array<float, 3>, 3>>(bytes, at);
    CHECK(take<std::uint16_t>(bytes, at) == 0);
    double length = 0, u = 0, v = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      length += double{normal[i]} * double{normal[i]};
      u += double{normal[i]} * (double{corners[1][i]} - double{corners[0][i]});
      v += double{normal[i]} * (double{corners[2][i]} - double{corners[0][i]});
    }
    CHECK(length == doctest::Approx(1));
    CHECK(std::abs(u) + std::abs(v) < 1e-4);
    for (std::size_t i = 0; i < 3; ++i) {
      const Point<Lps> p = to_lps(mesh.vertices[t[i]]);
      CHECK(corners[i] == std::array<float, 3>{static_cast<float>(p.x), static_cast<float>(p.y), static_cast<float>(p.z)});
    }
  }
  at = 84;
  CHECK(take<std::array<float, 3>>(bytes, at) == std::array<float, 3>{0, 0, 1});   // counterclockwise 0 1 2 in the x-y plane
}

TEST_CASE("PLY and OBJ read back as the same floats and triangles, from either frame") {
  const TempFolder folder;
  const Mesh<Lps> lps = to_lps(tetrahedron());
  io::write_ply(folder / "a.ply", tetrahedron());
  io::write_ply(folder / "b.ply", lps);
  io::write_obj(folder / "a.obj", tetrahedron());
  const std::string ply = slurp(folder / "a.ply"), obj = slurp(folder / "a.obj");
  CHECK(ply == slurp(folder / "b.ply"));
  CHECK(ply.starts_with(
      "ply\nformat binary_little_endian 1.0\ncomment ctseg surface; SPACE=LPS; millimetres\nelement vertex 4\n"));
  CHECK(obj.starts_with("# ctseg surface; SPACE=LPS; millimetres\nv -10 -20 30\nv -11.1 -20 30\n"));
  CHECK(obj.ends_with("f 1 2 3\nf 1 4 2\nf 1 3 4\nf 2 4 3\n"));
  check_same(parse_ply(ply), lps);
  check_same(parse_obj(obj), lps);
}

TEST_CASE("RAS by option, the format by the name, the same bytes every time") {
  const TempFolder folder;
  for (const std::string name : {"m.stl", "m.ply", "m.OBJ"}) {
    io::write_mesh(folder / name, tetrahedron(), {.frame = io::WorldFrame::ras});
    const std::string bytes = slurp(folder / name);
    CHECK(bytes.find("SPACE=RAS") != std::string::npos);
    io::write_mesh(folder / name, tetrahedron(), {.frame = io::WorldFrame::ras});
    CHECK(bytes == slurp(folder / name));
  }
  CHECK(parse_ply(slurp(folder / "m.ply")).vertices[0] == std::array<float, 3>{10, 20, 30});
  CHECK(slurp(folder / "m.OBJ").find("v 10 20 30\n") != std::string::npos);
}

TEST_CASE("a large mesh crosses the pieces it is written in") {
  const TempFolder folder;
  Mesh<Ras> mesh = tetrahedron();
  const auto four = mesh.triangles;
  for (int i = 1; i < 9000; ++i) {
    mesh.vertices.push_back({static_cast<double>(i), 0.1, 1e-7});
    mesh.triangles.insert(mesh.triangles.end(), four.begin(), four.end());
  }
  io::write_ply(folder / "a.ply", mesh);
  io::write_obj(folder / "a.obj", mesh);
  io::write_stl(folder / "a.stl", mesh);
  check_same(parse_ply(slurp(folder / "a.ply")), to_lps(mesh));
  check_same(parse_obj(slurp(folder / "a.obj")), to_lps(mesh));
  CHECK(slurp(folder / "a.stl").size() == 84 + 50 * mesh.triangles.size());
}

TEST_CASE("a mesh that cannot be written leaves the file that was there") {
  const TempFolder folder;
  spill(folder / "a.stl", "before");
  Mesh<Ras> bad = tetrahedron();
  bad.triangles[2][1] = 4;
  const auto refused = [&](const Mesh<Ras>& mesh, const std::string& name, const char* words) {
    const std::string what = error_of([&] { io::write_mesh(folder / name, mesh); });
    CHECK_MESSAGE(what.find(words) != std::string::npos, what);
  };
  refused(bad, "a.stl", "a.stl: triangle 2 names vertex 4 of a mesh with 4 vertices");
  bad = tetrahedron();
  bad.vertices[3].y = std::numeric_limits<double>::infinity();
  refused(bad, "a.stl", "vertex 3 is not at a finite place");
  refused({}, "a.stl", "the mesh has no triangle");
  refused(tetrahedron(), "a.vtk", "the name must end in .stl, .ply or .obj");
  refused(tetrahedron(), "no/a.stl", "cannot create a file");
  CHECK(slurp(folder / "a.stl") == "before");
}
