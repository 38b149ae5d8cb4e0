// Soft morphology and the overlap of centre lines on the card.
#pragma once
#include "../../ops/cuda/array.hpp"
#include "../../ops/cuda/context.hpp"

namespace ctseg {

struct SoftMorphology;
struct CenterlineDice;

namespace cuda {

/// y = the least (dilate: largest) of a voxel's neighbourhood; `winner`, where not null, gets which one it was.
void soft_morphology_forward(Stream, bool dilate, const Array& x, const Array& y, std::uint8_t* winner);
void soft_morphology_backward(Stream, bool dilate, const Array& dy, const Array& dx, const std::uint8_t* winner);

struct CenterlineOptions {
  double smooth_numerator = 1, smooth_denominator = 1, smooth = 1e-4;
};
/// The skeletons a and b of p and q; or their gradients, which without data are not wanted.
struct CenterlineValues {
  Array a, p, b, q;
};
Index centerline_scratch_bytes(const Array& x);
/// sums: of every image sum a q, sum a, sum b p, sum b; *loss from them.
void centerline_forward(Stream, const CenterlineOptions&, const CenterlineValues&, double* sums, float* loss,
                        std::byte* scratch);
void centerline_backward(Stream, const CenterlineOptions&, const CenterlineValues&, const double* sums, const float* seed,
                         const CenterlineValues& gradients);

}   // namespace cuda

template <class T, int Dim> struct Kernel<SoftMorphology, Spec<T, Dim, Cuda>> {
  struct Values {
    View<const T, Dim> from;
    View<T, Dim> to;
    std::uint8_t* winner;
  };
  static void forward(Context<Cuda>& ctx, bool dilate, const Values& v) {
    cuda::soft_morphology_forward(ctx.stream(), dilate, cuda::array_of(v.from), cuda::array_of(v.to), v.winner);
  }
  static void backward(Context<Cuda>& ctx, bool dilate, const Values& v) {
    cuda::soft_morphology_backward(ctx.stream(), dilate, cuda::array_of(v.from), cuda::array_of(v.to), v.winner);
  }
};

template <class T, int Dim> struct Kernel<CenterlineDice, Spec<T, Dim, Cuda>> {
  using S = Spec<T, Dim, Cuda>;

  struct LossMemory {
    Index saved, scratch;
  };
  static LossMemory memory(const Shape<Dim>& x) {
    return {bytes_of<double>(4 * x.n),
            cuda::centerline_scratch_bytes(cuda::array_of(AnyView<Dim>(nullptr, {x, dtype_of<T>()}, x.c)))};
  }
  template <class Options> static void forward(const Options& o, const Forward<S>& f) {
    Bytes saved = f.saved;
    cuda::centerline_forward(f.ctx.stream(), options(o), values(f.inputs), take<double>(saved, 4 * f.x().shape.n),
                             f.output.template as<float>().data, f.scratch.next);
  }
  template <class Options> static void backward(const Options& o, const Backward<S>& b) {
    Bytes saved = b.saved;
    cuda::centerline_backward(b.ctx.stream(), options(o), values(b.inputs), take<double>(saved, 4 * b.x().shape.n),
                              b.output_gradient.template as<const float>().data, values(b.input_gradients));
  }

 private:
  static cuda::CenterlineOptions options(const auto& o) { return {o.smooth_numerator, o.smooth_denominator, o.smooth}; }
  static cuda::CenterlineValues values(std::span<const AnyView<Dim>> v) {
    return {cuda::array_of(v[0]), cuda::array_of(v[1]), cuda::array_of(v[2]), cuda::array_of(v[3])};
  }
};

}   // namespace ctseg
