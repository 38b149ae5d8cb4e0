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

template <class Kept, AnySpec S> StreamReport stream_into(Kept& kept, In<S> image, const StreamOptions<S::kDim>& o, int threads = 2) {
  Context<Cpu> ctx{{.threads = threads}};
  return stream_windows<S>(ctx, test::Neighbours<S>{3}, image, o, kept);
}

}   // namespace

TEST_CASE("slabs and blocks of random sizes, rules, batches and memory have the bits of the whole volume") {
  RandomStream random({11});
  const auto draw = [&](Index from, Index to) { return from + static_cast<Index>(random.uniform() * static_cast<double>(to - from)); };
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
