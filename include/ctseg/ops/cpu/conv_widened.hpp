// Convolution of bf16 and half on the CPU: one image of one layer at a time is widened to float, for the engine of float. What
// is stored between layers stays 16 bits. The plain loops of conv.hpp took ten times as long on tiny layers, more on others.
#pragma once
#include "conv_float.hpp"

namespace ctseg {

namespace cpu {

/// Every value of one view as the other stores it.
template <class From, class To, int Dim> void convert(Context<Cpu>& ctx, View<const From, Dim> from, View<To, Dim> to) {
  for_rows(ctx, from.rows(), [&](Index first, Index last) {
    for (Index r = first; r < last; ++r)
      for_pieces(from.shape.c, [&](Index c, auto count) {
        for (Index i = 0; i < count; ++i) to.row(r)[c + i] = To(float(from.row(r)[c + i]));
      });
  });
}

template <class T, int Dim> struct WidenedConvolution {
  using S = Spec<T, Dim, Cpu>;
  using Wide = Spec<float, Dim, Cpu>;
  using Inner = Kernel<Convolution, Wide>;

  static ConvChoice choose(const ConvProblem& p, Mode mode, const DeviceTraits<Cpu>& device) {
    const ConvProblem one = image_of(p);
    const ConvChoice inner = Inner::choose(one, mode, device);
    const Index buffers = bytes_of<float>(x_rows(one) * p.in_channels) + bytes_of<float>(y_rows(one) * p.out_channels);
    return {.choice = inner.choice,
            .forward_scratch = buffers + inner.forward_scratch,
            .backward_scratch = mode == Mode::train ? buffers + inner.backward_scratch : 0};
  }
  static std::string engine(const ConvProblem& p, int choice) { return Inner::engine(image_of(p), choice); }
  static Index prepared_bytes(const ConvProblem& p, int choice) { return Inner::prepared_bytes(image_of(p), choice); }
  static void prepare(Context<Cpu>& ctx, const ConvProblem& p, int choice, const Weights<S>& w, Bytes prepared) {
    Inner::prepare(ctx, image_of(p), choice, same(w), prepared);
  }

  static void forward(const ConvProblem& p, const Forward<S>& f) {
    Bytes scratch = f.scratch;
    const View<float, Dim> x = buffer(scratch, f.x().shape), y = buffer(scratch, f.y().shape);
    const Weights<Wide> w[] = {same(f.w[0]), f.w.size() > 1 ? same(f.w[1]) : Weights<Wide>{}};
    const AnyView<Dim> inputs[] = {x};
    for (Index n = 0; n < p.images; ++n) {
      convert(f.ctx, image(f.x(), n), x);
      Inner::forward(image_of(p), {f.ctx, f.mode, f.choice, inputs, w, y, {}, scratch, f.prepared, f.key, f.again});
      convert(f.ctx, View<const float, Dim>(y), image(f.y(), n));
    }
  }

  /// Of each image dx first, then its buffer serves x.
  static void backward(const ConvProblem& p, const Backward<S>& b) {
    Bytes scratch = b.scratch;
    const View<float, Dim> x = buffer(scratch, b.inputs[0].shape), dy = buffer(scratch, b.output_gradient.shape);
    const Weights<Wide> w[] = {same(b.w[0]), b.w.size() > 1 ? same(b.w[1]) : Weights<Wide>{}};
    const AnyView<Dim> inputs[] = {x};
    AnyView<Dim> nothing;
    nothing.shape = x.shape;
    const auto inner = [&](const AnyView<Dim>& dx, std::span<const std::span<float>> dw) {
      Inner::backward(image_of(p),
                      {b.ctx, b.mode, b.choice, inputs, w, {}, dy, std::span(&dx, 1), dw, {}, scratch, b.key, false});
    };
    const std::span<float> frozen[2];
    const bool weights = !b.dw[0].empty(), bias = b.dw.size() > 1 && !b.dw[1].empty();
    for (Index n = 0; n < p.images; ++n) {
      convert(b.ctx, image(b.dy(), n), dy);
      if (b.wants()) {
        inner(x, frozen);
        convert(b.ctx, View<const float, Dim>(x), image(b.dx(), n));
      }
      if (weights) convert(b.ctx, image(b.x(), n), x);
      if (weights || bias) inner(nothing, b.dw);
    }
  }

 private:
  static ConvProblem image_of(ConvProblem p) {
    p.images = 1;
    return p;
  }
  template <class U> static View<U, Dim> image(View<U, Dim> all, Index n) {
    const Index voxels = all.shape.voxels();
    all.data += n * voxels * all.pitch;
    all.shape.n = 1;
    return all;
  }
  static Index product(const std::array<Index, 3>& e) { return e[0] * e[1] * e[2]; }
  static Index x_rows(const ConvProblem& p) {
    return p.images * product(p.y_side == Side::output ? p.window.input : p.window.output);
  }
  static Index y_rows(const ConvProblem& p) {
    return p.images * product(p.y_side == Side::output ? p.window.output : p.window.input);
  }
  static Weights<Wide> same(const Weights<S>& w) { return {w.values, w.count, w.version}; }
  static View<float, Dim> buffer(Bytes& scratch, const Shape<Dim>& shape) {
    Shape<Dim> one = shape;
    one.n = 1;
    return {take<float>(scratch, one.elements()), one, one.c};
  }
};

}   // namespace cpu

template <int Dim> struct Kernel<Convolution, Spec<bf16, Dim, Cpu>> : cpu::WidenedConvolution<bf16, Dim> {};
template <int Dim> struct Kernel<Convolution, Spec<half, Dim, Cpu>> : cpu::WidenedConvolution<half, Dim> {};

}   // namespace ctseg
