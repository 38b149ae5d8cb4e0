// What the readers of volumes share: options, complaints, and stored numbers of any type and byte order becoming voxels.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "../core/context.hpp"
#include "../core/dtype.hpp"
#include "../core/finite.hpp"
#include "../image/volume.hpp"
#include "file.hpp"

namespace ctseg {

/// Types of numbers in files: more than a Volume can have.
enum class Stored : std::uint8_t { u8, i8, u16, i16, u32, i32, u64, i64, f32, f64 };

constexpr Index bytes_of(Stored s) {
  constexpr std::uint8_t sizes[] = {1, 1, 2, 2, 4, 4, 8, 8, 4, 8};
  return sizes[static_cast<std::size_t>(s)];
}
inline std::string text(Stored s) {
  constexpr const char* names[] = {"u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64"};
  return names[static_cast<std::size_t>(s)];
}

namespace io {

struct ReadOptions {
  Index max_bytes = Index{1} << 34;      // of voxels, in the file and in memory
  LogSink log{};                         // what was odd but could be read
  std::optional<Affine<Ras>> affine{};   // of a file that says no place (.npy); an error where the file has its own
};

/// Header problems, each naming file, field and value.
class Complaints {
 public:
  Complaints(const std::filesystem::path& path, LogSink log, Code code = Code::bad_input)
      : path_(path.string()), log_(log), code_(code) {}
  template <class Value> [[noreturn]] void refuse(std::string_view field, const Value& value, std::string_view expected) const {
    throw Error(code_, path_, text(field, " = ", value, "; ", expected, "."));
  }
  [[noreturn]] void refuse(std::string_view sentence) const { throw Error(code_, path_, sentence); }
  void warn(std::string_view message) const {
    if (log_.write) log_.write(log_.user, text(path_, ": warning: ", message));
  }

