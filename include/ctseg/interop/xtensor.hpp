// xtensor on both sides of ctseg. as_xtensor() and view_of() look at the same memory, to_tensor() and volume_from() copy.
// Not part of ctseg.hpp: xtensor is an optional dependency, and slow to compile.
#pragma once
#if __has_include(<xtensor/containers/xadapt.hpp>)   // releases from 0.26 on keep their headers in folders
#include <xtensor/containers/xadapt.hpp>
#include <xtensor/core/xnoalias.hpp>
#include <xtensor/views/xstrided_view.hpp>
#else
#include <xtensor/xadapt.hpp>
#include <xtensor/xnoalias.hpp>
#include <xtensor/xstrided_view.hpp>
#endif

#include "../core/tensor.hpp"
#include "../image/volume.hpp"

namespace ctseg {
namespace interop {

template <class List> std::string text_of(const List& numbers) {
  std::string out = "[";
  for (const auto n : numbers) out.append(out.size() > 1 ? "," : "").append(text(static_cast<Index>(n)));
  return out + "]";
}

/// A view, not xt::adapt with strides: assigning to an adaptor would lay its buffer out anew, assigning to a view fills it.
template <class T, std::size_t Rank>
auto strided(T* data, const std::array<Index, Rank>& extents, const std::array<Index, Rank>& steps) {
  std::array<std::size_t, Rank> shape{};
  std::array<std::ptrdiff_t, Rank> strides{};
  std::size_t last = 0;   // offset of the last element
  for (std::size_t i = 0; i < Rank; ++i) {
    shape[i] = static_cast<std::size_t>(extents[i]);
    strides[i] = static_cast<std::ptrdiff_t>(steps[i]);
    last += (shape[i] - 1) * static_cast<std::size_t>(strides[i]);
  }
  const std::array<std::size_t, 1> length = {last + 1};
  return xt::strided_view(xt::adapt(data, last + 1, xt::no_ownership(), length), std::move(shape), std::move(strides));
}

/// N, C, (D,) H, W of an expression.
template <int Dim, class E> Shape<Dim> shape_of(const E& e, std::string_view where) {
  const std::size_t rank = e.dimension();
  if (rank != Dim && rank != Dim + 2)
    throw Error(Code::shape_mismatch, where,
                text("the array ", text_of(e.shape()), " has ", rank, " axes; expected ", Dim + 2, " as N,C,",
                     Dim == 3 ? "D,H,W" : "H,W", ", or ", Dim, " for one image of one channel."));
  const auto extent = [&](std::size_t axis) { return static_cast<Index>(e.shape()[axis]); };
  Shape<Dim> s;
  if (rank > Dim) s.n = extent(0), s.c = extent(1);
  for (std::size_t d = 0; d < Dim; ++d) s.space[d] = extent(rank - Dim + d);
  return checked(s, where);
}

/// Has memory with strides; what has none (a sum, a view that picks single indices) can only be copied.
template <class E>
concept Strided = requires(E& e) {
  e.data() + e.data_offset();
  e.strides();
};

}   // namespace interop

/// The values of a view as an xtensor expression of logical order N, C, (D,) H, W; T may be const.
template <class T, int Dim> auto as_xtensor(const View<T, Dim>& v) {
  checked(v.shape, "as_xtensor");
  std::array<Index, Dim + 2> extents{v.shape.n, v.shape.c}, steps{0, 1};
  Index step = v.pitch;
  for (std::size_t d = Dim; d-- > 0; step *= v.shape.space[d]) extents[d + 2] = v.shape.space[d], steps[d + 2] = step;
  steps[0] = step;
  return interop::strided(v.data, extents, steps);
}
template <class T, int Dim> auto as_xtensor(Tensor<T, Dim>& t) { return as_xtensor(t.view()); }
template <class T, int Dim> auto as_xtensor(const Tensor<T, Dim>& t) { return as_xtensor(t.view()); }
template <class T, int Dim> void as_xtensor(const Tensor<T, Dim>&&) = delete;   // would outlive its memory

/// The voxels of a volume as an xtensor expression of order z, y, x.
template <class V>
requires requires(V& v) { v.voxels(), v.tensor_shape(); }
auto as_xtensor(V& volume) {
  const auto space = volume.tensor_shape().space;
  return interop::strided(volume.data(), space, {space[1] * space[2], space[2], 1});
}
template <class T> void as_xtensor(const Volume<T>&&) = delete;

/// The memory of an xtensor container or strided view as a ctseg view; rank Dim + 2, or Dim for one image of one channel.
/// Errors    shape_mismatch unless channels are contiguous and voxels lie at one pitch: to_tensor() copies any expression.
template <int Dim, class E> auto view_of(E& e) {
  static_assert(interop::Strided<E>, "ctseg: this expression has no strided memory; copy it with to_tensor<T, Dim>()");
  auto* data = e.data() + e.data_offset();
  const Shape<Dim> s = interop::shape_of<Dim>(e, "view_of");
  const std::size_t skip = e.dimension() - Dim;
  const auto stride = [&](std::size_t axis) { return static_cast<Index>(e.strides()[axis]); };
  Index pitch = 0, below = 1;   // pitch 0: no axis has told it yet
  bool fits = skip == 0 || s.c == 1 || stride(1) == 1;
  const auto follow = [&](Index extent, std::size_t axis) {
    if (extent > 1) {   // strides of other axes mean nothing; xtensor has them 0
      if (pitch == 0) pitch = stride(axis) / below;
      fits = fits && stride(axis) == pitch * below && pitch >= s.c;
    }
    below *= extent;
  };
  for (std::size_t d = Dim; d-- > 0;) follow(s.space[d], skip + d);
  if (skip > 0) follow(s.n, 0);
  if (!fits)
    throw Error(
        Code::shape_mismatch, "view_of",
        text("the array ", s, " has strides ", interop::text_of(e.strides()), "; expected channels-last: stride 1 for C",
             " and voxels at one pitch of ", s.c, " or more, x fastest. Hint: to_tensor<T, ", Dim, ">() copies."));
  return View<std::remove_pointer_t<decltype(data)>, Dim>{data, s, pitch == 0 ? s.c : pitch};
}

/// A copy of any expression of rank Dim + 2, or of rank Dim as one image of one channel, as a tensor of T.
template <class T, int Dim, class E> Tensor<T, Dim> to_tensor(const xt::xexpression<E>& expression) {
  const E& e = expression.derived_cast();
  Tensor<T, Dim> t(interop::shape_of<Dim>(e, "to_tensor"));
  auto all = as_xtensor(t);
  xt::noalias(all) = xt::cast<T>(e);   // an expression of rank Dim is broadcast over N = C = 1
  return t;
}

/// A copy of any expression of order z, y, x as a volume on a grid.
template <class T, class E> Volume<T> volume_from(const xt::xexpression<E>& expression, Grid grid) {
  const E& e = expression.derived_cast();
  const Xyz<Index> g = grid.shape;
  const std::array<Index, 3> wanted = {g.z, g.y, g.x};
  if (!std::ranges::equal(e.shape(), wanted, [](auto a, Index b) { return static_cast<Index>(a) == b; }))
    throw Error(Code::shape_mismatch, "volume_from",
                text("the array is ", interop::text_of(e.shape()), ", the grid ", interop::text_of(wanted), " as z,y,x."));
  Volume<T> volume(std::move(grid));
  auto all = as_xtensor(volume);
  xt::noalias(all) = xt::cast<T>(e);
  return volume;
}

}   // namespace ctseg
