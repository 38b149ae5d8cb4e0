// Training on the card beside training on the CPU: losses, checkpoints that pass from one to the other, skipped steps, groups,
// and a card that is too small.
#include <doctest/doctest.h>

#include <cstdlib>

#include <ctseg/cuda.hpp>
#include <ctseg/data/augment/recipes.hpp>
#include <ctseg/data/cuda/patch_sampler.hpp>
#include <ctseg/loss/weighted_sum.hpp>
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/optim/sgd.hpp>

#include "io/temp_folder.hpp"
#include "train/small_training.hpp"

using namespace ctseg;
using Host = Spec<float, 3, Cpu>;
using Card = Spec<float, 3, Cuda>;

namespace {

/// Keeps the loss of every step.
struct Losses final : FitObserver {
  std::vector<double> all, norms;
  void on_step(const FitProgress& p) override { all.push_back(p.last_loss), norms.push_back(p.gradient_norm); }
};
void check_alike(const std::vector<double>& a, const std::vector<double>& b, double epsilon) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    CAPTURE(i);
    CHECK(b[i] == doctest::Approx(a[i]).epsilon(epsilon));
  }
}

template <AnySpec S> std::vector<double> basic_unet_losses() {
  Context<typename S::Device> ctx({.threads = 2, .seed = 3});
  BasicUNet<S> net({.features = {2, 2, 4, 4, 4, 2}});
  net.initialize(ctx);
  Sgd<S> sgd(net.parameters(), {.learning_rate = 1e-2, .momentum = 0.99, .weight_decay = 3e-5, .nesterov = true});
  const PatchSampler<S> sampler({noise_case(1), noise_case(2)}, {.patch = {16, 16, 32}});
  Losses losses;
  fit(ctx, net, sgd, sampler, {.steps = 5, .batch = 1, .observer = &losses});
  return losses.all;
}

template <AnySpec S> struct Trained {
  SmallTraining<S> t;
  Losses losses;
  FitResult result;
  explicit Trained(FitOptions<S> o, double average = 0, ProcessGroup* group = nullptr, CudaOptions cuda = {})
      : t({}, 5e-3, group, cuda) {
    o.observer = &losses;
    if (average > 0) o.average = &t.average;
    t.sampler = PatchSampler<S>({noise_case(1), noise_case(2), noise_case(3)}, {.patch = 8});
    result = t.fit(o);
  }
};

double apart(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double far = 0;
  for (std::size_t i = 0; i < a.size(); ++i) far = std::max(far, std::abs(double(a[i]) - double(b[i])));
  return far;
}

/// Stands for two processes that have the same gradients.
struct Twins final : ProcessGroup {
  int rank() const override { return 0; }
  int size() const override { return 2; }
  void sum(std::span<float> values) override { twice(values); }
  void sum(std::span<double> values) override { twice(values); }
  void begin_sum(std::span<float> values) override { twice(values); }
  void begin_sum(std::span<double> values) override { twice(values); }
  void advance() override {}
  void finish() override {}
  void broadcast(std::span<std::byte>) override {}
  template <class T> static void twice(std::span<T> values) {
    for (T& v : values) v *= 2;
  }
};

}   // namespace

TEST_CASE("BasicUNet with SGD: five losses as on the CPU") {
  check_alike(basic_unet_losses<Host>(), basic_unet_losses<Card>(), 1e-5);
}

TEST_CASE("AdamW, clipping, two batches a step and an average: losses, norms and weights as on the CPU") {
  const auto options = []<AnySpec S>() {
    return FitOptions<S>{.steps = 6, .batch = 1, .accumulate = 2, .clip_norm = 0.5, .workers = 1};
  };
  Trained<Host> host(options.operator()<Host>(), 0.9);
  Trained<Card> card(options.operator()<Card>(), 0.9);
  check_alike(host.losses.all, card.losses.all, 1e-5);
  check_alike(host.losses.norms, card.losses.norms, 1e-4);
  CHECK(card.t.average.updates() == 6);
  CHECK(card.result.steps == 6);
  CHECK(apart(host.t.weights(), card.t.weights()) < 5e-4);   // of 6 steps of 5e-3: Adam divides by small numbers

  Trained<Card> eager(options.operator()<Card>(), 0.9, nullptr, {.graphs = false});
  CHECK((eager.t.weights() == card.t.weights()));
  CHECK((eager.losses.all == card.losses.all));
}

