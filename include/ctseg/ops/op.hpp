// What an op is: a small struct of options with infer, forward and backward. It owns nothing; weights, memory and random
// numbers come from whoever runs it. To add one, copy ops/dropout.hpp and its kernel: nothing else needs to know.
#pragma once
#include <algorithm>
#include <concepts>
#include <span>
#include <string_view>

#include "../core/context.hpp"

namespace ctseg {

/// What dropout and batch norm ask. It belongs to the tape or plan that runs the op, never to the model.
enum class Mode { infer, train };

/// Where else the values of a parameter are: on a device with memory of its own, in a copy there. None on the CPU, which
/// computes with the model's own. ops/cuda/context.hpp has the other.
template <class Device> struct Residence {
  struct Link {};   // what Weights knows of it
  Link link() { return {}; }
  void bind(auto&&...) {}
  void to_host() const {}
};

/// The values of one parameter, in memory the model owns. The address is the parameter's identity, the version counts changes.
template <AnySpec S> struct Weights {
  const typename S::Acc* values = nullptr;
  Index count = 0;
  const std::uint64_t* version = nullptr;
  [[no_unique_address]] typename Residence<typename S::Device>::Link residence{};

  Index size() const { return count; }
  bool empty() const { return count == 0; }
  const typename S::Acc* data() const { return values; }
  const typename S::Acc& operator[](Index i) const { return values[i]; }
};
template <AnySpec S> using AllWeights = std::span<const Weights<S>>;

/// Brings the device's copies of these values up to date, before its kernels read them.
template <AnySpec S> void bring(Context<typename S::Device>& ctx, AllWeights<S> weights) {
  if constexpr (!Memory<typename S::Device>::kOnHost)
    for (const Weights<S>& w : weights) ctx.bring(w.residence);
}

/// All that infer may look at: no device, no memory.
template <AnySpec S> struct Facts {
  std::span<const ValueInfo<S::kDim>> inputs;
  AllWeights<S> w;
  Mode mode = Mode::infer;
  DeviceTraits<typename S::Device> device{};

  /// Shape of input k, which must be activations.
  const Shape<S::kDim>& x(std::size_t k = 0) const {
    if (inputs[k].dtype != dtype_of<typename S::T>())
      throw Error(Code::bad_argument, "input",
                  text("input ", k, " is ", inputs[k], ", expected activations of ", dtype_of<typename S::T>(), "."));
    return inputs[k].shape;
  }
  /// Shape of input k, which must be labels.
  const Shape<S::kDim>& labels(std::size_t k) const {
    if (inputs[k].dtype != Dtype::u8 && inputs[k].dtype != Dtype::u16)
      throw Error(Code::bad_argument, "input", text("input ", k, " is ", inputs[k], ", expected labels of u8 or u16."));
    return inputs[k].shape;
  }
};

/// How the output may share memory with the inputs; a plan uses it, an eager tape never does.
/// in_place  y may overwrite x[0], and dx[0] may overwrite dy.
/// stacked   inputs are consecutive channel ranges of the output: where a plan has placed them there is nothing to copy.
enum class Sharing { none, in_place, stacked };

/// How an output that backward reads may be made again, exactly and without arithmetic that counts, so that a plan need not
/// keep it: forward is called once more with Forward::again.
/// from_inputs  out of all inputs
/// from_saved   out of the saved bytes, and of all inputs but the first
enum class Again { never, from_inputs, from_saved };

/// What an op says before anything is allocated. Sizes in bytes.
template <AnySpec S> struct Inferred {
  Shape<S::kDim> shape{};                    // of the output
  Dtype dtype = dtype_of<typename S::T>();   // of the output
  Index saved = 0;                           // what forward leaves for backward: statistics, positions, raw convolution output
  Index forward_scratch = 0, backward_scratch = 0;   // what only one call needs
  Index dy_scratch = 0;        // of backward_scratch: not needed where dy may be overwritten (Backward::dy_dies)
  Index prepared = 0;          // weights in the kernel's own form, made by prepare() when they change
  bool reads_inputs = false;   // backward looks at x; where it does not say so, x and y arrive without data
  bool reads_output = false;   // backward looks at y
  bool reads_prepared = false;   // backward looks at prepared weights
  Sharing sharing = Sharing::none;
  Again again = Again::never;
  Index ahead = 0;   // y may overlap a packed x[0], being written at most so many voxels ahead of what is read; 0: it must not
  int choice = 0;    // of a kernel, made from the facts; forward and backward get it back
};

template <AnySpec S> struct Forward {
  Context<typename S::Device>& ctx;
  Mode mode;
  int choice;
  std::span<const AnyView<S::kDim>> inputs;
  AllWeights<S> w;
  AnyView<S::kDim> output;
  Bytes saved, scratch, prepared;
  RandomKey key;
  bool again = false;   // an earlier call with these inputs left what is saved; only the output is missing

  In<S> x(std::size_t k = 0) const { return inputs[k].template as<const typename S::T>(); }
  Out<S> y() const { return output.template as<typename S::T>(); }
};

/// dx is assigned (without data: nobody wants it); dw is added to (empty: frozen).
template <AnySpec S> struct Backward {
  Context<typename S::Device>& ctx;
  Mode mode;
  int choice;
  std::span<const AnyView<S::kDim>> inputs;
  AllWeights<S> w;
  AnyView<S::kDim> output, output_gradient;
  std::span<const AnyView<S::kDim>> input_gradients;
  std::span<const std::span<typename S::Acc>> dw;
  Bytes saved, scratch;
  RandomKey key;
  bool dy_dies = false;   // nobody reads dy afterwards: the op may write on it
  Bytes prepared{};       // as in forward, where Inferred::reads_prepared asked for it

  In<S> x(std::size_t k = 0) const { return inputs[k].template as<const typename S::T>(); }
  In<S> y() const { return output.template as<const typename S::T>(); }
  In<S> dy() const { return output_gradient.template as<const typename S::T>(); }
  Out<S> dx(std::size_t k = 0) const {
    return input_gradients[k] ? input_gradients[k].template as<typename S::T>() : Out<S>{nullptr, input_gradients[k].shape, 0};
  }
  bool wants(std::size_t k = 0) const { return static_cast<bool>(input_gradients[k]); }
};

template <AnySpec S> struct Prepare {
  Context<typename S::Device>& ctx;
  int choice;
  std::span<const ValueInfo<S::kDim>> inputs;
  AllWeights<S> w;
  Bytes prepared;
};

/// One output; inputs are activations or labels, weights are parameters. An op whose Inferred::prepared is not 0 also has
/// prepare(Prepare<S>).
template <class O, class S>
concept Op = requires(const O op, const Facts<S>& facts, const Forward<S>& f, const Backward<S>& b) {
  { op.name() } -> std::convertible_to<std::string_view>;
  { op.infer(facts) } -> std::same_as<Inferred<S>>;
  op.forward(f);
  op.backward(b);
};

/// Says once, however many kernels are missing, what to include.
template <class Device> void no_kernel() {
  static_assert(!kIncluded<Device>,
                "ctseg: this op has no kernel here. Include <ctseg/ops/cpu.hpp> for Cpu, or specialise Kernel<Algorithm, S>");
}

/// Numerics of one algorithm on one device: Kernel<Convolution, S>. ops/cpu and ops/cuda specialise it; the primary explains.
/// It accepts every call, so that missing kernels are one error and not a page of them.
template <class Algorithm, AnySpec S> struct Kernel {
  struct Bytes {
    Index saved = 0, scratch = 0, forward_scratch = 0, backward_scratch = 0;
  };
  struct Any {
    template <class T> operator T() const { return {}; }
  };
  static Bytes memory(auto&&...) { return no_kernel<typename S::Device>(), Bytes{}; }
  static Any choose(auto&&...) { return no_kernel<typename S::Device>(), Any{}; }
  static Index scratch(auto&&...) { return no_kernel<typename S::Device>(), 0; }
  static Index prepared_bytes(auto&&...) { return no_kernel<typename S::Device>(), 0; }
  static void prepare(auto&&...) { no_kernel<typename S::Device>(); }
  static void forward(auto&&...) { no_kernel<typename S::Device>(); }
  static void backward(auto&&...) { no_kernel<typename S::Device>(); }
  static void apply(auto&&...) { no_kernel<typename S::Device>(); }
  static void copy(auto&&...) { no_kernel<typename S::Device>(); }
  static void add(auto&&...) { no_kernel<typename S::Device>(); }
  static void fill(auto&&...) { no_kernel<typename S::Device>(); }
};

}   // namespace ctseg
