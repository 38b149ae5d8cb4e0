// Products on the card.
#pragma once
#include "../multiply.hpp"
#include "array.hpp"
#include "context.hpp"

namespace ctseg {

namespace cuda {
struct Product {
  Array a, b;   // b: as a, or one channel for all of a's
};
void multiply(Stream, const Product&, const Array& y);

struct ProductBackward {
  Array dy, da, db;   // da may be dy; without data: nobody wants it
};
void multiply_backward(Stream, const Product&, const ProductBackward&);
}   // namespace cuda

template <class T, int Dim> struct Kernel<Multiplying, Spec<T, Dim, Cuda>> {
  using S = Spec<T, Dim, Cuda>;

  static void forward(Context<Cuda>& ctx, In<S> a, In<S> b, Out<S> y) {
    cuda::multiply(ctx.stream(), {cuda::array_of(a), cuda::array_of(b)}, cuda::array_of(y));
  }
  struct Known {
    In<S> a, b, dy;
  };
  static void backward(Context<Cuda>& ctx, const Known& v, Out<S> da, Out<S> db) {
    cuda::multiply_backward(ctx.stream(), {cuda::array_of(v.a), cuda::array_of(v.b)},
                            {cuda::array_of(v.dy), cuda::array_of(da), cuda::array_of(db)});
  }
};

}   // namespace ctseg
