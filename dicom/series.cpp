// Files to series to the one stack that is read.
#include "series.hpp"

#include <algorithm>
#include <map>

namespace ctseg::io::dicom {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxFiles = 100'000;
constexpr int kMaxFolders = 6;   // depth of subfolders
constexpr std::string_view kDicomdir = "1.2.840.10008.1.3.10";
constexpr std::uintmax_t kShortest = 138;   // preamble, mark and the head of the first element
constexpr std::size_t kListed = 5;

bool is_regular(const fs::directory_entry& entry) {
  std::error_code ignored;
  return entry.is_regular_file(ignored);
}

/// The DICOM files of a folder, by name; with those of its subfolders if so asked.
std::vector<fs::path> files_of(const fs::path& folder, bool deep) {
  std::vector<fs::path> files;
  std::error_code error;
  fs::directory_iterator may_be_read(folder, error);   // the folder itself is not skipped
  if (error) throw Error(Code::io, folder.string(), text("cannot read the folder: ", error.message(), "."));
  fs::recursive_directory_iterator at(folder, fs::directory_options::skip_permission_denied, error), end;
  if (error) throw Error(Code::io, folder.string(), text("cannot read the folder: ", error.message(), "."));
  for (; at != end; at.increment(error)) {
    if (error) throw Error(Code::io, folder.string(), text("cannot read the folder: ", error.message(), "."));
    if (!deep || at.depth() >= kMaxFolders) at.disable_recursion_pending();
    if (!is_regular(*at)) continue;
    files.push_back(at->path());
    if (files.size() > kMaxFiles)
      throw Error(Code::bad_input, folder.string(),
                  text("holds more than ", kMaxFiles, " files. Hint: name the folder of one study."));
  }
  std::sort(files.begin(), files.end());
  return files;
}

template <class F> void for_each(Executor* executor, Index count, F&& f) {
  if (executor) return parallel_for(*executor, count, f);
  for (Index i = 0; i < count; ++i) f(i);
}

/// The images among files. What is no DICOM file or holds no image is passed over; aloud if it may be the rest of one.
std::vector<ImageFile> images_of(const std::vector<fs::path>& files, const DicomReadOptions& options,
                                 std::vector<std::string>& left_out) {
  std::vector<std::optional<ImageFile>> read(files.size());
  for_each(options.executor, static_cast<Index>(files.size()), [&](Index i) {
    const auto n = static_cast<std::size_t>(i);
    if (has_dicom_start(files[n])) read[n] = read_image(files[n], options.max_bytes);
  });
  std::vector<ImageFile> images;
  for (std::size_t n = 0; n < read.size(); ++n) {
    std::error_code ignored;
    if (read[n] && (read[n]->is_image || read[n]->problem))
      images.push_back(std::move(*read[n]));
    else if (!read[n] && fs::file_size(files[n], ignored) < kShortest)
      left_out.push_back(text(files[n].string(), ": is too short for a DICOM file. Hint: if it was a slice, copy it again."));
  }
  return images;
}

/// Sorts images into series. A damaged file of an unknown series could be a slice of any: it ends the search in a folder;
/// beside a file that was named it is left out, aloud.
Found sort_into_series(std::vector<ImageFile> images, std::vector<std::string> left_out, bool named_file) {
  Found found{{}, std::move(left_out)};
  std::map<std::string, Series> by_uid;
  for (ImageFile& image : images) {
    if (image.problem && !image.series_known) {
      if (!named_file) throw *image.problem;
      found.left_out.push_back(image.problem->what());
      continue;
    }
    Series& series = by_uid[image.series_uid];
    if (image.localizer)
      ++series.localizers;
    else
      series.images.push_back(std::move(image));
  }
  for (auto& [uid, series] : by_uid) {
    std::vector<const ImageFile*> good;
    for (const ImageFile& image : series.images)
      if (!image.problem) good.push_back(&image);
    try {
      series.stacks = group_by_grid(good);
    } catch (const Error& error) {
      series.images.front().problem = error;
    }
    found.series.push_back(std::move(series));
  }
  return found;
}

const Error* problem_of(const Series& series) {
  for (const ImageFile& image : series.images)
    if (image.problem) return &*image.problem;
  return nullptr;
}

std::string line_of(const DicomSeries& s) {
  const std::string stack = s.stack > 0 ? text(", stack ", s.stack) : "";
  if (!s.problem.empty()) return text(s.uid.empty() ? "(no UID)" : s.uid, ": cannot be read: ", s.problem);
  return text(s.uid.empty() ? "(no UID)" : s.uid, stack, ": ", s.images, s.images == 1 ? " image of " : " images of ",
              s.shape.x, " x ", s.shape.y, ", ", s.modality, " \"", s.description, "\"");
}

}   // namespace