TEST_CASE("schedules, loss scales and averages reach a step that is one launch: the bits are those of its parts") {
  const auto options = []<AnySpec S>() {
    return FitOptions<S>{.steps = 9,
                         .batch = 2,
                         .schedule = {.kind = ScheduleKind::poly, .warm_up = 2},
                         .clip_norm = 0.5,
                         .loss_scaler = LossScalerOptions{.initial = 64, .interval = 4}};
  };
  Trained<Host> host(options.operator()<Host>(), 0.9);
  Trained<Card> parts(options.operator()<Card>(), 0.9, nullptr, {.graphs = false}), card(options.operator()<Card>(), 0.9);
  check_alike(host.losses.all, card.losses.all, 1e-5);
  CHECK((card.losses.all == parts.losses.all));
  CHECK((card.losses.norms == parts.losses.norms));
  CHECK((card.t.weights() == parts.t.weights()));
  CHECK(card.result.loss_scale == 256);
  CHECK((card.t.log.find("not recorded") == card.t.log.npos));
}

TEST_CASE("fit takes head and loss as one op, computes no logits, and its five steps are those of two ops") {
  const auto train = [](const Loss<Card>& loss) { return Trained<Card>({.steps = 5, .batch = 2, .loss = loss}); };
  const auto two_ops = train([](Var<Card> logits, Var<Card> labels) {
    return logits.tape->append(WeightedSumOp<Card>{{1}}, {dice_ce()(logits, labels)});
  });
  const auto joined = train(dice_ce());
  check_alike(two_ops.losses.all, joined.losses.all, 1e-5);
  CHECK(apart(joined.t.weights(), two_ops.t.weights()) < 5e-4);   // Adam divides by small numbers

  SmallTraining<Card> t;
  const FitOptions<Card> options{.batch = 1};
  const detail::TrainingStep<UNet<Card>> step(t.ctx, t.net, t.sampler, options, 2);
  CHECK(step.tape->nodes()[at(step.loss->id)].op->name() == "Conv+Loss");
  const Run<Card> run(*step.plan, t.ctx);
  CHECK_THROWS_WITH(run.output(step.outputs.front()), doctest::Contains("no output needs it"));
}

TEST_CASE("patches made on the card: cases cross once, and each run has the same bits") {
  const auto losses = [] {
    SmallTraining<Card> t;
    const DevicePatchSampler<Card> patches(t.ctx, {noise_case(1), noise_case(2)},
                                           {.patch = 8, .augment = nnunet_recipe({8, 8, 8})});
    Losses seen;
    ctseg::fit(t.ctx, t.net, t.adam, patches, {.steps = 3, .batch = 2, .observer = &seen});
    CHECK(patches.on_card().uploads() == 2);
    return seen.all;
  };
  const auto first = losses();
  CHECK(first.size() == 3);
  CHECK(losses() == first);
}

