// Two threads as two processes that train together: options that would leave one of them waiting, a folder in one of them. And
// what resuming owes to whoever resumes alone.
#include <doctest/doctest.h>

#include <array>
#include <condition_variable>
#include <fstream>
#include <thread>

#include "io/temp_folder.hpp"
#include "small_training.hpp"

using namespace ctseg;
using S = Spec<float, 3, Cpu>;

namespace {

/// Where two threads meet. Unlike calls, and waiting for more than some seconds, are errors in both: with MPI they hang.
struct Meeting {
  std::mutex mutex;
  std::condition_variable came;
  int arrived = 0;
  std::size_t round = 0;
  bool broken = false;
  std::string call;
  std::array<std::vector<double>, 2> sums;
  std::array<std::vector<std::byte>, 2> bytes;
};

class Half final : public ProcessGroup {
 public:
  Half(Meeting& meeting, int rank) : at_(meeting), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return 2; }
  void sum(std::span<float> values) override { add(values); }
  void sum(std::span<double> values) override { add(values); }
  void begin_sum(std::span<float> values) override { add(values); }
  void begin_sum(std::span<double> values) override { add(values); }
  void advance() override {}
  void finish() override {}
  void broadcast(std::span<std::byte> bytes) override {
    const std::size_t round = meet(text("broadcast of ", bytes.size()), [&](std::size_t r) {
      if (rank_ == 0) at_.bytes[r].assign(bytes.begin(), bytes.end());
    });
    std::copy(at_.bytes[round].begin(), at_.bytes[round].end(), bytes.begin());
  }

 private:
  template <class T> void add(std::span<T> values) {
    const std::size_t round = meet(text("sum of ", values.size(), " of ", sizeof(T)), [&](std::size_t r) {
      if (at_.arrived == 0) at_.sums[r].assign(values.size(), 0);
      for (std::size_t i = 0; i < values.size(); ++i) at_.sums[r][i] += static_cast<double>(values[i]);
    });
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<T>(at_.sums[round][i]);
  }
  /// Results of one round stay until both have come to the next.
  template <class F> std::size_t meet(const std::string& call, F give) {
    std::unique_lock lock(at_.mutex);
    const std::size_t round = at_.round;
    if (at_.arrived == 1 && at_.call != call) at_.broken = true;
    if (!at_.broken) {
      at_.call = call;
      give(round % 2);
      if (++at_.arrived == 2) at_.arrived = 0, ++at_.round;
    }
    at_.came.notify_all();
    const bool met = at_.came.wait_for(lock, std::chrono::seconds(5), [&] { return at_.round > round || at_.broken; });
    if (at_.round > round) return round % 2;
    at_.broken = true;
    throw Error(Code::io, "group", text(met ? "unlike calls: " : "nobody else came to ", call));
  }

  Meeting& at_;
  int rank_;
};

/// fit in two threads; what each of them ends with.
struct Both {
  std::array<std::string, 2> errors;
  std::array<std::vector<float>, 2> weights;
  explicit Both(const std::array<FitOptions<S>, 2>& options, double second_rate = 5e-3) {
    Meeting meeting;
    const auto train = [&](int rank) {
      const auto k = static_cast<std::size_t>(rank);
      Half group(meeting, rank);
      try {
        SmallTraining<S> t({}, rank == 0 ? 5e-3 : second_rate, &group);
        t.fit(options[k]);
        weights[k] = t.weights();
      } catch (const Error& error) {
        errors[k] = error.what();
      }
    };
    std::thread other(train, 1);
    train(0);
    other.join();
  }
  void check_refused(const char* words) const {
    for (const std::string& e : errors) {
      CAPTURE(e);
      CHECK(e.find("1 of 2 processes differ from rank 0, which has ") != e.npos);
      CHECK(e.find(words) != e.npos);
    }
  }
};

}   // namespace

