// Streams of windows hand over what whole volumes would have, bit for bit, whatever they keep in memory.
#include <doctest/doctest.h>

#include "window_reference.hpp"

using namespace ctseg;
using test::S2;
using test::S3;

namespace {

/// Keeps what it is given, and checks that every voxel comes once, slabs lowest first.
template <int Dim> struct Keep {
  Shape<Dim> image;
  Tensor<float, Dim> all{};
  std::vector<int> times{};
  Index next = 0;

  void start(Index channels) {
    if (all.shape().c == 0) all = Tensor<float, Dim>(image.with_channels(channels));
    times.resize(static_cast<std::size_t>(image.n * image.voxels()));
  }
  void row(const float* from, Index first, Index count) {
    std::copy_n(from, count * all.shape().c, all.view().row(first));
    for (Index i = first; i < first + count; ++i) ++times[static_cast<std::size_t>(i)];
  }
  bool once() const {
    return !times.empty() && std::all_of(times.begin(), times.end(), [](int t) { return t == 1; });
  }
};
template <int Dim> struct KeepSlabs : Keep<Dim> {
  void operator()(const LogitSlab& s) {
    this->start(s.channels);
    CHECK(s.first == this->next);
    this->next = s.last();
    this->row(s.values, s.first * s.rows * s.columns, s.slices * s.rows * s.columns);
  }
};
template <int Dim> struct KeepBlocks : Keep<Dim> {
  void operator()(const LogitBlock& b) {
    this->start(b.channels);
    const Index rows = this->image.space[Dim - 2], columns = this->image.space[Dim - 1];
    for (Index z = b.first[0]; z < b.first[0] + b.size[0]; ++z)
      for (Index y = b.first[1]; y < b.first[1] + b.size[1]; ++y)
        this->row(b.row(z, y), (z * rows + y) * columns + b.first[2], b.size[2]);
  }
};

template <int Dim> bool same_bits(const Tensor<float, Dim>& a, const Tensor<float, Dim>& b) {
  return a.shape() == b.shape() && std::equal(a.data(), a.data() + a.shape().elements(), b.data());
}

template <class Kept, AnySpec S>
StreamReport stream_into(Kept& kept, In<S> image, const StreamOptions<S::kDim>& o, int threads = 2) {
  Context<Cpu> ctx{{.threads = threads}};
  return stream_windows<S>(ctx, test::Neighbours<S>{3}, image, o, kept);
}

}   // namespace

TEST_CASE("slabs and blocks of random sizes, rules, batches and memory have the bits of the whole volume") {
  RandomStream random({11});
  const auto draw = [&](Index from, Index to) {
    return from + static_cast<Index>(random.uniform() * static_cast<double>(to - from));
  };
  Index spilled = 0;
  for (int round = 0; round < 24; ++round) {
    const std::array<Index, 3> window{draw(4, 12), draw(4, 12), draw(4, 12)};
    const Shape<3> shape{1, 1, {window[0] + draw(0, 25), window[1] + draw(0, 25), window[2] + draw(0, 25)}};
    StreamOptions<3> o{.windows = {.window = window,
                                   .overlap = std::array{0.5, 0.25, 0.0, 0.7, 0.9}[static_cast<std::size_t>(draw(0, 5))],
                                   .rule = round % 2 ? WindowRule::nnunet : WindowRule::monai,
                                   .blend = round % 3 ? Blend::gaussian : Blend::constant}};
    INFO("image " << text(shape) << ", window " << text(o.windows.window) << ", overlap " << o.windows.overlap);
    const auto image = test::noise(shape, static_cast<std::uint64_t>(round));
    const auto exact = test::whole<S3>(image.view(), o.windows, 3);
    o.windows.batch = round % 4 ? 1 : 3;
    for (const bool limited : {false, true}) {
      KeepSlabs<3> slabs{{shape}};
      KeepBlocks<3> blocks{{shape}};
      const StreamReport r = stream_into<KeepSlabs<3>, S3>(slabs, image.view(), o, 1 + round % 2);
      stream_into<KeepBlocks<3>, S3>(blocks, image.view(), o, 1 + round % 2);
      CHECK(slabs.once());
      CHECK(slabs.next == shape.space[0]);
      CHECK(same_bits(slabs.all, exact));
      CHECK(blocks.once());
      CHECK(same_bits(blocks.all, exact));
      CHECK(r.run == r.plan.windows);
      if (limited) CHECK(r.plan.total_bytes() <= o.max_memory);
      spilled += r.plan.spilled_bytes;
      o.max_memory = r.plan.buffer_bytes + r.plan.resident_bytes / 2;   // blocks need less
    }
  }
  CHECK(spilled > 0);
}

TEST_CASE("slices of a two-dimensional network stream as one volume") {
  const Shape<2> shape{5, 1, {23, 19}};
  const auto image = test::noise(shape);
  StreamOptions<2> o{.windows = {.window = {8, 9}, .batch = 4}};
  const auto exact = test::whole<S2>(image.view(), {.window = {8, 9}}, 3);
  for (const bool limited : {false, true}) {
    KeepSlabs<2> slabs{{shape}};
    KeepBlocks<2> blocks{{shape}};
    const StreamReport r = stream_into<KeepSlabs<2>, S2>(slabs, image.view(), o);
    stream_into<KeepBlocks<2>, S2>(blocks, image.view(), o);
    CHECK(same_bits(slabs.all, exact));
    CHECK(same_bits(blocks.all, exact));
    CHECK(slabs.once());
    CHECK(r.plan.layers == 5);
    if (limited) CHECK(r.plan.spilled_bytes > 0);
    o.max_memory = r.plan.buffer_bytes + r.plan.resident_bytes / 2;
  }
}

