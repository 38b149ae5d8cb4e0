// Where a convolution is a matrix product, BLAS can do it: kernels of one voxel, through xtensor-blas. For double, whose
// convolutions are plain loops here, it is the fast way; for float it is the rival that benchmarks/bench_gemm_rival.cpp
// measures. Not part of ctseg.hpp: needs xtensor-blas, and linking with a BLAS. The bits are those of that library, with the
// threads it takes; inside your own threads give it one (docs/pitfalls.md).
#pragma once
#include <xtensor-blas/xblas.hpp>

#include "../nn/layers.hpp"
#include "../ops/cpu/rows.hpp"

namespace ctseg::interop {

/// A matrix in memory: element (i, j) at data[i * pitch + j].
template <class T> struct Matrix {
  T* data;
  Index rows, columns, pitch;
};
/// The voxels of a value as rows, its channels as columns; a channel range of a wider buffer too, without a copy.
template <class T, int Dim> Matrix<T> matrix_of(View<T, Dim> v) { return {v.data, v.rows(), v.shape.c, v.pitch}; }

struct Transposed {
  bool a = false, b = false;
};
/// c = a b + beta c, each factor transposed if told. xt::blas::gemm would copy what has a pitch; what it calls does not.
template <class T> void gemm(Matrix<const T> a, Matrix<const T> b, Matrix<T> c, Transposed t = {}, T beta = 0) {
  const auto way = [](bool transposed) { return transposed ? cxxblas::Trans : cxxblas::NoTrans; };
  const auto n = [](Index i) { return static_cast<xt::blas_index_t>(i); };
  cxxblas::gemm<xt::blas_index_t>(cxxblas::RowMajor, way(t.a), way(t.b), n(c.rows), n(c.columns), n(t.a ? a.rows : a.columns),
                                  T(1), a.data, n(a.pitch), b.data, n(b.pitch), beta, c.data, n(c.pitch));
}

/// Convolution with a kernel of one voxel, y = x w + b, as one product of matrices.
/// Shapes    x [N, Cin, (D,) H, W] -> y [N, Cout, (D,) H, W]
/// Weights   w [Cin, Cout], b [Cout] or none: those of Conv with kernel 1
/// Gradient  dx = dy w' assigned; dw = x' dy and db = column sums of dy added.      Cost  2 N Cin Cout D H W FLOP; reads x
///           again.
/// Errors    shape_mismatch if the weights do not fit the channels.
template <AnySpec S> struct PointwiseBlasOp {
  static_assert(std::is_same_v<typename S::T, typename S::Acc>, "ctseg: BLAS knows float and double");
  using T = typename S::T;
  Index out_channels = 1;

  std::string_view name() const { return "PointwiseBlas"; }
  Inferred<S> infer(const Facts<S>& f) const {
    const Shape<S::kDim>& x = f.x();
    if (f.w.empty() || f.w[0].size() != x.c * out_channels)
      throw Error(Code::shape_mismatch, "pointwise_blas",
                  text("weights of ", f.w.empty() ? 0 : f.w[0].size(), " values, ", x.c, " input and ", out_channels,
                       " output channels need ", x.c * out_channels, ". Hint: the convolution's kernel must be 1."));
    const Shape<S::kDim> y = x.with_channels(out_channels);
    return {.shape = y, .backward_scratch = cpu::partial_bytes<T>(y.n * y.voxels(), y.c), .reads_inputs = true};
  }
  void forward(const Forward<S>& f) const {
    const Out<S> y = f.y();
    const bool bias = f.w.size() > 1 && !f.w[1].empty();
    if (bias)
      for (Index r = 0; r < y.rows(); ++r) std::copy_n(f.w[1].data(), y.shape.c, y.row(r));
    gemm<T>(matrix_of(f.x()), weights(f.w[0].data(), f.x().shape.c), matrix_of(y), {}, bias ? T(1) : T(0));
  }
  void backward(const Backward<S>& b) const {
    const Index in = b.x().shape.c, out = b.dy().shape.c;
    if (b.wants()) gemm<T>(matrix_of(b.dy()), weights(b.w[0].data(), in), matrix_of(b.dx()), {.b = true});
    if (!b.dw[0].empty()) gemm<T>(matrix_of(b.x()), matrix_of(b.dy()), weights(b.dw[0].data(), in), {.a = true}, T(1));
    Bytes scratch = b.scratch;
    if (b.dw.size() > 1 && !b.dw[1].empty())
      cpu::sum_rows(b.ctx, b.dy().rows(), out, take<T>(scratch, cpu::RowBlocks(b.dy().rows()).count * out), b.dw[1].data(),
                    [&](Index first, Index last, T* sum) {
                      for (Index r = first; r < last; ++r)
                        for (Index c = 0; c < out; ++c) sum[c] += b.dy().row(r)[c];
                    });
  }

 private:
  template <class U> Matrix<U> weights(U* data, Index in_channels) const {
    return {data, in_channels, out_channels, out_channels};
  }
};

/// A layer whose kernel is one voxel, done by BLAS.
/// Errors    bad_argument for a layer that does more: a larger kernel, a stride, padding, groups.
template <AnySpec S> Var<S> pointwise_by_blas(Var<S> x, const Conv<S>& layer) {
  const ConvOp<S>& o = layer.op();
  const Axes<S::kDim> one = 1;
  if (o.kernel != one || o.stride != one || o.padding != Axes<S::kDim>(0) || o.groups != 1 || layer.pads_first())
    throw Error(Code::bad_argument, "pointwise_by_blas",
                text("kernel ", o.kernel, ", stride ", o.stride, ", padding ", o.padding, ", ", o.groups,
                     " groups; must be 1, 1, 0 and 1 group, where a convolution is one product of matrices."));
  return x.tape->append(PointwiseBlasOp<S>{layer.op().out_channels}, {x}, {layer.weight, layer.bias});
}

}   // namespace ctseg::interop
