// DICOM Segmentation, binary: part 3, A.51.
#include <algorithm>
#include <cmath>

#include "source.hpp"

namespace ctseg::io {

namespace {

using namespace dicom;

/// A frame: one segment in one slice.
struct Frame {
  std::size_t segment, slice;
};

/// Frames that have a voxel; their bits follow each other without gaps, the lowest bit of a byte first.
std::vector<Frame> pack(const Volume<std::uint8_t>& mask, const std::vector<DicomSegment>& segments, std::string& bits) {
  std::vector<Frame> frames;
  const auto area = static_cast<std::size_t>(mask.shape().x * mask.shape().y);
  std::size_t bit = 0;
  for (std::size_t s = 0; s < segments.size(); ++s)
    for (std::size_t z = 0; z < static_cast<std::size_t>(mask.shape().z); ++z) {
      const std::uint8_t *begin = mask.data() + z * area, label = static_cast<std::uint8_t>(segments[s].label);
      if (std::find(begin, begin + area, label) == begin + area) continue;
      frames.push_back({s, z});
      bits.resize((bit + area + 7) / 8);
      for (std::size_t i = 0; i < area; ++i, ++bit)
        if (begin[i] == label) bits[bit / 8] = static_cast<char>(bits[bit / 8] | 1 << bit % 8);
    }
  if (bits.size() % 2 != 0) bits += '\0';
  return frames;
}

/// CIELab of an sRGB colour, each part in 16 bits: what RecommendedDisplayCIELabValue wants.
std::vector<int> cielab(const std::array<std::uint8_t, 3>& rgb) {
  std::array<double, 3> linear{};
  for (std::size_t i = 0; i < 3; ++i) {
    const double v = rgb[i] / 255.0;
    linear[i] = v <= 0.04045 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4);
  }
  const auto [r, g, b] = linear;
  const auto f = [](double t) { return t > 216.0 / 24389 ? std::cbrt(t) : (24389.0 / 27 * t + 16) / 116; };
  const double x = f((0.4124564 * r + 0.3575761 * g + 0.1804375 * b) / 0.95047),
               y = f(0.2126729 * r + 0.7151522 * g + 0.0721750 * b),
               z = f((0.0193339 * r + 0.1191920 * g + 0.9503041 * b) / 1.08883);
  const auto scaled = [](double v, double low, double high) {
    return static_cast<int>(std::lround(std::clamp((v - low) / (high - low), 0.0, 1.0) * 65535));
  };
  return {scaled(116 * y - 16, 0, 100), scaled(500 * (x - y), -128, 127), scaled(200 * (y - z), -128, 127)};
}

std::vector<Output> segment_items(const DicomWriteOptions& options) {
  std::vector<Output> items;
  for (const DicomSegment& s : options.segments) {
    Output item;
    item.put_shorts(0x00620004, {static_cast<int>(items.size()) + 1});
    item.put(0x00620005, "LO", s.name);
    item.put(0x00620008, "CS", "AUTOMATIC");
    item.put(0x00620009, "LO", options.algorithm);
    item.put_shorts(0x0062000d, cielab(s.rgb));
    item.put_items(0x00620003, {code_item(s.category)});
    item.put_items(0x0062000f, {code_item(s.type)});
    items.push_back(item);
  }
  return items;
}

Output shared_groups(const Source& source) {
  Output measures, orientation, groups;
  measures.put_decimals(0x00180050, {source.slice_distance_mm});
  measures.put_decimals(0x00180088, {source.slice_distance_mm});
  measures.put_decimals(0x00280030, {source.plane.row_spacing, source.plane.column_spacing});
  const Eigen::Vector3d &r = source.plane.along_row, &c = source.plane.along_column;
  orientation.put_decimals(0x00200037, {r.x(), r.y(), r.z(), c.x(), c.y(), c.z()});
  groups.put_items(0x00289110, {measures});
  groups.put_items(0x00209116, {orientation});
  return groups;
}

Output groups_of(const Frame& frame, const Source& source) {
  Output content, position, segment, image, derivation, groups;
  const auto number = static_cast<std::uint32_t>(frame.segment + 1);
  content.put_longs(0x00209157, {number, static_cast<std::uint32_t>(frame.slice + 1)});
  const Eigen::Vector3d& p = source.positions[frame.slice];
  position.put_decimals(0x00200032, {p.x(), p.y(), p.z()});
  segment.put_shorts(0x0062000b, {static_cast<int>(number)});
  image = source.reference(source.slices[frame.slice]);
  image.put(0x0028135a, "CS", "YES");   // the same place in the patient
  image.put_items(0x0040a170, {code_item({"121322", "DCM", "Source image for image processing operation"})});
  derivation.put_items(0x00082112, {image});
  derivation.put_items(0x00089215, {code_item({"113076", "DCM", "Segmentation"})});
  groups.put_items(0x00089124, {derivation});
  groups.put_items(0x00209111, {content});
  groups.put_items(0x00209113, {position});
  groups.put_items(0x0062000a, {segment});
  return groups;
}

/// Frames are ordered by segment, then by position.
void put_dimensions(Output& out) {
  const std::string organization = uid_of("dimensions/" + out.encoded());
  Output name;
  name.put(0x00209164, "UI", organization);
  std::vector<Output> indices;
  const auto add = [&](Tag pointer, Tag group, const char* label) {
    Output index = name;
    index.put_tag(0x00209165, pointer);
    index.put_tag(0x00209167, group);
    index.put(0x00209421, "LO", label);
    indices.push_back(index);
  };
  add(0x0062000b, 0x0062000a, "ReferencedSegmentNumber");
  add(0x00200032, 0x00209113, "ImagePositionPatient");
  out.put_items(0x00209221, {name});
  out.put_items(0x00209222, indices);
}

void put_image(Output& out, const Volume<std::uint8_t>& mask, std::size_t frames) {
  out.put(0x00080008, "CS", "DERIVED\\PRIMARY");
  out.put_shorts(0x00280002, {1});
  out.put(0x00280004, "CS", "MONOCHROME2");
  out.put(0x00280008, "IS", text(frames));
  out.put_shorts(0x00280010, {static_cast<int>(mask.shape().y)});
  out.put_shorts(0x00280011, {static_cast<int>(mask.shape().x)});
  out.put_shorts(0x00280100, {1});
  out.put_shorts(0x00280101, {1});
  out.put_shorts(0x00280102, {0});
  out.put_shorts(0x00280103, {0});
  out.put(0x00282110, "CS", "00");   // never compressed with loss
  out.put(0x00620001, "CS", "BINARY");
  out.put(0x00620013, "CS", "NO");   // segments do not overlap
  out.put(0x00700080, "CS", "SEGMENTATION");
  out.put(0x00700081, "LO", "");
  out.put(0x00700084, "PN", "");
}

}   // namespace

