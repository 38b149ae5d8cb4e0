// One op case with memory of its own, the least friendly that the contract allows: every tensor is a channel range of a wider
// buffer, whose other channels must stay as they are; outputs, scratch and saved bytes start as NaN; weight gradients as 1.
#pragma once
#include <cstring>

#include <ctseg/core/tensor.hpp>
#include <ctseg/ops/cpu.hpp>

#include "op_case.hpp"

namespace ctseg::test {

/// A tensor inside a wider buffer.
template <int Dim> class Room {
 public:
  Room() = default;
  Room(const ValueInfo<Dim>& info, Index pitch, Index first)
      : info_(info), pitch_(pitch), first_(first), memory_(info.shape.n * info.shape.voxels() * pitch * size_of(info.dtype)) {
    std::memset(memory_.data(), static_cast<int>(kGuard), static_cast<std::size_t>(memory_.bytes()));
  }

  AnyView<Dim> view() { return {memory_.data() + first_ * size_of(info_.dtype), info_, pitch_}; }
  template <class T> T& at(Index i) {   // element i of the packed tensor
    return view().template as<T>().row(i / info_.shape.c)[i % info_.shape.c];
  }
  Index elements() const { return info_.shape.elements(); }
  const ValueInfo<Dim>& info() const { return info_; }
  void fill(std::byte value) {
    for (Index i = 0; i < elements(); ++i)
      std::memset(place(i), static_cast<int>(value), static_cast<std::size_t>(size_of(info_.dtype)));
  }
  bool guard_intact() const {
    const Index size = size_of(info_.dtype), rows = info_.shape.n * info_.shape.voxels();
    for (Index r = 0; r < rows; ++r)
      for (Index b = 0; b < pitch_ * size; ++b)
        if ((b < first_ * size || b >= (first_ + info_.shape.c) * size) && memory_.data()[r * pitch_ * size + b] != kGuard)
          return false;
    return true;
  }
  /// Another of this make, all guard.
  Room like(Dtype dtype) const { return Room({info_.shape, dtype}, pitch_, first_); }
  Memory<Cpu>& memory() { return memory_; }
  /// The values alone, to compare bits.
  std::vector<std::byte> packed() {
    std::vector<std::byte> out;
    for (Index i = 0; i < elements(); ++i) out.insert(out.end(), place(i), place(i) + size_of(info_.dtype));
    return out;
  }

 private:
  static constexpr std::byte kGuard{0xa5};
  std::byte* place(Index i) {
    return memory_.data() + (i / info_.shape.c * pitch_ + first_ + i % info_.shape.c) * size_of(info_.dtype);
  }
  ValueInfo<Dim> info_{};
  Index pitch_ = 0, first_ = 0;
  Memory<Cpu> memory_;
};

template <AnySpec S> class OpRun {
 public:
  using T = typename S::T;
  using Acc = typename S::Acc;
  static constexpr int kDim = S::kDim;

  /// grid: values that every precision holds exactly, so that precisions can be compared.
  struct Options {
    std::uint64_t seed = 1;
    bool grid = false, packed = false;
  };

  OpRun(const OpCase<S>& c, Context<Cpu>& ctx, const Options& o) : case_(&c), ctx_(&ctx) {
    RandomStream random({.seed = o.seed, .op = 77});
    const auto room = [&](const ValueInfo<kDim>& info, Index extra) {
      const bool packed = o.packed || info.shape.elements() == 1;
      return Room<kDim>(info, info.shape.c + (packed ? 0 : extra), packed ? 0 : extra - 1);
    };
    for (const auto& info : c.inputs) {
      x.push_back(room(info, static_cast<Index>(x.size()) + 2));
      fill_input(x.back(), random, o.grid);
      dx.push_back(room(info, 3));
    }
    for (const WeightCase& weight : c.weights) {
      std::vector<Acc> values(static_cast<std::size_t>(weight.size));
      for (Acc& v : values) {
        const double u = random.uniform(weight.low, weight.high);
        v = static_cast<Acc>(o.grid ? std::round(u * 64) / 64 : u);
      }
      w.push_back(values);
      dw.emplace_back(values.size(), Acc(1));
    }
    infer();
    y = room({info.shape, info.dtype}, 4);
    dy = room({info.shape, info.dtype}, 2);
    for (Index i = 0; i < dy.elements(); ++i) {
      const double v = std::round(random.uniform(-2, 2) * 32) / 32;
      if (info.dtype == dtype_of<T>())
        dy.template at<T>(i) = T(static_cast<Acc>(v));
      else
        dy.template at<Acc>(i) = static_cast<Acc>(v == 0 ? 1 : v);
    }
    saved_ = poisoned(info.saved), forward_scratch_ = poisoned(info.forward_scratch);
    backward_scratch_ = poisoned(info.backward_scratch), prepared_ = poisoned(info.prepared);
  }

  void forward() { prepare(), compute(); }
  /// After forward.
  void backward() {
    for (auto& room : dx) room.fill(std::byte{0xff});
    for (auto& values : dw) std::ranges::fill(values, Acc(1));
    differentiate();
  }

  void prepare() {
    if (info.prepared > 0) case_->op->prepare({*ctx_, info.choice, case_->inputs, all_weights(), {prepared_.data()}});
  }
  void compute() {
    const auto weights = all_weights();
    std::vector<AnyView<kDim>> inputs;
    for (auto& room : x) inputs.push_back(room.view());
    case_->op->forward({*ctx_,
                        case_->mode,
                        info.choice,
                        inputs,
                        weights,
                        y.view(),
                        {saved_.data()},
                        {forward_scratch_.data()},
                        {prepared_.data()},
                        key});
  }
  /// What infer does not ask for arrives without data, as on a tape.
  void differentiate() {
    const auto weights = all_weights();
    std::vector<AnyView<kDim>> inputs, gradients;
    for (std::size_t k = 0; k < x.size(); ++k) {
      inputs.push_back(x[k].view()), gradients.push_back(dx[k].view());
      const bool labels = inputs[k].dtype != dtype_of<T>() && inputs[k].dtype != dtype_of<Acc>();
      if (!info.reads_inputs && !labels) inputs[k].data = nullptr;
      if (labels || !wanted(k)) gradients[k].data = nullptr;
    }
    std::vector<std::span<Acc>> spans;
    for (auto& values : dw) spans.push_back(frozen ? std::span<Acc>{} : std::span<Acc>(values));
    AnyView<kDim> output = y.view();
    if (!info.reads_output) output.data = nullptr;
    case_->op->backward({*ctx_,
                         case_->mode,
                         info.choice,
                         inputs,
                         weights,
                         output,
                         dy.view(),
                         gradients,
                         spans,
                         {saved_.data()},
                         {backward_scratch_.data()},
                         key});
  }
  bool guards_intact() const {
    bool intact = y.guard_intact() && dy.guard_intact();
    for (const auto* rooms : {&x, &dx})
      for (const auto& room : *rooms) intact = intact && room.guard_intact();
    return intact;
  }
  bool is_labels(std::size_t k) const { return case_->inputs[k].dtype == Dtype::u8 || case_->inputs[k].dtype == Dtype::u16; }
  bool wanted(std::size_t k) const { return !inputs_frozen && !is_labels(k); }

  /// sum(y * dy): the scalar whose gradient backward computes.
  double projection() {
    double sum = 0;
    for (Index i = 0; i < y.elements(); ++i)
      sum += info.dtype == dtype_of<T>() ? number(y.template at<T>(i)) * number(dy.template at<T>(i))
                                         : double(y.template at<Acc>(i)) * double(dy.template at<Acc>(i));
    return sum;
  }
  static double number(T v) { return static_cast<double>(static_cast<Acc>(v)); }

  std::vector<Room<kDim>> x, dx;
  Room<kDim> y, dy;
  std::vector<std::vector<Acc>> w, dw;
  Inferred<S> info;
  RandomKey key{.seed = 3, .run = 5, .op = 7};
  bool frozen = false, inputs_frozen = false;

 private:
  std::vector<Weights<S>> all_weights() const {
    std::vector<Weights<S>> all;
    for (const auto& values : w) all.push_back({values.data(), std::ssize(values), nullptr});
    return all;
  }
  void infer() {
    const auto weights = all_weights();
    info = case_->op->infer({case_->inputs, weights, case_->mode, ctx_->traits()});
  }
  static Memory<Cpu> poisoned(Index bytes) {
    Memory<Cpu> memory(bytes);
    if (bytes > 0) std::memset(memory.data(), 0xff, static_cast<std::size_t>(memory.bytes()));
    return memory;
  }
  void fill_input(Room<kDim>& room, RandomStream& random, bool grid) {
    for (Index i = 0; i < room.elements(); ++i) {
      if (room.info().dtype == Dtype::u8)
        room.template at<std::uint8_t>(i) = static_cast<std::uint8_t>(random.below(case_->labels));
      else if (room.info().dtype == Dtype::u16)
        room.template at<std::uint16_t>(i) = static_cast<std::uint16_t>(random.below(case_->labels));
      else {
        const double v = random.normal();
        room.template at<T>(i) = T(static_cast<Acc>(grid ? std::clamp(std::round(v * 32) / 32, -3.9, 3.9) : v));
      }
    }
  }
  const OpCase<S>* case_;
  Context<Cpu>* ctx_;
  Memory<Cpu> saved_, forward_scratch_, backward_scratch_, prepared_;
};

}   // namespace ctseg::test
