// A training that takes milliseconds a step: what tests of fit share.
#pragma once
#include <ctseg/models/unet.hpp>
#include <ctseg/ops/cpu.hpp>
#include <ctseg/train/fit.hpp>

/// Noise around labels that repeat.
inline ctseg::Case noise_case(std::uint64_t seed) {
  using namespace ctseg;
  const Grid grid{{.x = 18, .y = 18, .z = 18}, Affine<Ras>(Eigen::Matrix4d::Identity())};
  Case c{text("noise_", Index(seed)), Volume<float>(grid), Volume<std::uint8_t>(grid)};
  RandomStream random({seed});
  for (Index i = 0; i < grid.voxels(); ++i) {
    c.label.data()[i] = i % 7 < 3;
    c.image.data()[i] = static_cast<float>(c.label.data()[i] + random.normal());
  }
  return c;
}

/// A network in training, its options and its numbers.
template <ctseg::AnySpec S> struct SmallTraining {
  std::string log;
  ctseg::Context<typename S::Device> ctx;
  ctseg::UNet<S> net{{.out_channels = 2, .features = {4, 8}}};
  ctseg::AdamW<S> adam;
  ctseg::WeightAverage<S> average;
  ctseg::PatchSampler<S> sampler;

  explicit SmallTraining(std::stop_token cancel = {}, double learning_rate = 5e-3, ctseg::ProcessGroup* group = nullptr,
                         const ctseg::CudaOptions& cuda = {})
      : ctx({.threads = 1,
             .seed = 5,
             .cancel = std::move(cancel),
             .log = {[](void* user, std::string_view line) { (*static_cast<std::string*>(user) += line) += '\n'; }, &log},
             .group = group,
             .shared_statistics = group != nullptr && ctseg::Memory<typename S::Device>::kOnHost,
             .cuda = cuda}),
        adam((net.initialize(ctx), net.parameters()), {.learning_rate = learning_rate}),
        average(net.parameters(), {.decay = 0.9}),
        sampler({noise_case(1), noise_case(2), noise_case(3)}, {.patch = 16}) {}

  ctseg::FitResult fit(const ctseg::FitOptions<S>& o) { return ctseg::fit(ctx, net, adam, sampler, o); }
  std::vector<float> weights() const {
    std::vector<float> all;
    ctseg::visit(net, [&](const std::string&, const ctseg::Parameter<S>& p) {
      all.insert(all.end(), p.values().begin(), p.values().end());
    });
    return all;
  }
};

/// Validates by a list, and keeps what it is told.
struct Listener : ctseg::FitObserver {
  std::vector<double> scores;
  ctseg::Index memory = 0, validations = 0;
  std::vector<ctseg::FitProgress> steps;
  std::vector<ctseg::FitEpoch> epochs;
  std::vector<ctseg::FitPlan> plans;
  void on_plan(const ctseg::FitPlan& p) override { plans.push_back(p); }
  void on_step(const ctseg::FitProgress& p) override { steps.push_back(p); }
  void on_epoch(const ctseg::FitEpoch& e) override { epochs.push_back(e); }
  double validate(ctseg::Index) override { return scores.at(static_cast<std::size_t>(validations++)); }
  ctseg::Index validation_bytes() const override { return memory; }
};