void write_dicom_seg(const std::filesystem::path& path, const Volume<std::uint8_t>& mask, const DicomWriteOptions& options) {
  const Source source = read_source(mask, options);
  std::string bits;
  const std::vector<Frame> frames = pack(mask, options.segments, bits);
  Output out = new_object(source, mask, options, "1.2.840.10008.5.1.4.1.1.66.4", "SEG");
  put_dimensions(out);
  put_image(out, mask, frames.size());
  std::vector<Output> instances, groups;
  for (std::size_t z : source.first_of_instance) {
    Reference whole = source.slices[z];
    whole.frame = 0;
    instances.push_back(source.reference(whole));
  }
  Output series;
  series.put(0x0020000e, "UI", source.series_uid);
  series.put_items(0x0008114a, instances);
  out.put(0x00080023, "DA", out.bytes(0x00080021));
  out.put(0x00080033, "TM", out.bytes(0x00080031));
  out.put_items(0x00081115, {series});
  out.put_items(0x00620002, segment_items(options));
  out.put_items(0x52009229, {shared_groups(source)});
  for (const Frame& frame : frames) groups.push_back(groups_of(frame, source));
  out.put_items(0x52009230, groups);
  out.put(0x7fe00010, "OB", bits);
  out.write(path);
}

}   // namespace ctseg::io
