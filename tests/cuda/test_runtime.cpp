// Memory, copies, recordings, contexts and the card's copies of parameters: what every kernel is given. Runs on the emulated
// card and on a real one.
#include <doctest/doctest.h>

#include <ctseg/core/tensor.hpp>
#include <ctseg/cuda.hpp>
#include <ctseg/nn/parameter.hpp>
#include <thread>

using namespace ctseg;
using S = Spec<float, 3, Cuda>;

namespace {

std::vector<std::uint8_t> bytes(Index count) {
  std::vector<std::uint8_t> v;
  for (Index i = 0; i < count; ++i) v.push_back(static_cast<std::uint8_t>(i * 7 + i / 256));
  return v;
}
std::vector<float> on_card(Context<Cuda>& ctx, const Weights<S>& w) {
  std::vector<float> host(static_cast<std::size_t>(w.size()));
  cuda::copy_to_host(ctx.stream(), host.data(), cuda::device_values(w), w.size() * Index{sizeof(float)});
  ctx.synchronize();
  return host;
}
template <class F> std::string refusal(F f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}
void put(Context<Cuda>& ctx, float* at, const std::vector<float>& values) {
  cuda::copy_to_device(ctx.stream(), at, values.data(), std::ssize(values) * Index{sizeof(float)});
}

}   // namespace

TEST_CASE("a card says what it is") {
  REQUIRE(cuda::device_count() > 0);
  CHECK(cuda::why_no_device().empty());
  const auto facts = cuda::device_facts(0);
  CHECK(!facts.name.empty());
  CHECK(facts.capability >= 80);
  CHECK(facts.multiprocessors > 0);
  CHECK(facts.shared_bytes_per_block >= 48 << 10);
  Context<Cuda> ctx({.cuda = {.tf32 = true}});
  CHECK(ctx.traits().capability == facts.capability);
  CHECK(ctx.traits().tf32);
  CHECK(ctx.traits().deterministic);
  CHECK(text(DeviceTraits<Cuda>{}) == "sm_90, 132 multiprocessors");
  const auto before = cuda::memory_facts();
  const auto memory = ctx.allocate(Index{8} << 20);
  CHECK(cuda::memory_facts().total == before.total);
  CHECK(reinterpret_cast<std::uintptr_t>(memory.data()) % 256 == 0);
}

TEST_CASE("what cannot be is refused in one sentence") {
  CHECK(refusal([] { Context<Cuda> ctx({.cuda = {.device = 99}}); }).find("cuda.device = 99; there are ") != std::string::npos);
  CHECK(refusal([] { Context<Cuda> ctx({.cuda = {.workspace = -1}}); }).find("workspace = -1") != std::string::npos);
  try {
    const Memory<Cuda> too_much(Index{1} << 44);
    FAIL("allocated");
  } catch (const Error& e) {
    CHECK(e.code() == Code::out_of_memory);
    CHECK(std::string(e.what()).find("cannot allocate 16777216 MiB; of the card's ") != std::string::npos);
  }
}

TEST_CASE("bytes go there and back") {
  Context<Cuda> ctx;
  const auto host = bytes(1000);
  auto a = ctx.allocate(1000), b = ctx.allocate(1000);
  cuda::copy_to_device(ctx.stream(), a.data(), host.data(), 1000);
  cuda::copy_on_device(ctx.stream(), b.data(), a.data(), 1000);
  cuda::clear(ctx.stream(), b.data() + 10, 20);
  std::vector<std::uint8_t> got(1000);
  cuda::copy_to_host(ctx.stream(), got.data(), b.data(), 1000);
  ctx.synchronize();
  auto expected = host;
  std::fill_n(expected.begin() + 10, 20, std::uint8_t{0});
  CHECK(got == expected);
  const Memory<Cuda> moved = std::move(b);
  CHECK(ctx.read(reinterpret_cast<const std::uint8_t*>(moved.data()) + 40) == host[40]);
}

TEST_CASE("rows of any width and pitch go to the card, across it and back") {
  Context<Cuda> ctx;
  for (const Index width : {1, 2, 3, 4, 6, 8, 16, 24, 48})
    for (const Index extra : {0, 1, 4, 16}) {
      const Index rows = 37, pitch = width + extra, other = width + 2 * extra;
      const auto host = bytes(rows * pitch);
      auto card = ctx.allocate(rows * other), second = ctx.allocate(rows * pitch);
      cuda::clear(ctx.stream(), card.data(), rows * other);
      cuda::upload(ctx.stream(), {card.data(), other, host.data(), pitch, width, rows});
      cuda::clear(ctx.stream(), second.data(), rows * pitch);
      cuda::copy_rows(ctx.stream(), {second.data(), pitch, card.data(), other, width, rows});
      std::vector<std::uint8_t> got(static_cast<std::size_t>(rows * pitch), 99), whole = got;
      cuda::download(ctx.stream(), {got.data(), pitch, second.data(), pitch, width, rows});
      cuda::download(ctx.stream(), {whole.data(), rows * pitch, second.data(), rows * pitch, rows * pitch, 1});
      bool same = true, between = true;
      for (Index r = 0; r < rows; ++r)
        for (Index i = 0; i < pitch; ++i) {
          const auto k = static_cast<std::size_t>(r * pitch + i);
          same = same && got[k] == (i < width ? host[k] : 99);
          between = between && whole[k] == (i < width ? host[k] : 0);
        }
      CHECK_MESSAGE(same, width, " of ", pitch);
      CHECK_MESSAGE(between, width, " of ", pitch);
    }
}

