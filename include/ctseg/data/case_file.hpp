// A preprocessed case as one file: both volumes with every bit of their placement, a key that says what it was made from, and a
// checksum. Such files are a cache and no format to keep: whatever is odd about one makes it a miss.
#pragma once
#include <charconv>

#include "../io/reading.hpp"
#include "case.hpp"
#include "dataset.hpp"

namespace ctseg::case_file {

/// Numbers as they lie in memory: a machine with the other byte order finds another magic.
struct Place {
  std::int64_t shape[3];   // x, y, z
  double affine[16];
  std::int64_t has_nifti, qform_code, sform_code, xyzt_units;
  double pixdim[8], quatern[3], qoffset[3], srow[12];
};
struct Head {
  std::uint64_t magic, key_bytes;
  Place image, label;
};
inline constexpr std::uint64_t kMagic = 0x3130657361637363;   // "cscase01"

inline Place place_of(const Grid& grid) {
  Place p{};
  p.shape[0] = grid.shape.x, p.shape[1] = grid.shape.y, p.shape[2] = grid.shape.z;
  for (int i = 0; i < 16; ++i) p.affine[i] = grid.affine.matrix(i / 4, i % 4);
  if (!grid.nifti) return p;
  const NiftiPlacement& n = *grid.nifti;
  p.has_nifti = 1, p.qform_code = n.qform_code, p.sform_code = n.sform_code, p.xyzt_units = n.xyzt_units;
  std::copy(n.pixdim.begin(), n.pixdim.end(), p.pixdim);
  std::copy(n.quatern.begin(), n.quatern.end(), p.quatern);
  std::copy(n.qoffset.begin(), n.qoffset.end(), p.qoffset);
  std::copy(n.srow.begin(), n.srow.end(), p.srow);
  return p;
}
template <class = void> Grid grid_of(const Place& p) {
  Eigen::Matrix4d affine;
  for (int i = 0; i < 16; ++i) affine(i / 4, i % 4) = p.affine[i];
  Grid grid{{p.shape[0], p.shape[1], p.shape[2]}, Affine<Ras>(affine)};
  if (p.has_nifti == 0) return grid;
  NiftiPlacement n{.qform_code = static_cast<int>(p.qform_code),
                   .sform_code = static_cast<int>(p.sform_code),
                   .xyzt_units = static_cast<int>(p.xyzt_units)};
  std::copy_n(p.pixdim, 8, n.pixdim.begin());
  std::copy_n(p.quatern, 3, n.quatern.begin());
  std::copy_n(p.qoffset, 3, n.qoffset.begin());
  std::copy_n(p.srow, 12, n.srow.begin());
  grid.nifti = n;
  return grid;
}

/// Bytes passing by, and their CRC-32.
template <class File> struct Summed {
  File& file;
  std::uint32_t sum = 0;

  template <class T> void write(std::span<const T> values) {
    file.write(std::as_bytes(values));
    add(std::as_bytes(values));
  }
  template <class T> void read(std::span<T> values) {
    file.read_exactly(std::as_writable_bytes(values), "a cached case");
    add(std::as_bytes(values));
  }
  void add(std::span<const std::byte> bytes) {
    sum = static_cast<std::uint32_t>(::crc32_z(sum, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
  }
};

/// Writes a case whole or not at all.
/// Errors    io.
template <class = void> void write(const std::filesystem::path& path, const std::string& key, const Case& c) {
  io::OutputFile file(path);
  Summed<io::OutputFile> out{file};
  const Head head{kMagic, key.size(), place_of(c.image.grid()), place_of(c.label.grid())};
  out.write(std::span(&head, 1));
  out.write(std::span(std::as_const(key)));
  out.write(std::span(c.image.voxels()));
  out.write(std::span(c.label.voxels()));
  file.write(std::as_bytes(std::span(&out.sum, 1)));
  file.commit();
}

/// Reads a case; nothing if there is no file, if it has another key, or if it is damaged.
template <class = void> std::optional<Case> read(const std::filesystem::path& path, const std::string& key) {
  try {
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) return std::nullopt;
    io::InputFile file(path, false);
    Summed<io::InputFile> in{file};
    Head head;
    in.read(std::span(&head, 1));
    if (head.magic != kMagic || head.key_bytes != key.size()) return std::nullopt;
    Index expected = static_cast<Index>(sizeof head + key.size() + sizeof in.sum);
    for (const auto& [place, bytes] : {std::pair(&head.image, Index{4}), std::pair(&head.label, Index{1})}) {
      for (const std::int64_t extent : place->shape)
        if (extent < 1 || extent > (1 << 19)) return std::nullopt;   // the product of three fits an Index
      expected += place->shape[0] * place->shape[1] * place->shape[2] * bytes;
    }
    if (file.most_bytes() != expected) return std::nullopt;   // before anything of that size is allocated
    std::string found(key.size(), ' ');
    in.read(std::span(found));
    if (found != key) return std::nullopt;
    Case c{.name = {}, .image = Volume<float>(grid_of(head.image)), .label = Volume<std::uint8_t>(grid_of(head.label))};
    in.read(std::span(c.image.voxels()));
    in.read(std::span(c.label.voxels()));
    std::uint32_t sum = 0;
    file.read_exactly(std::as_writable_bytes(std::span(&sum, 1)), "a cached case");
    return sum == in.sum ? std::optional(std::move(c)) : std::nullopt;
  } catch (const Error&) {   // it vanished, was cut meanwhile, has no placement: the case is made again
    return std::nullopt;
  }
}

/// What a path holds, without reading it: bytes and times of the file, of the voxels beside a header, of a folder's files.
inline std::string facts_of(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  if (path.empty()) return "none\n";
  Index files = 0, bytes = 0;
  std::size_t times = 0;   // their sum: another time of any file changes it
  const auto add = [&](const fs::path& p) {
    struct stat facts {};
    if (::stat(p.c_str(), &facts) != 0 || !S_ISREG(facts.st_mode)) return;
    ++files;
    bytes += static_cast<Index>(facts.st_size);
    times += static_cast<std::size_t>(facts.st_mtim.tv_sec) * 1000000000 + static_cast<std::size_t>(facts.st_mtim.tv_nsec);
  };
  add(path);
  for (const char* voxels : {".raw", ".zraw", ".img", ".img.gz"})
    if (path.extension() == ".mhd" || path.extension() == ".hdr") add(fs::path(path).replace_extension(voxels));
  if (fs::is_directory(path, ignored))
    for (fs::recursive_directory_iterator it(path, ignored), end; !ignored && it != end; it.increment(ignored)) add(it->path());
  return text(fs::absolute(path, ignored).lexically_normal().string(), "\n", files, " files, ", bytes, " bytes, ", times, "\n");
}

/// Changes whenever the case would be made from something else or in another way.
inline std::string key_of(const CaseFiles& files, const std::string& recipe) {
  return facts_of(files.image) + facts_of(files.label) + recipe;
}

/// The same for the same files and recipe: a case made from newer files takes the place of the old one.
inline std::filesystem::path name_of(const CaseFiles& files, const std::string& recipe) {
  std::error_code ignored;
  std::uint64_t hash = 0xcbf29ce484222325;   // FNV-1a
  for (const std::string& part : {std::filesystem::absolute(files.image, ignored).lexically_normal().string(),
                                  std::filesystem::absolute(files.label, ignored).lexically_normal().string(), recipe}) {
    for (const char c : part) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    hash *= 0x100000001b3;   // between two parts
  }
  std::string name = files.name.substr(0, 80);
  for (char& c : name)
    if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && c != '-') c = '_';
  char digits[16];
  const auto end = std::to_chars(digits, digits + sizeof digits, hash, 16).ptr;
  return name + "-" + std::string(digits, end) + ".case";
}

}   // namespace ctseg::case_file