TEST_CASE("an interrupted training goes on with the same bits, and a checkpoint passes between card and CPU") {
  const TempFolder folder, other;
  const auto options = []<AnySpec S>(Index steps, const std::filesystem::path& path) {
    return FitOptions<S>{.steps = steps, .batch = 1, .steps_per_epoch = 3, .clip_norm = 1, .checkpoints = {.folder = path}};
  };
  Trained<Card> straight(options.operator()<Card>(5, {}), 0.9);
  Trained<Card>(options.operator()<Card>(3, folder.path), 0.9);
  std::filesystem::copy(folder.path, other.path, std::filesystem::copy_options::recursive);
  Trained<Card> rest(options.operator()<Card>(5, folder.path), 0.9);
  CHECK(rest.result.first_step == 3);
  CHECK((rest.t.weights() == straight.t.weights()));
  for (std::size_t k = 0; k < rest.t.average.parameters().size(); ++k) {
    const auto a = rest.t.average.averages()[k], b = straight.t.average.averages()[k];
    CHECK(std::equal(a.begin(), a.end(), b.begin(), b.end()));
  }
  CHECK(rest.losses.all.back() == straight.losses.all.back());

  Trained<Host> on_cpu(options.operator()<Host>(5, other.path), 0.9);   // from the card's checkpoint
  CHECK(on_cpu.result.first_step == 3);
  check_alike({straight.losses.all.end() - 2, straight.losses.all.end()}, on_cpu.losses.all, 1e-5);
  Trained<Card> back(options.operator()<Card>(6, other.path), 0.9);   // from the CPU's
  CHECK(back.result.first_step == 5);
}

TEST_CASE("a step that is not finite is skipped on the card") {
  const auto train = []<AnySpec S>(S) {
    SmallTraining<S> t;
    Case bad = noise_case(4);
    std::fill_n(bad.image.data(), bad.image.grid().voxels(), std::numeric_limits<float>::quiet_NaN());
    t.sampler = PatchSampler<S>({noise_case(1), bad}, {.patch = 8});
    Losses losses;
    const FitResult result =
        t.fit({.steps = 6, .batch = 1, .loss_scaler = LossScalerOptions{.initial = 1024}, .observer = &losses});
    CHECK(result.skipped > 0);
    CHECK(result.steps + result.skipped == 6);
    CHECK(t.adam.steps() == result.steps);
    return std::tuple(result.skipped, result.loss_scale, t.weights(), result.loss);
  };
  const auto [skipped, scale, weights, loss] = train(Host{});
  const auto [card_skipped, card_scale, card_weights, card_loss] = train(Card{});
  CHECK(skipped == card_skipped);
  CHECK(scale == card_scale);
  CHECK(card_loss == doctest::Approx(loss).epsilon(1e-5));
  CHECK(apart(weights, card_weights) < 5e-4);
}

TEST_CASE("a group that sums on the host serves a training on the card") {
  Twins twins;
  Trained<Host> host({.steps = 2, .batch = 1}, 0, &twins);
  Trained<Card> card({.steps = 2, .batch = 1}, 0, &twins);
  check_alike(host.losses.all, card.losses.all, 1e-5);
}

TEST_CASE("a card with little memory: smaller batches, said aloud; with less, an error that names the CPU") {
  if (!cuda::emulated()) return;
  const auto with_free = [](Index bytes) {
    const cuda::MemoryFacts now = cuda::memory_facts();
    ::setenv("CTSEG_EMULATED_MEMORY", std::to_string(now.total - now.free + bytes).c_str(), 1);
  };
  const auto train = [](Index steps) {
    SmallTraining<Card> t;   // patches of 16
    const Index batch = t.fit({.steps = steps, .batch = 4}).batch;
    return std::pair(batch, t.log);
  };
  FitMemory four;
  {
    SmallTraining<Card> t;
    four = t.fit({.steps = 0, .batch = 4}).memory;
  }
  with_free(four.total() / 2);
  const auto trained = train(1);
  const std::string& log = trained.second;
  CAPTURE(log);
  CHECK((log.find(" MiB, the device has ") != log.npos));
  CHECK(trained.first < 4);

  std::string error;
  with_free(four.total() / 16);
  try {
    train(1);
  } catch (const Error& e) {
    error = e.what();
  }
  ::unsetenv("CTSEG_EMULATED_MEMORY");
  CAPTURE(error);
  CHECK(error.find("Spec<float, Dim, Cpu>") != error.npos);
}
