// Mirrored windows, ensembles and scales on the card: the wrappers of infer/test_time.hpp are the same, their means are here.
#pragma once
#include "../../ops/cuda/context.hpp"
#include "../test_time.hpp"
#include "launchers.hpp"

namespace ctseg::test_time {

template <int Dim> cuda::Flips device_flips(const Flips<Dim>& flips) {
  cuda::Flips out{};
  for (std::size_t d = 0; d < Dim; ++d)
    if (flips[d]) out.axes |= 4 >> (Dim - 1 - static_cast<int>(d));
  return out;
}

template <AnySpec S> class ScoreMean<S, Cuda> {
 public:
  using T = typename S::T;
  static constexpr int kDim = S::kDim;

  ScoreMean(Context<Cuda>& ctx, Scores kind) : ctx_(&ctx), kind_(kind) {}

  void start(const Shape<kDim>& windows) { windows_ = windows, weight_ = 0, begun_ = false; }
  void add(In<S> logits, const Flips<kDim>& flips = {}, double weight = 1) {
    check_scores(logits.shape, windows_, begun_ ? shape_.c : 0);
    if (shape_ != logits.shape) {
      shape_ = logits.shape;
      sum_ = ctx_->allocate(shape_.elements() * Index{sizeof(float)});
      if constexpr (!std::is_same_v<T, float>) out_ = ctx_->allocate(shape_.elements() * Index{sizeof(T)});
    }
    cuda::add_scores(ctx_->stream(),
                     {.flips = device_flips<kDim>(flips),
                      .scores = kind_,
                      .weight = static_cast<float>(weight),
                      .before = begun_ ? reinterpret_cast<const float*>(sum_.data()) : nullptr,
                      .sum = reinterpret_cast<float*>(sum_.data())},
                     cuda::array_of(logits));
    begun_ = true;
    weight_ += weight;
  }
  In<S> mean() {
    constexpr bool in_place = std::is_same_v<T, float>;
    const Out<S> out{reinterpret_cast<T*>(in_place ? sum_.data() : out_.data()), shape_, shape_.c};
    cuda::divide_scores(ctx_->stream(), reinterpret_cast<const float*>(sum_.data()), static_cast<float>(weight_),
                        cuda::array_of(out));
    return out;
  }

 private:
  Context<Cuda>* ctx_;
  Scores kind_;
  Shape<kDim> windows_{}, shape_{};
  Memory<Cuda> sum_, out_;
  double weight_ = 0;
  bool begun_ = false;
};

template <AnySpec S> class TurnedWindows<S, Cuda> {
 public:
  explicit TurnedWindows(Context<Cuda>& ctx) : ctx_(&ctx) {}
  In<S> operator()(In<S> windows, const Flips<S::kDim>& flips) {
    const Index bytes = windows.shape.elements() * Index{sizeof(typename S::T)};
    if (memory_.bytes() < bytes) memory_ = ctx_->allocate(bytes);
    const Out<S> to{reinterpret_cast<typename S::T*>(memory_.data()), windows.shape, windows.shape.c};
    cuda::turn_windows(ctx_->stream(), cuda::array_of(windows), cuda::array_of(to), device_flips<S::kDim>(flips));
    return to;
  }

 private:
  Context<Cuda>* ctx_;
  Memory<Cuda> memory_;
};

}   // namespace ctseg::test_time
