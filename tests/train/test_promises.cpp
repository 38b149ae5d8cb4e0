// What a training promises when something comes between: signals, a full disk, numbers that are none, a second training in its
// folder, other options on resume.
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <clocale>
#include <ctseg/core/interrupt.hpp>
#include <ctseg/train/log.hpp>

#include "io/temp_folder.hpp"
#include "small_training.hpp"

using namespace ctseg;
using S = Spec<float, 3, Cpu>;

namespace {

/// A program of its own: trains until it is interrupted.
[[noreturn]] void train_for_ever(const std::filesystem::path& folder, int ready) {
  ::signal(SIGINT, SIG_DFL), ::signal(SIGTERM, SIG_DFL);
  int code = 1;
  try {
    const InterruptGuard guard;
    SmallTraining<S> t(guard.token());
    auto tell = on_step([&](const FitProgress& p) {
      if (p.step == 2 && ::write(ready, "!", 1) != 1) ::_exit(9);
    });
    try {
      t.fit({.steps = 1'000'000, .workers = 2, .checkpoints = {.folder = folder, .every = 1'000'000}, .observer = &tell});
    } catch (const Error& error) {
      code = error.code() == Code::cancelled && guard.signal() != 0 ? InterruptGuard::kExitCode : 2;
    }
  } catch (...) {
    code = 3;
  }
  ::_exit(code);
}

}   // namespace

TEST_CASE("SIGINT and SIGTERM end a training within five seconds: saved, exit status 130, and it goes on") {
  for (const int signal : {SIGINT, SIGTERM}) {
    const TempFolder folder;
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const ::pid_t child = ::fork();
    if (child == 0) train_for_ever(folder.path, ends[1]);
    ::close(ends[1]);
    char ready = 0;
    REQUIRE(::read(ends[0], &ready, 1) == 1);
    ::close(ends[0]);
    const auto asked = std::chrono::steady_clock::now();
    ::kill(child, signal);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(std::chrono::steady_clock::now() - asked < std::chrono::seconds(5));
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 130);
    const auto files = CheckpointFolder({.folder = folder.path}).files();
    REQUIRE(files.size() == 1);
    SmallTraining<S> t;
    const Index done = load_checkpoint(files[0], TrainingParts<UNet<S>, AdamW<S>>{t.net, t.adam}).step;
    CHECK(done >= 2);
    const FitResult r = t.fit({.steps = done + 1, .checkpoints = {.folder = folder.path}});
    CHECK(r.first_step == done);
    CHECK(r.steps == 1);
  }
}

TEST_CASE("one guard at a time; a signal raises its token, and after its end everything is as before") {
  const auto runner = ::signal(SIGINT, SIG_DFL);   // the test program has handlers too
  const auto runner_term = ::signal(SIGTERM, SIG_IGN);
  {
    const InterruptGuard guard;
    CHECK_THROWS_WITH_AS(InterruptGuard(), doctest::Contains("an InterruptGuard already"), Error);
    CHECK_FALSE(guard.token().stop_requested());
    ::raise(SIGTERM);   // ignored before, ignored now
    CHECK(guard.signal() == 0);
    ::raise(SIGINT);
    for (int k = 0; k < 1000 && !guard.token().stop_requested(); ++k) ::usleep(1000);
    CHECK(guard.token().stop_requested());
    CHECK(guard.signal() == SIGINT);
  }
  CHECK((::signal(SIGTERM, SIG_DFL) == SIG_IGN));
  CHECK((::signal(SIGINT, SIG_DFL) == SIG_DFL));
  CHECK_FALSE(InterruptGuard().token().stop_requested());
  ::signal(SIGINT, runner), ::signal(SIGTERM, runner_term);
}