TEST_CASE("views of every type go to the card and back, channel ranges too") {
  Context<Cuda> ctx;
  Tensor<std::uint16_t, 2> host({2, 5, {3, 4}}), back({2, 2, {3, 4}});
  for (Index i = 0; i < host.shape().elements(); ++i) host.data()[i] = static_cast<std::uint16_t>(i * 1001);
  auto memory = ctx.allocate(2 * 24 * 2);
  const View<std::uint16_t, 2> card{reinterpret_cast<std::uint16_t*>(memory.data()), back.shape(), 2};
  const View<const std::uint16_t, 2> part = host.view().channels(3, 2);
  ctx.upload(part, card);
  ctx.download(View<const std::uint16_t, 2>(card), back.view());
  for (Index r = 0; r < 24; ++r)
    for (Index c = 0; c < 2; ++c) CHECK(back.view().row(r)[c] == host.view().row(r)[3 + c]);
  CHECK(refusal([&] { ctx.upload(View<const std::uint16_t, 2>(host), card); }).find("cannot copy [2,5,3,4] to [2,2,3,4]") !=
        std::string::npos);
}

TEST_CASE("the key of a run is on the card, for recordings") {
  Context<Cuda> ctx({.seed = 42});
  const RandomKey first = ctx.next_run();
  CHECK(first.run == 1);
  CHECK(ctx.key(first).now == nullptr);   // what is not recorded brings its own
  const RandomKey* there = ctx.device_key();
  CHECK(ctx.read(there).run == 1);
  CHECK(ctx.next_run().run == 2);
  CHECK(ctx.read(there).run == 2);
  CHECK(ctx.read(there).seed == 42);
  auto copy = ctx.allocate(sizeof(RandomKey));
  ctx.begin_recording();
  CHECK(ctx.next_run().run == 3);   // the run that is recorded
  CHECK(ctx.key(first).now == there);
  cuda::copy_on_device(ctx.stream(), copy.data(), there, sizeof(RandomKey));
  const cuda::Recording recording = ctx.end_recording();
  for (const std::uint64_t run : {4u, 5u}) {
    ctx.next_run();
    recording.play(ctx.stream());
    CHECK(ctx.read(reinterpret_cast<const RandomKey*>(copy.data())).run == run);
  }
  Context<Cuda> moved = std::move(ctx);
  CHECK(moved.next_run().run == 6);
  CHECK(moved.read(moved.device_key()).run == 6);
}

TEST_CASE("a recording may copy from pinned memory, and nothing that waits or allocates") {
  Context<Cuda> ctx;
  auto* rate = static_cast<float*>(cuda::allocate_pinned(sizeof(float)));
  auto there = ctx.allocate(sizeof(float));
  *rate = 1;
  ctx.begin_recording();
  cuda::copy_to_device(ctx.stream(), there.data(), rate, sizeof(float));
  const cuda::Recording recording = ctx.end_recording();
  for (const float r : {2.f, 3.f}) {
    *rate = r;   // read when it is played
    recording.play(ctx.stream());
    CHECK(ctx.read(reinterpret_cast<const float*>(there.data())) == r);
  }
  cuda::release_pinned(rate);
}

TEST_CASE("parameters have a copy on the card; each side sees what the other changed") {
  Context<Cuda> ctx;
  Parameter<S> p({.shape = {6}, .fill = 3});
  const Weights<S> w = p;
  CHECK(refusal([&] { (void)cuda::device_values(w); }).find("never brought to the card") != std::string::npos);
  CHECK(cuda::device_values(Weights<S>{}) == nullptr);
  ctx.bring(w.residence);
  const float* there = cuda::device_values(w);
  CHECK(on_card(ctx, w) == std::vector<float>(6, 3.f));

  p.edit()[1] = 7;
  CHECK(on_card(ctx, w)[1] == 3);   // not before the next run
  bring<S>(ctx, {&w, 1});
  CHECK(on_card(ctx, w)[1] == 7);
  CHECK(cuda::device_values(w) == there);

  const std::uint64_t version = *w.version;
  put(ctx, cuda::device_edit(ctx, w), {1, 2, 3, 4, 5, 6});
  CHECK(*w.version == version + 1);
  const Parameter<S> copy = p;
  CHECK(p.values()[4] == 5);
  CHECK(copy.values()[5] == 6);
  p.edit()[0] = 10;   // one side, then the other
  put(ctx, cuda::device_edit(ctx, w) + 5, {60});
  CHECK(std::vector<float>(p.values().begin(), p.values().end()) == std::vector<float>{10, 2, 3, 4, 5, 60});

  const Weights<S> half{w.values + 3, 3, w.version, w.residence};   // of a group
  CHECK(cuda::device_values(half) == there + 3);
  p = copy;   // into the memory there is
  bring<S>(ctx, {&w, 1});
  CHECK(on_card(ctx, w) == std::vector<float>{1, 2, 3, 4, 5, 6});
}

TEST_CASE("a parameter outlives the context that wrote it, and contexts share it") {
  Parameter<S> p({.shape = {4}});
  const Weights<S> w = p;
  {
    Context<Cuda> ctx;
    put(ctx, cuda::device_edit(ctx, w), {1, 2, 3, 4});
  }
  Context<Cuda> other, third;
  other.bring(w.residence);
  CHECK(on_card(other, w)[2] == 3);
  std::thread beside([&] {
    third.bring(w.residence);
    CHECK(on_card(third, w)[3] == 4);
  });
  beside.join();
  CHECK(p.values()[1] == 2);
}
