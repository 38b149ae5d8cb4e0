// Components against a flood fill that follows every neighbour.
#include <ctseg/image/components.hpp>

#include "image/mask_cases.hpp"

using namespace ctseg;
using namespace ctseg::test;

namespace {

using Mask = Volume<std::uint8_t>;

/// Flood fill from each voxel in the order of memory.
std::vector<std::uint32_t> flood(const Mask& mask, const ComponentOptions& options) {
  const Xyz<Index> n = mask.shape();
  std::vector<std::uint32_t> labels(mask.voxels().size());
  std::uint32_t count = 0;
  const auto wanted = [&](std::uint8_t v) { return options.label ? v == *options.label : v != 0; };
  each_voxel(n, [&](Xyz<Index> start) {
    if (!wanted(mask(start.z, start.y, start.x)) || labels[static_cast<std::size_t>(place(n, start))] != 0) return;
    std::vector<Xyz<Index>> open{start};
    labels[static_cast<std::size_t>(place(n, start))] = ++count;
    while (!open.empty()) {
      const Xyz<Index> at = open.back();
      open.pop_back();
      each_voxel({3, 3, 3}, [&](Xyz<Index> step) {
        step = {step.x - 1, step.y - 1, step.z - 1};
        const Xyz<Index> to{at.x + step.x, at.y + step.y, at.z + step.z};
        if (to.x < 0 || to.y < 0 || to.z < 0 || to.x >= n.x || to.y >= n.y || to.z >= n.z) return;
        const std::uint8_t value = mask(to.z, to.y, to.x);
        std::uint32_t& label = labels[static_cast<std::size_t>(place(n, to))];
        if (!is_step(step, options.connectivity, options.per_slice) || !wanted(value) || label != 0) return;
        if (options.by_value && value != mask(at.z, at.y, at.x)) return;
        label = count;
        open.push_back(to);
      });
    }
  });
  return labels;
}

std::vector<ComponentOptions> all_options() {
  std::vector<ComponentOptions> all;
  for (const auto connectivity : {Connectivity::faces, Connectivity::edges, Connectivity::corners})
    for (const bool by_value : {false, true})
      for (const bool per_slice : {false, true})
        all.push_back({.connectivity = connectivity, .by_value = by_value, .per_slice = per_slice});
  return all;
}

void check_list(const Mask& mask, const Components& found) {
  const Xyz<Index> n = mask.shape();
  std::vector<Component> plain(found.list.size());
  std::vector<Xyz<double>> sums(plain.size());
  each_voxel(n, [&](Xyz<Index> at) {
    const std::uint32_t label = found.labels(at.z, at.y, at.x);
    if (label == 0) return;
    Component& c = plain[label - 1];
    Xyz<double>& sum = sums[label - 1];
    if (c.voxels++ == 0) c.low = c.high = at, c.first = place(n, at);
    c.low = {std::min(c.low.x, at.x), std::min(c.low.y, at.y), std::min(c.low.z, at.z)};
    c.high = {std::max(c.high.x, at.x), std::max(c.high.y, at.y), std::max(c.high.z, at.z)};
    sum = {sum.x + double(at.x), sum.y + double(at.y), sum.z + double(at.z)};
  });
  for (std::size_t i = 0; i < plain.size(); ++i) {
    const Component &a = plain[i], &b = found.list[i];
    const double voxels = double(a.voxels);
    CHECK((a.voxels == b.voxels && a.low == b.low && a.high == b.high && a.first == b.first));
    CHECK(b.center == Xyz<double>{sums[i].x / voxels, sums[i].y / voxels, sums[i].z / voxels});
  }
}

TEST_CASE("components equal a flood fill, numbered by first voxel, with their sizes, boxes and centres") {
  for (const Mask& mask : mask_cases())
    for (const ComponentOptions& options : all_options()) {
      const auto found = label_components(mask, options);
      INFO(describe(mask) << ", connectivity " << int(options.connectivity) << ", per slice " << options.per_slice);
      CHECK(found.labels.voxels() == flood(mask, options));
      check_list(mask, found);
    }
}

TEST_CASE("components of equal labels, where runs of different labels touch") {
  for (std::uint64_t seed = 1; seed < 5; ++seed) {
    const Mask labels = random_mask(mask_grid({23, 9, 8}), 0.15, seed, 2);
    for (ComponentOptions options : all_options()) {
      const auto found = label_components(labels, options);
      CHECK(found.labels.voxels() == flood(labels, options));
      check_list(labels, found);
      options.label = 2;
      CHECK(label_components(labels, options).labels.voxels() == flood(labels, options));
    }
  }
}

TEST_CASE("slabs join: many rows, one slice and many slices, any number of threads") {
  for (const Xyz<Index> shape : {Xyz<Index>{13, 700, 1}, {5, 3, 300}, {3, 200, 9}, {1, 1, 500}}) {
    const Mask mask = random_mask(mask_grid(shape), 0.55, 11);
    for (const auto connectivity : {Connectivity::faces, Connectivity::edges, Connectivity::corners}) {
      ComponentOptions options{.connectivity = connectivity};
      const auto expected = flood(mask, options);
      for (const int threads : {1, 2, 4}) {
        ThreadPool pool(threads);
        options.executor = &pool;
        CHECK(label_components(mask, options).labels.voxels() == expected);
      }
    }
  }
  for (std::uint64_t seed = 0; seed < 20; ++seed) {   // sparse, so that every single step across a cut counts
    const Mask mask = random_mask(mask_grid({2, 5, 301}), 0.85, seed);
    CHECK(label_components(mask).labels.voxels() == flood(mask, {}));
  }
  Mask snake(mask_grid({64, 400, 3}));   // one component that turns at every other row
  for (Index z = 0; z < 3; ++z)
    for (Index y = 0; y < 400; ++y)
      for (Index x = 0; x < 64; ++x) snake(z, y, x) = z == 1 ? y == 399 && x == 0 : y % 2 == 0 || x == (y % 4 == 1 ? 63 : 0);
  CHECK(label_components(snake, {.connectivity = Connectivity::faces}).list.size() == 1);
}

TEST_CASE("words of eight voxels: runs that begin and end anywhere, for bytes, wide integers and floats") {
  Mask mask(mask_grid({70, 1, 1}));
  for (Index begin = 0; begin < 24; ++begin)
    for (Index end = begin; end <= 24; ++end) {
      std::fill(mask.voxels().begin(), mask.voxels().end(), std::uint8_t{128});
      std::fill(mask.voxels().begin() + begin, mask.voxels().begin() + end, std::uint8_t{0});
      std::fill(mask.voxels().begin() + 60, mask.voxels().end(), std::uint8_t{1});
      const Volume<std::uint16_t> wide(mask.grid(), std::vector<std::uint16_t>(mask.voxels().begin(), mask.voxels().end()));
      for (const std::optional<Index> label : {std::optional<Index>{}, std::optional<Index>{128}, std::optional<Index>{0}}) {
        const ComponentOptions options{.label = label};
        const auto expected = flood(mask, options);
        CHECK(label_components(mask, options).labels.voxels() == expected);
        CHECK(label_components(wide, options).labels.voxels() == expected);
      }
    }
  Volume<float> odd(mask_grid({4, 1, 1}));   // NaN is not 0, and never equal
  odd.voxels() = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::quiet_NaN(), 0, 2};
  CHECK(label_components(odd).labels.voxels() == std::vector<std::uint32_t>{1, 1, 0, 2});
  CHECK(label_components(odd, {.by_value = true}).labels.voxels() == std::vector<std::uint32_t>{1, 2, 0, 3});
}

TEST_CASE("centroids are in the patient; a table needs no labels") {
  Eigen::Matrix4d m = Eigen::Vector4d(-0.5, 0.5, 2, 1).asDiagonal();
  m.block<3, 1>(0, 3) = Eigen::Vector3d(10, 20, 30);
  Mask mask(Grid{{8, 8, 8}, Affine<Ras>(m)});
  mask(2, 4, 6) = mask(2, 4, 7) = 1;
  const auto found = label_components(mask);
  const Point<Ras> c = found.centroid(0);
  CHECK((c.x == 10 - 3.25 && c.y == 22 && c.z == 34));
  const auto list = list_components(mask.data(), mask.shape());
  REQUIRE(list.size() == 1);
  CHECK(list[0].voxels == 2);
  CHECK(list[0].center == Xyz<double>{6.5, 4, 2});
  check_says([&] { label_components(mask, {.label = 1000}); }, {"components: label = 1000"});
  check_says([&] { label_components(mask.data(), Xyz<Index>{8, -1, 8}); }, {"extent of -1"});
}

}   // namespace
