// Networks behind one type, so that a program can hold whatever a file names. What is erased is the class, not the spec: there
// is one type for each scalar, rank and device, and what takes a network (Predictor, fit, save_weights, summarize, the ONNX
// export) takes it as any other and is compiled for it once.
#pragma once
#include <memory>
#include <utility>

#include "../nn/fold.hpp"
#include "../nn/plan.hpp"
#include "../nn/predictor.hpp"
#include "../nn/summary.hpp"
#include "../ops/cpu.hpp"
#include "network.hpp"

namespace ctseg {

/// Any network of one spec. Copies are deep.
template <AnySpec S> class AnyNetwork {
 public:
  using Spec = S;
  static constexpr std::size_t kRank = static_cast<std::size_t>(S::kDim);

  /// `least` is the smallest extent of an input, for networks without a divisor.
  template <class Net>
  requires(!std::is_same_v<Net, AnyNetwork>) explicit AnyNetwork(Net net, Index least = 1)
      : own_(std::make_unique<Own<Net>>(std::move(net))), least_(least) {}
  AnyNetwork(const AnyNetwork& other) : own_(other.own_->copy()), least_(other.least_) {}
  AnyNetwork(AnyNetwork&&) noexcept = default;
  AnyNetwork& operator=(AnyNetwork other) noexcept {
    own_ = std::move(other.own_);
    least_ = other.least_;
    return *this;
  }

  void initialize(const Context<typename S::Device>& ctx) { own_->initialize(ctx); }
  Var<S> forward(Var<S> x) const { return own_->forward(x); }
  /// Logits of every head, finest first; of a network with one head, just those.
  std::vector<Var<S>> forward_deep(Var<S> x) const { return own_->forward_deep(x); }

  /// What an input's sizes must be multiples of, and at least.
  std::array<Index, kRank> divisor() const { return own_->divisor(); }
  Index least_extent() const { return least_; }

  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    if constexpr (requires(Block<S> & b) { f.block(b); }) {   // as Block::each does
      for (Block<S>* b : self.own_->blocks()) f.block(*b);
    } else {
      using P = std::conditional_t<std::is_const_v<Self>, const Parameter<S>, Parameter<S>>;
      for (auto& [name, p] : self.own_->named()) f(prefix + name, static_cast<P&>(*p));
    }
  }
  std::vector<Parameter<S>*> parameters() { return parameters_of<S>(*this); }

 private:
  struct Holder {
    virtual ~Holder() = default;
    virtual std::unique_ptr<Holder> copy() const = 0;
    virtual void initialize(const Context<typename S::Device>& ctx) = 0;
    virtual Var<S> forward(Var<S> x) const = 0;
    virtual std::vector<Var<S>> forward_deep(Var<S> x) const = 0;
    virtual std::array<Index, kRank> divisor() const = 0;
    virtual std::vector<std::pair<std::string, Parameter<S>*>> named() = 0;
    virtual std::vector<Block<S>*> blocks() = 0;
  };
  template <class Net> struct Own final : Holder {
    Net net;
    explicit Own(Net n) : net(std::move(n)) {}

    std::unique_ptr<Holder> copy() const override { return std::make_unique<Own>(net); }
    void initialize(const Context<typename S::Device>& ctx) override { net.initialize(ctx); }
    Var<S> forward(Var<S> x) const override { return net.forward(x); }
    std::vector<Var<S>> forward_deep(Var<S> x) const override {
      if constexpr (requires { net.forward_deep(x); })
        return net.forward_deep(x);
      else
        return {net.forward(x)};
    }
    std::array<Index, kRank> divisor() const override {
      if constexpr (requires { net.divisor(); }) {
        return Axes<S::kDim>(net.divisor()).value;
      } else {
        return Axes<S::kDim>(1).value;
      }
    }
    std::vector<std::pair<std::string, Parameter<S>*>> named() override {
      std::vector<std::pair<std::string, Parameter<S>*>> all;
      visit(net, [&](const std::string& name, Parameter<S>& p) { all.emplace_back(name, &p); });
      return all;
    }
    std::vector<Block<S>*> blocks() override {
      std::vector<Block<S>*> all;
      const auto keep = [&all](Block<S>& b) { all.push_back(&b); };
      visit(net, BlockVisitor<decltype(keep)>{keep});
      return all;
    }
  };

  std::unique_ptr<Holder> own_;   // a const network hands out const parameters only (each)
  Index least_;
};

/// Windows as a program without a rank has them: extents in the order z, y, x, or y, x.
struct WindowShape {
  std::vector<Index> extent{};
  Index batch = 1;
};

