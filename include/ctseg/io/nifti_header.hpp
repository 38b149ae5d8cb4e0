// The NIfTI header, NIfTI-1 and -2 in either byte order: every field is checked before anything it says is believed.
#pragma once
#include <nifti2_io.h>

#include "reading.hpp"

namespace ctseg::io {

namespace nifti {

/// The type of number behind a datatype code; nothing for those that are not read.
inline std::optional<Stored> stored_as(int datatype) {
  switch (datatype) {
    case DT_UINT8:
      return Stored::u8;
    case DT_INT8:
      return Stored::i8;
    case DT_INT16:
      return Stored::i16;
    case DT_UINT16:
      return Stored::u16;
    case DT_INT32:
      return Stored::i32;
    case DT_UINT32:
      return Stored::u32;
    case DT_INT64:
      return Stored::i64;
    case DT_UINT64:
      return Stored::u64;
    case DT_FLOAT32:
      return Stored::f32;
    case DT_FLOAT64:
      return Stored::f64;
    default:
      return std::nullopt;
  }
}
/// Bits per voxel of a datatype that can be read; 0 for the others.
inline int bits_of(int datatype) {
  const auto stored = stored_as(datatype);
  return stored ? static_cast<int>(bytes_of(*stored)) * 8 : 0;
}

}   // namespace nifti

/// What the header says, in host byte order.
struct NiftiHeader {
  int version = 1;
  bool swapped = false;   // the file's byte order is not this machine's
  bool pair = false;      // the voxels are in an .img file
  Index vox_offset = 0;
  std::array<Index, 8> dim{};
  int datatype = 0, bitpix = 0;
  double slope = 1, intercept = 0;
  NiftiPlacement placement{};

