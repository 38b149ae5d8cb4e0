// Fifty steps of two whole recipes against MONAI and PyTorch: curves.safetensors, which make_curve_fixtures.py wrote. Once with
// the four lines of a loop of one's own, once by fit.
#include <doctest/doctest.h>

#include <ctseg/models/basic_unet.hpp>
#include <ctseg/ops/cpu.hpp>
#include <ctseg/optim/sgd.hpp>
#include <ctseg/train/fit.hpp>

#include "fixture_file.hpp"

using namespace ctseg;
using S = Spec<float, 3, Cpu>;

namespace {

constexpr Index kSteps = 50, kBatch = 2, kDepth = 16, kSide = 32;
constexpr double kMost = 1e-3;   // relative, of each of the fifty losses

/// Sample number n of the fixture's script: a ball in noise.
void make_sample(Index n, float* image, std::uint8_t* label) {
  const Index centre[] = {4 + n * 5 % 9, 8 + n * 7 % 17, 8 + n * 11 % 15}, radius = 4 + n % 5;
  for (Index i = 0; i < kDepth * kSide * kSide; ++i) {
    const Index z = i / (kSide * kSide) - centre[0], y = i / kSide % kSide - centre[1], x = i % kSide - centre[2];
    label[i] = z * z + y * y + x * x < radius * radius ? 1 : 0;
    std::uint32_t h = static_cast<std::uint32_t>(i + n * kDepth * kSide * kSide) * 0x9E3779B9U;
    h = (h ^ (h >> 16)) * 0x85EBCA6BU;
    h = (h ^ (h >> 13)) * 0xC2B2AE35U;
    const int noise = static_cast<int>((h ^ (h >> 16)) >> 24);
    image[i] = static_cast<float>(noise - 128 + 100 * label[i]) / 128;
  }
}

/// What fit asks of a sampler, with given samples in place of drawn ones.
class GivenSamples {
 public:
  Shape<3> shape(Index batch) const { return {batch, 1, {kDepth, kSide, kSide}}; }
  const std::vector<Case>& cases() const { return cases_; }
  std::uint8_t largest_label() const { return 1; }
  std::vector<std::size_t> fill(const RandomKey&, Index first, Out<S> images, View<std::uint8_t, 3> labels) const {
    for (Index n = 0; n < images.shape.n; ++n) make_sample(first + n, images.at(n, 0), labels.at(n, 0));
    return std::vector<std::size_t>(static_cast<std::size_t>(images.shape.n), 0);
  }

 private:
  static Volume<float> one_voxel() { return Volume<float>(Grid{{1, 1, 1}, Affine<Ras>(Eigen::Matrix4d::Identity())}); }
  std::vector<Case> cases_{{"made up", one_voxel(), Volume<std::uint8_t>(one_voxel().grid())}};
};

struct Recipe {
  const char* name;
  Schedule schedule;
  double clip_norm;
};
const Recipe kAdamW{"adamw", {.kind = ScheduleKind::cosine, .warm_up = 5}, 0.5};
const Recipe kSgd{"sgd", {.kind = ScheduleKind::poly}, 0.5};

struct Setup {
  test::Fixture fixture{"curves"};
  Context<Cpu> ctx{{.threads = 2}};
  BasicUNet<S> net{{.features = {4, 8, 8, 16, 16, 4}}};
  GivenSamples samples;

  Setup() {
    visit(net, [&](const std::string& key, Parameter<S>& p) {
      REQUIRE(fixture.extents("weight." + key) == p.shape());
      const auto from = fixture.values("weight." + key);
      const auto to = p.edit();
      for_file_order(p, [&](Index memory, Index file) {
        to[static_cast<std::size_t>(memory)] = static_cast<float>(from[static_cast<std::size_t>(file)]);
      });
    });
  }

  void check(const std::string& recipe, const std::vector<double>& losses, const std::vector<double>& norms) const {
    const auto expected = fixture.values(recipe), exact = fixture.values(recipe + ".double");
    const auto lengths = fixture.values(recipe + ".norms");
    REQUIRE(std::ssize(losses) == kSteps);
    REQUIRE(std::ssize(expected) == kSteps);
    double worst = 0, worst_exact = 0, worst_norm = 0;
    for (std::size_t i = 0; i < losses.size(); ++i) {
      worst = std::max(worst, std::abs(losses[i] / expected[i] - 1));
      worst_exact = std::max(worst_exact, std::abs(losses[i] / exact[i] - 1));
      worst_norm = std::max(worst_norm, std::abs(norms[i] / lengths[i] - 1));
    }
    MESSAGE(recipe << ": " << losses.front() << " to " << losses.back() << ", at most " << worst << " from PyTorch's curve, "
                   << worst_exact << " from that in double; lengths of gradients " << worst_norm);
    CHECK(worst <= kMost);
    CHECK(worst_exact <= kMost);
    CHECK(losses.back() < 0.8 * losses.front());   // it learns: a curve that stands still would be easy to meet
  }
};

template <class Optimizer> void check_four_lines(const Recipe& recipe, const auto& options) {
  Setup t;
  Optimizer optimizer(t.net.parameters(), options);
  Gradients<S> gradients(t.net.parameters());
  Tensor<float, 3> images(t.samples.shape(kBatch));
  Tensor<std::uint8_t, 3> labels(t.samples.shape(kBatch));
  std::vector<double> losses, norms;
  for (Index step = 0; step < kSteps; ++step) {
    t.samples.fill({}, step * kBatch, images.view(), labels.view());
    gradients.zero();
    Tape<S> tape(Mode::train, t.ctx);
    const Var<S> logits = t.net.forward(tape.input(std::as_const(images).view()));
    const Var<S> loss = dice_ce(logits, tape.input(std::as_const(labels).view()));
    tape.backward(loss, gradients);
    norms.push_back(clip_gradient_norm(t.ctx, gradients, recipe.clip_norm));
    optimizer.step(t.ctx, gradients, schedule_factor(recipe.schedule, step, kSteps));
    losses.push_back(loss.scalar());
  }
  t.check(recipe.name, losses, norms);
}

template <class Optimizer> void check_fit(const Recipe& recipe, const auto& options) {
  Setup t;
  Optimizer optimizer(t.net.parameters(), options);
  std::vector<double> losses, norms;
  auto watch = on_step([&](const FitProgress& p) { losses.push_back(p.last_loss), norms.push_back(p.gradient_norm); });
  fit(t.ctx, t.net, optimizer, t.samples,
      {.steps = kSteps, .batch = kBatch, .schedule = recipe.schedule, .clip_norm = recipe.clip_norm, .observer = &watch});
  t.check(recipe.name, losses, norms);
}

const AdamWOptions kAdamWOptions{.learning_rate = 1e-3, .weight_decay = 1e-2};
const SgdOptions kSgdOptions{.learning_rate = 1e-2, .momentum = 0.99, .weight_decay = 3e-5, .nesterov = true};

}   // namespace

TEST_CASE("fifty steps of AdamW, warm-up, cosine and clipping lie on PyTorch's loss curve") {
  check_four_lines<AdamW<S>>(kAdamW, kAdamWOptions);
  check_fit<AdamW<S>>(kAdamW, kAdamWOptions);
}

TEST_CASE("fifty steps of nnU-Net's SGD, poly and clipping lie on PyTorch's loss curve") {
  check_four_lines<Sgd<S>>(kSgd, kSgdOptions);
  check_fit<Sgd<S>>(kSgd, kSgdOptions);
}