/// A network of either rank with the options that it was made from.
template <class T, class Device> class AnyModelOf {
 public:
  template <int Dim> using Network = AnyNetwork<Spec<T, Dim, Device>>;

  AnyModelOf(NetworkConfig config, std::variant<Network<2>, Network<3>> network)
      : config_(std::move(config)), network_(std::move(network)) {}

  const NetworkConfig& config() const { return config_; }
  int dim() const { return dim_of(config_); }
  std::string name() const { return name_of(config_); }
  Index in_channels() const { return in_channels_of(config_); }
  Index out_channels() const { return out_channels_of(config_); }

  /// f(AnyNetwork<Spec<T, 2 or 3, Device>>&): what it calls is compiled for two types, not for every network.
  template <class F> decltype(auto) visit(F f) { return std::visit(f, network_); }
  template <class F> decltype(auto) visit(F f) const { return std::visit(f, network_); }

  void initialize(const Context<Device>& ctx) {
    visit([&](auto& net) { net.initialize(ctx); });
  }
  Index parameter_count() const {
    return visit([](const auto& net) { return ctseg::parameter_count(net); });
  }
  /// What an input's sizes must be multiples of, in the order z, y, x, or y, x.
  std::vector<Index> divisor() const {
    return visit([](const auto& net) {
      const auto d = net.divisor();
      return std::vector<Index>(d.begin(), d.end());
    });
  }
  /// Errors    bad_argument or shape_mismatch for windows that the network cannot take, with what it could.
  void check_window(const WindowShape& window) const {
    visit([&](const auto& net) {
      const auto shape = shape_of(net, window);
      check_divisible(shape, net.divisor(), name());
      for (const Index e : shape.space)
        if (e < net.least_extent())
          throw Error(Code::shape_mismatch, name(),
                      text("input ", shape, " is too small; every axis needs ", net.least_extent(), " or more."));
    });
  }

  /// What inference of such windows needs, found from shapes alone.
  MemoryEstimate memory(const WindowShape& window, const DeviceTraits<Device>& device = {}) const {
    return visit([&]<AnySpec S>(const AnyNetwork<S>& net) {
      Tape<S> tape(Mode::infer, device);
      const Var<S> y = net.forward(tape.input(shape_of(net, window)));
      return Plan<S>(tape, PlanOptions<S>{.outputs = {y}}).memory();
    });
  }
  /// The table of all layers, of summarize().
  std::string summary(const WindowShape& window, const DeviceTraits<Device>& device = {}) const {
    return visit([&](const auto& net) { return text(summarize(net, shape_of(net, window), device)); });
  }

  /// As of any model, so that save_weights, load_weights and fold_batch_norm take it.
  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    self.visit([&]<class Net>(Net& net) { std::remove_const_t<Net>::each(net, prefix, f); });
  }

 private:
  template <AnySpec S> Shape<S::kDim> shape_of(const AnyNetwork<S>&, const WindowShape& window) const {
    if (std::ssize(window.extent) != S::kDim)
      throw Error(Code::bad_argument, name(),
                  text("a window of ", window.extent.size(), " axes for a network of ", S::kDim, "."));
    Shape<S::kDim> shape{window.batch, in_channels(), {}};
    std::copy(window.extent.begin(), window.extent.end(), shape.space.begin());
    return shape;
  }

  NetworkConfig config_;
  std::variant<Network<2>, Network<3>> network_;
};
using AnyModel = AnyModelOf<float, Cpu>;

/// The one switch from options to a network. Who calls it compiles all networks of both ranks; a program of several files does
/// so in one of them:
///   template ctseg::AnyModel ctseg::make_model<float, ctseg::Cpu>(const ctseg::NetworkConfig&);          // in one file
///   extern template ctseg::AnyModel ctseg::make_model<float, ctseg::Cpu>(const ctseg::NetworkConfig&);   // in the others
/// Weights are zeros until initialize(), load_weights() or load_model().
/// Errors    those of the networks, for options that do not fit together.
template <class T = float, class Device = Cpu> AnyModelOf<T, Device> make_model(const NetworkConfig& config) {
  using Model = AnyModelOf<T, Device>;
  return std::visit(
      [&]<class OfDim>(const OfDim& options) {
        constexpr int kDim = std::is_same_v<OfDim, NetworkOptions<2>> ? 2 : 3;
        return std::visit(
            [&]<class Options>(const Options& o) {
              using Of = NetworkOf<Options>;
              using Net = typename Of::template Net<Spec<T, kDim, Device>>;
              return Model(config, typename Model::template Network<kDim>(Net(o), Of::kLeast));
            },
            options);
      },
      config);
}

#ifdef CTSEG_PREBUILT_RECIPES   // linked to ctseg::prebuilt, which holds these
CTSEG_PREBUILT_RECIPES template AnyModel make_model<float, Cpu>(const NetworkConfig&);
#endif

}   // namespace ctseg
