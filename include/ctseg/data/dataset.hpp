// Finding cases on the disk: which image belongs to which label, in an order that no file system can change.
#pragma once
#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "../io/reading.hpp"

namespace ctseg {

/// Where one case lies. `label` is empty where there is none; set `patient` yourself where names do not tell it.
struct CaseFiles {
  std::string name, patient;
  std::filesystem::path image, label;   // the image may be a folder: a DICOM series
};

/// How a data set lies in its folder. A case's name is what is left of a file's name without its ending (.nii.gz), `before`
/// and `after`; where nothing is left, it is the name of the folder around the file. Image and label have the same name.
struct Layout {
  std::string_view images = "images", labels = "labels";   // folders; "" is the data set's own
  std::string_view image_before = "", image_after = "", label_before = "", label_after = "";
  std::string_view patient_until = "";   // the patient is the name up to the first of these; "" or none: the whole name
  bool subfolders = false;               // looked through; else a folder among the images is a DICOM series
  bool paired = true;                    // nothing lacks its partner; else `label` may stay empty and spare labels are ignored
};

namespace layouts {

inline constexpr Layout ct_scans_masks{.images = "ct_scans", .labels = "masks"};   // of train/, val/ or test/
inline constexpr Layout pairs{};                                                   // images/x.nii.gz, labels/x.nii.gz
/// subset0/<uid>.mhd ... subset9; the label is the lung mask. Nodules are drawn from annotations.csv (luna16.hpp) by name.
inline constexpr Layout luna16{.images = "", .labels = "seg-lungs-LUNA16", .subfolders = true, .paired = false};
/// 1.img.nii.gz beside 1.label.nii.gz, in one folder or in several.
inline constexpr Layout imagecas{
    .images = "", .labels = "", .image_after = ".img", .label_after = ".label", .subfolders = true};
/// volume-0.nii beside segmentation-0.nii.
inline constexpr Layout lits{
    .images = "", .labels = "", .image_before = "volume-", .label_before = "segmentation-", .subfolders = true};
/// imagesTr/liver_0.nii.gz and labelsTr/liver_0.nii.gz; nnU-Net's images have a channel number: liver_0_0000.nii.gz.
inline constexpr Layout decathlon{.images = "imagesTr", .labels = "labelsTr"};
inline constexpr Layout nnunet{.images = "imagesTr", .labels = "labelsTr", .image_after = "_0000"};
/// rawdata/sub-verse004/sub-verse004_ct.nii.gz, derivatives/sub-verse004/sub-verse004_seg-vert_msk.nii.gz.
inline constexpr Layout verse{.images = "rawdata",
                              .labels = "derivatives",
                              .image_after = "_ct",
                              .label_after = "_seg-vert_msk",
                              .patient_until = "_",
                              .subfolders = true};
/// patient1/image.nii.gz, patient1/label.nii.gz.
inline constexpr Layout case_folders{
    .images = "", .labels = "", .image_before = "image", .label_before = "label", .subfolders = true};

}   // namespace layouts

/// Numbers in names count as numbers: case2 comes before case10. A total order: equal only if the bytes are.
inline bool natural_less(std::string_view a, std::string_view b) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto number = [&](std::string_view s, std::size_t& at) {   // without leading zeros
    while (at < s.size() && s[at] == '0') ++at;
    const std::size_t first = at;
    while (at < s.size() && is_digit(s[at])) ++at;
    return s.substr(first, at - first);
  };
  std::size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (is_digit(a[i]) && is_digit(b[j])) {
      const std::string_view x = number(a, i), y = number(b, j);
      if (x.size() != y.size()) return x.size() < y.size();
      if (x != y) return x < y;
    } else {
      if (a[i] != b[j]) return static_cast<unsigned char>(a[i]) < static_cast<unsigned char>(b[j]);
      ++i, ++j;
    }
  }
  if (i < a.size() || j < b.size()) return i == a.size();
  return a < b;   // 01 and 1
}
struct NaturalOrder {
  bool operator()(const std::string& a, const std::string& b) const { return natural_less(a, b); }
};

namespace dataset {

using Found = std::map<std::string, std::filesystem::path, NaturalOrder>;   // case name -> file

inline constexpr std::array kEndings = {".nii.gz", ".nii", ".mha", ".mhd", ".hdr", ".hdr.gz", ".npy", ".dcm"};

/// What surrounds a case's name in file names, and where such files lie.
struct Pattern {
  std::filesystem::path folder;
  std::string_view before, after;
  std::string_view what;   // "image" or "label"

