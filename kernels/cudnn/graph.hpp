// Operation graphs of convolutions, and plans for them: heuristics, notes, workspace. For a card, or for the description of
// one: then everything but running works, on machines without a driver.
#pragma once
#include <array>
#include <optional>
#include <string_view>

#include "../conv/pass.hpp"
#include "descriptor.hpp"

namespace ctseg::cudnn {

/// What a plan is made for.
class Target {
 public:
  /// The current card; `handle` must outlive it.
  Target(const Library& library, cudnnHandle_t handle) : library_(&library), handle_(handle) {}
  /// A card that is not here, as cuDNN describes one (DEVICEPROP_JSON_REPRESENTATION).
  Target(const Library& library, std::string_view json);

  const Library& library() const { return *library_; }
  /// Sets whichever of the two attributes fits.
  void tell(Descriptor& d, const Attribute* handle, const Attribute* properties) const;

 private:
  const Library* library_;
  cudnnHandle_t handle_ = nullptr;
  std::optional<Descriptor> properties_;
};

/// A dense tensor in logical order N, C, (D,) H, W; a virtual one never reaches memory.
struct Tensor {
  std::int64_t id = 0;
  Dtype dtype = Dtype::f32;
  std::vector<std::int64_t> extents, strides;
  bool is_virtual = false;
};
/// The tensors of a convolution have these names in its graph. Filters are [channels of the output side, taps, those of the
/// input side] in memory.
enum Id : std::int64_t { kInput = 1, kFilter, kOutput, kBias, kScale, kShift, kSlope, kZero, kSum, kSquares, kInner = 100 };

/// The input side, the filter or the output side of a convolution; axes of extent 1 that nothing moves along are left out.
/// Always packed: of a channel range of a wider value cuDNN makes a hidden copy in its workspace, or takes its slowest engine.
Tensor tensor_of(const cuda::ConvPass& pass, Id id);
/// One value per channel of that tensor.
Tensor per_channel(const Tensor& like, std::int64_t id);

/// Operations in order. All arithmetic is in float.
class Graph {
 public:
  explicit Graph(const Target& target) : target_(&target) {}

  void convolution(const cuda::ConvPass& pass, const Tensor& input, const Tensor& filter, const Tensor& output);
  /// y = mode(x, b), or for BINARY_SELECT: t ? x : b.
  struct Pointwise {
    cudnnPointwiseMode_t mode;
    const Tensor* x;
    const Tensor* b = nullptr;
    const Tensor* t = nullptr;
    const Tensor* y;
    std::optional<double> slope{};   // of a leaky ReLU
  };
  void pointwise(const Pointwise&);
  void add_up(const Tensor& x, const Tensor& y);

  Descriptor finish() const;

 private:
  Descriptor tensor(const Tensor&) const;
  const Target* target_;
  std::vector<Descriptor> operations_;
};

/// y = conv(x), or one of its gradients.
Descriptor convolution_graph(const Target&, const cuda::ConvPass&);
/// y = act(conv(x) + bias), one launch; act is a leaky ReLU, or nothing without a slope. For forward passes.
Descriptor biased_graph(const Target&, const cuda::ConvPass&, std::optional<double> slope);
/// x -> act(x * scale + shift) -> convolution -> raw y, and sums of y and y^2 per channel: a whole block between two
/// convolutions in one launch. Zero padding acts behind the activation. act is PReLU (kSlope, per channel), or a leaky ReLU.
/// Not used yet: whether it is faster, and its borders, are to be seen on a card.
Descriptor block_graph(const Target&, const cuda::ConvPass&, std::optional<double> slope);

struct PlanLimits {
  Index workspace = 0;
  bool tensor_cores = true;   // for float they mean TF32
  bool deterministic = true;
  bool compile = true;   // engines that are compiled when the plan is made
};
struct Plan {
  Descriptor descriptor;
  Index workspace = 0;
  std::int64_t engine = -1;   // cuDNN's number
  bool tensor_cores = false;
};
/// The first plan of cuDNN's heuristics that keeps the limits: mode A, then B and FALLBACK where nothing of it does. Always
/// the same for one version and card. None: `why` says what the last one lacked.
std::optional<Plan> choose_plan(const Target&, const Descriptor& graph, const PlanLimits&, std::string* why = nullptr);
/// How many engine configurations the heuristics propose that keep the notes; no plan is made.
int count_configurations(const Target&, const Descriptor& graph, const PlanLimits&);

/// A plan as text and back, for a cache on disk; none where this cuDNN cannot.
std::optional<std::string> to_json(const Plan&);
std::optional<Plan> from_json(const Target&, const std::string& json);

}   // namespace ctseg::cudnn
