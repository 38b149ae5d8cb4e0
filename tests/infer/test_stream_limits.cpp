// What streams promise about memory: plans, the temporary file, and what goes wrong.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>

#include "window_reference.hpp"

using namespace ctseg;
using test::S3;
namespace fs = std::filesystem;

namespace {

/// A folder of its own, gone at the end.
struct Folder {
  fs::path path = fs::temp_directory_path() / text("ctseg_stream_", static_cast<Index>(::getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
};
/// Open files of this process that lie, or lay, in a folder.
Index open_files(const fs::path& folder) {
  Index count = 0;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    count += fs::read_symlink(entry.path(), gone).string().starts_with(folder.string());
  }
  return count;
}
constexpr auto kNobody = [](const LogitBlock&) {};
const Shape<3> kShape{1, 1, {40, 24, 24}};

/// Options under which half of the unfinished logits wait in a file.
StreamOptions<3> tight(Context<Cpu>& ctx, const std::string& folder) {
  StreamOptions<3> o{.windows = {.window = 8}, .spill_folder = folder};
  const StreamPlan p = plan_stream<S3>(ctx, {kShape, 3, false}, o);
  o.max_memory = p.buffer_bytes + p.resident_bytes / 2;
  return o;
}

template <class F> Code code_of(F f, const char* words) {
  try {
    f();
  } catch (const Error& e) {
    CHECK_MESSAGE(std::string(e.what()).find(words) != std::string::npos, e.what());
    return e.code();
  }
  FAIL("expected an error");
  return Code::unsupported;
}

}   // namespace

TEST_CASE("plans of large volumes: what a machine needs for 26 and for 118 classes") {
  Context<Cpu> ctx{{.threads = 1}};
  const Shape<3> large{1, 1, {512, 512, 512}};
  const Index slice = 512 * 512 * 4;
  const StreamPlan blocks = plan_stream<S3>(ctx, {large, 26, false}, {}), slabs = plan_stream<S3>(ctx, {large, 26, true}, {});
  CHECK(blocks.windows == 1000);
  CHECK(blocks.frontier_bytes < 72 * slice * 26);   // 64 slices overlap at the end, and a band of rows is on its way
  CHECK(blocks.total_bytes() < 1950000000);
  CHECK(slabs.frontier_bytes == 96 * slice * 26);
  CHECK(blocks.spill_bytes == 0);
  const StreamPlan even = plan_stream<S3>(ctx, {large, 26, false}, {.windows = {.rule = WindowRule::nnunet}});
  CHECK(even.frontier_bytes < 61 * slice * 26);
  const StreamPlan many = plan_stream<S3>(ctx, {large, 118, false}, {.max_memory = 3000000000, .in_use = 1000000000});
  CHECK(many.total_bytes() <= 3000000000);
  CHECK(many.frontier_bytes > 7000000000);
  CHECK(many.spill_bytes > many.frontier_bytes - many.resident_bytes - 100000000);
  CHECK(many.spill_bytes < many.frontier_bytes);
  INFO(text(many));
  CHECK(text(many).find("1000 windows of 96x96x96 over 512x512x512, 118 classes: 2999 MB") != std::string::npos);
  CHECK(text(many).find("wait in a file") != std::string::npos);
  CHECK(blocks.layers == 10);
}

TEST_CASE("windows at every voxel cost no cell for each") {
  Context<Cpu> ctx{{.threads = 1}};
  const detail::CutAxis axis(512, 96, window_starts(512, 96, 0.99));
  CHECK(axis.count() < 50);
  CHECK(axis.thickest() < 24);
}

TEST_CASE("the temporary file has no name, is there while logits wait, and goes with the stream") {
  const Folder folder;
  Context<Cpu> ctx{{.threads = 1}};
  const auto image = test::noise(kShape);
  const StreamOptions<3> o = tight(ctx, folder.path.string());
  Index seen = 0, names = 0;
  const auto look = [&](const LogitBlock&) {
    seen = std::max(seen, open_files(folder.path));
    names += std::distance(fs::directory_iterator(folder.path), fs::directory_iterator());
  };
  const StreamReport r = stream_windows<S3>(ctx, test::Neighbours<S3>{}, image.view(), o, look);
  CHECK(r.plan.spilled_bytes > 0);
  CHECK(r.spill_seconds > 0);
  CHECK(seen == 1);
  CHECK(names == 0);
  CHECK(open_files(folder.path) == 0);
  CHECK(text(r).find("windows not run") != std::string::npos);
  const auto stop = [](const LogitBlock&) { throw Error(Code::io, "receiver", "is full."); };
  CHECK_THROWS_AS(stream_windows<S3>(ctx, test::Neighbours<S3>{}, image.view(), o, stop), Error);
  CHECK(open_files(folder.path) == 0);
}

TEST_CASE("a full disk and a folder that is not there are errors that say so") {
  const Folder folder;
  Context<Cpu> ctx{{.threads = 1}};
  const auto image = test::noise(kShape);
  StreamOptions<3> o = tight(ctx, folder.path.string());
  const auto run = [&] { stream_windows<S3>(ctx, test::Neighbours<S3>{}, image.view(), o, kNobody); };
  rlimit before{}, little{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  little = before, little.rlim_cur = 10000;
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &little) == 0);
  const Code full = code_of(run, "File too large. Hint: name a folder with more room");
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, handler);
  CHECK(full == Code::io);
  CHECK(open_files(folder.path) == 0);
  o.spill_folder = (folder.path / "nowhere").string();
  CHECK(code_of(run, "nowhere: No such file or directory") == Code::io);
  CHECK_NOTHROW(stream_windows<S3>(ctx, test::Neighbours<S3>{}, image.view(), tight(ctx, ""), kNobody));
}

