// DICOM Segmentation back to a mask: each frame names its segment and lies on a slice of the given grid.
#include <ctseg/io/dicom_mask.hpp>

#include "image.hpp"

namespace ctseg::io {

namespace {

using namespace dicom;

constexpr Field kType{0x00620001, "SegmentationType"}, kAllocated{0x00280100, "BitsAllocated"},
    kFrames{0x00280008, "NumberOfFrames"}, kRows{0x00280010, "Rows"}, kColumns{0x00280011, "Columns"},
    kNumber{0x0062000b, "ReferencedSegmentNumber"};
constexpr Tag kPixels = 0x7fe00010, kSegments = 0x00620002, kPerFrame = 0x52009230, kShared = 0x52009229,
              kSegmentOf = 0x0062000a;

void check_kind(const File& file, const Grid& grid) {
  const std::string type = text_value(file, file.dataset, kType.tag);
  const int bits = unsigned_short(file, file.dataset, kAllocated).value_or(0);
  if (type != "BINARY" || bits != 1 || file.syntax.codec != Codec::none || file.syntax.big_endian)
    throw Error(Code::unsupported, file.path.string(),
                text(kType, " = \"", type, "\", ", kAllocated, " = ", bits, ", transfer syntax ", file.syntax.name,
                     "; only BINARY with 1 bit, little endian and not compressed, is read."));
  const Index rows = unsigned_short(file, file.dataset, kRows).value_or(0),
              columns = unsigned_short(file, file.dataset, kColumns).value_or(0);
  if (rows != grid.shape.y || columns != grid.shape.x)
    throw Error(Code::shape_mismatch, file.path.string(),
                text("has frames of ", columns, " x ", rows, " pixels; the grid has ", grid.shape, " voxels."));
}

/// The slice of the grid that a plane lies on.
Index slice_of(const File& file, const Plane& plane, const Grid& grid, std::size_t frame) {
  const auto index_of = [&](double column, double row) {
    const Eigen::Vector3d p =
        plane.position + column * plane.column_spacing * plane.along_row + row * plane.row_spacing * plane.along_column;
    return grid.affine.index_of(to_ras(Point<Lps>{p.x(), p.y(), p.z()}));
  };
  const double columns = static_cast<double>(grid.shape.x - 1), rows = static_cast<double>(grid.shape.y - 1);
  const Xyz<double> first = index_of(0, 0), last = index_of(columns, rows);
  const double z = std::round(first.z);
  const double off = std::max({std::abs(first.x), std::abs(first.y), std::abs(first.z - z), std::abs(last.x - columns),
                               std::abs(last.y - rows), std::abs(last.z - z)});
  if (!(off <= 0.1) || !(z >= 0 && z < static_cast<double>(grid.shape.z)))
    throw Error(Code::shape_mismatch, file.path.string(),
                text("frame ", frame + 1, " begins at voxel (", first.x, ", ", first.y, ", ", first.z, ") of the grid of ",
                     grid.shape, "; it must lie on one of its slices. Hint: give the grid of the series it was made for."));
  return static_cast<Index>(z);
}

/// The segment a frame belongs to: told for each frame, or once for all.
int segment_of(const File& file, const Dataset& own, const Dataset* shared, std::size_t frame) {
  for (const Dataset* group : {&own, shared})
    if (const Element* e = group ? group->find(kSegmentOf) : nullptr; e && !e->items.empty())
      if (const auto number = unsigned_short(file, e->items[0], kNumber); number && *number >= 1 && *number <= 255)
        return *number;
  throw Error(Code::bad_input, file.path.string(), text("frame ", frame + 1, " has no ", kNumber, " from 1 to 255."));
}

}   // namespace

DicomMask read_dicom_seg(const std::filesystem::path& path, const Grid& grid) {
  const File file = load(path, Index{1} << 34);
  if (file.damage) throw *file.damage;
  check_kind(file, grid);
  const auto frames = decimals(file, file.dataset, kFrames, 1);
  const Element *groups = file.dataset.find(kPerFrame), *shared = file.dataset.find(kShared),
                *pixels = file.dataset.find(kPixels);
  const std::size_t count = groups ? groups->items.size() : 0, area = static_cast<std::size_t>(grid.shape.x * grid.shape.y);
  if (!frames || (*frames)[0] != static_cast<double>(count) || count == 0 || !pixels ||
      pixels->value.length < (count * area + 7) / 8)
    throw Error(
        Code::bad_input, path.string(),
        text(kFrames, " = ", frames ? (*frames)[0] : 0, " with ", count, " functional groups and ",
             pixels ? pixels->value.length : 0, " bytes of pixels; ", count, " frames take ", (count * area + 7) / 8, "."));
  DicomMask out{Volume<std::uint8_t>(grid), {}};
  if (const Element* segments = file.dataset.find(kSegments))
    for (const Dataset& s : segments->items)
      out.segments.emplace_back(unsigned_short(file, s, {0x00620004, "SegmentNumber"}).value_or(0),
                                text_value(file, s, 0x00620005));
  const std::vector<Plane> planes = read_planes(file, static_cast<Index>(count));
  const auto bits = file.at(pixels->value);
  for (std::size_t f = 0; f < count; ++f) {
    const int segment = segment_of(file, groups->items[f], shared && !shared->items.empty() ? &shared->items[0] : nullptr, f);
    std::uint8_t* slice = out.mask.data() + slice_of(file, planes[f], grid, f) * static_cast<Index>(area);
    for (std::size_t i = 0, bit = f * area; i < area; ++i, ++bit) {
      if ((static_cast<unsigned>(bits[bit / 8]) >> bit % 8 & 1u) == 0) continue;
      if (slice[i] != 0 && slice[i] != segment)
        throw Error(Code::unsupported, path.string(),
                    text("segments ", int{slice[i]}, " and ", segment, " overlap; a mask holds one label a voxel."));
      slice[i] = static_cast<std::uint8_t>(segment);
    }
  }
  return out;
}

}   // namespace ctseg::io
