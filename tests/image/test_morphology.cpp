// Morphology by its definition, borders included; holes, largest and small components on cases drawn by hand.
#include <ctseg/image/cleanup.hpp>
#include <ctseg/image/morphology.hpp>

#include "image/mask_cases.hpp"

using namespace ctseg;
using namespace ctseg::test;

namespace {

using Mask = Volume<std::uint8_t>;
using Element = std::vector<Xyz<Index>>;

Element cross(const MorphologyOptions& options) {
  Element steps;
  each_voxel({3, 3, 3}, [&](Xyz<Index> s) {
    s = {s.x - 1, s.y - 1, s.z - 1};
    if (is_step(s, options.connectivity, options.per_slice)) steps.push_back(s);
  });
  return steps;
}
Element ball(const MorphologyOptions& options, Xyz<double> spacing) {
  Element steps;
  each_voxel({21, 21, 21}, [&](Xyz<Index> s) {
    s = {s.x - 10, s.y - 10, s.z - 10};
    const double x = double(s.x) * spacing.x, y = double(s.y) * spacing.y, z = double(s.z) * spacing.z;
    if (x * x + y * y + z * z <= options.radius_mm * options.radius_mm && !(options.per_slice && s.z != 0)) steps.push_back(s);
  });
  return steps;
}

/// All (or any) voxels of the element, with `border` beyond the volume.
Mask plain(const Mask& mask, const Element& element, bool all, bool border) {
  const Xyz<Index> n = mask.shape();
  Mask out(mask.grid());
  each_voxel(n, [&](Xyz<Index> at) {
    bool every = true, some = false;
    for (const Xyz<Index> s : element) {
      const Xyz<Index> to{at.x + s.x, at.y + s.y, at.z + s.z};
      const bool inside = to.x >= 0 && to.y >= 0 && to.z >= 0 && to.x < n.x && to.y < n.y && to.z < n.z;
      const bool value = inside ? mask(to.z, to.y, to.x) != 0 : border;
      every = every && value, some = some || value;
    }
    out(at.z, at.y, at.x) = all ? every : some;
  });
  return out;
}

void check_plain(const Mask& mask, const MorphologyOptions& options, const Element& element) {
  const auto run = [&](bool erode_first, bool both) {
    Mask out = mask;
    for (int k = 0; k < (both ? 2 : 1); ++k)
      for (int i = 0; i < options.iterations; ++i) out = plain(out, element, erode_first == (k == 0), options.border);
    return out.voxels();
  };
  CHECK(erode(mask, options).voxels() == run(true, false));
  CHECK(dilate(mask, options).voxels() == run(false, false));
  CHECK(opening(mask, options).voxels() == run(true, true));
  CHECK(closing(mask, options).voxels() == run(false, true));
}

TEST_CASE("erosion, dilation, opening and closing follow their definition at every border") {
  for (const Mask& mask : mask_cases())
    for (const bool per_slice : {false, true})
      for (const bool border : {false, true}) {
        INFO(describe(mask) << ", per slice " << per_slice << ", border " << border);
        for (const auto connectivity : {Connectivity::faces, Connectivity::edges, Connectivity::corners})
          for (const int iterations : {1, 3}) {
            const MorphologyOptions options{
                .connectivity = connectivity, .iterations = iterations, .border = border, .per_slice = per_slice};
            check_plain(mask, options, cross(options));
          }
        for (const double radius : {0.7, 1.5, 3.0}) {
          const MorphologyOptions options{.radius_mm = radius, .border = border, .per_slice = per_slice};
          check_plain(mask, options, ball(options, mask.spacing_mm()));
        }
      }
}

TEST_CASE("a ball of whole voxels holds them in any spacing") {
  for (const double spacing : {0.1, 0.3, 0.7, 1.1, 0.683}) {
    Mask mask(mask_grid({15, 1, 1}, {spacing, 1, 1}));
    mask(0, 0, 7) = 1;
    for (Index reach = 1; reach < 7; ++reach) {
      const auto out = dilate(mask, {.radius_mm = double(reach) * spacing});
      CHECK(std::count(out.voxels().begin(), out.voxels().end(), 1) == 2 * reach + 1);
    }
  }
}

TEST_CASE("morphology has the same bits for any number of threads, takes labels and raw voxels") {
  const Mask labels = random_mask(mask_grid({21, 17, 15}, {0.7, 0.9, 2}), 0.2, 4, 3);
  for (const MorphologyOptions& base : {MorphologyOptions{.iterations = 2, .label = 2}, {.radius_mm = 1.6, .label = 2}}) {
    Mask second(labels.grid());
    for (std::size_t i = 0; i < second.voxels().size(); ++i) second.voxels()[i] = labels.voxels()[i] == 2;
    MorphologyOptions options = base;
    options.label = {};
    const auto expected = closing(second, options);
    CHECK(closing(labels, base).voxels() == expected.voxels());
    options.spacing_mm = labels.spacing_mm();
    CHECK(closing(second.data(), second.shape(), options) == expected.voxels());
    for (const int threads : {1, 2, 4}) {
      ThreadPool pool(threads);
      options.executor = &pool;
      CHECK(closing(second, options).voxels() == expected.voxels());
    }
  }
}

TEST_CASE("what morphology refuses, and how") {
  const Mask mask(mask_grid({2, 2, 2}), 1);
  check_says([&] { erode(mask, {.iterations = 0}); }, {"morphology: iterations = 0", "1 or more"});
  check_says([&] { dilate(mask, {.radius_mm = -1}); }, {"radius_mm = -1"});
  check_says([&] { opening(mask, {.iterations = 2, .radius_mm = 3}); }, {"radius_mm = 3", "iterations = 2", "Hint"});
  check_says([&] { closing(mask, {.label = 256}); }, {"label = 256"});
}

/// Slices of characters, one string a row; '.' is 0.
Mask drawn(const std::vector<std::vector<std::string>>& slices) {
  Mask mask(mask_grid({std::ssize(slices[0][0]), std::ssize(slices[0]), std::ssize(slices)}, {1, 1, 2}));
  each_voxel(mask.shape(), [&](Xyz<Index> at) {
    const char c = slices[static_cast<std::size_t>(at.z)][static_cast<std::size_t>(at.y)][static_cast<std::size_t>(at.x)];
    mask(at.z, at.y, at.x) = static_cast<std::uint8_t>(c == '.' ? 0 : c - '0');
  });
  return mask;
}
Mask slice(const std::vector<std::string>& rows) { return drawn({rows}); }

TEST_CASE("holes are filled in the plane or in space, of a mask, of one label, of every label") {
  const Mask ring = slice({"111..", "1.1..", "1111.", "..1.1", "..111"});
  CHECK(fill_holes(ring).voxels() == ring.voxels());   // one slice: everything lies on the border in z
  CHECK(fill_holes(ring, {.per_slice = true}).voxels() == slice({"111..", "111..", "1111.", "..111", "..111"}).voxels());
  const Mask leak = slice({"1111", "1..1", "11.1", "111."});   // open to a corner only
  CHECK(fill_holes(leak, {.per_slice = true}).voxels() == slice({"1111", "1111", "1111", "111."}).voxels());
  CHECK(fill_holes(leak, {.connectivity = Connectivity::corners, .per_slice = true}).voxels() == leak.voxels());

  for (const std::vector<std::string>& open :
       {std::vector<std::string>{"1.1", "111"}, {"111", "1.1"}, {"11", ".1", "11"}, {"11", "1.", "11"}})
    CHECK(fill_holes(slice(open), {.per_slice = true}).voxels() == slice(open).voxels());

  const Mask room = drawn({{"111", "111", "111"}, {"111", "1.1", "111"}, {"111", "111", "111"}});
  CHECK(fill_holes(room).voxels() == std::vector<std::uint8_t>(27, 1));

  const Mask labels = slice({"22222..", "2...2..", "2.3.2..", "2...233", "222223.", "....333"});
  CHECK(fill_holes(labels, {.per_slice = true, .label = 2}).voxels() ==
        slice({"22222..", "22222..", "22322..", "2222233", "222223.", "....333"}).voxels());
  CHECK(fill_holes(labels, {.per_slice = true, .label = 3}).voxels() == labels.voxels());
  const Mask two = slice({"22233333", "2.23...3", "22233333"});
  CHECK(fill_holes(two, {.by_value = true, .per_slice = true}).voxels() ==
        slice({"22233333", "22233333", "22233333"}).voxels());
  const Mask between = slice({"2233", "2..3", "2233"});   // closed by two labels together, by neither alone
  CHECK(fill_holes(between, {.by_value = true, .per_slice = true}).voxels() == between.voxels());
  const std::uint64_t high = std::uint64_t{1} << 63 | 5, low = 7;   // labels beyond Index
  Volume<std::uint64_t> wide(mask_grid({7, 3, 1}), high);
  for (Index y = 0; y < 3; ++y)
    for (Index x = 4; x < 7; ++x) wide(0, y, x) = low;
  Volume<std::uint64_t> filled = wide;
  wide(0, 1, 1) = wide(0, 1, 5) = 0;
  CHECK(fill_holes(wide, {.by_value = true, .per_slice = true}).voxels() == filled.voxels());
  check_says([&] { fill_holes(two, {.by_value = true, .label = 2}); }, {"label = 2 with by_value"});
  check_says([&] { fill_holes(two, {.label = 0}); }, {"label = 0"});
}

TEST_CASE("the largest components stay, of all or of every label") {
  const Mask mask = slice({"11.2.3", "1..2.3", "....33", "11....", "1..22."});
  CHECK(keep_largest(mask).voxels() == slice({"...2.3", "...2.3", "....33", "......", "......"}).voxels());
  CHECK(keep_largest(mask, {.count = 2}).voxels() == slice({"11.2.3", "1..2.3", "....33", "......", "......"}).voxels());
  CHECK(keep_largest(mask, {.by_value = true}).voxels() == slice({"11.2.3", "1..2.3", "....33", "......", "......"}).voxels());
  const Mask corner = slice({"11.", "..1"});
  CHECK(keep_largest(corner).voxels() == corner.voxels());
  CHECK(keep_largest(corner, {.connectivity = Connectivity::faces}).voxels() == slice({"11.", "..."}).voxels());
  const Mask stacked = drawn({{"1.", ".."}, {"1.", ".1"}});
  CHECK(keep_largest(stacked, {.per_slice = true}).voxels() == drawn({{"..", ".."}, {"1.", ".1"}}).voxels());
  CHECK(keep_largest(Mask(mask_grid({3, 2, 1}))).voxels() == std::vector<std::uint8_t>(6));
  check_says([&] { keep_largest(mask, {.count = 0}); }, {"keep_largest: count = 0"});
}

TEST_CASE("small components go, by voxels or by volume") {
  const Mask mask = slice({"11.2..3", "12.2...", ".......", "11111.."});   // voxels of 2 mm3
  CHECK(remove_small(mask, {.min_voxels = 3}).voxels() == slice({"11.....", "12.....", ".......", "11111.."}).voxels());
  CHECK(remove_small(mask, {.min_voxels = 3, .by_value = true}).voxels() ==
        slice({"11.....", "1......", ".......", "11111.."}).voxels());
  CHECK(remove_small(mask, {.min_mm3 = 10}).voxels() == slice({".......", ".......", ".......", "11111.."}).voxels());
  CHECK(remove_small(mask, {.min_mm3 = 12.1}).voxels() == std::vector<std::uint8_t>(28));
  check_says([&] { remove_small(mask, {}); }, {"min_voxels = 0, min_mm3 = 0", "one of them"});
  check_says([&] { remove_small(mask, {.min_voxels = -1}); }, {"min_voxels = -1"});
}

}   // namespace
