// RT Structure Set: part 3, A.19.
#include <cmath>

#include "contours.hpp"
#include "source.hpp"

namespace ctseg::io {

namespace {

using namespace dicom;

/// Corners to LPS millimetres in the plane of a slice.
std::vector<double> points_of(const Contour& contour, const Source& source, std::size_t slice) {
  std::vector<double> points;
  const Plane& p = source.plane;
  for (const Corner& c : contour) {
    const Eigen::Vector3d at =
        source.positions[slice] + (c.x - 0.5) * p.column_spacing * p.along_row + (c.y - 0.5) * p.row_spacing * p.along_column;
    for (const double mm : {at.x(), at.y(), at.z()}) points.push_back(std::round(mm * 1e4) / 1e4);   // short in the file
  }
  return points;
}

std::vector<Output> contour_items(const Volume<std::uint8_t>& mask, int label, const Source& source) {
  std::vector<Output> items;
  const Index area = mask.shape().x * mask.shape().y;
  for (std::size_t z = 0; z < source.slices.size(); ++z) {
    const std::span slice(mask.data() + static_cast<Index>(z) * area, static_cast<std::size_t>(area));
    for (const Contour& contour : contours_of(slice, mask.shape().x, static_cast<std::uint8_t>(label))) {
      Output item;
      item.put_items(0x30060016, {source.reference(source.slices[z])});
      item.put(0x30060042, "CS", "CLOSED_PLANAR");
      item.put(0x30060046, "IS", text(contour.size()));
      item.put(0x30060048, "IS", text(items.size() + 1));
      item.put_decimals(0x30060050, points_of(contour, source, z));
      items.push_back(std::move(item));
    }
  }
  return items;
}

Output frame_of_reference(const Source& source) {
  std::vector<Output> images;
  for (const Reference& r : source.slices) images.push_back(source.reference(r));
  Output series, study, frame;
  series.put(0x0020000e, "UI", source.series_uid);
  series.put_items(0x30060016, images);
  study.put(0x00081150, "UI", "1.2.840.10008.3.1.2.3.1");   // a retired class that the standard still wants here
  study.put(0x00081155, "UI", source.study_uid);
  study.put_items(0x30060014, {series});
  frame.put(0x00200052, "UI", source.frame_of_reference_uid);
  frame.put_items(0x30060012, {study});
  return frame;
}

}   // namespace

void write_dicom_rtstruct(const std::filesystem::path& path, const Volume<std::uint8_t>& mask,
                          const DicomWriteOptions& options) {
  const Source source = read_source(mask, options);
  Output out = new_object(source, mask, options, "1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT");
  std::vector<Output> rois, contours, observations;
  for (const DicomSegment& s : options.segments) {
    const std::string number = text(rois.size() + 1);
    Output roi, contour, observation;
    roi.put(0x30060022, "IS", number);
    roi.put(0x30060024, "UI", source.frame_of_reference_uid);
    roi.put(0x30060026, "LO", s.name);
    roi.put(0x30060036, "CS", "AUTOMATIC");
    contour.put(0x3006002a, "IS", text(int{s.rgb[0]}, "\\", int{s.rgb[1]}, "\\", int{s.rgb[2]}));
    if (const auto items = contour_items(mask, s.label, source); !items.empty()) contour.put_items(0x30060040, items);
    contour.put(0x30060084, "IS", number);
    observation.put(0x30060082, "IS", number);
    observation.put(0x30060084, "IS", number);
    observation.put(0x300600a4, "CS", "ORGAN");
    observation.put(0x300600a6, "PN", "");
    rois.push_back(roi);
    contours.push_back(contour);
    observations.push_back(observation);
  }
  out.put(0x00081070, "PN", "");
  out.put(0x30060002, "SH", options.series_description.substr(0, 16));
  out.put(0x30060008, "DA", out.bytes(0x00080021));
  out.put(0x30060009, "TM", out.bytes(0x00080031));
  out.put_items(0x30060010, {frame_of_reference(source)});
  out.put_items(0x30060020, rois);
  out.put_items(0x30060039, contours);
  out.put_items(0x30060080, observations);
  out.put(0x300e0002, "CS", "UNAPPROVED");
  out.write(path, false);
}

}   // namespace ctseg::io
