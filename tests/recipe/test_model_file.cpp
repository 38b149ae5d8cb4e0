#include <doctest/doctest.h>

#include <ctseg/recipe/model_file.hpp>

#include "io/temp_folder.hpp"
#include "recipe/threshold_network.hpp"

using namespace ctseg;

namespace {

ModelRecipe small_recipe() {
  return {.about = {.name = "small"},
          .network = NetworkOptions<3>(BasicUNetOptions{.features = {2, 2, 4, 4, 4, 2}}),
          .preprocess = {Reorient{"RAS"}, WindowHu{-160, 240}},
          .sliding_window = SlidingWindowOptions<3>{.window = 48},
          .labels = {{0, "background"}, {1, "liver"}}};
}
AnyModel small_model() {
  AnyModel model = make_model(small_recipe().network);
  model.initialize(Context<Cpu>({.threads = 1, .seed = 5}));
  return model;
}
std::vector<float> values_of(const AnyModel& model) {
  std::vector<float> all;
  visit(model, [&](const std::string&, const auto& p) { all.insert(all.end(), p.values().begin(), p.values().end()); });
  return all;
}
/// A model file with something changed in its tensors and metadata.
template <class F> void rewrite(const std::filesystem::path& from, const std::filesystem::path& to, F change) {
  io::TensorFile file = io::read_safetensors(from);
  change(file);
  io::write_safetensors(to, file);
}
std::string why(const std::filesystem::path& path, const LoadModelOptions& o = {}) {
  return error_of([&] { load_model(path, o); });
}
bool has(const std::string& words, const std::string& part) { return words.find(part) != std::string::npos; }

}   // namespace

TEST_CASE("a model file holds weights, recipe and a test that is repeated") {
  const TempFolder folder;
  const AnyModel model = small_model();
  save_model(folder / "a.safetensors", model, small_recipe());
  const LoadedModel loaded = load_model(folder / "a.safetensors");
  CHECK(loaded.verified);
  CHECK(loaded.difference < 1e-6);
  CHECK(values_of(loaded.model) == values_of(model));
  CHECK(to_json(loaded.recipe) == to_json(small_recipe()));
  save_model(folder / "b.safetensors", loaded.model, loaded.recipe);
  CHECK(slurp(folder / "a.safetensors") == slurp(folder / "b.safetensors"));
  // To other programs it is a file of weights.
  AnyModel other = make_model(small_recipe().network);
  io::load_weights(folder / "a.safetensors", other);
  CHECK(values_of(other) == values_of(model));
  for (const Isa isa : kIsas) {   // the test holds on other processors
    if (!available(isa)) continue;
    ::setenv("CTSEG_ISA", text(isa).c_str(), 1);
    CHECK(load_model(folder / "a.safetensors").difference < 1e-5);
  }
  ::unsetenv("CTSEG_ISA");
}

TEST_CASE("weights that changed are found by the test") {
  const TempFolder folder;
  save_model(folder / "a.safetensors", small_model(), small_recipe());
  rewrite(folder / "a.safetensors", folder / "b.safetensors", [](io::TensorFile& file) {
    for (io::TensorRecord& t : file.tensors)
      if (t.name == "conv_0.conv_1.conv.weight") std::swap(t.bytes[3], t.bytes[7]);
  });
  const std::string words = why(folder / "b.safetensors");
  CAPTURE(words);
  CHECK(has(words, "computes something else than when it was saved: logit "));
  CHECK(has(words, "they may differ by 0.0001 of the largest, "));
  const LoadedModel loaded = load_model(folder / "b.safetensors", {.verify = false});
  CHECK(!loaded.verified);
}

TEST_CASE("a recipe beside plain weights will do") {
  const TempFolder folder;
  io::save_weights(folder / "plain.safetensors", small_model());
  CHECK(why(folder / "plain.safetensors") ==
        (folder / "plain.safetensors").string() +
            ": holds weights but no recipe (metadata \"ctseg\"), and neither plain.json nor recipe.json lies beside it. Hint: "
            "name one by LoadModelOptions::recipe; docs/recipes.md has examples.");
  write_recipe(folder / "recipe.json", small_recipe());
  CHECK(load_model(folder / "plain.safetensors").recipe.about.name == "small");
  ModelRecipe named = small_recipe();
  named.about.name = "named";
  write_recipe(folder / "plain.json", named);
  CHECK(load_model(folder / "plain.safetensors").recipe.about.name == "named");
  const LoadedModel told = load_model(folder / "plain.safetensors", {.recipe = folder / "recipe.json"});
  CHECK(told.recipe.about.name == "small");
  CHECK(!told.verified);
}