  std::string files() const { return text((folder / "").string(), before, "NAME", after, ".nii.gz"); }
  /// The case's name in `stem`; empty if it does not fit.
  std::string name_in(const std::filesystem::path& path, std::string_view stem) const {
    if (stem.size() < before.size() + after.size() || !stem.starts_with(before) || !stem.ends_with(after)) return "";
    const std::string_view name = stem.substr(before.size(), stem.size() - before.size() - after.size());
    return name.empty() ? path.parent_path().filename().string() : std::string(name);
  }
  std::size_t length() const { return before.size() + after.size(); }
};

/// A file's name without the ending of a volume; empty if it has none.
inline std::string stem_of(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  for (const std::string_view ending : kEndings)
    if (io::ends_with(path, ending)) return name.substr(0, name.size() - ending.size());
  return "";
}

/// Calls `add` with every path below `folder` that is not hidden; `other` is not entered.
template <class Add>
void for_paths(const std::filesystem::path& folder, const std::filesystem::path& other, bool subfolders, const Add& add) {
  namespace fs = std::filesystem;
  std::error_code error;
  fs::recursive_directory_iterator it(folder, fs::directory_options::follow_directory_symlink, error), end;
  for (; !error && it != end; it.increment(error)) {
    std::error_code ignored;   // a link to nowhere is no folder
    const bool is_folder = it->is_directory(ignored), hidden = it->path().filename().string().starts_with('.');
    if (it.depth() > 16)
      throw Error(Code::bad_input, folder.string(), "is more than 16 folders deep. Hint: does a link lead back into it?");
    if (is_folder && (!subfolders || hidden || it->path() == other)) it.disable_recursion_pending();
    if (!hidden && it->path() != other) add(it->path(), is_folder);
  }
  if (error) throw Error(Code::io, folder.string(), text("cannot be listed: ", error.message(), "."));
}

/// Files that fit `mine`; where both lie in one folder, a file that fits both belongs to the longer pattern.
inline Found find(const Pattern& mine, const Pattern& other, const Layout& layout) {
  Found found;
  const std::filesystem::path apart = mine.folder == other.folder ? std::filesystem::path() : other.folder;
  for_paths(mine.folder, apart, layout.subfolders, [&](const std::filesystem::path& path, bool is_folder) {
    if (is_folder && (layout.subfolders || mine.what == "label")) return;
    const std::string stem = is_folder ? path.filename().string() : stem_of(path);
    const std::string name = stem.empty() ? "" : mine.name_in(path, stem);
    if (name.empty()) return;
    if (mine.folder == other.folder && other.length() > mine.length() && !other.name_in(path, stem).empty()) return;
    const auto [at, is_new] = found.emplace(name, path);
    if (is_new) return;
    const auto& [first, second] = std::minmax(at->second, path);
    throw Error(Code::bad_input, first.string(),
                text("and ", second.string(), " are both the ", mine.what, " of case ", name, "; there must be one."));
  });
  return found;
}

inline void check_partners(const Found& found, const Found& partners, const Pattern& mine, const Pattern& other) {
  for (const auto& [name, path] : found)
    if (!partners.contains(name))
      throw Error(Code::bad_input, path.string(),
                  text("has no ", other.what, "; expected ", (other.folder / "").string(), other.before, name, other.after,
                       ".nii.gz, another ending or a subfolder that the layout looks through. ", found.size(), " ", mine.what,
                       "s and ", partners.size(), " ", other.what, "s were found."));
}

}   // namespace dataset

/// The cases of a data set, in natural order of their names. Endings: .nii, .nii.gz, .mha, .mhd, .hdr, .npy, .dcm, in either
/// case; hidden files are passed over.
/// Errors    io if a folder cannot be read; bad_input if nothing is found, a file has no partner (both paths are named), or two
///           files claim one case; bad_argument if images and labels cannot be told apart.
inline std::vector<CaseFiles> find_cases(const std::filesystem::path& folder, const Layout& layout = layouts::ct_scans_masks) {
  const auto in = [&](std::string_view name) { return name.empty() ? folder : folder / name; };
  const dataset::Pattern image{in(layout.images), layout.image_before, layout.image_after, "image"};
  const dataset::Pattern label{in(layout.labels), layout.label_before, layout.label_after, "label"};
  if (image.folder == label.folder && image.before == label.before && image.after == label.after)
    throw Error(Code::bad_argument, folder.string(),
                "images and labels have one folder and one pattern. Hint: set Layout::label_after, for example.");
  std::error_code ignored;
  if (!std::filesystem::is_directory(image.folder, ignored))
    throw Error(Code::io, image.folder.string(), text("is not a folder; it must hold the images ", image.files(), "."));
  const bool labelled = std::filesystem::is_directory(label.folder, ignored);
  if (!labelled && layout.paired)
    throw Error(Code::io, label.folder.string(), text("is not a folder; it must hold the labels ", label.files(), "."));
  const dataset::Found images = dataset::find(image, label, layout);
  const dataset::Found labels = labelled ? dataset::find(label, image, layout) : dataset::Found{};
  if (images.empty())
    throw Error(Code::bad_input, folder.string(),
                text("holds no case: looked for images ", image.files(), " (or .nii, .mha, .mhd, .hdr, .npy, .dcm), ",
                     layout.subfolders ? "subfolders too" : "subfolders as DICOM series", "; ", labels.size(),
                     " labels were found. Hint: does another layout fit?"));
  if (layout.paired) {
    dataset::check_partners(images, labels, image, label);
    dataset::check_partners(labels, images, label, image);
  }
  std::vector<CaseFiles> cases;
  for (const auto& [name, path] : images) {
    const std::size_t until = layout.patient_until.empty() ? std::string::npos : name.find(layout.patient_until);
    const auto at = labels.find(name);
    cases.push_back({name, name.substr(0, until), path, at == labels.end() ? std::filesystem::path() : at->second});
  }
  return cases;
}

}   // namespace ctseg
