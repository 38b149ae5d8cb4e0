// Scans segmented on the card: the labels and the grid of the CPU, for every decision, way back and look that recipes have; and
// how a program chooses between the two.
#include <doctest/doctest.h>

#include <cmath>
#include <ctseg/cuda.hpp>
#include <ctseg/recipe/cuda/segment.hpp>
#include <set>

#include "examples/ctseg/device.hpp"

using namespace ctseg;

extern template AnyModelOf<float, Cuda> ctseg::make_model<float, Cuda>(const NetworkConfig&);   // examples/ctseg/device_on.cpp

namespace {

/// A smooth scan in an odd orientation, not isotropic, with air around it.
Volume<float> scan(double degrees = 0) {
  Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
  m.block<3, 3>(0, 0) << 0, -0.8, 0, 0, 0, 1.5, 0.7, 0, 0;
  m.block<3, 3>(0, 0) = Eigen::AngleAxisd(degrees * 3.14159265 / 180, Eigen::Vector3d::UnitZ()).matrix() * m.block<3, 3>(0, 0);
  Volume<float> v(Grid{{.x = 15, .y = 13, .z = 11}, Affine<Ras>(m)}, -1000.f);
  for (Index z = 1; z < 10; ++z)
    for (Index y = 2; y < 12; ++y)
      for (Index x = 1; x < 14; ++x) {
        const auto [a, b, c] = std::array{static_cast<double>(x), static_cast<double>(y), static_cast<double>(z)};
        v(z, y, x) = static_cast<float>(40 + 300 * std::sin(0.7 * a) * std::cos(0.6 * b + 0.5 * c));
      }
  return v;
}
const std::vector<PreprocessStep> kSteps = {Reorient{"RAS"}, CropForeground{.threshold = -500}, Spacing{{1, 1, 1.25}},
                                            WindowHu{-160, 240}};

template <int Dim> ModelRecipe recipe_of(UNetOptions network) {
  network.norm = NormKind::instance;
  ModelRecipe r{.network = NetworkOptions<Dim>(network), .preprocess = kSteps};
  r.sliding_window = SlidingWindowOptions<Dim>{.window = 8, .batch = 2};
  for (Index i = 0; i < network.out_channels; ++i) r.labels.push_back({i == 0 ? 0 : 2 * i + 1, text("label ", i)});
  return r;
}
/// Weights drawn by a seed, and a head for two features that gives every label its part.
template <int Dim> LoadedModel model_of(const ModelRecipe& r, std::uint64_t seed) {
  const UNetOptions o = std::get<UNetOptions>(std::get<NetworkOptions<Dim>>(r.network));
  LoadedModel m{r, AnyModel(r.network, AnyNetwork<Spec<float, Dim, Cpu>>(UNet<Spec<float, Dim, Cpu>>(o)))};
  initialize_default(m.model, seed);
  visit(m.model, [&](const std::string& name, auto& p) {
    for (Index c = 0; c < o.out_channels && name.starts_with("head."); ++c) {
      const auto values = p.edit().subspan(static_cast<std::size_t>(c));
      const float slope = (c % 2 == 0 ? -2.f : 2.f) * static_cast<float>(c + 1);
      if (name == "head.bias") values[0] = 0.3f * static_cast<float>(c);
      if (name == "head.weight") values[0] = slope, values[static_cast<std::size_t>(o.out_channels)] = -slope;
    }
  });
  return m;
}

struct Wanted {
  std::vector<LoadedModel> models{};
  SegmentOptions options{};
  const Volume<std::uint8_t>* previous = nullptr;
  double degrees = 0;
};

Segmentation check(const Wanted& w) {
  Context<Cpu> host{{.threads = 2}};
  Context<Cuda> card{{.threads = 2}};
  const Volume<float> ct = scan(w.degrees);
  std::vector<const LoadedModel*> models;
  std::vector<AnyModelOf<float, Cuda>> networks;
  for (const LoadedModel& m : w.models) models.push_back(&m), networks.push_back(for_card(m));
  std::vector<CardModel<>> on_card;
  for (std::size_t i = 0; i < models.size(); ++i) on_card.push_back({models[i], &networks[i]});
  SegmentInput input{.channels = {&ct}, .previous = w.previous};
  const Segmentation want = segment(host, models, input, w.options), got = segment(card, on_card, input, w.options);
  REQUIRE(got.labels);
  REQUIRE(same_grid(got.labels->grid(), ct.grid()));
  Index differing = 0;
  std::set<int> kinds;
  for (std::size_t i = 0; i < got.labels->voxels().size(); ++i) {
    differing += got.labels->voxels()[i] != want.labels->voxels()[i];
    kinds.insert(want.labels->voxels()[i]);
  }
  CHECK(differing <= 2);   // rounding where two logits are equal
  CHECK(kinds.size() >= 2);
  CHECK(got.windows == want.windows);
  CHECK(got.skipped == want.skipped);
  REQUIRE(got.probability.has_value() == want.probability.has_value());
  for (std::size_t i = 0; want.probability && i < want.probability->voxels().size(); ++i)
    CHECK(got.probability->voxels()[i] == doctest::Approx(want.probability->voxels()[i]).epsilon(1e-3));
  return got;
}
LoadedModel regions(std::uint64_t seed = 3) {
  ModelRecipe r = recipe_of<3>({.out_channels = 2, .features = {2, 3}});
  r.labels = {{0, "background"}, {1, "whole"}, {2, "core"}};
  r.decision = {.kind = Decide::threshold, .threshold = 0.4, .regions_order = {1, 2}};
  return model_of<3>(r, seed);
}

}   // namespace

