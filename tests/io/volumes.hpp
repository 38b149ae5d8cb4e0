// A volume that files are written from and compared with, and a log that keeps what a reader says.
#pragma once
#include <Eigen/Geometry>
#include <string>

#include <ctseg/core/context.hpp>
#include <ctseg/image/volume.hpp>

/// Turned, of unequal spacing and mirrored; y_mm lets a format show what it does with digits.
inline ctseg::Affine<ctseg::Ras> oblique(double y_mm) {
  Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
  m.block<3, 3>(0, 0) = Eigen::AngleAxisd(0.3, Eigen::Vector3d(1, 2, 3).normalized()).toRotationMatrix() *
                        Eigen::Vector3d(-0.8, 0.9, 2.5).asDiagonal();
  m.block<3, 1>(0, 3) << -100.25, y_mm, 1234.75;
  return ctseg::Affine<ctseg::Ras>(m);
}
template <class T> ctseg::Volume<T> ramp(ctseg::Xyz<ctseg::Index> shape, double y_mm = 50.5) {
  ctseg::Volume<T> v(ctseg::Grid{shape, oblique(y_mm)});
  for (std::size_t i = 0; i < v.voxels().size(); ++i) v.voxels()[i] = static_cast<T>(i % 251);
  return v;
}

struct Log {
  std::string lines;
  ctseg::LogSink sink() {
    return {[](void* user, std::string_view line) { static_cast<Log*>(user)->lines += std::string(line) + "\n"; }, this};
  }
};