TEST_CASE("an int16 array is converted window by window, a channel range is read where it lies") {
  const Shape<3> shape{1, 1, {17, 12, 21}};
  std::vector<std::int16_t> hu(static_cast<std::size_t>(shape.voxels()));
  Tensor<float, 3> values(shape), two(shape.with_channels(2));
  for (std::size_t i = 0; i < hu.size(); ++i) {
    hu[i] = static_cast<std::int16_t>(i * 37 % 2000);
    values.data()[i] = two.data()[2 * i + 1] = static_cast<float>(hu[i]) * 0.001f - 1;
  }
  const SlidingWindowOptions<3> o{.window = 8};
  const auto exact = test::whole<S3>(values.view(), o, 3);
  Context<Cpu> ctx{{.threads = 1}};
  KeepSlabs<3> kept{{shape}}, range{{shape}};
  const auto source = array_source<S3>(hu.data(), shape, [](std::int16_t v) { return static_cast<float>(v) * 0.001f - 1; });
  stream_windows<S3>(ctx, test::Neighbours<S3>{}, source, {.windows = o}, kept);
  CHECK(same_bits(kept.all, exact));
  stream_windows<S3>(ctx, test::Neighbours<S3>{}, two.view().channels(1, 1), {.windows = o}, range);
  CHECK(same_bits(range.all, exact));
}

TEST_CASE("logits of a channel range and of half precision are summed in float") {
  using B = Spec<bf16, 3, Cpu>;
  const auto image = test::noise(Shape<3>{1, 1, {20, 13, 11}});
  Tensor<bf16, 3> low(image.shape());
  std::transform(image.data(), image.data() + image.shape().elements(), low.data(), [](float v) { return bf16(v); });
  Context<Cpu> ctx{{.threads = 2}};
  Tensor<bf16, 3> wide;
  const auto predict = [&](In<B> x) {   // four channels, of which two are logits
    wide = Tensor<bf16, 3>(x.shape.with_channels(4));
    for (Index r = 0; r < x.rows(); ++r) wide.view().row(r)[1] = x.row(r)[0], wide.view().row(r)[2] = bf16(-1.f);
    return In<B>(wide.view().channels(1, 2));
  };
  KeepBlocks<3> kept{{image.shape()}};
  stream_windows<B>(ctx, predict, low.view(), {.windows = {.window = 8}}, kept);
  for (Index r = 0; r < image.shape().voxels(); ++r) {
    REQUIRE(double(kept.all.view().row(r)[0]) == doctest::Approx(double(static_cast<float>(low.data()[r]))).epsilon(1e-6));
    REQUIRE(double(kept.all.view().row(r)[1]) == doctest::Approx(-1).epsilon(1e-6));
  }
}

TEST_CASE("windows of air are not run: their logits are the background's, everything else is as it was") {
  Tensor<float, 3> image(Shape<3>{1, 1, {32, 16, 16}});   // all 0
  for (Index i = 0; i < 10 * 256; ++i) image.data()[i] = 1 + static_cast<float>(i % 13);
  Context<Cpu> ctx{{.threads = 2}};
  for (const Index batch : {1, 3}) {
    const StreamOptions<3> o{
        .windows = {.window = 8, .blend = Blend::constant, .batch = batch}, .skip_below = 0.f, .background = {4, -1, -2}};
    test::Neighbours<S3> net, all;
    KeepSlabs<3> kept{{image.shape()}}, exact{{image.shape()}};
    const StreamReport r = stream_windows<S3>(ctx, net, image.view(), o, kept);
    stream_windows<S3>(ctx, all, image.view(), {.windows = o.windows}, exact);
    CHECK(r.plan.windows == 63);
    CHECK(r.run == 27);   // those that begin at slices 0, 4 and 8
    CHECK(r.skipped == 36);
    CHECK(net.calls == (27 + batch - 1) / batch);
    for (Index z = 0; z < 32; ++z) {
      const float* row = kept.all.data() + z * 256 * 3;
      if (z < 12) CHECK(std::equal(row, row + 256 * 3, exact.all.data() + z * 256 * 3));
      if (z >= 16) CHECK((row[0] == 4 && row[1] == -1 && row[2] == -2));
    }
  }
  KeepSlabs<3> empty{{image.shape()}};
  std::fill_n(image.data(), 10 * 256, 0.f);
  const auto never = [](In<S3> x) {
    FAIL("nothing to run");
    return x;
  };
  CHECK(stream_windows<S3>(ctx, never, image.view(), {.windows = {.window = 8}, .skip_below = 0.f, .background = {3, 5}}, empty)
            .run == 0);
  CHECK(empty.all.shape().c == 2);
  CHECK(empty.all.data()[1] == 5);
}
