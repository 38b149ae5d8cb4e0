// An op on the CPU and on the card: the same values, the least friendly memory that the contract allows, and what comes out of
// one held against the other. Inputs are channel ranges of wider buffers, whose other channels must stay as they are; outputs,
// saved bytes and scratch begin as NaN.
#pragma once
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include <ctseg/cuda.hpp>
#include <ctseg/ops/cpu.hpp>

namespace ctseg::test {

/// Channels of a wider buffer in front of a value's own, and behind them.
struct Margins {
  Index before = 0, behind = 0;
};

inline double number_of(float x) { return x; }
inline double number_of(std::uint8_t x) { return x; }
inline double number_of(bf16 x) { return static_cast<float>(x); }
inline double number_of(half x) { return static_cast<float>(x); }

/// One value twice: on the host and on the card.
template <class T, int Dim> class Twin {
 public:
  Twin(Context<Cuda>& ctx, const Shape<Dim>& shape, Margins margins = {})
      : ctx_(&ctx), shape_(shape), margins_(margins), pitch_(shape.c + margins.before + margins.behind) {
    host_.resize(static_cast<std::size_t>(shape.n * shape.voxels() * pitch_));
    std::memset(static_cast<void*>(host_.data()), 0xff, host_.size() * sizeof(T));
    card_ = ctx.allocate(std::ssize(host_) * Index{sizeof(T)});
    upload();
  }
  View<T, Dim> host() { return view(host_.data()); }
  View<T, Dim> card() { return view(reinterpret_cast<T*>(card_.data())); }
  Index elements() const { return shape_.elements(); }
  T& operator[](Index i) { return host().row(i / shape_.c)[i % shape_.c]; }

  void upload() { cuda::copy_to_device(ctx_->stream(), card_.data(), host_.data(), bytes()); }
  /// Steps of 1/32 between -2 and 2, some of them 0 and equal.
  void draw(std::uint64_t seed) {
    RandomStream random({.seed = seed, .op = 9});
    for (Index i = 0; i < elements(); ++i) (*this)[i] = T(static_cast<float>(std::round(random.uniform(-2, 2) * 32) / 32));
    upload();
  }

  /// Values of the card that differ from the host's by more than `tolerance` (0: in a bit) of the larger of 1 and the value; and
  /// bytes beside them that have changed.
  Index wrong(double tolerance) {
    std::vector<T> is(host_.size());
    cuda::copy_to_host(ctx_->stream(), is.data(), card_.data(), bytes());
    ctx_->synchronize();
    Index count = 0;
    for (Index r = 0; r < host().rows(); ++r)
      for (Index k = 0; k < pitch_; ++k) {
        const auto i = static_cast<std::size_t>(r * pitch_ + k);
        const bool bits = std::memcmp(&is[i], &host_[i], sizeof(T)) == 0;
        const bool mine = k >= margins_.before && k < margins_.before + shape_.c;
        count += !bits && !(mine && close(number_of(is[i]), number_of(host_[i]), tolerance));
      }
    return count;
  }

 private:
  static bool close(double is, double wanted, double tolerance) {
    if (std::isnan(wanted)) return std::isnan(is);
    return std::abs(is - wanted) <= tolerance * std::max(1.0, std::abs(wanted));
  }
  View<T, Dim> view(T* data) { return {data + margins_.before, shape_, pitch_}; }
  Index bytes() const { return std::ssize(host_) * Index{sizeof(T)}; }

  Context<Cuda>* ctx_;
  Shape<Dim> shape_;
  Margins margins_;
  Index pitch_;
  std::vector<T> host_;
  Memory<Cuda> card_;
};

/// Bytes of saved values or scratch on the card, NaN at first.
inline Memory<Cuda> poisoned(Context<Cuda>& ctx, Index bytes) {
  Memory<Cuda> memory = ctx.allocate(bytes);
  const std::vector<std::byte> nan(static_cast<std::size_t>(memory.bytes()), std::byte{0xff});
  if (bytes > 0) cuda::copy_to_device(ctx.stream(), memory.data(), nan.data(), memory.bytes());
  return memory;
}

/// What bf16 and half may lose by rounding the other way once; float as told.
template <class T> double tolerance_of(double of_float) {
  if (std::is_same_v<T, bf16>) return std::max(of_float, 0x1p-7);
  return std::is_same_v<T, half> ? std::max(of_float, 0x1p-10) : of_float;
}

struct OpTwinOptions {
  Mode mode = Mode::train;
  double tolerance = 0;   // of float; 0: the same bits in every type
  Margins margins{};
};

/// Forward and backward of an op without weights. make(S{}) is the op for a Spec.
template <class T, int Dim, class Make>
void check_op(Context<Cuda>& ctx, const Make& make, const std::vector<Shape<Dim>>& shapes, const OpTwinOptions& o = {}) {
  using H = Spec<T, Dim, Cpu>;
  using C = Spec<T, Dim, Cuda>;
  const auto of_host = make(H{});
  const auto of_card = make(C{});
  CAPTURE(of_host.name());
  CAPTURE(text(shapes[0]));
  CAPTURE(text(dtype_of<T>()));
  const double tolerance = o.tolerance == 0 ? 0 : tolerance_of<T>(o.tolerance);

  std::vector<ValueInfo<Dim>> infos;
  std::vector<Twin<T, Dim>> x, dx;
  for (const auto& shape : shapes) {
    infos.push_back({shape, dtype_of<T>()});
    x.emplace_back(ctx, shape, o.margins), dx.emplace_back(ctx, shape, o.margins);
    x.back().draw(x.size());
  }
  const Inferred<H> on_host = of_host.infer({infos, {}, o.mode, ctx.host().traits()});
  const Inferred<C> on_card = of_card.infer({infos, {}, o.mode, ctx.traits()});
  REQUIRE(on_host.shape == on_card.shape);
  Twin<T, Dim> y(ctx, on_host.shape, o.margins), dy(ctx, on_host.shape, o.margins);
  dy.draw(99);

  Memory<Cpu> host_saved(on_host.saved), host_scratch(std::max(on_host.forward_scratch, on_host.backward_scratch));
  Memory<Cuda> saved = poisoned(ctx, on_card.saved), scratch = poisoned(ctx, on_card.forward_scratch);
  std::vector<AnyView<Dim>> host_x, card_x, host_dx, card_dx;
  for (std::size_t k = 0; k < x.size(); ++k) {
    host_x.emplace_back(x[k].host()), card_x.emplace_back(x[k].card());
    host_dx.emplace_back(dx[k].host()), card_dx.emplace_back(dx[k].card());
  }
  const RandomKey key{.seed = 3, .run = 5, .op = 7};
  of_host.forward({ctx.host(), o.mode, on_host.choice, host_x, {}, y.host(), {host_saved.data()}, {host_scratch.data()}, {}, key});
  of_card.forward({ctx, o.mode, on_card.choice, card_x, {}, y.card(), {saved.data()}, {scratch.data()}, {}, key});
  CHECK(y.wrong(tolerance) == 0);

  scratch = poisoned(ctx, on_card.backward_scratch);
  of_host.backward({ctx.host(), o.mode, on_host.choice, host_x, {}, y.host(), dy.host(), host_dx, {}, {host_saved.data()},
                    {host_scratch.data()}, key});
  of_card.backward({ctx, o.mode, on_card.choice, card_x, {}, y.card(), dy.card(), card_dx, {}, {saved.data()}, {scratch.data()},
                    key});
  for (auto& d : dx) CHECK(d.wrong(tolerance) == 0);

  if (on_host.sharing != Sharing::in_place || shapes[0] != on_host.shape) return;
  card_dx[0] = dy.card();   // dx on dy, then y on x
  of_card.backward({ctx, o.mode, on_card.choice, card_x, {}, y.card(), dy.card(), card_dx, {}, {saved.data()}, {scratch.data()},
                    key});
  Index differ = 0;
  for (Index i = 0; i < dx[0].elements(); ++i) dy[i] = dx[0][i];
  differ += dy.wrong(tolerance);
  of_card.forward({ctx, o.mode, on_card.choice, card_x, {}, x[0].card(), {saved.data()}, {scratch.data()}, {}, key});
  for (Index i = 0; i < y.elements(); ++i) x[0][i] = y[i];
  differ += x[0].wrong(tolerance);
  CHECK(differ == 0);
}

}   // namespace ctseg::test