TEST_CASE("too little memory for anything is an error with what it takes") {
  Context<Cpu> ctx{{.threads = 1}};
  const auto image = test::noise(kShape);
  StreamOptions<3> o{.windows = {.window = 8}, .max_memory = 5000, .in_use = 3000};
  const auto run = [&] { stream_windows<S3>(ctx, test::Neighbours<S3>{}, image.view(), o, kNobody); };
  CHECK(code_of(run, "max_memory = 1 MB, but 1 MB are in use, buffers take 1 MB and one block of unfinished logits 1 MB") ==
        Code::out_of_memory);
  o.max_memory = 3000 + 512 * 4 + 64 * 3 * 4;   // the window and one cell of 4 x 4 x 4
  CHECK_NOTHROW(run());
  o.max_memory -= 1;
  CHECK_THROWS_AS(run(), Error);
}

TEST_CASE("cancelling, networks that do not keep to their shapes, and air without logits") {
  const auto image = test::noise(kShape);
  std::stop_source stop;
  Context<Cpu> ctx{{.threads = 1}}, cancelled{{.threads = 1, .cancel = stop.get_token()}};
  Index calls = 0;
  test::Neighbours<S3> net;
  const auto stopping = [&](In<S3> x) {
    if (++calls == 5) stop.request_stop();
    return net(x);
  };
  StreamOptions<3> o{.windows = {.window = 8, .batch = 2}};
  CHECK(code_of([&] { stream_windows<S3>(cancelled, stopping, image.view(), o, kNobody); }, "asked to stop") ==
        Code::cancelled);
  CHECK(calls == 5);

  Tensor<float, 3> wrong(Shape<3>{1, 3, {8, 8, 8}});
  const auto run = [&](auto predict) { stream_windows<S3>(ctx, predict, image.view(), o, kNobody); };
  CHECK(code_of([&] { run([&](In<S3>) { return In<S3>(wrong.view()); }); },
                "predict made [1,3,8,8,8] of a window 8x8x8 (batch 2)") == Code::shape_mismatch);
  const auto growing = [&](In<S3> x) {
    ++net.channels;
    return net(x);
  };
  CHECK(code_of([&] { run(growing); },
                "predict made [2,5,8,8,8] of a window 8x8x8 (batch 2); it must keep the size and the "
                "number of channels (4)") == Code::shape_mismatch);
  o.windows.batch = 0;
  CHECK(code_of([&] { run(growing); }, "batch = 0") == Code::bad_argument);
  o.windows.batch = 1, o.skip_below = 0.f;
  CHECK(code_of([&] { run(growing); }, "skip_below needs") == Code::bad_argument);
  const auto two = test::noise(Shape<3>{2, 1, {9, 9, 9}});
  CHECK(code_of([&] { stream_windows<S3>(ctx, growing, two.view(), {.windows = {.window = 8}}, kNobody); },
                "one image at a time") == Code::shape_mismatch);
}
