// NumPy's .npy files as xtensor arrays. xtensor writes them; the header is read here, because xtensor 0.24 takes truncated
// files for whole ones and misreads headers whose length has its eighth bit set.
#pragma once
#if __has_include(<xtensor/io/xnpy.hpp>)
#include <xtensor/containers/xarray.hpp>
#include <xtensor/io/xnpy.hpp>
#else
#include <xtensor/xarray.hpp>
#include <xtensor/xnpy.hpp>
#endif

#include "../io/file.hpp"

namespace ctseg::io {

struct NpyHeader {
  std::string descr;   // <f4 and the like
  bool fortran_order = false;
  std::vector<std::size_t> shape;
};

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

/// The array of a .npy file (format 1, 2 or 3; C or Fortran order), which must hold T: nothing is converted.
/// Errors    bad_input if the header or the length is wrong or the type another; those of InputFile.
template <class T> xt::xarray<T> read_npy(const std::filesystem::path& path) {
  InputFile file(path, false);
  const auto bad = [&](const std::string& what) { return Error(Code::bad_input, path.string(), what); };
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
  const NpyHeader h = NpyHeaderParser(path, words).parse();

  if (h.descr != npy_descr<T>())
    throw bad(
        text("holds ", h.descr, ", asked for ", npy_descr<T>(), ". Hint: array.astype('", npy_descr<T>(), "') in Python."));
  const Index room = file.most_bytes() - static_cast<Index>(8 + width + length);   // before anything is allocated
  Index need = Index{sizeof(T)};
  for (const std::size_t e : h.shape) {
    if (e != 0 && need > std::numeric_limits<Index>::max() / static_cast<Index>(e))
      throw bad("the .npy shape cannot be counted.");
    need *= static_cast<Index>(e);
  }
  if (need != room) throw bad(text("the .npy header needs ", need, " bytes of values, the file has ", room, "."));
  const auto fill = [&](auto array) {
    file.read_exactly(std::as_writable_bytes(std::span(array.data(), array.size())), "the values");
    return array;
  };
  if (h.fortran_order) return fill(xt::xarray<T, xt::layout_type::column_major>::from_shape(h.shape));
  return fill(xt::xarray<T>::from_shape(h.shape));
}

/// Any xtensor expression as a .npy file in C order, complete or not at all.
/// Errors    io for any write that failed.
template <class E> void write_npy(const std::filesystem::path& path, const xt::xexpression<E>& expression) {
  using T = std::remove_cv_t<typename E::value_type>;
  (void)npy_descr<T>();                      // refuses what a file cannot hold
  const xt::xarray<T> packed = expression;   // xtensor writes the memory behind a strided expression as if it were packed
  const std::string bytes = xt::dump_npy(packed);
  OutputFile file(path);
  file.write(std::as_bytes(std::span(bytes)));
  file.commit();
}

}   // namespace ctseg::io
