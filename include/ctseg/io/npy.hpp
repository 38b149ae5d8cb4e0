// NumPy's .npy files: the header (format 1, 2 or 3), and arrays as volumes once somebody says where they are in the patient.
#pragma once
#include "reading.hpp"

namespace ctseg::io {

struct NpyHeader {
  std::string descr;   // <f4 and the like
  bool fortran_order = false;
  std::vector<std::size_t> shape;
  Index value_bytes = 0;   // behind the header, to the end of the file
};

/// Bytes of `shape` values of `size` bytes.
/// Errors    bad_input if that is not what the file holds, before anything is allocated.
inline void check_npy_size(const std::filesystem::path& path, const NpyHeader& h, std::size_t size) {
  Index need = static_cast<Index>(size);
  for (const std::size_t e : h.shape) {
    if (e != 0 && need > std::numeric_limits<Index>::max() / static_cast<Index>(e))
      throw Error(Code::bad_input, path.string(), "the .npy shape cannot be counted.");
    need *= static_cast<Index>(e);
  }
  if (need != h.value_bytes)
    throw Error(Code::bad_input, path.string(),
                text("the .npy header needs ", need, " bytes of values, the file has ", h.value_bytes, "."));
}

/// Reads the Python dictionary of a header: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }, keys in any order.
class NpyHeaderParser {
 public:
  NpyHeaderParser(const std::filesystem::path& path, std::string_view words) : path_(path), words_(words) {}

  NpyHeader parse() {
    NpyHeader h;
    bool descr = false, order = false, shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr" && !std::exchange(descr, true))
        h.descr = quoted();
      else if (key == "fortran_order" && !std::exchange(order, true))
        h.fortran_order = boolean();
      else if (key == "shape" && !std::exchange(shape, true))
        h.shape = extents();
      else
        throw wrong(text("the key '", key, "'"));
      if (accept(',')) continue;
      expect('}');
      break;
    }
    if (next() != 0) throw wrong("text behind the dictionary");
    if (!descr || !order || !shape) throw wrong("a missing key of descr, fortran_order and shape");
    return h;
  }

 private:
  char next() {
    while (at_ < words_.size() && (words_[at_] == ' ' || words_[at_] == '\n')) ++at_;
    return at_ < words_.size() ? words_[at_] : '\0';
  }
  bool accept(char c) { return next() == c && ++at_; }
  void expect(char c) {
    if (!accept(c)) throw wrong(text("no ", std::string_view(&c, 1), " at byte ", at_));
  }
  std::string quoted() {
    expect('\'');
    const std::size_t end = words_.find('\'', at_);
    if (end == std::string_view::npos) throw wrong("a string without end");
    const std::string found(words_.substr(at_, end - at_));
    at_ = end + 1;
    return found;
  }
  bool boolean() {
    next();
    for (const std::string_view word : {"False", "True"})
      if (words_.substr(at_).starts_with(word)) {
        at_ += word.size();
        return word == "True";
      }
    throw wrong("a fortran_order that is neither True nor False");
  }
  std::vector<std::size_t> extents() {
    std::vector<std::size_t> all;
    expect('(');
    while (!accept(')')) {
      std::size_t value = 0, digits = 0;
      for (next(); at_ < words_.size() && words_[at_] >= '0' && words_[at_] <= '9'; ++at_, ++digits)
        value = value * 10 + static_cast<std::size_t>(words_[at_] - '0');
      if (digits == 0 || digits > 12 || all.size() == 32)
        throw wrong("a shape that is not up to 32 numbers of up to 12 digits");
      all.push_back(value);
      if (accept(',')) continue;
      expect(')');
      break;
    }
    return all;
  }
  Error wrong(std::string_view what) const {
    return Error(Code::bad_input, path_.string(), text("the .npy header has ", what, "."));
  }

  std::filesystem::path path_;
  std::string_view words_;
  std::size_t at_ = 0;
};

