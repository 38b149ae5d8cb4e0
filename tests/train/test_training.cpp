// fit beyond the plain loop: checkpoints and resuming, validation, early stopping, averages, accumulation, workers, memory.
#include <doctest/doctest.h>

#include <ctseg/models/basic_unet.hpp>
#include <ctseg/models/unet.hpp>
#include <ctseg/ops/cpu.hpp>
#include <ctseg/optim/sgd.hpp>
#include <ctseg/train/fit.hpp>

#include "io/temp_folder.hpp"

using namespace ctseg;
using S = Spec<float, 3, Cpu>;

namespace {

Case noise_case(std::uint64_t seed) {
  const Grid grid{{.x = 34, .y = 34, .z = 34}, Affine<Ras>(Eigen::Matrix4d::Identity())};
  Case c{text("noise_", Index(seed)), Volume<float>(grid), Volume<std::uint8_t>(grid)};
  RandomStream random({seed});
  for (Index i = 0; i < grid.voxels(); ++i) {
    c.label.data()[i] = i % 7 < 3;
    c.image.data()[i] = static_cast<float>(c.label.data()[i] + random.normal());
  }
  return c;
}

constexpr BasicUNetOptions kSmall{.features = {4, 4, 4, 4, 4, 4}, .dropout = 0.1f};

/// A network in training, and all of its numbers.
struct Bench {
  Context<Cpu> ctx;
  BasicUNet<S> net{kSmall};
  std::optional<AdamW<S>> adam;
  std::optional<WeightAverage<S>> average;
  PatchSampler<S> sampler;

  explicit Bench(ContextOptions options = {.threads = 1, .seed = 5})
      : ctx(std::move(options)), sampler({noise_case(1), noise_case(2)}, {.patch = 32}) {
    net.initialize(ctx);
    adam.emplace(net.parameters(), AdamWOptions{.learning_rate = 5e-3});
    average.emplace(net.parameters(), WeightAverageOptions{.decay = 0.9});
  }
  std::vector<float> numbers() {
    std::vector<float> all;
    visit(net, [&](const std::string&, const Parameter<S>& p) { all.insert(all.end(), p.values().begin(), p.values().end()); });
    adam->each_moment([&](std::size_t, std::size_t, std::span<float> m) { all.insert(all.end(), m.begin(), m.end()); });
    for (const auto& a : average->averages()) all.insert(all.end(), a.begin(), a.end());
    return all;
  }
};

/// Scores by list, and remembers.
struct Judge : FitObserver {
  std::vector<double> scores;
  std::vector<FitScore> told;
  std::vector<Index> steps;
  double validate(Index step) override {
    steps.push_back(step);
    return steps.size() <= scores.size() ? scores[steps.size() - 1] : 0;
  }
  void on_score(const FitScore& s) override { told.push_back(s); }
};

}   // namespace

TEST_CASE("a training that is cancelled and called again has the bits of the straight one") {
  FitOptions<S> options{
      .steps = 9, .batch = 1, .accumulate = 2, .schedule = {.kind = ScheduleKind::cosine, .warm_up = 2}, .clip_norm = 1};
  Bench straight;
  options.average = &*straight.average;
  fit(straight.ctx, straight.net, *straight.adam, straight.sampler, options);
  const TempFolder folder;
  options.checkpoints = {.folder = folder.path / "run", .every = 2};
  Index at = 0;
  for (const Index stop_at : {3, 4, 7, 100}) {
    std::stop_source stop;
    Bench part({.threads = stop_at % 2 ? 1 : 2, .seed = 5, .cancel = stop.get_token()});
    options.average = &*part.average, options.workers = stop_at % 3 ? 2 : 0;
    auto observer = on_step([&](const FitProgress& p) {
      CHECK(p.step == ++at);
      if (p.step == stop_at) stop.request_stop();
    });
    options.observer = &observer;
    if (stop_at < 9) {
      CHECK_THROWS_WITH_AS(fit(part.ctx, part.net, *part.adam, part.sampler, options), doctest::Contains("asked to stop"),
                           Error);
    } else {
      CHECK(fit(part.ctx, part.net, *part.adam, part.sampler, options).last_step == 9);
      CHECK((part.numbers() == straight.numbers()));
    }
  }
  CHECK(CheckpointFolder(options.checkpoints).files().size() == 2);
}