TEST_CASE("a disk that fills while a checkpoint is written: an error, and the checkpoint before is whole") {
  ::rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto old = ::signal(SIGXFSZ, SIG_IGN);
  const TempFolder folder;
  FitOptions<S> o{.steps = 2, .batch = 1, .checkpoints = {.folder = folder.path, .every = 1, .keep = 1}};
  SmallTraining<S> first;
  first.fit(o);
  const auto kept = CheckpointFolder(o.checkpoints).files();
  REQUIRE(kept.size() == 1);
  const std::string content = slurp(kept[0]);
  o.steps = 4;
  for (std::size_t tenth = 0; tenth < 10; ++tenth) {
    SmallTraining<S> t;
    ::rlimit small = before;
    small.rlim_cur = content.size() * tenth / 10;
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
    const std::string said = error_of([&] { t.fit(o); });
    ::setrlimit(RLIMIT_FSIZE, &before);
    CHECK(said.find("step_000000003.safetensors: cannot write") != std::string::npos);
    CHECK(t.log.find("not saved") != std::string::npos);
    CHECK(slurp(kept[0]) == content);
    CHECK(CheckpointFolder(o.checkpoints).files() == kept);
  }
  SmallTraining<S> straight, resumed;
  straight.fit({.steps = 4, .batch = 1});
  CHECK(resumed.fit(o).first_step == 2);
  CHECK((resumed.weights() == straight.weights()));
  ::signal(SIGXFSZ, old);
}

TEST_CASE("a training that went on says the time of all its steps, and the loss of the last; old checkpoints did not") {
  const TempFolder folder;
  FitOptions<S> o{.steps = 2, .batch = 1, .checkpoints = {.folder = folder.path}};
  const FitResult first = SmallTraining<S>().fit(o);
  CHECK(first.total_seconds == first.seconds);
  o.steps = 4;
  const FitResult second = SmallTraining<S>().fit(o);
  CHECK(second.seconds > 0);
  CHECK(second.total_seconds == first.seconds + second.seconds);
  const FitResult over = SmallTraining<S>().fit(o);   // nothing is left to do
  CHECK(over.steps == 0);
  CHECK(over.seconds == 0);
  CHECK(over.total_seconds == second.total_seconds);
  CHECK(over.loss == second.loss);

  for (const auto& path : CheckpointFolder(o.checkpoints).files()) {
    io::TensorFile file = io::read_safetensors(path);
    CHECK(file.metadata.erase("ctseg.seconds") + file.metadata.erase("ctseg.last_loss") == 2);
    file.metadata["ctseg.checksum"] = detail::checksum(file);
    io::write_safetensors(path, file);
  }
  CHECK(is_nan(SmallTraining<S>().fit(o).loss));   // and no figure that is not known
  o.steps = 5;
  const FitResult later = SmallTraining<S>().fit(o);
  CHECK(later.first_step == 4);
  CHECK(is_finite(later.loss));
  CHECK(is_nan(later.total_seconds));
}

TEST_CASE("after ten steps that are not finite the training is saved, with what it learned before") {
  const TempFolder folder;
  SmallTraining<S> t;
  Listener seen;
  std::vector<float> good;
  auto poison = on_step([&](const FitProgress& p) {
    if (p.step != 3) return;
    good = t.weights();
    t.net.parameters()[0]->edit()[0] = std::bit_cast<float>(0x7fc00000u);
  });
  CHECK_THROWS_WITH_AS(
      t.fit({.steps = 50, .batch = 1, .checkpoints = {.folder = folder.path, .every = 100}, .observer = &poison}),
      doctest::Contains("ten steps in a row"), Error);
  const auto files = CheckpointFolder({.folder = folder.path}).files();
  REQUIRE(files.size() == 1);
  CHECK(files[0].filename() == "step_000000013.safetensors");
  SmallTraining<S> again;
  const TrainingState state = load_checkpoint(files[0], TrainingParts<UNet<S>, AdamW<S>>{again.net, again.adam});
  CHECK(state.skipped_in_a_row == 10);
  good[0] = 0;
  std::vector<float> loaded = again.weights();
  loaded[0] = 0;
  CHECK((loaded == good));
}

