// Views: who looks at values without owning them. One layout everywhere: a channel range of a packed channels-last buffer.
#pragma once
#include "device.hpp"
#include "shape.hpp"

namespace ctseg {

/// Rows of voxels with contiguous channels; pitch is the number of channels of the buffer that holds them.
template <class T, int Dim> struct View {
  T* data = nullptr;
  Shape<Dim> shape;
  Index pitch = 0;

  Index rows() const { return shape.n * shape.voxels(); }
  T* row(Index r) const { return data + r * pitch; }   // the channels of voxel r, images one after the other
  T* at(Index n, Index voxel) const { return row(n * shape.voxels() + voxel); }
  View channels(Index first, Index count) const { return {data + first, shape.with_channels(count), pitch}; }
  bool contiguous() const { return pitch == shape.c; }
  explicit operator bool() const { return data != nullptr; }
  operator View<const T, Dim>() const requires(!std::is_const_v<T>) { return {data, shape, pitch}; }
};
template <AnySpec S> using In = View<const typename S::T, S::kDim>;
template <AnySpec S> using Out = View<typename S::T, S::kDim>;

/// What is known of a value before it exists.
template <int Dim> struct ValueInfo {
  Shape<Dim> shape;
  Dtype dtype = Dtype::f32;
  bool operator==(const ValueInfo&) const = default;
};
template <int Dim> std::string text(const ValueInfo<Dim>& v) { return text(v.shape) + " " + text(v.dtype); }

/// A view whose scalar is known at run time: activations are S::T, losses S::Acc, labels uint8 or uint16.
template <int Dim> struct AnyView {
  std::byte* data = nullptr;
  Shape<Dim> shape;
  Index pitch = 0;
  Dtype dtype = Dtype::f32;

  AnyView() = default;
  AnyView(std::byte* d, const ValueInfo<Dim>& info, Index p) : data(d), shape(info.shape), pitch(p), dtype(info.dtype) {}
  template <class T> AnyView(View<T, Dim> v)
      : data(reinterpret_cast<std::byte*>(const_cast<std::remove_const_t<T>*>(v.data))),
        shape(v.shape),
        pitch(v.pitch),
        dtype(dtype_of<T>()) {}

  template <class T> View<T, Dim> as() const {
    if (dtype_of<T>() != dtype)
      throw Error(Code::bad_argument, "view", text("the value is ", dtype, " ", shape, ", not ", dtype_of<T>(), "."));
    return {reinterpret_cast<T*>(data), shape, pitch};
  }
  explicit operator bool() const { return data != nullptr; }
};

}   // namespace ctseg
