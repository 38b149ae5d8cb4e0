// The public functions that read: series to volume.
#include <algorithm>
#include <cmath>
#include <ctseg/io/dicom.hpp>
#include <limits>
#include <mutex>
#include <new>

#include "decode.hpp"
#include "series.hpp"

namespace ctseg::io {

namespace {

using namespace dicom;

constexpr double kPaddingHu = -1024;

/// The value of a pixel; outside the reconstructed circle scanners write numbers that are no density at all.
struct ToHu {
  const PixelFormat& format;
  const Plane& plane;
  bool is_ct;

  double operator()(std::uint16_t cell) const {
    const int stored = stored_value(cell, format);
    if (is_ct && format.padding && stored >= format.padding->first && stored <= format.padding->second) return kPaddingHu;
    return stored * plane.slope + plane.intercept;
  }
};

template <class T> bool keep(double value, T& out) {
  if constexpr (std::is_floating_point_v<T>) {
    out = static_cast<T>(value);
    return true;
  } else {
    if (!(value >= std::numeric_limits<T>::lowest() && value <= std::numeric_limits<T>::max() &&
          value == std::nearbyint(value)))
      return false;
    out = static_cast<T>(value);
    return true;
  }
}

/// Decodes one slice into `out`, which has room for it.
template <class T> void read_slice(const File& file, const Slice& slice, T* out) {
  const PixelFormat& format = slice.file->format;
  std::vector<std::uint16_t> cells;
  decode_frame(file, format, slice.frame, cells);
  const ToHu to_hu{format, slice.plane(), slice.file->modality == "CT"};
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const double value = to_hu(cells[i]);
    if (keep(value, out[i])) continue;
    const Index at = static_cast<Index>(i);
    throw Error(Code::bad_input, slice.file->path.string(),
                text("the pixel in column ", at % format.columns, ", row ", at / format.columns, " is ", value,
                     " HU; cannot be kept exactly as ", dtype_of<T>(), ". Hint: read the series as float."));
  }
}

/// Slices of one file follow each other in `order`: each file is loaded once, whoever reads it.
template <class T> void read_slices(const Stack& slices, const DicomReadOptions& options, Volume<T>& volume) {
  std::vector<std::size_t> order(slices.size()), first;
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return slices[a].file->path < slices[b].file->path; });
  for (std::size_t i = 0; i < order.size(); ++i)
    if (i == 0 || slices[order[i]].file != slices[order[i - 1]].file) first.push_back(i);
  const Index area = volume.shape().x * volume.shape().y;
  const auto read_file = [&](Index n) {
    const std::size_t begin = first[static_cast<std::size_t>(n)];
    const File file = load(slices[order[begin]].file->path, options.max_bytes);
    for (std::size_t i = begin; i < order.size() && slices[order[i]].file == slices[order[begin]].file; ++i)
      read_slice(file, slices[order[i]], volume.data() + static_cast<Index>(order[i]) * area);
  };
  const Index files = static_cast<Index>(first.size());
  if (options.executor) return parallel_for(*options.executor, files, read_file);
  for (Index i = 0; i < files; ++i) read_file(i);
}

/// Two images at one place are one image if their values are the same.
void check_same_places(const Placed& placed, const DicomReadOptions& options, Warnings& warnings) {
  for (const auto& [kept, other] : placed.same_place) {
    const auto area = static_cast<std::size_t>(kept.file->format.rows * kept.file->format.columns);
    std::vector<float> a(area), b(area);
    read_slice(load(kept.file->path, options.max_bytes), kept, a.data());
    read_slice(load(other.file->path, options.max_bytes), other, b.data());
    if (a != b)
      throw Error(Code::bad_input, other.file->path.string(),
                  text("and ", kept.name(), " are different images at one position (", kept.plane().position.x(), ", ",
                       kept.plane().position.y(), ", ", kept.plane().position.z(),
                       "). Hint: two phases or reconstructions in one series?"));
    warnings.add(other.file->path, text("frame ", other.frame + 1, " repeats ", kept.name(), " and is left out"));
  }
}

void warn_of_odd_values(const Placed& placed, const DicomSeries& series, Warnings& warnings) {
  const Slice& first = placed.slices.front();
  if (series.modality != "CT")
    warnings.add(first.file->path,
                 text("Modality (0008,0060) = \"", series.modality, "\": the values are no Hounsfield units"));
  const auto count = [&](auto&& is) { return std::count_if(placed.slices.begin(), placed.slices.end(), is); };
  if (const auto n = count([](const Slice& s) { return !s.plane().rescaled; }); n > 0 && series.modality == "CT")
    warnings.add(first.file->path, text("RescaleSlope (0028,1053) is missing in ", static_cast<Index>(n), " of ",
                                        placed.slices.size(), " images: their stored values are taken as Hounsfield units"));
  if (const auto n = count([](const Slice& s) { return s.file->guessed_syntax; }); n > 0)
    warnings.add(first.file->path, text("TransferSyntaxUID (0002,0010) is missing in ", static_cast<Index>(n), " of ",
                                        placed.slices.size(), " images: it was guessed"));
}

}   // namespace

std::vector<DicomSeries> list_dicom_series(const std::filesystem::path& path, const DicomReadOptions& options) {
  const Found found = find_series(path, options);
  std::vector<DicomSeries> list;
  for (const Series& series : found.series) {
    for (std::size_t i = 0; i < series.stacks.size(); ++i) list.push_back(describe(series, static_cast<int>(i)));
    if (series.stacks.empty()) list.push_back(describe(series, -1));
  }
  return list;
}

template <class T> DicomVolume<T> read_dicom_series(const std::filesystem::path& path, const DicomReadOptions& options) try {
  Warnings warnings{options.log};
  const Found found = find_series(path, options);
  for (const std::string& line : found.left_out) warnings.add(path, text("left out ", line));
  const auto [series, stack] = choose(found, path, options);
  if (series->localizers > 0) warnings.add(path, text("left out ", series->localizers, " localizer image(s)"));
  const Placed placed = place(series->stacks[static_cast<std::size_t>(stack)], warnings);
  const Index bytes = placed.grid.voxels() * static_cast<Index>(sizeof(T));
  if (bytes > options.max_bytes)
    throw Error(Code::bad_input, path.string(),
                text("the series has ", placed.grid.shape, " voxels, which take ", bytes,
                     " bytes; the limit is DicomReadOptions::max_bytes = ", options.max_bytes, "."));
  DicomSeries told = describe(*series, stack);
  told.images = placed.grid.shape.z;
  told.shape = placed.grid.shape;
  told.files.clear();
  for (const Slice& s : placed.slices)
    if (told.files.empty() || told.files.back() != s.file->path) told.files.push_back(s.file->path);
  warn_of_odd_values(placed, told, warnings);
  check_same_places(placed, options, warnings);
  Volume<T> volume(placed.grid);
  read_slices(placed.slices, options, volume);
  return {std::move(volume), std::move(told), std::move(warnings.lines)};
} catch (const std::bad_alloc&) {
  throw Error(Code::out_of_memory, path.string(), "no memory for the series.");
}

template DicomVolume<float> read_dicom_series(const std::filesystem::path&, const DicomReadOptions&);
template DicomVolume<std::int16_t> read_dicom_series(const std::filesystem::path&, const DicomReadOptions&);

bool dicom::is_dicom(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return true;
  return std::filesystem::is_regular_file(path, ignored) && has_dicom_start(path);
}

}   // namespace ctseg::io