/// What NumPy calls T: <f4, |u1, ...
template <class T> std::string npy_descr() {
  static_assert(std::is_arithmetic_v<T> && sizeof(T) <= 8, "ctseg: .npy files hold bool, integers, float or double");
  const char kind = std::is_same_v<T, bool> ? 'b' : std::is_floating_point_v<T> ? 'f' : std::is_signed_v<T> ? 'i' : 'u';
  return {sizeof(T) == 1 ? '|' : '<', kind, static_cast<char>('0' + sizeof(T))};
}

/// Reads and checks the header; the file then stands at the first value.
inline NpyHeader read_npy_header(InputFile& file) {
  const auto bad = [&](const std::string& what) { return Error(Code::bad_input, file.path().string(), what); };
  std::array<unsigned char, 12> start{};
  file.read_exactly(std::as_writable_bytes(std::span(start).first(8)), "the magic of a .npy file");
  if (std::memcmp(start.data(), "\x93NUMPY", 6) != 0) throw bad("is not a .npy file: it does not begin with \\x93NUMPY.");
  if (start[6] < 1 || start[6] > 3)
    throw bad(text(".npy format ", int{start[6]}, ".", int{start[7]}, "; formats 1, 2 and 3 are read."));
  const std::size_t width = start[6] == 1 ? 2 : 4;
  file.read_exactly(std::as_writable_bytes(std::span(start).subspan(8, width)), "the .npy header's length");
  std::size_t length = 0;
  for (std::size_t i = width; i-- > 0;) length = length << 8 | start[8 + i];
  if (length > 65536) throw bad(text("the .npy header has ", length, " bytes; at most 65536 are read."));
  std::string words(length, ' ');
  file.read_exactly(std::as_writable_bytes(std::span(words)), "the .npy header");
  NpyHeader h = NpyHeaderParser(file.path(), words).parse();
  h.value_bytes = file.most_bytes() - static_cast<Index>(8 + width + length);
  return h;
}

/// The types of numbers that become voxels: <i2, >f4, |u1, |b1 and the like.
inline Encoding npy_encoding(const NpyHeader& h, const Complaints& complaints) {
  constexpr std::pair<std::string_view, Stored> kKinds[] = {{"b1", Stored::u8},  {"u1", Stored::u8},  {"i1", Stored::i8},
                                                            {"u2", Stored::u16}, {"i2", Stored::i16}, {"u4", Stored::u32},
                                                            {"i4", Stored::i32}, {"u8", Stored::u64}, {"i8", Stored::i64},
                                                            {"f4", Stored::f32}, {"f8", Stored::f64}};
  for (const auto& [name, stored] : kKinds)
    if (h.descr.size() == 3 && h.descr.substr(1) == name && (h.descr[0] == '<' || h.descr[0] == '>' || bytes_of(stored) == 1))
      return {stored, bytes_of(stored) > 1 && (h.descr[0] == '>') != (std::endian::native == std::endian::big)};
  complaints.refuse("descr", h.descr, "must be bool, integers, float or double. Hint: array.astype('<f4') in Python");
}

/// The extents of an array as a volume's: (z, y, x), with (y, x) as one slice; extents of 1 in front do not count.
inline Xyz<Index> npy_volume_shape(const NpyHeader& h, const Complaints& complaints) {
  std::vector<std::size_t> e = h.shape;
  while (e.size() > 3 && e.front() == 1) e.erase(e.begin());
  if (e.size() == 2) e.insert(e.begin(), 1);
  if (e.size() != 3 || e[0] == 0 || e[1] == 0 || e[2] == 0) {
    std::string extents;
    for (const std::size_t n : h.shape) extents += text(extents.empty() ? "" : ", ", n);
    complaints.refuse("shape", text("(", extents, ")"), "a volume has the extents (z, y, x), none of them 0");
  }
  return {static_cast<Index>(e[2]), static_cast<Index>(e[1]), static_cast<Index>(e[0])};
}