TEST_CASE("two trainings in one folder: the second is refused, and one that was killed is in nobody's way") {
  const TempFolder folder;
  FitOptions<S> o{.steps = 1, .batch = 1, .checkpoints = {.folder = folder.path}};
  {
    const FolderLock held(folder.path);
    SmallTraining<S> t;
    CHECK_THROWS_WITH_AS(t.fit(o), doctest::Contains(text("of process ", Index(::getpid())).c_str()), Error);
  }
  const ::pid_t child = ::fork();
  if (child == 0) {
    const FolderLock held(folder.path);
    ::kill(::getpid(), SIGKILL);
  }
  ::waitpid(child, nullptr, 0);
  SmallTraining<S> t;
  CHECK(t.fit(o).steps == 1);
}

TEST_CASE("other options than a training was begun with are named, and allowed where one says so") {
  const TempFolder folder;
  const CheckpointOptions place{.folder = folder.path};
  const FitOptions<S> made{
      .steps = 2, .batch = 1, .schedule = {.kind = ScheduleKind::poly}, .clip_norm = 12, .checkpoints = place};
  SmallTraining<S> first;
  first.fit(made);
  const auto refused = [&](const FitOptions<S>& o, const char* words) {
    SmallTraining<S> t;
    const std::vector<float> before = t.weights();
    CHECK_THROWS_WITH_AS(t.fit(o), doctest::Contains(words), Error);
    CHECK((t.weights() == before));
  };
  FitOptions<S> o = made;
  o.schedule.power = 0.8, refused(o, "schedule = poly, every 1, power 0.9, by step, here poly, every 1, power 0.8");
  o = made, o.clip_norm = 1, refused(o, "clip_norm = 12, here 1. Hint");
  o = made, o.steps = 9, refused(o, "steps = 2, here 9");
  o = made, o.loss = dice_ce({.class_weights = {1, 3}}), refused(o, "loss (of made-up logits) = ");
  o = made, o.loss = dice_ce({.batch = true}), refused(o, "loss (of made-up logits) = ");
  SmallTraining<S> faster({}, 1e-2);
  CHECK_THROWS_WITH_AS(faster.fit(made), doctest::Contains("optimizer learning_rate = 0.005, here 0.01"), Error);
  SmallTraining<S> other;
  const PatchSampler<S> more({noise_case(1), noise_case(2), noise_case(3)}, {.patch = 16, .positive = 2});
  CHECK_THROWS_WITH_AS(fit(other.ctx, other.net, other.adam, more, made), doctest::Contains("sampler positive = 1, here 2"),
                       Error);
  o = made, o.workers = 1, o.recompute = {};   // what changes no bit may change
  SmallTraining<S> same;
  CHECK(same.fit(o).steps == 0);
  o = made, o.clip_norm = 1, o.steps = 3, o.checkpoints.allow_changes = true;
  SmallTraining<S> changed;
  CHECK(changed.fit(o).steps == 1);
  CHECK(changed.log.find("it was clip_norm = 12, here 1; steps = 2, here 3") != std::string::npos);
  o.checkpoints.allow_changes = false;   // these are its settings now
  SmallTraining<S> on;
  CHECK(on.fit(o).steps == 0);
}

TEST_CASE("numbers in logs have a point, whatever the locale") {
  const char* found = nullptr;
  for (const char* name : {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "nl_NL.UTF-8"})
    if (!found) found = std::setlocale(LC_NUMERIC, name);
  if (!found) {
    MESSAGE("no locale with a decimal comma is installed");
    return;
  }
  const std::string plain = text(1.5), line = text(FitProgress{.loss = 0.25});
  LearningCurve curve;
  curve.on_step({.step = 1, .loss = 0.5}), curve.on_step({.step = 3, .loss = 0.25});
  const std::string svg = curve.svg();
  std::setlocale(LC_NUMERIC, "C");
  CHECK(plain == "1.5");
  CHECK(line.find("loss 0.2500") != std::string::npos);
  CHECK(svg == curve.svg());
}