TEST_CASE("a damaged checkpoint is named and the one before it used; all damaged is an error") {
  const TempFolder folder;
  FitOptions<S> options{.steps = 6, .batch = 1, .checkpoints = {.folder = folder.path, .every = 2}};
  Bench first;
  fit(first.ctx, first.net, *first.adam, first.sampler, options);
  const auto files = CheckpointFolder(options.checkpoints).files();
  REQUIRE(files.size() == 2);
  const auto damage = [](const std::filesystem::path& file) {
    auto bytes = io::read_file(file);
    bytes[bytes.size() - 9] ^= std::byte{1};
    io::write_file(file, bytes);
  };
  damage(files[1]);
  std::string log;
  Bench again({.threads = 1,
               .seed = 5,
               .log = {[](void* user, std::string_view line) { *static_cast<std::string*>(user) += line; }, &log}});
  const FitResult result = fit(again.ctx, again.net, *again.adam, again.sampler, options);
  CHECK(result.steps == 2);   // from step 4
  CHECK(log.find("step_000000006.safetensors: has a wrong checksum") != std::string::npos);
  CHECK((again.numbers() == first.numbers()));
  for (const auto& file : files) damage(file);
  Bench third;
  CHECK_THROWS_WITH_AS(fit(third.ctx, third.net, *third.adam, third.sampler, options),
                       doctest::Contains("none of its checkpoints can be used"), Error);
}

TEST_CASE("checkpoints of another training are refused before anything changes") {
  const TempFolder folder;
  FitOptions<S> options{.steps = 1, .batch = 1, .checkpoints = {.folder = folder.path}};
  Bench b;
  fit(b.ctx, b.net, *b.adam, b.sampler, options);
  const auto refused = [&](const char* words, auto&& f) { CHECK_THROWS_WITH_AS(f(), doctest::Contains(words), Error); };
  Bench seed({.threads = 1, .seed = 6});
  refused("was made with seed 5", [&] { fit(seed.ctx, seed.net, *seed.adam, seed.sampler, options); });
  Bench other;
  BasicUNet<S> wide{{.features = {4, 4, 4, 4, 8, 4}}};
  AdamW<S> of_wide{wide.parameters(), {.learning_rate = 5e-3}};
  const std::vector<float> before(wide.parameters()[0]->values().begin(), wide.parameters()[0]->values().end());
  refused("is the checkpoint of another training", [&] { fit(other.ctx, wide, of_wide, other.sampler, options); });
  CHECK(std::ranges::equal(wide.parameters()[0]->values(), before));
  Sgd<S> sgd{other.net.parameters(), {}};
  refused("its optimizer is adamw, here sgd", [&] { fit(other.ctx, other.net, sgd, other.sampler, options); });
  options.average = &*other.average;
  refused("average = none, here 0.9", [&] { fit(other.ctx, other.net, *other.adam, other.sampler, options); });
  options.average = nullptr, options.checkpoints.resume = false;
  refused("of an earlier training", [&] { fit(other.ctx, other.net, *other.adam, other.sampler, options); });
  io::save_weights(folder.path / "weights.safetensors", other.net);
  refused("is no checkpoint", [&] {
    load_checkpoint(folder.path / "weights.safetensors", TrainingParts<BasicUNet<S>, AdamW<S>>{other.net, *other.adam});
  });
}