TEST_CASE("processes whose options would part them are told so, before any step") {
  const FitOptions<S> o{.steps = 3, .batch = 1};
  FitOptions<S> other = o;
  other.steps = 4;
  Both({o, other}).check_refused("3 steps in epochs of ");
  Listener scores;
  scores.scores = {1, 1, 1};
  other = o, other.observer = &scores, other.validate_every = 1;
  Both({other, o}).check_refused("validate_every 1");
  other = o, other.clip_norm = 3;   // would not hang: weights would part
  Both({other, o}).check_refused("clip_norm 3");
  Both({o, o}, 1e-3).check_refused("learning_rate 0.005");
}

TEST_CASE("a folder in rank 0 alone is enough, where the loss sums over the group") {
  const TempFolder folder;
  const FitOptions<S> o{.steps = 2, .batch = 1, .loss = dice_ce({.batch = true})};
  FitOptions<S> leader = o;
  leader.checkpoints.folder = folder.path;
  const Both both({leader, o});
  CHECK(both.errors[0] == "");
  CHECK(both.errors[1] == "");
  CHECK((both.weights[0] == both.weights[1]));
  CHECK(CheckpointFolder(leader.checkpoints).files().size() == 1);
}

TEST_CASE("what another training is writing stays as long as that one holds the folder") {
  const TempFolder folder;
  const FitOptions<S> o{.steps = 1, .batch = 1, .checkpoints = {.folder = folder.path}};
  const auto writing = folder.path / ".ctseg-999999999-0.tmp";   // its process number may be of another container
  std::ofstream(writing) << "half a checkpoint";
  {
    const FolderLock held(folder.path);
    CHECK_THROWS_AS(SmallTraining<S>().fit(o), Error);
    CHECK(std::filesystem::exists(writing));
  }
  SmallTraining<S>().fit(o);
  CHECK_FALSE(std::filesystem::exists(writing));
}

TEST_CASE("settings: only the loss may differ in its last digits, and allowed changes are all named") {
  CHECK(detail::differences({{"steps", "100000"}}, {{"steps", "100005"}}) == "steps = 100000, here 100005");
  CHECK(detail::differences({{"loss (of made-up logits)", "1.00001"}}, {{"loss (of made-up logits)", "1.00002"}}) == "");
  const TempFolder folder;
  FitOptions<S> o{.steps = 1, .batch = 1, .checkpoints = {.folder = folder.path, .allow_changes = true}};
  SmallTraining<S>().fit(o);
  o.batch = 2;
  SmallTraining<S> changed;
  changed.fit(o);
  CHECK(changed.log.find("it was batch = 1, here 2") != std::string::npos);

  std::vector<Case> cases(12, noise_case(1));
  for (std::size_t k = 0; k < cases.size(); ++k) cases[k].name = text("patient_", Index(100 + k));
  const PatchSampler<S> sampler(cases, {.patch = 16});
  cases.back().name = "patient_999";   // as many letters
  CHECK((sampler.settings() != PatchSampler<S>(cases, {.patch = 16}).settings()));
}

TEST_CASE("an observer that throws at the end of an epoch leaves nothing of it to the next") {
  const FitOptions<S> made{.steps = 4, .batch = 1, .steps_per_epoch = 2};
  Listener straight;
  FitOptions<S> o = made;
  o.observer = &straight;
  SmallTraining<S>().fit(o);
  const TempFolder folder;
  o = made, o.checkpoints.folder = folder.path;
  auto thrower = on_step([](const FitProgress& p) {
    if (p.step == 2) throw Error(Code::io, "test", "the disk is full.");
  });
  o.observer = &thrower;
  CHECK_THROWS_AS(SmallTraining<S>().fit(o), Error);
  Listener rest;
  o.observer = &rest;
  SmallTraining<S>().fit(o);
  REQUIRE(rest.epochs.size() == 1);
  CHECK(rest.epochs[0].loss == straight.epochs.at(1).loss);
}
