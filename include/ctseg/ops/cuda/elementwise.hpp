// copy, add, fill on the card.
#pragma once
#include "../elementwise.hpp"
#include "array.hpp"
#include "context.hpp"

namespace ctseg {

namespace cuda {
struct Moving {
  Array from, to;   // one type, one shape
  float scale = 1;
};
void copy(Stream, const Moving&);   // to = scale * from; with scale 1 of any type
void add(Stream, const Moving&);    // to += scale * from
void fill(Stream, float value, const Array& to);
}   // namespace cuda

template <class Spec_T, int Dim> struct Kernel<Elementwise, Spec<Spec_T, Dim, Cuda>> {
  template <class T> static void fill(Context<Cuda>& ctx, T value, View<T, Dim> to) {
    cuda::fill(ctx.stream(), static_cast<float>(value), cuda::array_of(to));
  }
  template <class T> static void copy(Context<Cuda>& ctx, View<const T, Dim> from, View<T, Dim> to, float scale = 1) {
    cuda::copy(ctx.stream(), {cuda::array_of(from), cuda::array_of(to), scale});
  }
  template <class T> static void add(Context<Cuda>& ctx, View<const T, Dim> from, View<T, Dim> to, float scale = 1) {
    cuda::add(ctx.stream(), {cuda::array_of(from), cuda::array_of(to), scale});
  }
};

}   // namespace ctseg