TEST_CASE("validation, the best weights, and stopping early") {
  const TempFolder folder;
  Judge judge;
  judge.scores = {0.5, 0.7, 0.65, 0.6, 0.9};
  Bench b;
  const FitResult result = fit(b.ctx, b.net, *b.adam, b.sampler,
                               {.steps = 40,
                                .batch = 1,
                                .average = &*b.average,
                                .validate_every = 2,
                                .early_stop = {.patience = 2},
                                .checkpoints = {.folder = folder.path},
                                .observer = &judge});
  CHECK(judge.steps == std::vector<Index>{2, 4, 6, 8});
  CHECK(result.stopped_early);
  CHECK(result.last_step == 8);
  CHECK(result.best_step == 4);
  CHECK(result.best_score == 0.7);
  REQUIRE(judge.told.size() == 4);
  CHECK(judge.told[1].best);
  CHECK(!judge.told[2].best);
  BasicUNet<S> best{kSmall};
  io::load_weights(folder.path / "best.safetensors", best);
  CHECK(!std::ranges::equal(best.parameters()[0]->values(), b.net.parameters()[0]->values()));
  Judge smooth;
  smooth.scores = {1, 0, 0};
  Bench c;
  fit(c.ctx, c.net, *c.adam, c.sampler, {.steps = 3, .batch = 1, .validate_every = 1, .smoothing = 0.9, .observer = &smooth});
  CHECK(smooth.told[1].smoothed == doctest::Approx(0.9));
  CHECK(smooth.told[2].smoothed == doctest::Approx(0.81));
}

TEST_CASE("an interrupted validation is made up for, and a training that ended early stays ended") {
  const auto options = [](FitObserver& observer, Bench& b, const std::filesystem::path& folder) {
    return FitOptions<S>{.steps = 20,
                         .batch = 1,
                         .average = &*b.average,
                         .validate_every = 2,
                         .early_stop = {.patience = 2},
                         .checkpoints = {.folder = folder},
                         .observer = &observer};
  };
  struct Interrupted : Judge {
    void on_step(const FitProgress& p) override {
      if (p.step == 2) throw Error(Code::cancelled, "observer", "enough");
    }
  };
  const TempFolder straight, broken;
  Judge judge;
  judge.scores = {0.5, 0.4, 0.3};
  Bench a, b, c, d;
  fit(a.ctx, a.net, *a.adam, a.sampler, options(judge, a, straight.path));
  CHECK(judge.steps == std::vector<Index>{2, 4, 6});
  Interrupted first;
  CHECK_THROWS_AS(fit(b.ctx, b.net, *b.adam, b.sampler, options(first, b, broken.path)), Error);
  Judge again;
  again.scores = judge.scores;
  const FitResult r = fit(c.ctx, c.net, *c.adam, c.sampler, options(again, c, broken.path));
  CHECK(again.steps == judge.steps);
  CHECK(r.first_step == 2);
  CHECK(r.stopped_early);
  CHECK((c.numbers() == a.numbers()));   // and the last checkpoint has weights and averages in their places
  Judge third;
  const FitResult ended = fit(d.ctx, d.net, *d.adam, d.sampler, options(third, d, broken.path));
  CHECK(ended.stopped_early);
  CHECK(ended.steps == 0);
  CHECK((d.numbers() == a.numbers()));
}

TEST_CASE("what fails before the first step leaves no checkpoint, and other files in the folder stay") {
  const TempFolder folder;
  spill(folder / "step_keep.safetensors", "mine");
  std::stop_source stop;
  stop.request_stop();
  Bench b({.threads = 1, .seed = 5, .cancel = stop.get_token()});
  CHECK_THROWS_AS(fit(b.ctx, b.net, *b.adam, b.sampler, {.steps = 2, .batch = 1, .checkpoints = {.folder = folder.path}}),
                  Error);
  CHECK(CheckpointFolder({.folder = folder.path}).files().empty());
  Bench c;
  fit(c.ctx, c.net, *c.adam, c.sampler,
      {.steps = 3, .batch = 1, .checkpoints = {.folder = folder.path, .every = 1, .keep = 1}});
  CHECK(CheckpointFolder({.folder = folder.path}).files().size() == 1);
  CHECK(slurp(folder / "step_keep.safetensors") == "mine");
}