TEST_CASE("bad model files are one sentence each") {
  const TempFolder folder;
  const auto good = folder / "good.safetensors", bad = folder / "bad.safetensors";
  save_model(good, small_model(), small_recipe());
  const std::string bytes = slurp(good);
  for (const std::size_t length : {std::size_t{0}, std::size_t{5}, std::size_t{1000}, bytes.size() - 1}) {
    spill(bad, bytes.substr(0, length));
    CAPTURE(length);
    CHECK(has(why(bad), bad.string() + ": "));
  }
  CHECK(has(why(folder / "none.safetensors"), "none.safetensors: "));
  const auto with_recipe = [&](const ModelRecipe& r) {
    rewrite(good, bad, [&](io::TensorFile& file) { file.metadata["ctseg"] = to_json(r).dump(); });
    return why(bad);
  };
  ModelRecipe r = small_recipe();
  r.network = NetworkOptions<3>(BasicUNetOptions{.features = {2, 2, 4, 4, 8, 2}});
  CHECK(has(with_recipe(r), "tensor down_4.convs.conv_0.conv.weight is [4,4,3,3,3], the network's is [8,4,3,3,3]"));
  r.network = NetworkOptions<3>(UNetOptions{.out_channels = 2, .features = {2, 2}});
  CHECK(has(with_recipe(r), "The file has no tensor for "));
  r.network = NetworkOptions<3>(BasicUNetOptions{.features = {65536, 65536, 65536, 65536, 65536, 65536}});
  CHECK(has(with_recipe(r), "the recipe's network (BasicUNet, 3-D, 1 -> 2 channels) has more than 2.1475e+10 weights, but"));
  const auto too_large = [](const NetworkOptions<3>& o) {
    CHECK_THROWS_WITH_AS(model_file::check_size(o, "x", 1 << 20), doctest::Contains("weights, but the file only"), Error);
  };
  too_large(PlainConvUNetOptions<3>{.features_per_stage = {8, 8}, .kernel_sizes = {64, 64}, .strides = {1, 2}});
  too_large(PlainConvUNetOptions<3>{.features_per_stage = {8, 8}, .strides = {1, 64}});
  too_large(ResidualUNetOptions<3>{.channels = {4, 4}, .strides = {2}, .kernel_size = 63});
  too_large(UNetOptions{.in_channels = 65536, .features = {65536}});
  too_large(UNetOptions{.out_channels = 65536, .features = {65536}});
  r = small_recipe();
  r.sliding_window = SlidingWindowOptions<3>{.window = 8};
  CHECK(has(with_recipe(r), "BasicUNet: input [1,1,8,8,8] is too small"));

  rewrite(good, bad, [](io::TensorFile& file) { file.metadata["ctseg"] = "{\"ctseg_recipe\": 1"; });
  CHECK(has(why(bad), "is not JSON"));
  rewrite(good, bad, [](io::TensorFile& file) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    std::memcpy(file.tensors[0].bytes.data(), &nan, sizeof nan);
  });
  CHECK(has(why(bad), "has a value that is not finite as f32 at 0"));
  const auto with_test = [&](const char* key, const Json& value) {
    rewrite(good, bad, [&](io::TensorFile& file) {
      Json test = Json::parse(file.metadata["ctseg_test"]);
      test[key] = value;
      file.metadata["ctseg_test"] = test.dump();
    });
    return why(bad);
  };
  CHECK(has(with_test("extent", {32, 32}), "its test has an input of 2 axes, its network 3."));
  CHECK(has(with_test("extent", {32, 32, 8}), "too small"));
  CHECK(has(with_test("extent", {512, 512, 512}), "the most that is spent on one is 2147483648."));
  CHECK(has(with_test("voxels", {99999}), "the test has a voxel 99999 of 32768."));
  CHECK(has(with_test("logits", {1.5}), "its test has 1 logits, its network makes 128."));
}

TEST_CASE("what cannot be loaded again is not saved") {
  const TempFolder folder;
  const auto path = folder / "a.safetensors";
  ModelRecipe r = small_recipe();
  r.network = NetworkOptions<3>(BasicUNetOptions{.features = {2, 2, 4, 4, 8, 2}});
  CHECK(has(error_of([&] { save_model(path, small_model(), r); }), "they must be the same"));
  r = small_recipe();
  r.labels.pop_back();
  CHECK(has(error_of([&] { save_model(path, small_model(), r); }), "1 labels for 2 channels"));
  AnyModel broken = small_model();
  visit(broken, [](const std::string&, auto& p) { p.edit()[0] = std::numeric_limits<float>::quiet_NaN(); });
  CHECK(has(error_of([&] { save_model(path, broken, small_recipe()); }), "logits that are not finite"));
  CHECK(!std::filesystem::exists(path));
}
