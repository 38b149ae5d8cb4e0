// Frames, affines, grids and volumes.
#include <Eigen/Geometry>

#include <doctest/doctest.h>
#include <ctseg/image/volume.hpp>

using namespace ctseg;

namespace {

Affine<Ras> turned() {
  Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
  m.block<3, 3>(0, 0) = Eigen::AngleAxisd(0.4, Eigen::Vector3d(1, -1, 2).normalized()).toRotationMatrix() *
                        Eigen::Vector3d(0.7, 0.8, -2.5).asDiagonal();
  m.block<3, 1>(0, 3) << 12, -34, 56;
  return Affine<Ras>(m);
}

TEST_CASE("LPS and RAS differ in the sign of x and y, and convert there and back") {
  const Point<Lps> p = to_lps(Point<Ras>{1, 2, 3});
  CHECK(p.x == -1);
  CHECK(p.y == -2);
  CHECK(p.z == 3);
  CHECK(to_ras(to_lps(turned())) == turned());
  const Point<Ras> here = turned()(4, 5, 6);
  const Point<Lps> there = to_lps(turned())(4, 5, 6);
  CHECK(there.x == doctest::Approx(-here.x));
  CHECK(there.y == doctest::Approx(-here.y));
  CHECK(there.z == doctest::Approx(here.z));
}

TEST_CASE("index to world and back; spacing and voxel volume") {
  const Affine<Ras> a = turned();
  const Xyz<double> i = a.index_of(a(3.5, -2, 10));
  CHECK(i.x == doctest::Approx(3.5));
  CHECK(i.y == doctest::Approx(-2));
  CHECK(i.z == doctest::Approx(10));
  CHECK(a.spacing_mm().x == doctest::Approx(0.7));
  CHECK(a.spacing_mm().z == doctest::Approx(2.5));
  CHECK(a.voxel_mm3() == doctest::Approx(0.7 * 0.8 * 2.5));
  Eigen::Matrix4d sheared = Eigen::Matrix4d::Identity();
  sheared(1, 2) = 3;   // longer column, same volume
  CHECK(Affine<Ras>(sheared).voxel_mm3() == doctest::Approx(1));
}

TEST_CASE("grids are the same within a thousandth of a voxel at every corner") {
  const Grid a{{100, 100, 40}, turned()};
  Grid b = a;
  CHECK(same_grid(a, b));
  b.affine.matrix(0, 3) += 0.0005;
  CHECK(same_grid(a, b));
  b.affine.matrix(0, 3) += 0.001;
  CHECK(!same_grid(a, b));
  b = a;
  b.affine.matrix.col(0) *= 1 + 5e-5;   // small at the first voxel, 0.005 voxel at the last
  CHECK(!same_grid(a, b));
  b = a;
  b.shape.z = 41;
  CHECK(!same_grid(a, b));
  b = a;
  b.affine.matrix(1, 1) = std::numeric_limits<double>::quiet_NaN();
  CHECK(!same_grid(a, b));
}

TEST_CASE("a volume is indexed z, y, x with x fastest, and knows its shape") {
  Volume<float> v(Grid{{4, 3, 2}, turned()});
  v(1, 2, 3) = 7;
  CHECK(v.voxels().at(23) == 7);
  v(0, 1, 0) = 5;
  CHECK(v.voxels().at(4) == 5);
  CHECK(v.tensor_shape().space == std::array<Index, 3>{2, 3, 4});
}

TEST_CASE("a volume without voxels or with the wrong number of them is refused") {
  CHECK_THROWS_AS(Volume<float>(Grid{{0, 3, 2}, turned()}), Error);
  CHECK_THROWS_AS(Volume<float>(Grid{{4, -3, 2}, turned()}), Error);
  CHECK_THROWS_AS(Volume<float>(Grid{{Index{1} << 40, Index{1} << 40, 2}, turned()}), Error);
  CHECK_THROWS_AS(Volume<float>(Grid{{4, 3, 2}, turned()}, std::vector<float>(23)), Error);
}

}   // namespace
