// An op case on the card beside the same case on the CPU: same values, same weights, same wide buffers with guards. What comes
// back must agree; outputs, saved bytes and scratch start as NaN, gradients of weights as 1, as in OpRun.
#pragma once
#include <doctest/doctest.h>

#include <ctseg/cuda.hpp>
#include <ctseg/nn/parameter.hpp>
#include <deque>

#include "support/op_run.hpp"

namespace ctseg::test {

/// Element i of a room, whatever its type.
template <int Dim> double number_at(Room<Dim>& room, Index i) {
  switch (room.info().dtype) {
    case Dtype::bf16:
      return static_cast<double>(static_cast<float>(room.template at<bf16>(i)));
    case Dtype::f16:
      return static_cast<double>(static_cast<float>(room.template at<half>(i)));
    case Dtype::u8:
      return room.template at<std::uint8_t>(i);
    case Dtype::u16:
      return room.template at<std::uint16_t>(i);
    default:
      return static_cast<double>(room.template at<float>(i));
  }
}

template <AnySpec S> class DeviceRun {
 public:
  static constexpr int kDim = S::kDim;
  using T = typename S::T;
  using Host = OpRun<Spec<float, kDim, Cpu>>;

  /// With the values of `host`, which T must hold exactly.
  DeviceRun(const OpCase<S>& c, Context<Cuda>& ctx, Host& host) : case_(&c), ctx_(&ctx), host_(&host) {
    for (const auto& values : host.w) {
      auto& p = parameters_.emplace_back();
      if (!values.empty()) p = Parameter<S>({.shape = {std::ssize(values)}});
      std::copy(values.begin(), values.end(), p.edit().begin());
      weights_.push_back(p);
      dw_.push_back(ctx.allocate(p.size() * Index{sizeof(float)}));
    }
    bring<S>(ctx, weights_);
    info = c.op->infer({c.inputs, weights_, c.mode, ctx.traits()});
    for (std::size_t k = 0; k < host.x.size(); ++k) {
      x_.push_back(place(host.x[k], c.inputs[k].dtype, true));
      dx_.push_back(place(host.dx[k], c.inputs[k].dtype, false));
    }
    y_ = place(host.y, info.dtype, false), dy_ = place(host.dy, info.dtype, true);
    saved_ = ctx.allocate(info.saved), prepared_ = ctx.allocate(info.prepared);
    scratch_ = ctx.allocate(std::max(info.forward_scratch, info.backward_scratch));
    for (auto* m : {&saved_, &prepared_, &scratch_}) poison(*m);
  }

  void forward() {
    if (info.prepared > 0) case_->op->prepare({*ctx_, info.choice, case_->inputs, weights_, {prepared_.data()}});
    std::vector<AnyView<kDim>> inputs;
    for (Place& x : x_) inputs.push_back(x.view());
    case_->op->forward({*ctx_, case_->mode, info.choice, inputs, weights_, y_.view(), {saved_.data()}, {scratch_.data()},
                        {prepared_.data()}, host_->key});
  }
  void backward() {
    poison(scratch_);
    std::vector<AnyView<kDim>> inputs, gradients;
    for (std::size_t k = 0; k < x_.size(); ++k) {
      inputs.push_back(x_[k].view()), gradients.push_back(dx_[k].view());
      if (!info.reads_inputs && !host_->is_labels(k)) inputs[k].data = nullptr;
      if (!host_->wanted(k)) gradients[k].data = nullptr;
    }
    std::vector<std::span<float>> spans;
    for (std::size_t k = 0; k < dw_.size(); ++k) {
      const std::vector<float> ones(static_cast<std::size_t>(parameters_[k].size()), 1.f);
      if (!ones.empty())
        cuda::copy_to_device(ctx_->stream(), dw_[k].data(), ones.data(), std::ssize(ones) * Index{sizeof(float)});
      spans.emplace_back(reinterpret_cast<float*>(dw_[k].data()), host_->frozen ? 0 : ones.size());
    }
    AnyView<kDim> output = y_.view();
    if (!info.reads_output) output.data = nullptr;
    case_->op->backward({*ctx_, case_->mode, info.choice, inputs, weights_, output, dy_.view(), gradients, spans,
                         {saved_.data()}, {scratch_.data()}, host_->key, false, {prepared_.data()}});
  }

  /// What lies on the card now, in a room like the host's.
  Room<kDim> y() { return fetch(y_); }
  Room<kDim> dx(std::size_t k) { return fetch(dx_[k]); }
  std::vector<float> dw(std::size_t k) {
    std::vector<float> values(static_cast<std::size_t>(parameters_[k].size()));
    download(values.data(), dw_[k], std::ssize(values) * Index{sizeof(float)});
    return values;
  }

  Inferred<S> info;

 private:
  struct Place {
    Room<kDim> room;   // as it was sent: its shape, pitch and guards
    Memory<Cuda> memory;
    AnyView<kDim> view() {
      AnyView<kDim> v = room.view();
      v.data = memory.data() + (v.data - room.memory().data());
      return v;
    }
  };
  /// A wide buffer with guards, holding the host's values or NaN.
  Place place(Room<kDim>& from, Dtype dtype, bool with_values) {
    Place p{from.like(dtype), ctx_->allocate(0)};
    p.room.fill(std::byte{0xff});
    for (Index i = 0; with_values && i < from.elements(); ++i) {
      const double v = number_at(from, i);
      if (dtype == Dtype::u8)
        p.room.template at<std::uint8_t>(i) = static_cast<std::uint8_t>(v);
      else if (dtype == Dtype::u16)
        p.room.template at<std::uint16_t>(i) = static_cast<std::uint16_t>(v);
      else if (dtype == dtype_of<T>())
        p.room.template at<T>(i) = T(static_cast<float>(v));
      else
        p.room.template at<float>(i) = static_cast<float>(v);
    }
    p.memory = ctx_->allocate(p.room.memory().bytes());
    cuda::copy_to_device(ctx_->stream(), p.memory.data(), p.room.memory().data(), p.memory.bytes());
    return p;
  }
  Room<kDim> fetch(Place& p) {
    Room<kDim> room = p.room.like(p.room.info().dtype);
    download(room.memory().data(), p.memory, room.memory().bytes());
    return room;
  }
  void download(void* to, const Memory<Cuda>& from, Index bytes) {
    if (bytes == 0) return;
    cuda::copy_to_host(ctx_->stream(), to, from.data(), bytes);
    ctx_->synchronize();
  }
  void poison(Memory<Cuda>& m) {
    const std::vector<std::uint8_t> nan(static_cast<std::size_t>(m.bytes()), 0xff);
    if (!nan.empty()) cuda::copy_to_device(ctx_->stream(), m.data(), nan.data(), m.bytes());
  }

  const OpCase<S>* case_;
  Context<Cuda>* ctx_;
  Host* host_;
  std::deque<Parameter<S>> parameters_;
  std::vector<Weights<S>> weights_;
  std::vector<Place> x_, dx_;
  std::vector<Memory<Cuda>> dw_;
  Place y_, dy_;
  Memory<Cuda> saved_, scratch_, prepared_;
};

/// ||a - b|| against ||b||, of all values of a tensor, or of all weights together: one alone may be noise.
struct Apart {
  double apart = 0, size = 0;
  void add(double a, double b) { apart += (a - b) * (a - b), size += b * b; }
  bool within(double tolerance) const { return std::isfinite(apart) && std::sqrt(apart) <= tolerance * std::sqrt(size) + 1e-12; }
};

/// One case of T against the CPU's, twice: the second pass must give the same bits.
template <class T, int Dim, class Make> void check_twin(Make make, std::uint64_t round, CaseSize size, double tolerance) {
  using C = Spec<float, Dim, Cpu>;   // compiled once, in ctseg::prebuilt, and exact enough for T
  using G = Spec<T, Dim, Cuda>;
  Context<Cpu> cpu({.threads = 1});
  Context<Cuda> card({.threads = 1});
  Draw a({.seed = round, .op = 1}, size), b = a;
  const OpCase<C> on_cpu = make(C{}, a);
  const OpCase<G> on_card = make(G{}, b);
  OpRun<C> host(on_cpu, cpu, {.seed = round + 1, .grid = sizeof(T) == 2});
  DeviceRun<G> run(on_card, card, host);
  INFO(on_cpu.name << ", " << text(dtype_of<T>()) << ", round " << round);
  REQUIRE(run.info.shape == host.info.shape);
    host.forward(), host.backward();
  std::vector<std::vector<std::byte>> bits[2];
  for (auto& pass : bits) {
    run.forward(), run.backward();
    const auto compare = [&](Room<Dim> got, Room<Dim>& expected, const std::string& what) {
      REQUIRE_MESSAGE(got.guard_intact(), what << ": written outside of its channels");
      Apart d;
      for (Index i = 0; i < got.elements(); ++i) d.add(number_at(got, i), number_at(expected, i));
      CHECK_MESSAGE(d.within(tolerance), what << " is " << std::sqrt(d.apart / d.size) << " apart");
      pass.push_back(got.packed());
    };
    compare(run.y(), host.y, "y");
    if (on_cpu.kinks && sizeof(T) == 2) continue;   // rounding moves values across a kink, and there the derivative jumps
    for (std::size_t k = 0; k < host.x.size(); ++k)
      if (!host.is_labels(k)) compare(run.dx(k), host.dx[k], text("dx", k));
    Apart d;
    for (std::size_t k = 0; k < host.w.size(); ++k) {
      const auto got = run.dw(k);
      for (std::size_t i = 0; i < got.size(); ++i) d.add(double(got[i]) - 1, double(host.dw[k][i]) - 1);
      const auto bytes = std::as_bytes(std::span(got));
      pass.emplace_back(bytes.begin(), bytes.end());
    }
    CHECK_MESSAGE(d.within(tolerance), "dw is " << std::sqrt(d.apart / d.size) << " apart");
  }
  CHECK((bits[0] == bits[1]));
}

struct TwinOptions {
  std::uint64_t rounds = 8;   // of about 60 voxels, and one with many blocks of rows
  double float_tolerance = 2e-6, narrow_tolerance = 1e-2;
};
template <int Dim, class Make> void check_twins_of(Make make, const TwinOptions& o) {
  for (std::uint64_t round = 0; round < o.rounds; ++round) {
    check_twin<float, Dim>(make, round, CaseSize::odd, o.float_tolerance);
    check_twin<bf16, Dim>(make, round, CaseSize::odd, o.narrow_tolerance);
  }
  check_twin<float, Dim>(make, 100, CaseSize::threads, 5 * o.float_tolerance);
}
template <class Make> void check_twins(Make make, const TwinOptions& o = {}) {
  check_twins_of<2>(make, o);
  check_twins_of<3>(make, o);
}

}   // namespace ctseg::test
