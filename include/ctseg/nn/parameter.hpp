// What a model owns (parameters) and what a trainer owns (their gradients).
#pragma once
#include <cmath>
#include <memory>
#include <vector>

#include "../core/finite.hpp"
#include "../ops/op.hpp"

namespace ctseg {

/// trained: the optimizer descends. averaged: a running statistic; backward adds (running - batch) where a gradient would be,
/// and the optimizer follows it at `average_rate`. So a model stays const while it runs, and recomputing cannot count a batch
/// twice.
enum class Role { trained, averaged };

/// How the values of a parameter lie in memory, against PyTorch's order in files.
/// plain            as they are
/// conv             [k..., Cin, Cout] for [Cout, Cin, k...]
/// conv_transposed  [k..., Cin, Cout] for [Cin, Cout, k...]
/// Groups follow each other, each in this order: memory [group, k..., Cin / groups, Cout / groups].
enum class WeightLayout { plain, conv, conv_transposed };

struct ParameterOptions {
  std::vector<Index> shape{};   // as PyTorch prints it
  WeightLayout layout = WeightLayout::plain;
  Index groups = 1;   // of a convolution; divides extent 0
  double fill = 0;
  Role role = Role::trained;
  double average_rate = 0.1;   // of averaged parameters: PyTorch's momentum
};

/// Values of fixed number at a fixed address (moving the model keeps it), with a count of their changes.
template <AnySpec S> class Parameter {
 public:
  using Acc = typename S::Acc;

  Parameter() = default;   // absent: a convolution without bias
  explicit Parameter(ParameterOptions options) : options_(std::move(options)), block_(std::make_shared<Block>()) {
    Index size = 1;
    for (Index e : options_.shape) {
      if (e <= 0 || size > kMostValues / e)
        throw Error(Code::bad_argument, "parameter",
                    text("an extent of ", e, " after ", size,
                         " values; channels and kernels must be 1 or more, and values at most ", kMostValues, "."));
      size *= e;
    }
    if (options_.groups < 1 || (options_.groups > 1 && (options_.shape.empty() || options_.shape[0] % options_.groups != 0)))
      throw Error(Code::bad_argument, "parameter",
                  text(options_.groups, " groups of an extent of ", options_.shape.empty() ? 0 : options_.shape[0],
                       "; groups must be 1 or more and divide it."));
    block_->values.assign(static_cast<std::size_t>(size), static_cast<Acc>(options_.fill));
    block_->residence.bind(block_->values, block_->version);
  }
  Parameter(const Parameter& other) : options_(other.options_) {
    if (!other.block_) return;
    block_ = std::make_shared<Block>();
    block_->version = other.block_->version;
    block_->values.assign(other.values().begin(), other.values().end());
    block_->residence.bind(block_->values, block_->version);
  }
  // Not inlined: a network has dozens of parameters, and code that moves or ends it would hold a copy of this for each.
  [[gnu::noinline]] Parameter(Parameter&& other) noexcept
      : options_(std::move(other.options_)), block_(std::move(other.block_)) {}
  [[gnu::noinline]] ~Parameter() {}
  Parameter& operator=(Parameter&&) noexcept = default;
  /// Copies values into the memory there is, where they fit: plans and optimizers of this model stay valid.
  Parameter& operator=(const Parameter& other) {
    if (!block_ || !other.block_ || size() != other.size()) return *this = Parameter(other);
    options_ = other.options_;
    const std::span<const Acc> from = other.values();
    std::copy(from.begin(), from.end(), edit().begin());
    return *this;
  }
  /// The same values, not a copy: what an optimizer holds, so that moving or ending the model cannot leave it behind.
  Parameter share() const {
    Parameter same;
    same.options_ = options_;
    same.block_ = block_;
    return same;
  }

  operator Weights<S>() const {
    if (!block_) return {};
    return {block_->values.data(), size(), &block_->version, block_->residence.link()};
  }
  bool present() const { return block_ != nullptr; }
  Index size() const { return block_ ? std::ssize(block_->values) : 0; }
  /// On the host; what a device has changed since comes back first.
  std::span<const Acc> values() const {
    if (!block_) return {};
    block_->residence.to_host();
    return block_->values;
  }
  /// To write: counts as a change, so that weights prepared for a kernel, and a device's copy, are made again.
  std::span<Acc> edit() {
    if (!block_) return {};
    block_->residence.to_host();
    ++block_->version;
    return block_->values;
  }

  const std::vector<Index>& shape() const { return options_.shape; }
  WeightLayout layout() const { return options_.layout; }
  Index groups() const { return options_.groups; }
  Role role() const { return options_.role; }
  double average_rate() const { return options_.average_rate; }
  /// PyTorch's fan-in: extent 1 times the kernel; 0 for vectors.
  Index fan_in() const {
    if (options_.shape.size() < 2) return 0;
    Index fan = 1;
    for (std::size_t d = 1; d < options_.shape.size(); ++d) fan *= options_.shape[d];
    return fan;
  }

 private:
  static constexpr Index kMostValues = Index{1} << 40;
  struct Block {
    std::uint64_t version = 0;
    std::vector<Acc> values{};
    [[no_unique_address]] Residence<typename S::Device> residence{};
  };
  ParameterOptions options_;
  std::shared_ptr<Block> block_;
};

/// f(memory index, file index) for every value: the one place that knows both orders.
template <AnySpec S, class F> void for_file_order(const Parameter<S>& p, F f) {
  if (p.layout() == WeightLayout::plain) {
    for (Index i = 0; i < p.size(); ++i) f(i, i);
    return;
  }
  const bool transposed = p.layout() == WeightLayout::conv_transposed;
  const Index first = p.shape()[0] / p.groups(), second = p.shape()[1];   // channels of one group
  const Index in = transposed ? first : second, out = transposed ? second : first, group = p.size() / p.groups();
  const Index taps = group / (in * out);
  for (Index start = 0; start < p.size(); start += group)   // a group is one block in both orders
    for (Index tap = 0; tap < taps; ++tap)
      for (Index i = 0; i < in; ++i)
        for (Index o = 0; o < out; ++o)
          f(start + (tap * in + i) * out + o, start + (transposed ? i * out + o : o * in + i) * taps + tap);
}

/// f(name, parameter) for every parameter of a model, const or not, in a fixed order. A model offers
/// `template <class Self, class F> static void each(Self&, const std::string& prefix, F)`.
template <class Model, class F> void visit(Model& model, F f) { std::remove_const_t<Model>::each(model, "", f); }

template <AnySpec S, class Model> std::vector<Parameter<S>*> parameters_of(Model& model) {
  std::vector<Parameter<S>*> all;
  visit(model, [&](const std::string&, Parameter<S>& p) { all.push_back(&p); });
  return all;
}

/// Values that the optimizer trains; running statistics are not counted, as in PyTorch.
template <class Model> Index parameter_count(const Model& model) {
  Index count = 0;
  visit(model, [&](const std::string&, const auto& p) { count += p.role() == Role::trained ? p.size() : 0; });
  return count;
}

/// Where the gradients of a set of parameters lie in one flat buffer: trained parameters first, in the order given, then running
/// statistics. `align`: every parameter begins at a multiple of so many values.
template <AnySpec S> class GradientPlaces {
 public:
  struct Place {
    const typename S::Acc* key;
    std::size_t first, size;
  };

  GradientPlaces(const std::vector<Parameter<S>*>& parameters, std::size_t align) {
    for (const Role role : {Role::trained, Role::averaged}) {
      for (const auto* p : parameters) {
        if (p->role() != role) continue;
        const auto count = static_cast<std::size_t>(p->size());
        places_.push_back({Weights<S>(*p).data(), size_, count});
        size_ += (count + align - 1) / align * align;
      }
      if (role == Role::trained) trained_ = size_;
    }
    std::sort(places_.begin(), places_.end(), [](const Place& a, const Place& b) { return a.key < b.key; });
  }

  /// Null for parameters outside the set.
  const Place* of(const Weights<S>& weights) const {
    const auto place = std::lower_bound(places_.begin(), places_.end(), weights.data(),
                                        [](const Place& p, const typename S::Acc* key) { return p.key < key; });
    return weights.empty() || place == places_.end() || place->key != weights.data() ? nullptr : &*place;
  }
  std::size_t size() const { return size_; }
  std::size_t trained() const { return trained_; }

 private:
  std::vector<Place> places_;
  std::size_t size_ = 0, trained_ = 0;
};

/// The gradients of a set of parameters in one flat buffer: zero, clip, all-reduce and step are single loops. Not part of the
/// model, so that threads can train one const model and add up. Parameters outside the set are frozen. Here in the host's
/// memory; nn/cuda/gradients.hpp has the card's.
template <AnySpec S> class Gradients {
 public:
  using Acc = typename S::Acc;
  explicit Gradients(const std::vector<Parameter<S>*>& parameters) : places_(parameters, 1), flat_(places_.size()) {}

  std::span<Acc> of(const Weights<S>& weights) {
    const auto* place = places_.of(weights);
    return place ? std::span(flat_).subspan(place->first, place->size) : std::span<Acc>();
  }
  std::span<Acc> flat() { return flat_; }
  std::span<const Acc> flat() const { return flat_; }
  /// Without the running statistics: these lie first, in the order of the parameters given.
  std::span<Acc> trained() { return std::span(flat_).first(places_.trained()); }
  std::span<const Acc> trained() const { return std::span(flat_).first(places_.trained()); }
  /// The running statistics behind these.
  std::span<Acc> statistics() { return std::span(flat_).subspan(places_.trained()); }
  /// All, and the loss.
  void zero() { std::fill(flat_.begin(), flat_.end(), Acc(0)), loss_ = 0; }
  /// Multiplies those of trained parameters; false if one of all is not finite then.
  bool scale(Acc factor) {
    if (factor != Acc(1))
      for (Acc& g : trained()) g *= factor;
    return all_finite(flat());
  }

  /// Statistics, summed over processes, as their mean again.
  void share_statistics(int processes) {
    for (Acc& g : statistics()) g /= static_cast<Acc>(processes);
  }
  /// Sums over a group: a range of all, begun; and the end of what was begun.
  void begin_sum(ProcessGroup& group, std::size_t first, std::size_t count) { group.begin_sum(flat().subspan(first, count)); }
  void finish_sum(ProcessGroup& group) { group.finish(); }

  /// The loss that they descend, added up over the batches of a step: so much of a value that the context's device holds.
  void add_loss(Context<typename S::Device>& ctx, const Acc* loss, double share) {
    loss_ += static_cast<double>(ctx.read(loss)) * share;
  }
  double loss() const { return loss_; }
  void set_loss(double loss) { loss_ = loss; }

 private:
  GradientPlaces<S> places_;
  std::vector<Acc> flat_;
  double loss_ = 0;
};

#ifdef CTSEG_PREBUILT   // linked to ctseg::prebuilt, which holds these
CTSEG_PREBUILT template class Parameter<Spec<float, 2, Cpu>>;
CTSEG_PREBUILT template class Gradients<Spec<float, 2, Cpu>>;
CTSEG_PREBUILT template class Parameter<Spec<float, 3, Cpu>>;
CTSEG_PREBUILT template class Gradients<Spec<float, 3, Cpu>>;
#endif

}   // namespace ctseg