  Xyz<Index> shape() const { return {dim[1], dim[2], dim[3]}; }
  Index voxel_bytes() const { return dim[1] * dim[2] * dim[3] * (bitpix / 8); }
  Encoding encoding() const { return {*nifti::stored_as(datatype), swapped, slope, intercept}; }
};

namespace nifti {

inline void check_dims(const NiftiHeader& h, const Complaints& complaints) {
  if (h.dim[0] < 3 || h.dim[0] > 7)
    complaints.refuse("dim[0]", h.dim[0], "must be 3, or up to 7 with extents of 1 from dim[4] on");
  const Index most = std::numeric_limits<Index>::max() / 64;
  Index count = 1;
  for (std::size_t i = 1; i <= static_cast<std::size_t>(h.dim[0]); ++i) {
    const std::string field = text("dim[", i, "]");
    if (h.dim[i] < 1) complaints.refuse(field, h.dim[i], "must be 1 or more");
    if (i > 3 && h.dim[i] > 1)
      complaints.refuse(field, h.dim[i], "must be 1, one volume in one file. Hint: split the series first");
    if (count > most / h.dim[i]) complaints.refuse(field, h.dim[i], "makes more voxels than can be counted");
    count *= h.dim[i];
  }
}

inline void check_datatype(const NiftiHeader& h, const Complaints& complaints) {
  const int bits = bits_of(h.datatype);
  if (bits == 0)
    complaints.refuse("datatype", h.datatype,
                      "must be 2, 4, 8, 16, 64, 256, 512, 768, 1024 or 1280 (integers, float, double; "
                      "not RGB, complex, long double or single bits)");
  if (h.bitpix != bits) complaints.refuse("bitpix", h.bitpix, text("must be ", bits, " for datatype ", h.datatype));
  if (!is_finite(h.slope)) complaints.refuse("scl_slope", h.slope, "must be finite (0 means no scaling)");
  if (!is_finite(h.intercept)) complaints.refuse("scl_inter", h.intercept, "must be finite");
}

/// The raw struct (either version has the same field names) as checked fields; placement is only copied.
template <class Raw> NiftiHeader decode(const Raw& raw, bool swapped, const Complaints& complaints) {
  const auto host = [swapped](auto value) { return swapped ? byte_swapped(value) : value; };
  NiftiHeader h;
  h.version = std::is_same_v<Raw, nifti_1_header> ? 1 : 2;
  h.swapped = swapped;
  const std::string magic(raw.magic, sizeof raw.magic);
  const std::string_view tail("\0\r\n\032\n", h.version == 1 ? 1 : 5), number = h.version == 1 ? "1" : "2";
  h.pair = magic == text("ni", number, tail);
  if (!h.pair && magic != text("n+", number, tail))
    complaints.refuse("magic", text("\"", std::string_view(magic.c_str()), "\""),
                      text("must be \"n+", number, "\" or \"ni", number, "\""));
  for (std::size_t i = 0; i < 8; ++i) {
    h.dim[i] = host(raw.dim[i]);
    h.placement.pixdim[i] = host(raw.pixdim[i]);
  }
  h.datatype = host(raw.datatype);
  h.bitpix = host(raw.bitpix);
  h.slope = host(raw.scl_slope);
  h.intercept = host(raw.scl_inter);
  check_dims(h, complaints);
  check_datatype(h, complaints);
  if (h.slope == 0) h.slope = 1, h.intercept = 0;

  const double offset = static_cast<double>(host(raw.vox_offset));
  const double least = h.pair ? 0 : h.version == 1 ? 352 : 544;
  if (!(is_finite(offset) && offset >= least && offset <= 0x1p40 && offset == std::floor(offset)))
    complaints.refuse("vox_offset", offset, text("must be a whole number of bytes, ", least, " or more"));
  h.vox_offset = static_cast<Index>(offset);

  h.placement.qform_code = host(raw.qform_code);
  h.placement.sform_code = host(raw.sform_code);
  h.placement.xyzt_units = host(raw.xyzt_units);
  h.placement.quatern = {host(raw.quatern_b), host(raw.quatern_c), host(raw.quatern_d)};
  h.placement.qoffset = {host(raw.qoffset_x), host(raw.qoffset_y), host(raw.qoffset_z)};
  for (std::size_t i = 0; i < 4; ++i) {
    h.placement.srow[i] = host(raw.srow_x[i]);
    h.placement.srow[4 + i] = host(raw.srow_y[i]);
    h.placement.srow[8 + i] = host(raw.srow_z[i]);
  }
  return h;
}

/// Millimetres per unit of the header.
inline double unit_mm(const NiftiPlacement& p) {
  const int space = p.xyzt_units & 7;
  return space == NIFTI_UNITS_METER ? 1000 : space == NIFTI_UNITS_MICRON ? 0.001 : 1;
}

template <class = void> Eigen::Matrix4d qform(const NiftiPlacement& p) {
  const nifti_dmat44 m = nifti_quatern_to_dmat44(p.quatern[0], p.quatern[1], p.quatern[2], p.qoffset[0], p.qoffset[1],
                                                 p.qoffset[2], p.pixdim[1], p.pixdim[2], p.pixdim[3], p.pixdim[0] < 0 ? -1 : 1);
  Eigen::Matrix4d out;
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j) out(i, j) = m.m[i][j];
  return out;
}
template <class = void> Eigen::Matrix4d sform(const NiftiPlacement& p) {
  Eigen::Matrix4d out = Eigen::Matrix4d::Identity();
  for (int i = 0; i < 12; ++i) out(i / 4, i % 4) = p.srow[static_cast<std::size_t>(i)];
  return out;
}

inline void check_numbers(const NiftiPlacement& p, const Complaints& complaints) {
  const double mm = unit_mm(p);
  const int space = p.xyzt_units & 7;
  if (space > 3)
    complaints.refuse("xyzt_units", p.xyzt_units, "its spatial part must be 0 (unknown), 1 (m), 2 (mm) or 3 (micrometre)");
  if (mm != 1) complaints.warn(text("xyzt_units = ", p.xyzt_units, ": lengths are converted to millimetres"));
  for (std::size_t i = 1; i <= 3; ++i)
    if (!(is_finite(p.pixdim[i]) && p.pixdim[i] * mm > 1e-6 && p.pixdim[i] * mm <= 100))
      complaints.refuse(text("pixdim[", i, "]"), p.pixdim[i], "the voxel size must be > 1e-6 and <= 100 mm");
  if (p.qform_code < 0 || p.qform_code > 5) complaints.refuse("qform_code", p.qform_code, "must be 0 to 5");
  if (p.sform_code < 0 || p.sform_code > 5) complaints.refuse("sform_code", p.sform_code, "must be 0 to 5");
  if (p.qform_code > 0) {
    double length = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      const char letter[2] = {"bcd"[i], 0}, axis[2] = {"xyz"[i], 0};
      if (!is_finite(p.quatern[i])) complaints.refuse(text("quatern_", letter), p.quatern[i], "must be finite");
      if (!(is_finite(p.qoffset[i]) && std::abs(p.qoffset[i]) * mm <= 1e6))
        complaints.refuse(text("qoffset_", axis), p.qoffset[i], "must be finite and within 1e6 mm");
      length += p.quatern[i] * p.quatern[i];
    }
    if (!(length <= 1.0001)) complaints.refuse("quatern", std::sqrt(length), "the length of (b, c, d) must be at most 1");
    if (!is_finite(p.pixdim[0]) || !(std::abs(p.pixdim[0]) == 1 || p.pixdim[0] == 0))
      complaints.refuse("pixdim[0]", p.pixdim[0], "must be 1 or -1 (qfac)");
  }
  if (p.sform_code > 0)
    for (std::size_t i = 0; i < 12; ++i) {
      const char axis[2] = {"xyz"[i / 4], 0};
      if (!(is_finite(p.srow[i]) && std::abs(p.srow[i]) * mm <= 1e6))
        complaints.refuse(text("srow_", axis, "[", i % 4, "]"), p.srow[i], "must be finite and within 1e6 mm");
    }
}

