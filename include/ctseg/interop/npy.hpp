// NumPy's .npy files as xtensor arrays. xtensor writes them; io/npy.hpp reads the header, because xtensor 0.24 takes truncated
// files for whole ones and misreads headers whose length has its eighth bit set.
#pragma once
#if __has_include(<xtensor/io/xnpy.hpp>)
#include <xtensor/containers/xarray.hpp>
#include <xtensor/io/xnpy.hpp>
#else
#include <xtensor/xarray.hpp>
#include <xtensor/xnpy.hpp>
#endif

#include "../io/npy.hpp"

namespace ctseg::io {

/// The array of a .npy file (format 1, 2 or 3; C or Fortran order), which must hold T: nothing is converted.
/// Errors    bad_input if the header or the length is wrong or the type another; those of InputFile.
template <class T> xt::xarray<T> read_npy(const std::filesystem::path& path) {
  InputFile file(path, false);
  const NpyHeader h = read_npy_header(file);
  if (h.descr != npy_descr<T>())
    throw Error(
        Code::bad_input, path.string(),
        text("holds ", h.descr, ", asked for ", npy_descr<T>(), ". Hint: array.astype('", npy_descr<T>(), "') in Python."));
  check_npy_size(path, h, sizeof(T));
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