TEST_CASE("running statistics of accumulated batches follow each of them") {
  const auto after = [](Index batch, Index accumulate) {
    Context<Cpu> ctx{{.threads = 1, .seed = 5}};
    UNet<S> net({.features = {4, 8}});
    net.initialize(ctx);
    Sgd<S> still{net.parameters(), {.learning_rate = 0}};
    const PatchSampler<S> sampler{{noise_case(1), noise_case(2)}, {.patch = 32}};
    fit(ctx, net, still, sampler, {.steps = 24 / accumulate, .batch = batch, .accumulate = accumulate});
    std::vector<float> w;
    visit(net, [&](const std::string&, const Parameter<S>& p) {
      if (p.role() == Role::averaged) w.insert(w.end(), p.values().begin(), p.values().end());
    });
    return w;
  };
  const auto one = after(1, 1), many = after(1, 12);   // PyTorch: the same 24 moves
  for (std::size_t i = 0; i < one.size(); ++i) CHECK(many[i] == doctest::Approx(one[i]).epsilon(1e-4));
}

TEST_CASE("two half batches are one batch, where nothing looks across images") {
  const auto train = [](Index batch, Index accumulate) {
    Context<Cpu> ctx{{.threads = 1, .seed = 5}};
    BasicUNet<S> net{{.features = {4, 4, 4, 4, 4, 4}}};
    net.initialize(ctx);
    Sgd<S> sgd{net.parameters(), {.learning_rate = 0.1}};
    const PatchSampler<S> sampler{{noise_case(1), noise_case(2)}, {.patch = 32}};
    fit(ctx, net, sgd, sampler, {.steps = 2, .batch = batch, .accumulate = accumulate});
    std::vector<float> w;
    visit(net, [&](const std::string&, const Parameter<S>& p) { w.insert(w.end(), p.values().begin(), p.values().end()); });
    return w;
  };
  const auto whole = train(4, 1), halves = train(2, 2);
  for (std::size_t i = 0; i < whole.size(); ++i) CHECK(halves[i] == doctest::Approx(whole[i]).epsilon(1e-3));
}

TEST_CASE("max_memory recomputes stages, then halves batches, and says so") {
  std::string log;
  const auto run = [&](Index most) {
    log.clear();
    Bench b({.threads = 1,
             .seed = 5,
             .log = {[](void* user, std::string_view line) { *static_cast<std::string*>(user) += line; }, &log}});
    return fit(b.ctx, b.net, *b.adam, b.sampler, {.steps = 1, .batch = 4, .max_memory = most});
  };
  const FitResult free = run(0);
  const FitResult tight = run(free.memory.total() - 1);
  CHECK(!tight.recomputed.empty());
  CHECK(tight.batch == 4);
  CHECK(log.find("recomputing") != std::string::npos);
  const FitResult tighter = run(tight.memory.total() - 1);
  CHECK(tighter.batch == 2);
  CHECK(tighter.accumulate == 2);
  CHECK(log.find("batches of 2, 2 a step") != std::string::npos);
  CHECK(tighter.memory.total() < tight.memory.total());
}

TEST_CASE("a transform that throws is told with the name of its case, from a worker too") {
  for (const int workers : {0, 2}) {
    const TempFolder folder;
    Bench b;
    const PatchSampler<S> sampler(
        {noise_case(1)}, {.patch = {32, 32, 16}, .augment = Recipe{{RandRotate90{.probability = 1, .about = Axis::y}}}});
    CHECK_THROWS_WITH_AS(fit(b.ctx, b.net, *b.adam, sampler,
                             {.steps = 2, .batch = 1, .workers = workers, .checkpoints = {.folder = folder.path}}),
                         doctest::Contains("case noise_1, sample "), Error);
    CHECK(CheckpointFolder({.folder = folder.path}).files().empty());   // no step was done
  }
}

TEST_CASE("options of fit that make no sense are refused") {
  Bench b;
  const auto refused = [&](const FitOptions<S>& o, const char* words) {
    CHECK_THROWS_WITH_AS(fit(b.ctx, b.net, *b.adam, b.sampler, o), doctest::Contains(words), Error);
  };
  refused({.accumulate = 0}, "accumulate = 0");
  refused({.clip_norm = -1}, "clip_norm = -1");
  refused({.smoothing = 1}, "smoothing = 1");
  refused({.validate_every = 5}, "need an observer");
  refused({.schedule = {.every = 0}}, "every = 0");
  refused({.checkpoints = {.folder = "/proc/nothing"}}, "cannot be made");
}