/// What an sform must be: three axes of a size that voxels can have, which agree with pixdim or are warned of.
template <class = void> void check_sform(const NiftiPlacement& p, const Complaints& complaints) {
  const Eigen::Matrix3d m = sform(p).block<3, 3>(0, 0) * unit_mm(p);
  for (int j = 0; j < 3; ++j) {
    const double size = m.col(j).norm(), expected = p.pixdim[static_cast<std::size_t>(j) + 1] * unit_mm(p);
    if (!(size > 1e-6 && size <= 100))
      complaints.refuse("srow", text("voxel axis ", j, " of ", size, " mm"),
                        "the sform is singular or its voxel size not within 100 mm");
    if (std::abs(size - expected) > 1e-3 * expected)
      complaints.warn(text("pixdim[", j + 1, "] = ", expected, " mm, but the sform says ", size, " mm; the sform is followed"));
  }
  check_axes(sform(p), "srow", complaints);
}

/// Where the voxels are: the sform if it has a code, else the qform, else the voxel size alone, said aloud.
template <class = void> Grid place(const NiftiHeader& h, const Complaints& complaints) {
  const NiftiPlacement& p = h.placement;
  check_numbers(p, complaints);
  if (p.sform_code > 0) check_sform(p, complaints);
  Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
  if (p.sform_code > 0) {
    m = sform(p);
  } else if (p.qform_code > 0) {
    m = qform(p);
  } else {
    complaints.warn("qform_code = 0 and sform_code = 0: the file does not say where the patient is; axes R, A, S are assumed");
    for (int i = 0; i < 3; ++i) m(i, i) = p.pixdim[static_cast<std::size_t>(i) + 1];
  }
  if (p.sform_code > 0 && p.qform_code > 0 && !same_grid({h.shape(), Affine<Ras>(m)}, {h.shape(), Affine<Ras>(qform(p))}))
    complaints.warn("sform and qform place the voxels more than 0.001 voxel apart; the sform is followed");
  m.topRows<3>() *= unit_mm(p);
  return {h.shape(), Affine<Ras>(m), p};
}

/// Walks the extensions between header and voxels, which are skipped, so that a wrong length is noticed.
inline void skip_extensions(InputFile& file, const NiftiHeader& h, const Complaints& complaints) {
  Index at = h.version == 1 ? 352 : 544;
  std::array<std::byte, 4> flag{};
  file.read_exactly(flag, "the extension flag");
  while (flag[0] != std::byte{0} && at < h.vox_offset) {
    std::array<std::byte, 8> head{};
    if (h.vox_offset - at < 16)
      complaints.refuse("vox_offset", h.vox_offset, text("the extensions end at ", at, " and leave no room for another"));
    file.read_exactly(head, "an extension");
    std::int32_t size = 0;
    std::memcpy(&size, head.data(), sizeof size);
    if (h.swapped) size = byte_swapped(size);
    if (size < 16 || size % 16 != 0 || size > h.vox_offset - at)
      complaints.refuse(
          "esize", Index{size},
          text("an extension at byte ", at, " must have a multiple of 16 bytes and end before vox_offset = ", h.vox_offset));
    file.skip(size - 8, "an extension");
    at += size;
  }
  file.skip(h.vox_offset - at, "the space before the voxels");
}

}   // namespace nifti

/// Reads and checks a header; the file then stands right behind it.
/// Errors    bad_input naming file, field and value.
template <class = void> NiftiHeader read_nifti_header(InputFile& file, LogSink log = {}) {
  const Complaints complaints(file.path(), log);
  std::array<std::byte, sizeof(nifti_2_header)> bytes{};
  file.read_exactly(std::span(bytes).first(4), "the header, which has 348 bytes or more (sizeof_hdr)");
  std::int32_t size = 0;
  std::memcpy(&size, bytes.data(), sizeof size);
  const bool swapped = size != 348 && size != 540;
  const std::int32_t true_size = swapped ? byte_swapped(size) : size;
  if (true_size != 348 && true_size != 540)
    complaints.refuse("sizeof_hdr", Index{size}, "must be 348 (NIfTI-1) or 540 (NIfTI-2): this is not a NIfTI file");
  file.read_exactly(std::span(bytes).subspan(4, static_cast<std::size_t>(true_size) - 4), "the header");
  const auto decode_as = [&](auto raw) {
    std::memcpy(&raw, bytes.data(), sizeof raw);
    return nifti::decode(raw, swapped, complaints);
  };
  return true_size == 348 ? decode_as(nifti_1_header{}) : decode_as(nifti_2_header{});
}

}   // namespace ctseg::io