/// Reads an array (z, y, x), in C or Fortran order, as a volume of T that lies where `options.affine` says.
/// Numerics  an integer T takes only values that it holds exactly.
/// Errors    bad_argument without an affine: a .npy file says no place; bad_input naming the file and what is wrong in it.
template <class T> Volume<T> read_npy_volume(const std::filesystem::path& path, const ReadOptions& options) {
  const Complaints complaints(path, options.log);
  if (!options.affine)
    throw Error(Code::bad_argument, path.string(),
                "a .npy file does not say where its voxels are. Hint: set ReadOptions::affine.");
  InputFile file(path, false);
  const NpyHeader h = read_npy_header(file);
  const Encoding encoding = npy_encoding(h, complaints);
  check_npy_size(path, h, static_cast<std::size_t>(bytes_of(encoding.stored)));
  Grid grid{npy_volume_shape(h, complaints), *options.affine};
  const Index bytes = std::max(h.value_bytes, grid.voxels() * static_cast<Index>(sizeof(T)));
  if (bytes > options.max_bytes)
    complaints.refuse(text("takes ", bytes, " bytes; the limit is ReadOptions::max_bytes = ", options.max_bytes, "."));
  try {
    Volume<T> volume(grid);
    if (!h.fortran_order) {
      read_voxels(file, encoding, Slab<T>{volume});
    } else {
      const Xyz<Index> n = grid.shape;
      Volume<T> turned(Grid{{n.z, n.y, n.x}, grid.affine});   // the file's first axis runs fastest
      read_voxels(file, encoding, Slab<T>{turned});
      for (Index z = 0; z < n.z; ++z)
        for (Index y = 0; y < n.y; ++y)
          for (Index x = 0; x < n.x; ++x) volume(z, y, x) = turned(x, y, z);
    }
    warn_of_nonfinite(volume.voxels(), complaints);
    return volume;
  } catch (const std::bad_alloc&) {
    throw Error(Code::out_of_memory, path.string(), text("no memory for a volume of ", grid.shape, " voxels."));
  }
}

#ifdef CTSEG_PREBUILT   // linked to ctseg::prebuilt, which holds these
CTSEG_PREBUILT template Volume<float> read_npy_volume(const std::filesystem::path&, const ReadOptions&);
CTSEG_PREBUILT template Volume<std::uint8_t> read_npy_volume(const std::filesystem::path&, const ReadOptions&);
#endif

/// Axes along R, A and S with the first voxel at 0, 0, 0: the place of an array of which nothing but the voxel size is known.
/// Errors    bad_argument for a spacing that is not in (1e-6, 100] mm.
inline Affine<Ras> affine_of_spacing(Xyz<double> spacing_mm) {
  Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
  const double size[3] = {spacing_mm.x, spacing_mm.y, spacing_mm.z};
  for (int i = 0; i < 3; ++i) {
    if (!is_finite(size[i]) || !(size[i] > 1e-6 && size[i] <= 100))
      throw Error(Code::bad_argument, "spacing_mm", text(size[i], "; must be > 1e-6 and <= 100 mm."));
    m(i, i) = size[i];
  }
  return Affine<Ras>(m);
}

/// Writes the voxels (z, y, x) of a volume as .npy, complete or not at all. Their place is lost: keep it elsewhere.
/// Errors    io if anything could not be written.
template <class T> void write_npy_volume(const std::filesystem::path& path, const Volume<T>& volume) {
  std::string header = text("{'descr': '", npy_descr<T>(), "', 'fortran_order': False, 'shape': (", volume.shape().z, ", ",
                            volume.shape().y, ", ", volume.shape().x, "), }");
  header.resize((header.size() + 1 + 10 + 63) / 64 * 64 - 11, ' ');   // the values begin at a multiple of 64 bytes
  const std::string start =
      text(std::string_view("\x93NUMPY\x01\x00", 8), std::string(1, static_cast<char>((header.size() + 1) & 255)),
           std::string(1, static_cast<char>((header.size() + 1) >> 8)), header, "\n");
  OutputFile file(path);
  file.write(std::as_bytes(std::span(start)));
  file.write(std::as_bytes(std::span(volume.voxels())));
  file.commit();
}

}   // namespace ctseg::io
