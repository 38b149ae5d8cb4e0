#include <filesystem>

#include "recipe/segment_cases.hpp"

using namespace segment_cases;

namespace {

/// Of a voxel's value: what the two channels' softmax is.
float bright(float logit_0, float logit_1) { return 1 / (1 + std::exp(logit_0 - logit_1)); }

float largest_difference(const Volume<float>& a, const Volume<float>& b) {
  REQUIRE(same_grid(a.grid(), b.grid()));
  float most = 0;
  for (std::size_t i = 0; i < a.voxels().size(); ++i) most = std::max(most, std::abs(a.voxels()[i] - b.voxels()[i]));
  return most;
}

struct EmptyFolder {
  std::filesystem::path path = std::filesystem::temp_directory_path() / text("ctseg_segment_", ::getpid());
  EmptyFolder() { std::filesystem::create_directory(path); }
  ~EmptyFolder() { std::filesystem::remove_all(path); }
};

}   // namespace

TEST_CASE("a limit of memory sends logits to a file and changes no voxel") {
  Context<Cpu> ctx{{.threads = 2}};
  const EmptyFolder folder;
  const Volume<float> ct = scan();
  LoadedModel model = two_classes({Spacing{{0.5, 0.5, 0.5}}, WindowHu{-160, 240}});
  const Segmentation all = segment(ctx, model, ct, {.probability_of = 7});
  CHECK(all.spilled == 0);
  const SegmentOptions limited{
      .max_memory = all.planned_memory - 100000, .spill_folder = folder.path.string(), .probability_of = 7};
  const Segmentation s = segment(ctx, model, ct, limited);
  CHECK(s.planned_memory <= limited.max_memory);
  CHECK(s.spilled > 0);
  CHECK(s.plan.find("\nfile      ") != std::string::npos);
  CHECK(differing(*s.labels, *all.labels) == 0);
  CHECK(largest_difference(*s.probability, *all.probability) == 0);
  CHECK(std::filesystem::is_empty(folder.path));
  SegmentOptions nowhere = limited;
  nowhere.spill_folder = "/nowhere/at/all";
  CHECK_THROWS_WITH_AS(segment(ctx, model, ct, nowhere), doctest::Contains("/nowhere/at/all"), Error);
}

TEST_CASE("a stop while logits are in a file leaves nothing, and the next run is whole") {
  const EmptyFolder folder;
  std::stop_source stop;
  Context<Cpu> ctx{{.threads = 1, .cancel = stop.get_token()}}, other{{.threads = 1}};
  const LoadedModel model = two_classes({Spacing{{0.5, 0.5, 0.5}}, WindowHu{-160, 240}});
  const Volume<float> ct = scan();
  SegmentOptions o{.max_memory = segment(other, model, ct, {.dry_run = true}).planned_memory - 100000,
                   .spill_folder = folder.path.string()};
  const auto wanted = *segment(other, model, ct, o).labels;
  o.progress = {[](void* user, double done) {
                  if (done > 0.6) static_cast<std::stop_source*>(user)->request_stop();
                },
                &stop};
  try {
    segment(ctx, model, ct, o);
    FAIL("it was stopped");
  } catch (const Error& e) {
    CHECK(e.code() == Code::cancelled);
  }
  CHECK(std::filesystem::is_empty(folder.path));
  o.progress = {};
  CHECK(differing(*segment(other, model, ct, o).labels, wanted) == 0);
}

TEST_CASE("an ensemble of a model with itself is the model; of two, their mean in logits or probabilities") {
  Context<Cpu> ctx{{.threads = 2}};
  const Volume<float> ct = scan();
  const LoadedModel a = two_classes({WindowHu{-160, 240}});
  LoadedModel b = a;
  b.model = line_network<3>({{-4, 4}, {4, -4}});   // bright from 1 on
  b.recipe.about.name = "another fold";
  const SegmentOptions o{.probability_of = 7};
  const Segmentation one = segment(ctx, a, ct, o), twice = segment(ctx, {&a, &a}, ct, o);
  CHECK(differing(*twice.labels, *one.labels) == 0);
  CHECK(largest_difference(*twice.probability, *one.probability) == 0);
  CHECK(twice.windows == 2 * one.windows);
  CHECK(twice.plan.find(", each 2 times by 2 networks\n") != std::string::npos);
  const Segmentation logits = segment(ctx, {&a, &b}, ct, o);
  const Segmentation means = segment(ctx, {&a, &b}, ct, {.probability_of = 7, .average = Averaged::probabilities});
  Volume<float> of_logits(ct.grid()), of_means(ct.grid());
  for (std::size_t i = 0; i < ct.voxels().size(); ++i) {
    const float v = std::clamp((ct.voxels()[i] + 160) / 400, 0.f, 1.f);
    of_logits.voxels()[i] = bright(3 - 4 * v, 4 * v - 3);
    of_means.voxels()[i] = (bright(2 - 4 * v, 4 * v - 2) + bright(4 - 4 * v, 4 * v - 4)) / 2;
  }
  CHECK(largest_difference(*logits.probability, of_logits) < 1e-5f);
  CHECK(largest_difference(*means.probability, of_means) < 1e-5f);
  b.recipe.preprocess = {WindowHu{-160, 241}};
  CHECK_THROWS_WITH_AS(segment(ctx, {&a, &b}, ct),
                       doctest::Contains("models 0 and 1 of the ensemble have different preprocess"), Error);
  CHECK_THROWS_WITH_AS(segment(ctx, std::vector<const LoadedModel*>{}, ct), "segment: no model; there must be one or more.",
                       Error);
}