Found find_series(const fs::path& path, const DicomReadOptions& options) {
  std::error_code ignored;
  const bool folder = fs::is_directory(path, ignored);
  std::vector<std::string> left_out;
  if (folder) {
    auto images = images_of(files_of(path, false), options, left_out);
    if (images.empty()) left_out.clear(), images = images_of(files_of(path, true), options, left_out);
    if (images.empty())
      throw Error(Code::bad_input, path.string(),
                  "holds no DICOM image, nor do its subfolders. Hint: a NIfTI or MetaImage scan is named by its file.");
    return sort_into_series(std::move(images), std::move(left_out), false);
  }
  if (!has_dicom_start(path)) throw Error(Code::bad_input, path.string(), "is not a DICOM file: no \"DICM\" at byte 128.");
  const fs::path parent = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const ImageFile named = read_image(path, options.max_bytes);
  if (named.problem) throw *named.problem;
  if (named.sop_class == kDicomdir) return find_series(parent, options);
  if (!named.is_image)
    throw Error(
        Code::unsupported, path.string(),
        text("holds no scan, its Modality (0008,0060) is \"", named.modality, "\". Hint: a mask, dose, plan or report?"));
  if (options.single_file) return sort_into_series({named}, {}, true);
  auto images = images_of(files_of(parent, false), options, left_out);
  std::erase_if(images, [&](const ImageFile& i) { return i.series_known && i.series_uid != named.series_uid; });
  return sort_into_series(std::move(images), std::move(left_out), true);
}

DicomSeries describe(const Series& series, int stack) {
  const bool whole = stack < 0;
  if (whole && series.images.empty()) {
    DicomSeries out;
    out.problem = text("holds only localizers (", series.localizers, ")");
    return out;
  }
  const ImageFile& first = whole ? series.images.front() : *series.stacks[static_cast<std::size_t>(stack)].front().file;
  DicomSeries out;
  out.uid = first.series_uid;
  out.study_uid = first.study_uid;
  out.frame_of_reference_uid = first.frame_of_reference_uid;
  out.modality = first.modality;
  out.description = first.description;
  out.stack = std::max(stack, 0);
  if (const Error* problem = problem_of(series)) out.problem = problem->what();
  if (whole) return out;
  const Stack& slices = series.stacks[static_cast<std::size_t>(stack)];
  out.images = static_cast<Index>(slices.size());
  out.shape = {first.format.columns, first.format.rows, out.images};
  for (const Slice& s : slices)
    if (out.files.empty() || out.files.back() != s.file->path) out.files.push_back(s.file->path);
  return out;
}

std::pair<const Series*, int> choose(const Found& found, const fs::path& path, const DicomReadOptions& options) {
  std::vector<std::pair<const Series*, int>> candidates;
  for (const Series& series : found.series) {
    const std::string uid = series.images.empty() ? "" : series.images.front().series_uid;
    if (!options.series_uid.empty() && uid != options.series_uid) continue;
    if (series.images.empty() && found.series.size() > 1) continue;   // localizers beside a scan
    if (series.stacks.empty() || problem_of(series)) {
      candidates.emplace_back(&series, -1);
      continue;
    }
    for (std::size_t i = 0; i < series.stacks.size(); ++i)
      if (options.stack < 0 || options.stack == static_cast<int>(i)) candidates.emplace_back(&series, static_cast<int>(i));
  }
  if (candidates.size() == 1) {
    const Series& series = *candidates[0].first;
    if (const Error* problem = problem_of(series)) throw *problem;
    if (series.images.empty())
      throw Error(Code::bad_input, path.string(), text("holds only localizers (", series.localizers, ")."));
    return candidates[0];
  }
  std::string lines;
  const bool none = candidates.empty();
  if (none)
    for (const Series& s : found.series) candidates.emplace_back(&s, s.stacks.empty() ? -1 : 0);
  for (std::size_t i = 0; i < std::min(candidates.size(), kListed); ++i)
    lines += (i ? "; " : "") + line_of(describe(*candidates[i].first, candidates[i].second));
  if (candidates.size() > kListed) lines += text("; and ", candidates.size() - kListed, " more");
  if (none)
    throw Error(Code::bad_input, path.string(),
                text("has no series_uid = \"", options.series_uid, "\"",
                     options.stack < 0 ? "" : text(" with stack = ", options.stack), "; there are: ", lines, "."));
  const bool one_series = candidates.front().first == candidates.back().first;
  throw Error(Code::bad_input, path.string(),
              text("holds ", candidates.size(), one_series ? " stacks of images in one series: " : " series: ", lines,
                   ". Hint: choose with ", one_series ? "DicomReadOptions::stack." : "DicomReadOptions::series_uid."));
}

}   // namespace ctseg::io::dicom
