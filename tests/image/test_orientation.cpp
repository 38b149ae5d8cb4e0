// Orientation: nibabel's axis codes, and reordering that moves voxels without changing where they are.
#include <Eigen/Geometry>

#include <doctest/doctest.h>
#include <ctseg/image/orientation.hpp>

using namespace ctseg;

namespace {

Eigen::Matrix4d rotated(double angle, Eigen::Vector3d axis, Eigen::Vector3d spacing) {
  Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
  m.block<3, 3>(0, 0) = Eigen::AngleAxisd(angle, axis.normalized()).toRotationMatrix() * spacing.asDiagonal();
  m.block<3, 1>(0, 3) << 5, -6, 7;
  return m;
}
Volume<std::int32_t> numbered(const Eigen::Matrix4d& affine) {
  Volume<std::int32_t> v(Grid{{5, 4, 3}, Affine<Ras>(affine)});
  for (std::size_t i = 0; i < v.voxels().size(); ++i) v.voxels()[i] = static_cast<std::int32_t>(i);
  return v;
}
const std::vector<std::string>& all_codes() {
  static const std::vector<std::string> codes = [] {
    std::vector<std::string> out;
    const std::string pairs[3] = {"RL", "AP", "SI"};
    for (const auto& order : {std::array{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}})
      for (std::size_t bits = 0; bits < 8; ++bits) {
        std::string c;
        for (std::size_t i = 0; i < 3; ++i) c += pairs[order[i]][bits >> i & 1];
        out.push_back(c);
      }
    return out;
  }();
  return codes;
}

TEST_CASE("codes of plain, flipped and oblique affines") {
  CHECK(axis_codes(Affine<Ras>(Eigen::Matrix4d::Identity())) == "RAS");
  CHECK(axis_codes(to_ras(Affine<Lps>(Eigen::Matrix4d::Identity()))) == "LPS");
  CHECK(axis_codes(Affine<Ras>(rotated(0.3, {1, 2, 3}, {1, -2, 0.5}))) == "RPS");
  CHECK(axis_codes(Affine<Ras>(rotated(1.5707963, {0, 0, 1}, {1, 1, 1}))) == "ALS");
  Eigen::Matrix4d contested;   // all lean two ways: the clearest axis, y, chooses first (nibabel says the same)
  contested << -0.58, 0.47, 0.66, 0, -0.6, -0.8, 0.04, 0, 0.54, -0.38, 0.75, 0, 0, 0, 0, 1;
  CHECK(axis_codes(Affine<Ras>(contested)) == "LPS");
}

TEST_CASE("any order can be reached; every voxel stays where it is, and the way back is exact") {
  for (const Eigen::Matrix4d& affine : {rotated(0, {1, 0, 0}, {1, 2, 3}), rotated(0.35, {1, 2, -1}, {-1.5, 2, 0.7})}) {
    const Volume<std::int32_t> v = numbered(affine);
    CHECK(all_codes().size() == 48);
    for (const std::string& codes : all_codes()) {
      const Volume<std::int32_t> w = reorient(v, codes);
      CHECK(axis_codes(w.affine()) == codes);
      int wrong = 0;
      for (Index z = 0; z < w.shape().z; ++z)
        for (Index y = 0; y < w.shape().y; ++y)
          for (Index x = 0; x < w.shape().x; ++x) {
            const Xyz<double> at = v.affine().index_of(w.affine()(double(x), double(y), double(z)));
            const Index i = std::lround(at.x), j = std::lround(at.y), k = std::lround(at.z);
            wrong += !(std::abs(at.x - double(i)) < 1e-9 && v(k, j, i) == w(z, y, x));
          }
      CHECK(wrong == 0);
      const Volume<std::int32_t> back = reorient_like(w, v.grid());
      CHECK(back.voxels() == v.voxels());
      CHECK(back.affine() == v.affine());
    }
  }
}

TEST_CASE("axes that lean two ways alike are named in order, and come back from any order") {
  const double pi = 3.14159265358979323846;
  CHECK(axis_codes(Affine<Ras>(rotated(pi / 4, {0, 0, 1}, {1, 1, 1}))) == "RAS");
  CHECK(axis_codes(Affine<Ras>(rotated(-pi / 4, {0, 0, 1}, {0.7, 0.7, 2.5}))) == "RAS");
  CHECK(axis_codes(Affine<Ras>(rotated(3 * pi / 4, {0, 0, 1}, {1, 1, 1}))) == "LPS");
  CHECK(axis_codes(Affine<Ras>(rotated(pi / 4, {1, 0, 0}, {1, 2, 3}))) == "RAS");
  for (int noise = -2; noise <= 2; ++noise)   // rounding does not decide
    CHECK(axis_codes(Affine<Ras>(rotated(pi / 4 + noise * 1e-14, {0, 1, 0}, {1, 1, 1}))) == "RAS");
  std::vector<Eigen::Matrix4d> affines(2, Eigen::Matrix4d::Identity());   // exact ties, and some to the last bit
  affines[0].block<2, 2>(0, 0) << 1, -1, 1, 1;
  affines[1].block<2, 2>(0, 0) << -1, -1, 1, -1;
  for (const double angle : {pi / 4, 3 * pi / 4, -pi / 4})
    for (const Eigen::Vector3d& about : {Eigen::Vector3d(0, 0, 1), Eigen::Vector3d(1, 1, 1)})
      affines.push_back(rotated(angle, about, {0.7, 0.7, 2.5}));
  for (const Eigen::Matrix4d& affine : affines)
    for (const std::string& codes : all_codes()) {
      const Volume<std::int32_t> v = numbered(affine), back = reorient_like(reorient(v, codes), v.grid());
      CHECK(back.voxels() == v.voxels());
      CHECK(back.affine() == v.affine());
    }
}

TEST_CASE("file placement goes with a changed affine and comes back with the file's grid") {
  Volume<std::int32_t> v = numbered(rotated(0, {1, 0, 0}, {1, 1, 1}));
  const Volume<std::int32_t> file(Grid{v.shape(), v.affine(), NiftiPlacement{.qform_code = 3}}, v.voxels());
  CHECK(reorient(file, "RAS").grid().nifti.has_value());   // nothing changed
  const auto turned = reorient(file, "PIR");
  CHECK(!turned.grid().nifti.has_value());
  CHECK(reorient_like(turned, file.grid()).grid().nifti->qform_code == 3);
}

TEST_CASE("wrong codes, singular affines and foreign grids are refused") {
  const auto v = numbered(rotated(0, {1, 0, 0}, {1, 1, 1}));
  for (const char* codes : {"", "RA", "RAR", "RLS", "XYZ", "ras", "RASS"}) CHECK_THROWS_AS(reorient(v, codes), Error);
  Eigen::Matrix4d flat = Eigen::Matrix4d::Identity();
  flat(2, 2) = 0;
  CHECK_THROWS_AS(axis_codes(Affine<Ras>(flat)), Error);
  Grid elsewhere = v.grid();
  elsewhere.affine.matrix(0, 3) += 1;
  CHECK_THROWS_AS(reorient_like(v, elsewhere), Error);
  elsewhere.affine.matrix(0, 0) = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS(reorient_like(v, elsewhere), Error);
  CHECK_THROWS_AS(reorient_like(v, {v.shape(), Affine<Ras>(rotated(0.4, {0, 0, 1}, {1, 1, 1}))}), Error);
}

}   // namespace
