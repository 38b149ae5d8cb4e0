// The public functions that read: series to volume.
#include <algorithm>
#include <cmath>
#include <ctseg/io/dicom.hpp>
#include <ctseg/io/reading.hpp>
#include <memory>
#include <new>
#include <set>

#include "decode.hpp"
#include "series.hpp"

namespace ctseg::io {

namespace {

using namespace dicom;

constexpr double kPaddingHu = -1024;
constexpr Index kNoBomb = Index{64} << 20;   // bytes of voxels that any compressed file may ask for

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

/// A file in memory, ready to give its slices.
class Loaded {
 public:
  Loaded(const ImageFile& image, Index max_bytes)
      : image_(image), file_(load(image.path, max_bytes)), decoder_(file_, image.format) {}
  Loaded(const Loaded&) = delete;   // the decoder refers to the file

  const ImageFile& image() const { return image_; }
  const FrameDecoder& decoder() const { return decoder_; }

  /// Decodes a slice into `out`, which has room for it.
  template <class T> void read(const Slice& slice, T* out) const {
    std::vector<std::uint16_t> cells;
    decoder_.decode(slice.frame, cells);
    const ToHu to_hu{image_.format, slice.plane(), image_.modality == "CT"};
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const double value = to_hu(cells[i]);
      if (store(value, out[i])) continue;
      const Index at = static_cast<Index>(i), columns = image_.format.columns;
      throw Error(Code::bad_input, image_.path.string(),
                  text("the pixel in column ", at % columns, ", row ", at / columns, " is ", value,
                       " HU; cannot be kept exactly as ", dtype_of<T>(), ". Hint: read the series as float."));
    }
  }

 private:
  const ImageFile& image_;
  File file_;
  FrameDecoder decoder_;
};

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
    const Loaded file(*slices[order[begin]].file, options.max_bytes);
    for (std::size_t i = begin; i < order.size() && slices[order[i]].file == &file.image(); ++i)
      file.read(slices[order[i]], volume.data() + static_cast<Index>(order[i]) * area);
  };
  const Index files = static_cast<Index>(first.size());
  if (options.executor) return parallel_for(*options.executor, files, read_file);
  for (Index i = 0; i < files; ++i) read_file(i);
}

/// A compressed image can stand for any number of pixels, so a small file could ask for all memory.
void check_size(const Placed& placed, const std::filesystem::path& path, const DicomReadOptions& options, Index voxel_bytes) {
  const Grid& grid = placed.grid;
  const Index bytes = grid.voxels() * voxel_bytes;
  if (bytes > options.max_bytes)
    throw Error(Code::bad_input, path.string(),
                text("the series has ", grid.shape, " voxels, which take ", bytes,
                     " bytes; the limit is DicomReadOptions::max_bytes = ", options.max_bytes, "."));
  bool compressed = false;
  std::set<const ImageFile*> files;
  const auto count = [&](const Slice& s) { files.insert(s.file), compressed = compressed || s.file->compressed; };
  for (const Slice& s : placed.slices) count(s);
  for (const auto& [kept, other] : placed.same_place) count(other);
  if (!compressed) return;
  Index size = 0;
  for (const ImageFile* file : files) size += file->bytes;
  const Index images = grid.shape.z + 2 * static_cast<Index>(placed.same_place.size());   // all that will be decoded
  const Index decoded = images * grid.shape.x * grid.shape.y * voxel_bytes;
  if (decoded > kNoBomb && decoded / size > options.max_expansion)
    throw Error(Code::bad_input, path.string(),
                text("the series has ", images, " compressed images of ", grid.shape.x, " x ", grid.shape.y,
                     " pixels, which take ", decoded, " bytes, ", decoded / size, " times the ", size,
                     " bytes of its files; the limit is DicomReadOptions::max_expansion = ", options.max_expansion,
                     ". Hint: raise it if you trust the files."));
}

/// Decodes one slice, so that a file whose pixels are no good says so before a large volume takes memory.
void check_first(const Slice& slice, const DicomReadOptions& options) {
  std::vector<std::uint16_t> cells;
  if (slice.file->compressed) Loaded(*slice.file, options.max_bytes).decoder().decode(slice.frame, cells);
}

/// Two images at one place are one image if their values are the same.
void check_same_places(Placed& placed, const DicomReadOptions& options, Warnings& warnings) {
  std::stable_sort(placed.same_place.begin(), placed.same_place.end(), [](const auto& a, const auto& b) {   // file by file
    return std::tie(a.first.file->path, a.second.file->path) < std::tie(b.first.file->path, b.second.file->path);
  });
  std::unique_ptr<Loaded> first, second;
  const auto read = [&](std::unique_ptr<Loaded>& from, const Slice& slice, std::vector<float>& out) {
    if (!from || &from->image() != slice.file) from = std::make_unique<Loaded>(*slice.file, options.max_bytes);
    out.resize(slice.file->format.pixels());
    from->read(slice, out.data());
  };
  std::vector<float> a, b;
  for (const auto& [kept, other] : placed.same_place) {
    read(first, kept, a);
    read(second, other, b);
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

template <class T> DicomVolume<T> dicom::read_series(const std::filesystem::path& path, const DicomReadOptions& options) try {
  Warnings warnings{options.log};
  const Found found = find_series(path, options);
  for (const std::string& line : found.left_out) warnings.add(path, text("left out ", line));
  const auto [series, stack] = choose(found, path, options);
  if (series->localizers > 0) warnings.add(path, text("left out ", series->localizers, " localizer image(s)"));
  Placed placed = place(series->stacks[static_cast<std::size_t>(stack)], warnings);
  check_size(placed, path, options, static_cast<Index>(sizeof(T)));
  DicomSeries told = describe(*series, stack);
  told.images = placed.grid.shape.z;
  told.shape = placed.grid.shape;
  told.files.clear();
  for (const Slice& s : placed.slices)
    if (told.files.empty() || told.files.back() != s.file->path) told.files.push_back(s.file->path);
  warn_of_odd_values(placed, told, warnings);
  check_same_places(placed, options, warnings);
  if (placed.grid.voxels() * static_cast<Index>(sizeof(T)) > kNoBomb) check_first(placed.slices.front(), options);
  Volume<T> volume(placed.grid);
  read_slices(placed.slices, options, volume);
  return {std::move(volume), std::move(told), std::move(warnings.lines)};
} catch (const std::bad_alloc&) {
  throw Error(Code::out_of_memory, path.string(), "no memory for the series.");
}

template DicomVolume<float> dicom::read_series(const std::filesystem::path&, const DicomReadOptions&);
template DicomVolume<std::int16_t> dicom::read_series(const std::filesystem::path&, const DicomReadOptions&);

bool dicom::is_dicom(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return true;
  return std::filesystem::is_regular_file(path, ignored) && has_dicom_start(path);
}

}   // namespace ctseg::io