TEST_CASE("segmented on the card: argmax on every way back, and the rules after") {
  for (const WayBack way : {WayBack::logits, WayBack::probabilities, WayBack::labels}) {
    ModelRecipe r = recipe_of<3>({.out_channels = 3, .features = {2, 3}});
    r.decision.way_back = way;
    r.labels[0].id = 9;   // also what was cropped away
    r.postprocess = {RemoveSmall{.labels = {3}, .min_mm3 = 5}, Relabel{{5}, 4}};
    check({.models = {model_of<3>(r, 1)}, .options = {.probability_of = 3}});
  }
}

TEST_CASE("segmented on the card: regions by a threshold, mirrored, at two scales, by two networks, between oblique grids") {
  check({.models = {regions()}});
  check({.models = {regions()}, .options = {.mirror = {.x = true, .z = true}, .average = Averaged::probabilities}});
  check({.models = {regions(3), regions(4)}, .options = {.scales = {1, 0.5}}});
  LoadedModel turned = regions();
  turned.recipe.preprocess = {Spacing{{1, 1, 1.25}}, Resize{.shape = {12, 12, 12}}, WindowHu{-160, 240}};
  const Segmentation s = check({.models = {turned}, .degrees = 20});
  CHECK(s.plan.find("keeps all logits") != s.plan.npos);
}

TEST_CASE("segmented on the card: slices, windows of air, the mask of a first network") {
  ModelRecipe r = recipe_of<2>({.out_channels = 2, .features = {2, 3}});
  r.preprocess = {WindowHu{-160, 240}};
  r.skip_air = 0.0;
  std::get<SlidingWindowOptions<2>>(r.sliding_window).batch = 1;   // on the card the last batch counts as a full one
  const Segmentation s = check({.models = {model_of<2>(r, 5)}});
  CHECK(s.skipped > 0);
  r = recipe_of<3>({.in_channels = 3, .out_channels = 2, .features = {2, 3}});
  r.previous_labels = {1, 4};
  Volume<std::uint8_t> mask(scan().grid());
  for (std::size_t i = 0; i < mask.voxels().size(); ++i) mask.voxels()[i] = i % 15 < 8 ? 1 : i % 7 < 3 ? 4 : 0;
  check({.models = {model_of<3>(r, 6)}, .previous = &mask});
}

TEST_CASE("weights are copied to networks of the same options only") {
  const ModelRecipe r = recipe_of<3>({.out_channels = 2, .features = {2, 3}});
  const LoadedModel from = model_of<3>(r, 1);
  for (const UNetOptions& o :
       {UNetOptions{.out_channels = 3, .features = {2, 3}}, UNetOptions{.out_channels = 2, .features = {2, 3, 4}},
        UNetOptions{.out_channels = 2, .features = {2, 4}}}) {
    AnyModelOf<float, Cuda> to = make_model<float, Cuda>(NetworkOptions<3>(o));
    CHECK_THROWS_AS(copy_weights(from.model, to), Error);
  }
}