 private:
  std::string path_;
  LogSink log_;
  Code code_;
};

/// True for x.NII.GZ and ".nii.gz"; false for a name that is nothing but the ending.
inline bool ends_with(const std::filesystem::path& path, std::string_view ending) {
  std::string name = path.filename().string();
  for (char& c : name)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return name.size() > ending.size() && name.ends_with(ending);
}

template <class T> T byte_swapped(T value) {
  std::array<std::byte, sizeof(T)> bytes;
  std::memcpy(bytes.data(), &value, sizeof value);
  std::reverse(bytes.begin(), bytes.end());
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

/// How a file's voxels become numbers.
struct Encoding {
  Stored stored = Stored::u8;
  bool swapped = false;   // the file's byte order is not this machine's
  double slope = 1, intercept = 0;
};

/// Voxels `first` to `first + count` of a volume: what one file, or one slice, fills.
template <class T> struct Slab {
  Volume<T>& volume;
  Index first = 0, count = volume.grid().voxels();
};

/// Keeps a stored value as T; false if T cannot hold it exactly.
template <class T, class From> bool store(From value, T& out) {
  out = static_cast<T>(0);
  if constexpr (std::is_floating_point_v<T>) {
    out = static_cast<T>(value);
    return true;
  } else if constexpr (std::is_integral_v<From>) {
    if (!std::in_range<T>(value)) return false;
  } else if (!(is_finite(value) && value >= static_cast<From>(std::numeric_limits<T>::lowest()) &&
               value < std::ldexp(From(1), std::numeric_limits<T>::digits) && value == std::nearbyint(value))) {
    return false;
  }
  out = static_cast<T>(value);
  return true;
}

template <class From, class T, class Source> void read_as(Source& source, const Encoding& encoding, const Slab<T>& slab) {
  const bool scaled = encoding.slope != 1 || encoding.intercept != 0;
  const auto out =
      std::span(slab.volume.voxels()).subspan(static_cast<std::size_t>(slab.first), static_cast<std::size_t>(slab.count));
  if constexpr (std::is_same_v<From, T>)
    if (!scaled && !encoding.swapped) return source.read_exactly(std::as_writable_bytes(out), "the voxels");
  std::vector<From> block(std::min<std::size_t>(out.size(), 1 << 16));
  for (std::size_t first = 0; first < out.size(); first += block.size()) {
    const std::span<From> part = std::span(block).first(std::min(block.size(), out.size() - first));
    source.read_exactly(std::as_writable_bytes(part), "the voxels");
    for (std::size_t i = 0; i < part.size(); ++i) {
      const From value = encoding.swapped ? byte_swapped(part[i]) : part[i];
      const double real = static_cast<double>(value) * encoding.slope + encoding.intercept;
      if (scaled ? store(real, out[first + i]) : store(value, out[first + i])) continue;
      const Index at = slab.first + static_cast<Index>(first + i);
      const Xyz<Index> shape = slab.volume.shape();
      throw Error(Code::bad_input, source.path().string(),
                  text("voxel (", at % shape.x, ", ", at / shape.x % shape.y, ", ", at / shape.x / shape.y, ") = ", real,
                       "; cannot be kept exactly as ", dtype_of<T>(), ". Hint: is this a label map? Read images as float."));
    }
  }
}

/// Fills a slab from a source of bytes (anything with read_exactly and path), block by block.
/// Numerics  scaled in double, rounded once; an integer T takes only values that it holds exactly.
template <class T, class Source> void read_voxels(Source& source, const Encoding& encoding, const Slab<T>& slab) {
  switch (encoding.stored) {
    case Stored::u8:
      return read_as<std::uint8_t>(source, encoding, slab);
    case Stored::i8:
      return read_as<std::int8_t>(source, encoding, slab);
    case Stored::u16:
      return read_as<std::uint16_t>(source, encoding, slab);
    case Stored::i16:
      return read_as<std::int16_t>(source, encoding, slab);
    case Stored::u32:
      return read_as<std::uint32_t>(source, encoding, slab);
    case Stored::i32:
      return read_as<std::int32_t>(source, encoding, slab);
    case Stored::u64:
      return read_as<std::uint64_t>(source, encoding, slab);
    case Stored::i64:
      return read_as<std::int64_t>(source, encoding, slab);
    case Stored::f32:
      return read_as<float>(source, encoding, slab);
    case Stored::f64:
      return read_as<double>(source, encoding, slab);
  }
}

template <class T> void warn_of_nonfinite(const std::vector<T>& voxels, const Complaints& complaints) {
  if constexpr (std::is_floating_point_v<T>) {
    Index count = 0;
    for (T v : voxels) count += is_finite(static_cast<double>(v)) ? 0 : 1;
    if (count > 0) complaints.warn(text(count, " voxels are not finite numbers"));
  }
}

/// Voxel axes may shear (a tilted gantry does, up to 30 degrees); more, or a lost dimension, is a damaged header.
template <class = void> void check_axes(const Eigen::Matrix4d& m, std::string_view field, const Complaints& complaints) {
  const Eigen::Matrix3d d = m.block<3, 3>(0, 0).colwise().normalized();
  const double shear =
      std::max({std::abs(d.col(0).dot(d.col(1))), std::abs(d.col(0).dot(d.col(2))), std::abs(d.col(1).dot(d.col(2)))});
  if (shear > 0.51 || std::abs(d.determinant()) < 0.1)
    complaints.refuse(field, text("voxel axes ", std::acos(std::min(shear, 1.0)) * 57.29577951308232, " degrees apart"),
                      "the placement is singular or sheared; its axes must be at least 60 degrees apart");
  if (shear > 1e-3) complaints.warn(text("the placement (", field, ") is sheared (gantry tilt?); the shear is kept"));
}

/// A file must not be written that no reader here would take.
/// Errors    bad_argument for a placement that is not finite, singular, sheared beyond 60 degrees, or of voxels above 100 mm.
template <class = void> void check_writable(const std::filesystem::path& path, const Grid& grid) {
  const Complaints complaints(path, {}, Code::bad_argument);
  const Eigen::Matrix4d& m = grid.affine.matrix;
  for (int i = 0; i < 16; ++i)
    if (!is_finite(m(i / 4, i % 4)))
      complaints.refuse(text("affine(", i / 4, ", ", i % 4, ")"), m(i / 4, i % 4), "must be finite");
  const Xyz<double> size = grid.spacing_mm();
  for (const double mm : {size.x, size.y, size.z})
    if (!(mm > 1e-6 && mm <= 100)) complaints.refuse("the grid's voxel size", mm, "must be > 0 and <= 100 mm");
  check_axes(m, "affine", complaints);
}

}   // namespace io
}   // namespace ctseg