TEST_CASE("air is not run, and is background") {
  Context<Cpu> ctx{{.threads = 2}};
  Volume<float> ct(Grid{{.x = 48, .y = 40, .z = 33}, Affine<Ras>(Eigen::Matrix4d::Identity())}, -1000.f);
  for (Index z = 2; z < 9; ++z)
    for (Index y = 3; y < 12; ++y)
      for (Index x = 30; x < 45; ++x) ct(z, y, x) = static_cast<float>(20 * (x - 28) - 100);
  for (const Averaged average : {Averaged::logits, Averaged::probabilities}) {
    LoadedModel model = two_classes({WindowHu{-160, 240}});
    const SegmentOptions o{.probability_of = 7, .average = average};
    const Segmentation all = segment(ctx, model, ct, o);
    CHECK(all.skipped == 0);
    model.recipe.skip_air = 0;
    const Segmentation few = segment(ctx, model, ct, o);
    CHECK(few.skipped > few.windows);
    CHECK(few.skipped + few.windows == all.windows);
    CHECK(differing(*few.labels, *all.labels) == 0);
    CHECK(few.probability->voxels()[0] < 1e-4f);
    CHECK((*few.probability)(5, 6, 37) == (*all.probability)(5, 6, 37));
    SegmentOptions none = o;
    none.skip_air = 2;   // the prepared image ends at 1
    const Segmentation nothing = segment(ctx, model, ct, none);
    CHECK(nothing.windows == 0);
    CHECK(std::count(nothing.labels->voxels().begin(), nothing.labels->voxels().end(), 0) == ct.grid().voxels());
  }
}

TEST_CASE("the probability of a label comes on the scan's grid") {
  Context<Cpu> ctx{{.threads = 2}};
  const Volume<float> ct = scan();
  const Segmentation s = segment(ctx, two_classes(kSteps, WayBack::probabilities), ct, {.probability_of = 7});
  REQUIRE(s.probability);
  REQUIRE(same_grid(s.probability->grid(), ct.grid()));
  for (std::size_t i = 0; i < ct.voxels().size(); ++i) CHECK_EQ(s.probability->voxels()[i] > 0.5f, s.labels->voxels()[i] == 7);
  CHECK(!segment(ctx, two_classes(kSteps), ct).probability);
  CHECK_THROWS_WITH_AS(segment(ctx, two_classes(kSteps), ct, {.probability_of = 1}),
                       "segment: probability_of = 1, which is the id of no channel of the network.", Error);
}

TEST_CASE("scales and the recipe's batches, rule and padding reach the windows") {
  Context<Cpu> ctx{{.threads = 2}};
  const Volume<float> ct = scan();
  LoadedModel model = two_classes({WindowHu{-160, 240}});
  const Segmentation plain = segment(ctx, model, ct, {.probability_of = 7});
  const Segmentation same = segment(ctx, model, ct, {.probability_of = 7, .scales = {1, 1}});
  CHECK(same.windows == 2 * plain.windows);
  CHECK(largest_difference(*same.probability, *plain.probability) == 0);
  const Segmentation scaled = segment(ctx, model, ct, {.probability_of = 7, .scales = {1, 0.5}});
  CHECK(largest_difference(*scaled.probability, *plain.probability) > 0.05f);   // smoother
  CHECK(differing(*scaled.labels, *plain.labels) < ct.grid().voxels() / 20);
  CHECK(differing(*scaled.labels, *plain.labels) > 0);
  model.recipe = recipe_from_json(to_json(model.recipe), "recipe");
  auto& windows = std::get<SlidingWindowOptions<3>>(model.recipe.sliding_window);
  windows.batch = 4;
  CHECK(differing(*segment(ctx, model, ct).labels, *plain.labels) == 0);
  windows.rule = WindowRule::nnunet, windows.overlap = 0.3;
  CHECK(segment(ctx, model, ct).windows == 3 * 2 * 2);   // of 31, 26, 22 voxels
  Json json = to_json(model.recipe);
  CHECK(
      json["sliding_window"].dump() ==
      R"({"window":[16,16,16],"overlap":0.3,"rule":"nnunet","blend":"gaussian","padding":"constant","outside":0.0,"batch":4})");
  json["sliding_window"]["padding"] = "reflected";
  CHECK_THROWS_WITH_AS(recipe_from_json(json, "recipe"),
                       doctest::Contains("\"constant\", \"reflect\", \"replicate\", \"circular\""), Error);
}
