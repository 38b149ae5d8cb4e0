// One way to read and write a volume, whatever its file format.
#pragma once
#include "metaimage.hpp"
#include "nifti.hpp"
#include "npy.hpp"

namespace ctseg::io {

enum class VolumeFormat { nifti, metaimage, npy };
constexpr const char* name_of(VolumeFormat f) {
  return f == VolumeFormat::nifti ? "NIfTI" : f == VolumeFormat::metaimage ? "MetaImage" : "npy";
}

/// The format of a file: by its content, and where that says nothing by its name.
/// Errors    unsupported, with a hint, for any other format; io if the path cannot be opened.
template <class = void> VolumeFormat volume_format(const std::filesystem::path& path) {
  const auto unsupported = [&](std::string_view what) {
    return Error(Code::unsupported, path.string(),
                 text(what, "; supported: NIfTI (.nii, .nii.gz, .hdr with .img), MetaImage (.mha, .mhd), .npy."));
  };
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    throw unsupported("is a folder. Hint: a DICOM series is read with read_volume(path, dicom::reader())");
  std::array<std::byte, 1024> bytes{};
  const std::string_view start(reinterpret_cast<const char*>(bytes.data()), InputFile(path, false).read(bytes));
  if (start.empty())
    throw Error(Code::bad_input, path.string(), "is empty, 0 bytes. Hint: the file is truncated; copy it again.");
  if (start.starts_with("\x93NUMPY")) return VolumeFormat::npy;
  for (const std::string_view size : {"\x5c\x01\0\0", "\0\0\x01\x5c", "\x1c\x02\0\0", "\0\0\x02\x1c"})   // 348 and 540
    if (start.starts_with(std::string_view(size.data(), 4))) return VolumeFormat::nifti;
  if (start.size() > 132 && start.substr(128, 4) == "DICM")
    throw unsupported("is DICOM. Hint: it is read with read_volume(path, dicom::reader())");
  if (start.starts_with("NRRD")) throw unsupported("is NRRD");
  for (const char* ending : {".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz"})
    if (ends_with(path, ending)) return VolumeFormat::nifti;
  for (const char* ending : {".mha", ".mhd"})
    if (ends_with(path, ending)) return VolumeFormat::metaimage;
  if (ends_with(path, ".npy")) return VolumeFormat::npy;
  for (const char* key : {"ObjectType", "NDims"})
    if (const auto at = start.find(key); at != std::string_view::npos && (at == 0 || start[at - 1] == '\n'))
      return VolumeFormat::metaimage;
  throw unsupported("neither content nor name tell a format that can be read");
}

/// Reads a volume from NIfTI, MetaImage or .npy (with options.affine). What was odd goes to options.log.
/// Errors    unsupported for other formats; those of the format's reader.
template <class T> Volume<T> read_volume(const std::filesystem::path& path, const ReadOptions& options = {}) {
  const VolumeFormat format = volume_format(path);
  if (format == VolumeFormat::npy) return read_npy_volume<T>(path, options);
  if (options.affine)
    throw Error(Code::bad_argument, path.string(), "says itself where its voxels are; ReadOptions::affine is for .npy files.");
  return format == VolumeFormat::nifti ? read_nifti<T>(path, options) : read_metaimage<T>(path, options);
}

/// The same with a reader for one more format, such as dicom::reader(); it goes first where it knows the path.
template <class T, class Reader>
requires requires(const Reader& r, const std::filesystem::path& p) { r.reads(p); }
Volume<T> read_volume(const std::filesystem::path& path, const Reader& reader, const ReadOptions& options = {}) {
  return reader.reads(path) ? reader.template read<T>(path, options) : read_volume<T>(path, options);
}

/// What a file says of its volume, voxels unread.
struct VolumeInfo {
  VolumeFormat format;
  Stored stored;
  Grid grid;
};

/// Reads the header of a NIfTI or MetaImage file, or that of a .npy file with options.affine.
/// Errors    those of read_volume for the header; the voxels are not looked at.
template <class = void> VolumeInfo inspect_volume(const std::filesystem::path& path, const ReadOptions& options = {}) {
  const Complaints complaints(path, options.log);
  const VolumeFormat format = volume_format(path);
  if (format == VolumeFormat::nifti) {
    const auto file = nifti::open(nifti::header_of(path));
    const NiftiHeader h = read_nifti_header(*file, options.log);
    return {format, h.encoding().stored, nifti::place(h, complaints)};
  }
  if (format == VolumeFormat::metaimage) {
    const MetaImageHeader h = metaimage::read_header(path, complaints);
    return {format, h.encoding.stored, h.grid()};
  }
  InputFile file(path, false);
  const NpyHeader h = read_npy_header(file);
  if (!options.affine)
    throw Error(Code::bad_argument, path.string(),
                "a .npy file does not say where its voxels are. Hint: set ReadOptions::affine.");
  const Stored stored = npy_encoding(h, complaints).stored;
  check_npy_size(path, h, static_cast<std::size_t>(bytes_of(stored)));   // so that the extents can be multiplied
  return {format, stored, {npy_volume_shape(h, complaints), *options.affine}};
}

/// Writes a volume in the format its name tells: .nii, .nii.gz, .mha or .mhd, whole or not at all.
/// Errors    bad_argument for other names, .npy among them, which would lose the place; io if a write failed.
template <class T> void write_volume(const std::filesystem::path& path, const Volume<T>& volume) {
  for (const char* ending : {".nii", ".nii.gz"})
    if (ends_with(path, ending)) return write_nifti(path, volume);
  for (const char* ending : {".mha", ".mhd"})
    if (ends_with(path, ending)) return write_metaimage(path, volume);
  throw Error(Code::bad_argument, path.string(),
              ends_with(path, ".npy")
                  ? "a .npy file cannot say where its voxels are. Hint: write_npy_volume writes the voxels alone."
                  : "the name must end in .nii, .nii.gz, .mha or .mhd.");
}

#ifdef CTSEG_PREBUILT   // linked to ctseg::prebuilt, which holds these
CTSEG_PREBUILT template Volume<float> read_volume(const std::filesystem::path&, const ReadOptions&);
CTSEG_PREBUILT template void write_volume(const std::filesystem::path&, const Volume<float>&);
CTSEG_PREBUILT template Volume<std::uint8_t> read_volume(const std::filesystem::path&, const ReadOptions&);
CTSEG_PREBUILT template void write_volume(const std::filesystem::path&, const Volume<std::uint8_t>&);
#endif

}   // namespace ctseg::io
