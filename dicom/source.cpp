#include "source.hpp"

#include <algorithm>
#include <ctime>
#include <ctseg/version.hpp>

namespace ctseg::io::dicom {

namespace {

/// Patient, study and frame of reference: what is copied, and what must be there even if it is empty.
struct Copied {
  Tag tag;
  const char* vr;
  bool always;
};
constexpr Copied kCopied[] = {{0x00080005, "CS", false}, {0x00080020, "DA", true},  {0x00080030, "TM", true},
                              {0x00080050, "SH", true},  {0x00080090, "PN", true},  {0x00081030, "LO", false},
                              {0x00100010, "PN", true},  {0x00100020, "LO", true},  {0x00100030, "DA", true},
                              {0x00100040, "CS", true},  {0x00101010, "AS", false}, {0x00200010, "SH", true},
                              {0x00201040, "LO", true}};

bool is_ascii(std::string_view s) {
  return std::all_of(s.begin(), s.end(), [](char c) { return c >= ' ' && c <= '~' && c != '\\'; });
}

void check_text(const char* option, std::string_view value, std::size_t most) {
  if (value.empty() || value.size() > most || !is_ascii(value))
    throw Error(
        Code::bad_argument, "dicom",
        text(option, " = \"", std::string(value), "\"; must be 1 to ", most, " printable ASCII characters without backslash."));
}

void check_options(const Volume<std::uint8_t>& mask, const DicomWriteOptions& options) {
  if (options.source.files.empty())
    throw Error(Code::bad_argument, "dicom",
                "DicomWriteOptions::source names no files. Hint: take DicomVolume::series of the volume that was segmented.");
  if (options.segments.empty() || options.segments.size() > 255)
    throw Error(Code::bad_argument, "dicom", text("there are ", options.segments.size(), " segments; must be 1 to 255."));
  check_text("series_description", options.series_description, 64);
  check_text("algorithm", options.algorithm, 64);
  std::array<bool, 256> named{};
  for (const DicomSegment& s : options.segments) {
    check_text("segment name", s.name, 64);
    for (const DicomCode* c : {&s.category, &s.type}) {
      check_text("code value", c->value, 16);
      check_text("code scheme", c->scheme, 16);
      check_text("code meaning", c->meaning, 64);
    }
    if (s.label < 1 || s.label > 255 || named[static_cast<std::size_t>(s.label)])
      throw Error(Code::bad_argument, "dicom",
                  text("segment \"", s.name, "\" has label ", s.label, "; labels are 1 to 255, each once."));
    named[static_cast<std::size_t>(s.label)] = true;
  }
  for (std::uint8_t v : mask.voxels())
    if (named[v]) return;
  throw Error(Code::bad_argument, "dicom", "the mask has no voxel of any segment; an empty object is not written.");
}

/// Only what a reader needs of a source: one place for each slice of the mask.
Stack slices_of(const std::vector<ImageFile>& images) {
  std::vector<const ImageFile*> all;
  for (const ImageFile& image : images) {
    if (image.problem) throw *image.problem;
    all.push_back(&image);
  }
  std::vector<Stack> stacks = group_by_grid(all);
  if (stacks.size() != 1)
    throw Error(Code::bad_argument, "dicom",
                text("the files of DicomWriteOptions::source make ", stacks.size(), " grids; must be one."));
  return std::move(stacks[0]);
}

std::string now(const char* format) {
  char line[32];
  const std::time_t seconds = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  line[std::strftime(line, sizeof line, format, &parts)] = '\0';
  return line;
}

}   // namespace

Output Source::reference(const Reference& r) const {
  Output item;
  item.put(0x00081150, "UI", r.sop_class);
  item.put(0x00081155, "UI", r.sop_instance);
  if (r.frame > 0) item.put(0x00081160, "IS", text(r.frame));
  return item;
}

Source read_source(const Volume<std::uint8_t>& mask, const DicomWriteOptions& options) {
  check_options(mask, options);
  constexpr Index kMaxBytes = Index{1} << 34;
  std::vector<ImageFile> images;
  for (const auto& path : options.source.files) images.push_back(read_image(path, kMaxBytes));
  Warnings unheard;   // they were said when the series was read
  const Placed placed = place(slices_of(images), unheard);
  if (!same_grid(mask.grid(), placed.grid))
    throw Error(Code::shape_mismatch, "dicom",
                text("the mask of ", mask.shape(), " voxels is not on the grid of its source series, which has ",
                     placed.grid.shape, ". Hint: resample_like(mask, volume)."));
  Source source;
  const ImageFile& first = *placed.slices.front().file;
  source.plane = placed.slices.front().plane();
  const Eigen::Matrix4d m = to_lps(placed.grid.affine).matrix;
  source.slice_distance_mm = m.block<3, 1>(0, 2).dot(source.plane.normal());
  for (std::size_t z = 0; z < placed.slices.size(); ++z) {
    const Slice& s = placed.slices[z];
    const std::string instance = s.file->sop_instance.empty() ? uid_of(s.file->path.filename().string()) : s.file->sop_instance;
    if (source.slices.empty() || source.slices.back().sop_instance != instance) source.first_of_instance.push_back(z);
    source.slices.push_back({s.file->sop_class, instance, s.file->format.frames > 1 ? s.frame + 1 : 0});
    source.positions.push_back(m.block<3, 1>(0, 3) + static_cast<double>(z) * m.block<3, 1>(0, 2));
  }
  const auto or_made = [&](const std::string& uid, const char* role) {   // anonymised files have lost some
    return uid.empty() ? uid_of(role + source.slices.front().sop_instance) : uid;
  };
  source.series_uid = or_made(first.series_uid, "series");
  source.study_uid = or_made(first.study_uid, "study");
  source.frame_of_reference_uid = or_made(first.frame_of_reference_uid, "frame of reference");
  const File file = load(first.path, kMaxBytes);
  for (const Copied& c : kCopied)
    if (const std::string value = text_value(file, file.dataset, c.tag); c.always || !value.empty())
      source.modules.put(c.tag, c.vr, value);
  source.modules.put(0x0020000d, "UI", source.study_uid);
  source.modules.put(0x00200052, "UI", source.frame_of_reference_uid);
  return source;
}

Output new_object(const Source& source, const Volume<std::uint8_t>& mask, const DicomWriteOptions& options,
                  const char* sop_class, const char* modality) {
  const std::string date = options.date.empty() ? now("%Y%m%d") : options.date;
  const std::string time = options.time.empty() ? now("%H%M%S") : options.time;
  std::string content =
      text(sop_class, "/", source.slices.front().sop_instance, "/", date, time, "/", options.series_description);
  for (const DicomSegment& s : options.segments) content += text("/", s.label, s.name);
  const std::string series = uid_of("series/" + content);
  content.append(reinterpret_cast<const char*>(mask.data()), mask.voxels().size());
  Output out = source.modules;
  out.put(0x00080016, "UI", sop_class);
  out.put(0x00080018, "UI", uid_of(content));
  out.put(0x00080021, "DA", date);
  out.put(0x00080031, "TM", time);
  out.put(0x00080060, "CS", modality);
  out.put(0x00080070, "LO", "ctseg");
  out.put(0x0008103e, "LO", options.series_description);
  out.put(0x00081090, "LO", "ctseg");
  out.put(0x00181000, "LO", "0");
  out.put(0x00181020, "LO", kVersion);
  out.put(0x0020000e, "UI", series);
  out.put(0x00200011, "IS", text(options.series_number));
  out.put(0x00200013, "IS", "1");
  return out;
}

Output code_item(const DicomCode& code) {
  Output item;
  item.put(0x00080100, "SH", code.value);
  item.put(0x00080102, "SH", code.scheme);
  item.put(0x00080104, "LO", code.meaning);
  return item;
}

}   // namespace ctseg::io::dicom
