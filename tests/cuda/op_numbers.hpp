// One op on numbers, on any device: what the tests of kernels on the card compare with the same op on the CPU in double.
#pragma once
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <ctseg/core/random.hpp>
#include <ctseg/ops/cpu.hpp>
#include <ctseg/ops/op.hpp>
#include <deque>
#include <limits>
#include <vector>

namespace ctseg::test {

using Numbers = std::vector<double>;

/// `count` numbers from low to high that T can hold.
template <class T> Numbers random_numbers(Index count, std::uint64_t seed, double low = -1, double high = 1) {
  Numbers out;
  const RandomKey key{seed, 1, 0};
  for (Index i = 0; i < count; ++i) {
    const double v = low + (high - low) * static_cast<double>(key.words(static_cast<std::uint64_t>(i))[0]) / 4294967296.0;
    if constexpr (std::is_same_v<T, double>)
      out.push_back(v);
    else
      out.push_back(static_cast<double>(static_cast<float>(T(static_cast<float>(v)))));
  }
  return out;
}

struct NumbersInput {
  Shape<3> shape;
  Numbers values;
  Index pitch = 0;   // 0: packed
  bool gradient = true;
  Dtype labels = Dtype::f32;   // u8 or u16: labels, else activations
};
struct NumbersWeights {
  Numbers values;
  bool gradient = true;
};
struct NumbersCase {
  std::vector<NumbersInput> inputs;
  std::vector<NumbersWeights> weights{};
  Numbers dy{};
  Index y_pitch = 0;
  Mode mode = Mode::train;
  bool on_x = false, on_dy = false;   // y lies on x, dx on dy
};
struct NumbersResult {
  Numbers y;
  std::vector<Numbers> dx, dw;
};

/// Where `Device` keeps memory, and how numbers come there and back.
template <class Device> struct NumbersMemory {
  Context<Device>& ctx;

  template <class T> Memory<Device> put(const std::vector<T>& values) const {
    Memory<Device> to = ctx.allocate(bytes_of<T>(std::ssize(values)));
    move(to.data(), values.data(), values.size() * sizeof(T), true);
    return to;
  }
  template <class T> std::vector<T> get(const Memory<Device>& from, Index count) const {
    std::vector<T> out(static_cast<std::size_t>(count));
    move(out.data(), from.data(), out.size() * sizeof(T), false);
    return out;
  }

 private:
  void move(void* to, const void* from, std::size_t bytes, bool there) const {
    if constexpr (std::is_same_v<Device, Cpu>)
      std::memcpy(to, from, bytes);
    else if (there)
      cuda::copy_to_device(ctx.stream(), to, from, static_cast<Index>(bytes));
    else
      cuda::copy_to_host(ctx.stream(), to, from, static_cast<Index>(bytes)), ctx.synchronize();
  }
};

template <AnySpec S> class OpNumbers {
  using T = typename S::T;
  using Acc = typename S::Acc;
  using Device = typename S::Device;

 public:
  explicit OpNumbers(Context<Device>& ctx) : ctx_(ctx), memory_{ctx} {}

  template <class O> NumbersResult operator()(const O& op, const NumbersCase& c) {
    std::vector<ValueInfo<3>> infos;
    for (const NumbersInput& x : c.inputs) infos.push_back({x.shape, x.labels == Dtype::f32 ? dtype_of<T>() : x.labels});
    for (const NumbersWeights& w : c.weights) add_weights(w);
    const AllWeights<S> w(weights_);
    const Inferred<S> info = op.infer({infos, w, c.mode, ctx_.traits()});
    std::vector<AnyView<3>> x, dx;
    for (const NumbersInput& in : c.inputs) x.push_back(input(in));
    for (const NumbersInput& in : c.inputs)
      dx.push_back(in.gradient ? poisoned(in.shape, in.pitch) : AnyView<3>({}, {in.shape, dtype_of<T>()}, 0));
    const bool labels = info.dtype == Dtype::u8 || info.dtype == Dtype::u16;   // without a way back
    const bool loss = info.dtype != dtype_of<T>() || info.shape.elements() == 1;
    const AnyView<3> y = c.on_x   ? x[0]
                         : labels ? input({info.shape, constant(info.shape, 99), 0, false, info.dtype})
                         : loss   ? one()
                                  : poisoned(info.shape, c.y_pitch);
    Memory<Device> saved = ctx_.allocate(info.saved),
                   scratch = ctx_.allocate(std::max(info.forward_scratch, info.backward_scratch));
    op.forward({.ctx = ctx_,
                .mode = c.mode,
                .choice = info.choice,
                .inputs = x,
                .w = w,
                .output = y,
                .saved = {saved.data()},
                .scratch = {scratch.data()},
                .prepared = {},
                .key = {}});
    NumbersResult out{.y = numbers(y), .dx = {}, .dw = {}};
    if (c.dy.empty()) return out;
    const AnyView<3> dy = loss ? one(c.dy.at(0)) : input({info.shape, c.dy, c.y_pitch});
    if (c.on_x) x[0] = input(c.inputs[0]);
    if (c.on_dy) dx[0] = dy;
    op.backward({.ctx = ctx_,
                 .mode = c.mode,
                 .choice = info.choice,
                 .inputs = x,
                 .w = w,
                 .output = y,
                 .output_gradient = dy,
                 .input_gradients = dx,
                 .dw = dw_,
                 .saved = {saved.data()},
                 .scratch = {scratch.data()},
                 .key = {}});
    for (const AnyView<3>& d : dx) out.dx.push_back(d ? numbers(d) : Numbers{});
    for (std::size_t k = 0; k < gradients_.size(); ++k) out.dw.push_back(weight_gradient(k));
    return out;
  }

 private:
  struct Parameter {
    std::vector<Acc> values;
    std::uint64_t version = 0;
    Residence<Device> residence{};
  };
  void add_weights(const NumbersWeights& w) {
    Parameter& p = parameters_.emplace_back();
    for (const double v : w.values) p.values.push_back(static_cast<Acc>(v));
    p.residence.bind(p.values, p.version);
    weights_.push_back({p.values.data(), std::ssize(p.values), &p.version, p.residence.link()});
    bring<S>(ctx_, AllWeights<S>(weights_).last(1));
    // Gradients are added: to something.
    gradients_.push_back(memory_.put(std::vector<Acc>(p.values.size(), Acc(0.5))));
    dw_.push_back(w.gradient ? std::span(reinterpret_cast<Acc*>(gradients_.back().data()), p.values.size()) : std::span<Acc>{});
  }
  Numbers weight_gradient(std::size_t k) {
    Numbers out;
    for (const Acc v : memory_.template get<Acc>(gradients_[k], weights_[k].size()))
      out.push_back(static_cast<double>(v) - 0.5);
    return out;
  }

  template <class U> AnyView<3> keep(const std::vector<U>& values, const Shape<3>& shape, Index pitch) {
    values_.push_back(memory_.put(values));
    return {values_.back().data(), {shape, dtype_of<U>()}, pitch};
  }
  template <class U> AnyView<3> rows(const NumbersInput& in, U gap) {
    const Index pitch = in.pitch > 0 ? in.pitch : in.shape.c, count = in.shape.n * in.shape.voxels();
    std::vector<U> all(static_cast<std::size_t>(count * pitch), gap);
    for (Index r = 0; r < count; ++r)
      for (Index c = 0; c < in.shape.c; ++c) {
        const double v = in.values.at(static_cast<std::size_t>(r * in.shape.c + c));
        all[static_cast<std::size_t>(r * pitch + c)] = convert<U>(v);
      }
    return keep(all, in.shape, pitch);
  }
  template <class U> static U convert(double v) {
    if constexpr (std::is_same_v<U, bf16> || std::is_same_v<U, half>)
      return U(static_cast<float>(v));
    else
      return static_cast<U>(v);
  }
  AnyView<3> input(const NumbersInput& in) {
    if (in.labels == Dtype::u8) return rows<std::uint8_t>(in, 77);
    if (in.labels == Dtype::u16) return rows<std::uint16_t>(in, 777);
    return rows<T>(in, convert<T>(std::numeric_limits<double>::quiet_NaN()));
  }
  static Numbers constant(const Shape<3>& shape, double value) {
    return Numbers(static_cast<std::size_t>(shape.elements()), value);
  }
  AnyView<3> poisoned(const Shape<3>& shape, Index pitch) {
    return input({shape, constant(shape, std::numeric_limits<double>::quiet_NaN()), pitch});
  }
  AnyView<3> one(double value = std::numeric_limits<double>::quiet_NaN()) {
    return keep(std::vector<Acc>{static_cast<Acc>(value)}, {1, 1, {1, 1, 1}}, 1);
  }

  Numbers numbers(const AnyView<3>& v) {
    if (v.dtype == dtype_of<Acc>()) return numbers_as<Acc>(v);
    if (v.dtype == Dtype::u8) return numbers_as<std::uint8_t>(v);
    if (v.dtype == Dtype::u16) return numbers_as<std::uint16_t>(v);
    return numbers_as<T>(v);
  }
  /// Without the gaps, which must be as they were.
  template <class U> Numbers numbers_as(const AnyView<3>& v) {
    const auto of = std::find_if(values_.begin(), values_.end(), [&](const auto& m) { return m.data() == v.data; });
    const Index count = v.shape.n * v.shape.voxels();
    Numbers out;
    const auto all = memory_.template get<U>(*of, count * v.pitch);
    for (Index r = 0; r < count; ++r)
      for (Index c = 0; c < v.pitch; ++c) {
        const U value = all[static_cast<std::size_t>(r * v.pitch + c)];
        double number;
        if constexpr (std::is_same_v<U, bf16> || std::is_same_v<U, half>)
          number = static_cast<double>(static_cast<float>(value));
        else
          number = static_cast<double>(value);
        if (c < v.shape.c)
          out.push_back(number);
        else if constexpr (!std::is_integral_v<U>)
          REQUIRE(std::isnan(number));
      }
    return out;
  }

  Context<Device>& ctx_;
  NumbersMemory<Device> memory_;
  std::deque<Parameter> parameters_;
  std::vector<Weights<S>> weights_;
  std::vector<Memory<Device>> gradients_;
  std::deque<Memory<Device>> values_;
  std::vector<std::span<Acc>> dw_;
};

/// The largest difference, against the largest number of the reference (1 at least where `least` says so).
inline double distance(const Numbers& got, const Numbers& wanted, double least = 0) {
  REQUIRE(got.size() == wanted.size());
  double most = least, off = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(got[i]) != std::isnan(wanted[i])) return std::numeric_limits<double>::infinity();
    most = std::max(most, std::abs(wanted[i])), off = std::max(off, std::abs(got[i] - wanted[i]));
  }
  return off == 0 ? 0 : off / most;
}

}   // namespace ctseg::test
