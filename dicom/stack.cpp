// Slices are put in order by their place along the normal, never by file name or instance number; the spacing comes from the
// places, never from the slice thickness.
#include "stack.hpp"

#include <algorithm>

namespace ctseg::io::dicom {

namespace {

constexpr std::size_t kMaxStacks = 1000;
constexpr double kSameMm = 1e-3;        // positions closer than this are one position
constexpr double kGap = 0.01;           // share of the slice distance by which a distance may differ
constexpr double kRoundingMm = 0.011;   // and the least that counts: positions are often rounded to 0.01 mm
constexpr double kOffLine = 0.1;        // of a voxel: how far a slice may lie from its place on the grid

bool share_grid(const Slice& a, const Slice& b) {
  const Plane &p = a.plane(), &q = b.plane();
  const auto close = [](const Eigen::Vector3d& u, const Eigen::Vector3d& v) { return (u - v).cwiseAbs().maxCoeff() <= 1e-4; };
  return a.file->format.rows == b.file->format.rows && a.file->format.columns == b.file->format.columns &&
         a.file->frame_of_reference_uid == b.file->frame_of_reference_uid && close(p.along_row, q.along_row) &&
         close(p.along_column, q.along_column) && std::abs(p.row_spacing - q.row_spacing) <= 1e-4 &&
         std::abs(p.column_spacing - q.column_spacing) <= 1e-4;
}

/// Slices with their height along the common normal.
struct Placer {
  Stack slices;
  Eigen::Vector3d normal;
  std::vector<std::pair<Slice, Slice>> same_place{};

  double height(const Slice& s) const { return s.plane().position.dot(normal); }
  double height(std::size_t i) const { return height(slices[i]); }
  double distance(std::size_t i) const { return height(i + 1) - height(i); }

  [[noreturn]] void refuse(const Slice& s, const std::string& message) const {
    throw Error(Code::bad_input, s.file->path.string(), message);
  }

  void sort() {
    std::stable_sort(slices.begin(), slices.end(), [&](const Slice& a, const Slice& b) { return height(a) < height(b); });
  }

  void drop_same_places() {
    Stack kept;
    for (const Slice& s : slices) {
      if (kept.empty() || height(s) - height(kept.back()) > kSameMm) {
        kept.push_back(s);
        continue;
      }
      const double apart = (s.plane().position - kept.back().plane().position).norm();
      if (apart > 10 * kSameMm)
        refuse(s, text("lies beside ", kept.back().name(), " at the same height, ", apart,
                       " mm away. Hint: two stacks in one series?"));
      same_place.emplace_back(kept.back(), s);
    }
    slices = std::move(kept);
  }

  void check_distances() const {
    std::vector<double> distances;
    for (std::size_t i = 0; i + 1 < slices.size(); ++i) distances.push_back(distance(i));
    const auto middle = distances.begin() + static_cast<std::ptrdiff_t>((distances.size() - 1) / 2);
    std::nth_element(distances.begin(), middle, distances.end());
    const double median = *middle, tolerance = std::max(kGap * median, kRoundingMm);
    for (std::size_t i = 0; i + 1 < slices.size(); ++i) {
      const double d = distance(i);
      if (std::abs(d - median) <= tolerance) continue;
      const double missing = std::round(d / median) - 1;
      refuse(slices[i], text("the slice at ", height(i), " mm along the normal is followed by ", slices[i + 1].name(), " at ",
                             height(i + 1), " mm; that is ", d, " mm, elsewhere it is ", median, " mm",
                             missing > 0 ? text(": about ", static_cast<Index>(missing), " slices are missing.") : "."));
    }
  }

  /// From one slice to the next: along the normal, or off it where the gantry was tilted.
  Eigen::Vector3d step(Warnings& warnings) const {
    const Plane &first = slices.front().plane(), &last = slices.back().plane();
    const double steps = static_cast<double>(slices.size() - 1);
    const Eigen::Vector3d step = (last.position - first.position) / steps;
    const double pixel = std::min(first.row_spacing, first.column_spacing), along = step.dot(normal);
    for (std::size_t i = 0; i < slices.size(); ++i) {
      const Eigen::Vector3d off = slices[i].plane().position - (first.position + static_cast<double>(i) * step);
      const double off_normal = std::abs(off.dot(normal)), off_plane = (off - off.dot(normal) * normal).norm();
      if (off_normal > kOffLine * along || off_plane > kOffLine * pixel)
        refuse(slices[i], text("ImagePositionPatient (0020,0032) lies ", off.norm(),
                               " mm from the line of the other slices; they must be evenly spaced on one line."));
    }
    const double sideways = (step - along * normal).norm();
    if (sideways * steps <= kOffLine * pixel) return along * normal;
    const double degrees = std::atan2(sideways, along) * 180 / std::acos(-1.0);
    warnings.add(slices.front().file->path,
                 text("the gantry was tilted by ", degrees, " degrees: the grid is sheared, each slice lies ", sideways,
                      " mm beside the last. Resample it to a straight grid."));
    return step;
  }

  /// A single slice has no neighbour to tell its distance.
  Eigen::Vector3d single_step(Warnings& warnings) const {
    const auto thickness = slices[0].plane().thickness;
    if (!thickness || !(*thickness > 1e-3 && *thickness <= 100))
      refuse(slices[0], "is a single slice without a usable SliceThickness (0018,0050), so its voxels have no height.");
    warnings.add(slices[0].file->path,
                 text("is a single slice: its SliceThickness of ", *thickness, " mm stands for the spacing"));
    return normal * *thickness;
  }
};

}   // namespace

std::string Slice::name() const {
  const std::string file_name = file->path.filename().string();
  return file->format.frames == 1 ? file_name : text(file_name, " frame ", frame + 1);
}

std::vector<Stack> group_by_grid(const std::vector<const ImageFile*>& images) {
  std::vector<Stack> stacks;
  for (const ImageFile* image : images)
    for (std::size_t frame = 0; frame < image->planes.size(); ++frame) {
      const Slice slice{image, static_cast<Index>(frame)};
      const auto stack =
          std::find_if(stacks.begin(), stacks.end(), [&](const Stack& s) { return share_grid(s.front(), slice); });
      if (stack != stacks.end())
        stack->push_back(slice);
      else if (stacks.size() < kMaxStacks)
        stacks.push_back({slice});
      else   // each image is compared with each stack
        throw Error(Code::unsupported, image->path.string(),
                    text("the images of one series lie on more than ", kMaxStacks,
                         " grids; a CT has one or a few. Hint: projections, or views around an axis?"));
    }
  return stacks;
}

Placed place(Stack stack, Warnings& warnings) {
  Placer placer{std::move(stack), {}};
  placer.normal = placer.slices.front().plane().normal().normalized();
  placer.sort();
  placer.drop_same_places();
  const bool single = placer.slices.size() == 1;
  if (!single) placer.check_distances();
  const Eigen::Vector3d step = single ? placer.single_step(warnings) : placer.step(warnings);
  const Plane& first = placer.slices.front().plane();
  Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
  m.block<3, 1>(0, 0) = first.along_row * first.column_spacing;
  m.block<3, 1>(0, 1) = first.along_column * first.row_spacing;
  m.block<3, 1>(0, 2) = step;
  m.block<3, 1>(0, 3) = first.position;
  const PixelFormat& format = placer.slices.front().file->format;
  const Grid grid{{format.columns, format.rows, static_cast<Index>(placer.slices.size())}, to_ras(Affine<Lps>(m))};
  return {grid, std::move(placer.slices), std::move(placer.same_place)};
}

}   // namespace ctseg::io::dicom
