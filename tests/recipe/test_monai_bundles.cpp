// The recipes of two published MONAI bundles against MONAI, with small random networks: what tests/parity/monai_bundles.py
// wrote. One decides on the scan's grid, the other on the prepared one.
#include <doctest/doctest.h>

#include <ctseg/recipe/segment.hpp>

#include "parity/fixture_file.hpp"
#include "threshold_network.hpp"

using namespace ctseg;

namespace {

const test::Fixture& fixture() {
  static const test::Fixture f("monai_bundles");
  return f;
}

Volume<float> scan() {
  const std::vector<Index>& e = fixture().extents("ct");
  const std::vector<double> ct = fixture().values("ct"), a = fixture().values("affine");
  Eigen::Matrix4d m;
  for (int i = 0; i < 16; ++i) m(i / 4, i % 4) = a[static_cast<std::size_t>(i)];
  return Volume<float>(Grid{{e[2], e[1], e[0]}, Affine<Ras>(m)}, {ct.begin(), ct.end()});
}

/// The recipe of examples/recipes with another network and small windows, and the fixture's weights.
template <class Change> LoadedModel loaded(const std::string& name, Change change) {
  ModelRecipe recipe = read_recipe(std::filesystem::path(CTSEG_SOURCE_DIR) / "examples" / "recipes" / (name + ".json"));
  change(std::get<NetworkOptions<3>>(recipe.network));
  std::get<SlidingWindowOptions<3>>(recipe.sliding_window).window = 32;
  recipe.labels.resize(static_cast<std::size_t>(out_channels_of(recipe.network)));
  LoadedModel m{recipe, make_model(recipe.network)};
  visit(m.model, [&](const std::string& key, auto& p) {
    const std::vector<double> from = fixture().values(name + ".weights." + key);
    REQUIRE(std::ssize(from) == p.size());
    const auto to = p.edit();
    for_file_order(p, [&](Index memory, Index file) {
      to[static_cast<std::size_t>(memory)] = static_cast<float>(from[static_cast<std::size_t>(file)]);
    });
  });
  return m;
}

/// The least Dice of all labels.
double dice(const std::string& name, const Segmentation& found) {
  const std::vector<double> want = fixture().values(name + ".labels");
  const auto have = found.labels.value().voxels();
  REQUIRE(want.size() == have.size());
  double least = 1;
  for (int label = 0; label < 4; ++label) {
    double both = 0, either = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
      const bool a = want[i] == label, b = have[i] == label;
      both += 2 * (a && b), either += a + b;
    }
    if (either > 0) least = std::min(least, both / either);
  }
  return least;
}

}   // namespace

TEST_CASE("MONAI's spleen bundle: probabilities go back to the scan's grid and are decided there") {
  const LoadedModel m = loaded("monai_spleen_ct", [](NetworkOptions<3>& n) {
    auto& o = std::get<ResidualUNetOptions<3>>(n);
    o.channels = {4, 8, 8, 16}, o.strides = {2, 2, 2};
  });
  Context<Cpu> ctx{{.threads = 1}};
  const Segmentation found = segment(ctx, m, scan(), {.accuracy = Accuracy::strict, .probability_of = 1});
  CHECK(same_grid(found.labels->grid(), scan().grid()));
  const double least = dice("monai_spleen_ct", found);
  const std::vector<double> want = fixture().values("monai_spleen_ct.probability");
  const auto stride = static_cast<std::size_t>(std::stol(fixture().metadata("stride")));
  double apart = 0;
  for (std::size_t i = 0; i < want.size(); ++i)
    apart = std::max(apart, std::abs(want[i] - double{found.probability->voxels()[i * stride]}));
  MESSAGE("Dice " << least << ", probabilities differ by " << apart);
  CHECK(least >= 0.999);
  CHECK(apart <= 1e-4);
}

TEST_CASE("MONAI's whole-body bundle: labels are decided on the prepared grid and go back") {
  const LoadedModel m = loaded("monai_whole_body_ct", [](NetworkOptions<3>& n) {
    auto& o = std::get<SegResNetOptions>(n);
    o.out_channels = 4, o.init_filters = 8, o.blocks_down = {1, 1, 1}, o.blocks_up = {1, 1};
  });
  Context<Cpu> ctx{{.threads = 1}};
  const Segmentation found = segment(ctx, m, scan(), {.accuracy = Accuracy::strict});
  CHECK(same_grid(found.labels->grid(), scan().grid()));
  const double least = dice("monai_whole_body_ct", found);
  MESSAGE("Dice " << least);
  CHECK(least >= 0.999);
}