TEST_CASE("a device by its name") {
  CHECK(cli::device_named("auto").may_be_card);
  CHECK(!cli::device_named("auto").must_be_card);
  CHECK(!cli::device_named("cpu").may_be_card);
  CHECK(cli::device_named("cuda").must_be_card);
  CHECK(cli::device_named("cuda:12").number == 12);
  for (const char* word : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1000", "CPU"})
    CHECK_THROWS_AS(cli::device_named(word), Error);
}

TEST_CASE("auto takes a card, and the CPU for what the card refuses; cuda never the CPU") {
  const LoadedModel model = regions();
  const Volume<float> ct = scan();
  const SegmentInput input{.channels = {&ct}};
  cli::Device cpu(cli::device_named("cpu"), {.threads = 1}), card(cli::device_named("auto"), {.threads = 1});
  CHECK(cpu.name() == "cpu");
  CHECK(cpu.reason().empty());
  CHECK(card.name().starts_with("cuda:0, "));
  const Segmentation s = card.segment({&model}, input, {});
  CHECK(s.plan.starts_with("device    cuda:0, "));
  CHECK(card.reason().empty());
  CHECK(cpu.segment({&model}, input, {}).plan.starts_with("device    cpu\n"));
  CHECK_THROWS_AS(cli::Device(cli::device_named("cuda:999"), {}), Error);

  LoadedModel graph = model;   // its weights would fit, and what it computes is not known
  graph.graph = true;
  CHECK_THROWS_WITH_AS(cli::Device(cli::device_named("cuda"), {.threads = 1}).segment({&graph}, input, {}),
                       doctest::Contains("graphs are run by the CPU only. Hint: --device cpu, or auto."), Error);
  cli::Device either(cli::device_named("auto"), {.threads = 1});
  CHECK(either.segment({&model, &graph}, input, {}).labels.has_value());
  CHECK(either.name() == "cpu");
  CHECK(either.reason().find("is a graph (ONNX)") != std::string::npos);
  either.begin({.threads = 1});
  CHECK(either.segment({&model}, input, {.dry_run = true}).plan.starts_with("device    cuda:0, "));

  LoadedModel large = model;   // the window's logits alone are more than any card has
  large.recipe.sliding_window = SlidingWindowOptions<3>{.window = 2048};
  CHECK_THROWS_AS(cli::Device(cli::device_named("cuda"), {.threads = 1}).segment({&large}, input, {.dry_run = true}), Error);
  const Segmentation plan = card.segment({&large}, input, {.dry_run = true});
  CHECK(card.name() == "cpu");
  CHECK(card.reason().find("are needed") != std::string::npos);
  CHECK(plan.plan.starts_with("device    cpu; no card: segment: on the card "));
}

TEST_CASE("one device for many jobs: the card's context stays, and nothing of a job stays with it") {
  const LoadedModel model = regions();
  const Volume<float> ct = scan();
  const SegmentInput input{.channels = {&ct}};
  cli::Device device(cli::device_named("auto"), {.threads = 1});
  Context<Cuda>* const context = device.card();
  REQUIRE(context);
  const cuda::ConvPlans* const plans = &context->conv_plans();
  const Executor* const threads = &device.host().executor();
  const Index before = cuda::memory_facts().free;
  const Segmentation first = device.segment({&model}, input, {});
  const Index free = cuda::memory_facts().free;
  if (cuda::emulated()) CHECK(before - free < 1024);   // the context's random key

  std::stop_source stop;   // of one job, not of those after it
  stop.request_stop();
  device.begin({.seed = 5, .cancel = stop.get_token()});
  CHECK(device.card()->seed() == 5);
  CHECK_THROWS_WITH_AS(device.segment({&model}, input, {}), doctest::Contains("stop"), Error);
  device.begin({.accuracy = Accuracy::strict});
  CHECK((device.segment({&model}, input, {}).labels->voxels() == first.labels->voxels()));

  LoadedModel large = model;   // so is what the card refused
  large.recipe.sliding_window = SlidingWindowOptions<3>{.window = 2048};
  device.segment({&large}, input, {.dry_run = true});
  CHECK(!device.card());
  CHECK(!device.reason().empty());
  device.begin({});
  CHECK(device.reason().empty());
  CHECK(device.card() == context);
  CHECK(&context->conv_plans() == plans);
  CHECK(&device.host().executor() == threads);
  if (cuda::emulated()) CHECK(cuda::memory_facts().free == free);   // nobody else is on it

  device.begin({.accuracy = Accuracy::fast});
  CHECK(device.card()->traits().tf32);
  device.begin({});
  CHECK(!device.card()->traits().tf32);
}

TEST_CASE("what the CPU is to do in the card's place, and what is nobody's to do") {
  cli::Device any(cli::device_named("auto"), {.threads = 1}), card(cli::device_named("cuda"), {.threads = 1});
  const Error refused(Code::unsupported, "net", "is not for cards."), wrong(Code::bad_input, "net", "is broken.");
  CHECK_THROWS_AS(any.leave_card(wrong), Error);
  CHECK(any.card());
  any.leave_card(refused);
  CHECK(!any.card());
  CHECK(any.name() == "cpu");
  CHECK(any.reason() == "net: is not for cards.");
  CHECK_THROWS_AS(card.leave_card(refused), Error);
  CHECK(card.card());
}
