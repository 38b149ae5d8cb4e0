// NIfTI volumes: .nii, .nii.gz and .hdr/.img pairs in; .nii and .nii.gz out, on the bits of the grid they came from.
#pragma once
#include <memory>

#include "nifti_header.hpp"

namespace ctseg::io {

namespace nifti {

/// Opens a file as its name says, and refuses one whose first bytes say otherwise.
inline std::unique_ptr<InputFile> open(const std::filesystem::path& path) {
  std::array<std::byte, 2> first{};
  const bool compressed = InputFile(path, false).read(first) == 2 && first[0] == std::byte{0x1f} && first[1] == std::byte{0x8b};
  const bool named_gz = ends_with(path, ".gz");
  if (compressed && !named_gz)
    throw Error(Code::bad_input, path.string(), "the content is gzip, the name does not end in .gz. Hint: rename the file.");
  if (!compressed && named_gz)
    throw Error(Code::bad_input, path.string(),
                "the name ends in .gz, the content is not gzip. Hint: rename the file, or copy it again.");
  return std::make_unique<InputFile>(path, compressed);
}

/// The other half of a pair: x.hdr.gz and "img" give x.img.gz or x.img, whichever is there; X.HDR gives X.IMG too.
inline std::filesystem::path partner(const std::filesystem::path& path, std::string_view extension) {
  std::filesystem::path stem = path;
  const bool gz = ends_with(path, ".gz");
  if (gz) stem.replace_extension();
  std::string capitals(extension);
  for (char& c : capitals) c = static_cast<char>(c - 'a' + 'A');
  for (const std::string_view letters : {extension, std::string_view(capitals)})
    for (const char* ending : {gz ? ".gz" : "", gz ? "" : ".gz"}) {
      std::filesystem::path other = stem;
      other.replace_extension(text(letters, ending));
      std::error_code ignored;
      if (std::filesystem::exists(other, ignored)) return other;
    }
  throw Error(Code::bad_input, path.string(),
              text("is half of a pair (magic \"ni1\" or \"ni2\"), and there is no .", extension, " file beside it."));
}

/// The file with the header: itself, or the .hdr beside an .img.
inline std::filesystem::path header_of(const std::filesystem::path& path) {
  return ends_with(path, ".img") || ends_with(path, ".img.gz") ? partner(path, "hdr") : path;
}

/// The size is checked against the file and the limit before any voxel gets memory.
inline void check_size(const InputFile& file, const NiftiHeader& h, Index bytes_in_memory, Index max_bytes) {
  const Index need = h.vox_offset + h.voxel_bytes();
  if (need > file.most_bytes())
    throw Error(
        Code::bad_input, file.path().string(),
        text("dim = ", h.shape(), " with bitpix = ", h.bitpix, " and vox_offset = ", h.vox_offset, " needs ", need,
             " bytes; the file holds at most ", file.most_bytes(), ". Hint: the file is truncated or its header damaged."));
  if (std::max(h.voxel_bytes(), bytes_in_memory) > max_bytes)
    throw Error(Code::bad_input, file.path().string(),
                text("dim = ", h.shape(), " takes ", std::max(h.voxel_bytes(), bytes_in_memory),
                     " bytes; the limit is ReadOptions::max_bytes = ", max_bytes, "."));
}

}   // namespace nifti

/// Reads a volume as T: any integer or floating datatype, scl_slope and scl_inter applied, in either byte order.
/// Numerics  scaled in double, rounded once; an integer T takes only values that it holds exactly.
/// Errors    bad_input naming file, field and value; the place of the voxels is never guessed in silence.
template <class T> Volume<T> read_nifti(const std::filesystem::path& path, const ReadOptions& options = {}) {
  const std::filesystem::path header_path = nifti::header_of(path);
  std::unique_ptr<InputFile> file = nifti::open(header_path);
  const NiftiHeader header = read_nifti_header(*file, options.log);
  const Complaints complaints(header_path, options.log);
  const Grid grid = nifti::place(header, complaints);
  if (header.pair) file = nifti::open(header_path == path ? nifti::partner(path, "img") : path);
  nifti::check_size(*file, header, grid.voxels() * static_cast<Index>(sizeof(T)), options.max_bytes);
  try {
    if (header.pair)
      file->skip(header.vox_offset, "the space before the voxels");
    else
      nifti::skip_extensions(*file, header, complaints);
    Volume<T> volume(grid);
    read_voxels(*file, header.encoding(), Slab<T>{volume});
    file->expect_end("the voxels");
    warn_of_nonfinite(volume.voxels(), complaints);
    return volume;
  } catch (const std::bad_alloc&) {
    throw Error(Code::out_of_memory, path.string(), text("no memory for a volume of ", grid.shape, " voxels."));
  }
}

struct WriteNiftiOptions {
  int gzip_level = 6;   // for .nii.gz: 1 fast .. 9 small
};

namespace nifti {

template <class T> constexpr int datatype_of() {
  switch (dtype_of<T>()) {
    case Dtype::u8:
      return DT_UINT8;
    case Dtype::i16:
      return DT_INT16;
    case Dtype::u16:
      return DT_UINT16;
    case Dtype::i32:
      return DT_INT32;
    case Dtype::i64:
      return DT_INT64;
    case Dtype::f32:
      return DT_FLOAT32;
    case Dtype::f64:
      return DT_FLOAT64;
    default:
      return 0;
  }
}

/// Placement of a grid that no file gave: an sform, and a qform too where it says the same (no shear).
inline NiftiPlacement placement_of(const Grid& grid) {
  if (grid.nifti) return *grid.nifti;
  NiftiPlacement p;
  p.sform_code = NIFTI_XFORM_SCANNER_ANAT;
  const auto as_float = [](double value) { return static_cast<double>(static_cast<float>(value)); };
  nifti_dmat44 m{};
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j) {
      m.m[i][j] = grid.affine.matrix(i, j);
      if (i < 3) p.srow[static_cast<std::size_t>(4 * i + j)] = as_float(m.m[i][j]);
    }
  nifti_dmat44_to_quatern(m, &p.quatern[0], &p.quatern[1], &p.quatern[2], &p.qoffset[0], &p.qoffset[1], &p.qoffset[2],
                          &p.pixdim[1], &p.pixdim[2], &p.pixdim[3], &p.pixdim[0]);
  for (auto* values : {&p.quatern, &p.qoffset})
    for (double& v : *values) v = as_float(v);
  for (double& v : p.pixdim) v = as_float(v);
  if (same_grid({grid.shape, Affine<Ras>(qform(p))}, {grid.shape, Affine<Ras>(sform(p))}, 5e-4)) {
    p.qform_code = NIFTI_XFORM_SCANNER_ANAT;
  } else {
    p.quatern = p.qoffset = {};
    p.pixdim[0] = 1;
  }
  return p;
}

/// NIfTI-1 holds extents to 32767 and floats; a grid read from a NIfTI-2 file may need more.
inline bool fits_nifti1(const Grid& grid, const NiftiPlacement& p) {
  const auto is_float = [](const auto& values) {
    for (double v : values)
      if (is_finite(v) && !(std::abs(v) <= 3e38 && static_cast<double>(static_cast<float>(v)) == v)) return false;
    return true;
  };
  return std::max({grid.shape.x, grid.shape.y, grid.shape.z}) <= 32767 && is_float(p.pixdim) && is_float(p.quatern) &&
         is_float(p.qoffset) && is_float(p.srow);
}

template <class Raw> Raw encode(const Grid& grid, const NiftiPlacement& p, int datatype) {
  constexpr bool kFirst = std::is_same_v<Raw, nifti_1_header>;
  using Real = std::conditional_t<kFirst, float, double>;
  using Extent = std::conditional_t<kFirst, std::int16_t, std::int64_t>;
  using Short = std::conditional_t<kFirst, std::int16_t, std::int32_t>;
  Raw raw{};
  raw.sizeof_hdr = static_cast<std::int32_t>(sizeof(Raw));
  std::memcpy(raw.magic, kFirst ? "n+1" : "n+2\0\r\n\032\n", sizeof raw.magic);
  const Index dim[8] = {3, grid.shape.x, grid.shape.y, grid.shape.z, 1, 1, 1, 1};
  for (std::size_t i = 0; i < 8; ++i) {
    raw.dim[i] = static_cast<Extent>(dim[i]);
    raw.pixdim[i] = static_cast<Real>(p.pixdim[i]);
  }
  raw.datatype = static_cast<std::int16_t>(datatype);
  raw.bitpix = static_cast<std::int16_t>(bits_of(datatype));
  raw.vox_offset = static_cast<decltype(raw.vox_offset)>(sizeof(Raw) + 4);
  raw.scl_slope = 1;
  raw.qform_code = static_cast<Short>(p.qform_code);
  raw.sform_code = static_cast<Short>(p.sform_code);
  raw.xyzt_units = static_cast<decltype(raw.xyzt_units)>(p.xyzt_units);
  raw.quatern_b = static_cast<Real>(p.quatern[0]);
  raw.quatern_c = static_cast<Real>(p.quatern[1]);
  raw.quatern_d = static_cast<Real>(p.quatern[2]);
  raw.qoffset_x = static_cast<Real>(p.qoffset[0]);
  raw.qoffset_y = static_cast<Real>(p.qoffset[1]);
  raw.qoffset_z = static_cast<Real>(p.qoffset[2]);
  for (std::size_t i = 0; i < 4; ++i) {
    raw.srow_x[i] = static_cast<Real>(p.srow[i]);
    raw.srow_y[i] = static_cast<Real>(p.srow[4 + i]);
    raw.srow_z[i] = static_cast<Real>(p.srow[8 + i]);
  }
  std::memcpy(raw.descrip, "ctseg", 5);
  return raw;
}

}   // namespace nifti

