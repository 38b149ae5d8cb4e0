// Dropout on the card: the mask of the CPU, bit for bit.
#pragma once
#include "../dropout.hpp"
#include "array.hpp"
#include "context.hpp"

namespace ctseg {

namespace cuda {
struct Dropout {
  Array from, to;   // may be the same
  float p = 0.5f;
  bool channelwise = false;
  Key key{};
};
void drop(Stream, const Dropout&);
}   // namespace cuda

template <class T, int Dim> struct Kernel<Dropping, Spec<T, Dim, Cuda>> {
  using S = Spec<T, Dim, Cuda>;

  static void apply(Context<Cuda>& ctx, const DropoutOp<S>& op, RandomKey key, In<S> from, Out<S> to) {
    cuda::drop(ctx.stream(), {cuda::array_of(from), cuda::array_of(to), op.p, op.channelwise, ctx.key(key)});
  }
};

}   // namespace ctseg