/// Writes .nii or .nii.gz, whole or not at all. A grid that came from a NIfTI file keeps its bits: forms, codes, units.
/// Numerics  NIfTI-1, or NIfTI-2 where NIfTI-1 cannot hold the extents or the placement. Equal volumes give equal files.
/// Errors    bad_argument for another file name or a placement that readers refuse; io if anything could not be written.
template <class T>
void write_nifti(const std::filesystem::path& path, const Volume<T>& volume, const WriteNiftiOptions& options = {}) {
  static_assert(nifti::datatype_of<T>() != 0, "ctseg: NIfTI has no 16-bit floats; write float");
  const bool gzip = ends_with(path, ".nii.gz");
  if (!gzip && !ends_with(path, ".nii"))
    throw Error(Code::bad_argument, path.string(), "the name of a NIfTI file must end in .nii or .nii.gz.");
  check_writable(path, volume.grid());
  const NiftiPlacement placement = nifti::placement_of(volume.grid());
  OutputFile file(path, {.gzip = gzip, .gzip_level = options.gzip_level});
  const auto write = [&](const auto& raw) {
    file.write(std::as_bytes(std::span(&raw, 1)));
    file.write(std::array<std::byte, 4>{});   // no extensions
  };
  if (nifti::fits_nifti1(volume.grid(), placement))
    write(nifti::encode<nifti_1_header>(volume.grid(), placement, nifti::datatype_of<T>()));
  else
    write(nifti::encode<nifti_2_header>(volume.grid(), placement, nifti::datatype_of<T>()));
  file.write(std::as_bytes(std::span(volume.voxels())));
  file.commit();
}

#ifdef CTSEG_PREBUILT   // linked to ctseg::prebuilt, which holds these
CTSEG_PREBUILT template Volume<float> read_nifti(const std::filesystem::path&, const ReadOptions&);
CTSEG_PREBUILT template void write_nifti(const std::filesystem::path&, const Volume<float>&, const WriteNiftiOptions&);
CTSEG_PREBUILT template Volume<std::uint8_t> read_nifti(const std::filesystem::path&, const ReadOptions&);
CTSEG_PREBUILT template void write_nifti(const std::filesystem::path&, const Volume<std::uint8_t>&, const WriteNiftiOptions&);
#endif

}   // namespace ctseg::io
