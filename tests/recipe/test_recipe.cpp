#include <doctest/doctest.h>

#include <ctseg/recipe/recipe.hpp>
#include <map>

#include "io/temp_folder.hpp"

using namespace ctseg;

namespace {

/// A recipe whose every part differs from the default.
ModelRecipe full_recipe() {
  return {.about = {"liver", "1.2", "CC-BY-4.0", "somebody 2026", "phantoms"},
          .network = NetworkOptions<3>(BasicUNetOptions{.features = {4, 4, 4, 8, 8, 4},
                                                        .activation = elu(0.5f),
                                                        .norm = NormKind::group,
                                                        .affine = false,
                                                        .groups = 2,
                                                        .dropout = 0.1f,
                                                        .bias = false,
                                                        .upsample = Upsampling::pixelshuffle,
                                                        .fused = false}),
          .preprocess = {Reorient{"LPS"}, CropForeground{.threshold = -500, .margin = {1, 2, 3}, .outside = std::nullopt},
                         CropNonzero{}, Spacing{{1, 0.5, 3}, SizeRule::nnunet, Interpolation::cubic},
                         Resize{{64, 64, 32}, ResizeMode::linear}, SpatialPad{.divisible_by = 16, .outside = -1024},
                         WindowHu{-100, 300}, ScaleIntensityRange{-57, 164, 0, 1, true}, ScaleIntensity{-1, 1},
                         ZScore{Voxels::mask}, CtNormalization{.mean = 80, .deviation = 40, .low = -20, .high = 250}},
          .sliding_window =
              SlidingWindowOptions<3>{.window = {32, 48, 64}, .overlap = 0.25, .blend = Blend::constant, .outside = -1},
          .labels = {{0, "background"}, {3, "tumour", "#ff0000"}, {2, "liver"}},
          .decision = {.kind = Decide::threshold, .threshold = 0.4, .regions_order = {2, 3}, .way_back = WayBack::labels},
          .postprocess = {KeepLargest{.labels = {2, 3}, .together = true, .connectivity = Connectivity::edges},
                          RemoveSmall{.min_voxels = 5, .min_mm3 = 12.5}, FillHoles{.per_slice = true}, CloseGaps{{2}, 2.5},
                          OpenThin{{3}, 1.5}, Relabel{{3}, 2}}};
}
/// Why this is no recipe.
std::string refusal(const Json& j) {
  return error_of([&] { recipe_from_json(j, "r.json"); });
}
Json changed(const char* pointer, const Json& value) {
  Json j = to_json(full_recipe());
  j[Json::json_pointer(pointer)] = value;
  return j;
}

}   // namespace

TEST_CASE("scans of several channels, mirror images, and the second network of a cascade") {
  ModelRecipe r = full_recipe();
  std::get<BasicUNetOptions>(std::get<NetworkOptions<3>>(r.network)).in_channels = 4;
  r.previous_labels = {2, 3}, r.mirror = {.x = true, .y = false, .z = true};
  r.preprocess = {Transpose{{2, 0, 1}}, PerChannel{{{ZScore{Voxels::mask}, WindowHu{1, 2}}, {}}}};
  const Json j = to_json(r);
  const ModelRecipe back = recipe_from_json(j, "r.json");
  CHECK(to_json(back) == j);
  CHECK(scan_channels_of(back) == 2);
  CHECK(back.mirror == r.mirror);
  const auto& each = std::get<PerChannel>(back.preprocess[1]);
  CHECK(std::get<ZScore>(each.channels[0][0]).voxels == Voxels::mask);
  CHECK(each.channels[1].empty());
  const auto refused = [&](const char* pointer, const Json& value) {
    Json other = j;
    other[Json::json_pointer(pointer)] = value;
    return refusal(other);
  };
  CHECK(refused("/previous_labels", {2}) == "r.json: PerChannel has steps for 2 channels, a scan of this network has 3.");
  CHECK(refused("/previous_labels", {1, 2, 3, 4}) ==
        "r.json: previous_labels are 4 of the network's 4 channels; a scan needs one or more.");
  CHECK(refused("/previous_labels", {0, 2}) == "r.json: previous_labels[0] is 0; must be a whole number from 1 to 255.");
  CHECK(refused("/preprocess/0/axes", {0, 1, 1}) == "transpose: axes 0, 1, 1; must be 0, 1 and 2 in some order.");
  CHECK(refused("/preprocess/1/channels/1", {{{"step", "Spacing"}}}) ==
        "r.json: preprocess[1].channels[1][0].step is \"Spacing\"; must be one of WindowHu, ScaleIntensityRange, "
        "ScaleIntensity, ZScore, CtNormalization. Hint: MONAI's Orientation is Reorient here.");
}

TEST_CASE("a recipe goes into JSON and back without a loss, by way of a file too") {
  const ModelRecipe r = full_recipe();
  const Json j = to_json(r);
  CHECK(to_json(recipe_from_json(j, "r.json")) == j);
  const TempFolder folder;
  write_recipe(folder / "r.json", r);
  const ModelRecipe back = read_recipe(folder / "r.json");
  CHECK(to_json(back) == j);
  CHECK(back.preprocess.size() == 11);
  CHECK(std::get<SlidingWindowOptions<3>>(back.sliding_window).window == Axes<3>{32, 48, 64});
  const auto& net = std::get<BasicUNetOptions>(std::get<NetworkOptions<3>>(back.network));
  CHECK(net.activation.kind == ActivationKind::elu);
  CHECK(net.dropout == 0.1f);   // the same float
  CHECK(j.dump().find("\"dropout\":0.1,") != std::string::npos);
  CHECK(std::get<Spacing>(back.preprocess[3]).spacing_mm.y == 0.5);
  CHECK(!std::get<CropForeground>(back.preprocess[1]).outside);
  CHECK(back.labels[1].color == "#ff0000");
  CHECK(back.decision.regions_order == std::vector<Index>{2, 3});
  REQUIRE(back.postprocess.size() == 6);
  CHECK(std::get<KeepLargest>(back.postprocess[0]).together);
  CHECK(std::get<RemoveSmall>(back.postprocess[1]).min_mm3 == 12.5);
  CHECK(std::get<Relabel>(back.postprocess[5]).to == 2);
}

TEST_CASE_TEMPLATE("the options of every network go into JSON and back", Dim, std::integral_constant<int, 2>,
                   std::integral_constant<int, 3>) {
  constexpr int kDim = Dim::value;
  std::vector<Axes<kDim>> lists = {1, 2};
  lists[1].value[0] = 1;   // anisotropic
  const std::vector<NetworkOptions<kDim>> all = {
      UNetOptions{.out_channels = 3, .features = {2, 4}, .activation = gelu(), .norm = NormKind::none, .bias = false},
      ResidualUNetOptions<kDim>{
          .channels = {2, 4}, .strides = {lists[1]}, .kernel_size = 5, .num_res_units = 3, .affine = true},
      DynUNetOptions<kDim>{
          .strides = lists, .filters = {4, 8}, .deep_supervision = true, .deep_supr_num = 2, .res_block = true},
      PlainConvUNetOptions<kDim>{.features_per_stage = {4, 8}, .strides = lists, .n_conv_per_stage = {3, 3}, .eps = 1e-3f},
      ResidualEncoderUNetOptions<kDim>{.features_per_stage = {4, 8}, .n_blocks_per_stage = {1, 2}, .stem_channels = 6},
      SegResNetOptions{.blocks_down = {1, 2}, .blocks_up = {1}, .upsample_mode = SegResNetUpsample::deconv},
      original_vnet({.in_channels = 2}),
      AttentionUnetOptions<kDim>{.channels = {2, 4}, .strides = {2}, .dropout = 0.25f}};
  for (const NetworkOptions<kDim>& options : all) {
    const NetworkConfig config = options;
    const Json j = to_json(config);
    CAPTURE(j.dump());
    const NetworkConfig back = network_from_json(j);
    CHECK(back.index() == config.index());
    CHECK(std::get<NetworkOptions<kDim>>(back).index() == options.index());
    CHECK(to_json(back) == j);
    NetworkConfig plain = NetworkOptions<kDim>();
    std::visit([&](const auto& o) { plain = NetworkOptions<kDim>(std::decay_t<decltype(o)>{}); }, options);
    CHECK(to_json(plain) != j);   // what was set is in there
  }
  CHECK(std::get<UNetOptions>(std::get<1>(network_from_json({{"network", "UNet"}}))).features.size() == 5);
  const Json slope = {{"network", "UNet"}, {"activation", {{"kind", "leaky_relu"}}}};
  CHECK(std::get<UNetOptions>(std::get<1>(network_from_json(slope))).activation.parameter == 0.01f);
}

TEST_CASE("what is not as documented is one sentence with place, value and what is allowed") {
  CHECK(refusal(changed("/network/feature", 3)) ==
        "r.json: network has an unknown key \"feature\"; known are network, dim, in_channels, out_channels, features, "
        "activation, "
        "norm, affine, groups, dropout, bias, upsample, fused.");
  CHECK(refusal(changed("/network/network", "Unet")).find("network.network is \"Unet\"; must be one of BasicUNet, UNet") !=
        std::string::npos);
  const std::pair<const char*, Json> broken[] = {{"/network/features/2", "many"},
                                                 {"/network/features/2", -1},
                                                 {"/network/features/2", 1.5},
                                                 {"/network/features", Json::array()},
                                                 {"/network/norm", "layer"},
                                                 {"/network/dropout", 2},
                                                 {"/network/dim", 4},
                                                 {"/network/bias", 1},
                                                 {"/preprocess/3/step", "Space"},
                                                 {"/preprocess/3/spacing_mm/y", "1"},
                                                 {"/preprocess/3/rule", 3},
                                                 {"/sliding_window/overlap", 1},
                                                 {"/sliding_window/window", 0},
                                                 {"/labels/1/id", 256},
                                                 {"/labels/1/name", nullptr},
                                                 {"/decision/threshold", 0},
                                                 {"/postprocess/0/rule", "KeepBiggest"},
                                                 {"/postprocess/1/min_voxels", -1},
                                                 {"/postprocess/1", Json{{"rule", "RemoveSmall"}}},
                                                 {"/postprocess/3/radius_mm", 0},
                                                 {"/ctseg_recipe", 0}};
  for (const auto& [pointer, value] : broken) {
    const std::string words = refusal(changed(pointer, value));
    CAPTURE(pointer);
    CAPTURE(words);
    CHECK(words.starts_with("r.json: "));
    CHECK(words.find(" is " + value.dump() + "; must be ") != std::string::npos);
  }
  Json newer = changed("/ctseg_recipe", 2);
  newer["a key of later"] = 1;
  CHECK(refusal(newer).starts_with("r.json: is a recipe of version 2; ctseg "));
  for (const char* key : {"ctseg_recipe", "network", "sliding_window", "labels"}) {
    Json j = to_json(full_recipe());
    j.erase(key);
    CHECK(refusal(j) == text("r.json: the document has no \"", key, "\"."));
  }
  CHECK(refusal(changed("/preprocess/0/codes", "RAX")).find("RAX") != std::string::npos);
  CHECK(refusal(changed("/labels/1/color", "red")) == "r.json: label 3 has the color \"red\"; must be as \"#d04040\".");
}

TEST_CASE("parts that do not fit together are refused") {
  CHECK(refusal(changed("/network/dim", 2)).find("must be") != std::string::npos);   // a window of three axes
  CHECK(refusal(changed("/labels/1/id", 2)) == "r.json: two labels have the id 2.");
  CHECK(refusal(changed("/decision/regions_order", Json({2}))) ==
        "r.json: decision.regions_order has 1 ids for 2 channels of the network; sigmoid needs one each.");
  CHECK(refusal(changed("/decision/regions_order/0", 7)) == "r.json: decision.regions_order has the id 7, which no label has.");
  CHECK(refusal(changed("/decision", {{"kind", "argmax"}})) ==
        "r.json: 3 labels for 2 channels of the network; argmax needs one each, in their order.");
  ModelRecipe r = full_recipe();
  r.sliding_window = SlidingWindowOptions<2>{};
  CHECK(error_of([&] { check(r); }) == "recipe: sliding_window.window has 2 axes, the network 3.");
}

TEST_CASE("what is not JSON, or not one meaning of it, is refused") {
  const auto why = [](const std::string& words) { return error_of([&] { parse_recipe(words, "r.json"); }); };
  CHECK(why("{\"a\": 1,").starts_with("r.json: is not JSON: parse error at line 1, column 9: "));
  CHECK(why("").starts_with("r.json: is not JSON"));
  CHECK(why("{\"a\": 1, \"b\": {\"a\": 2}, \"a\": 3}") == "r.json: an object has the key \"a\" twice.");
  CHECK(why("{\"\\u001b[2J\": 1, \"\\u001b[2J\": 2}") == "r.json: an object has the key \"\\u001b[2J\" twice.");
  CHECK(why("[1]") == "r.json: the document is [1]; must be an object.");
  CHECK(why(std::string(100, '[')) == "r.json: JSON is nested deeper than 32 levels.");
  CHECK(why("{\"ctseg_recipe\": 1e999}").starts_with("r.json: is not JSON"));
  CHECK(why("{\"a\": \"\xff\"}").starts_with("r.json: is not JSON"));
}

TEST_CASE("the recipes of examples/recipes can be read, and say what the systems are") {
  const std::filesystem::path folder = std::filesystem::path(CTSEG_SOURCE_DIR) / "examples" / "recipes";
  std::map<std::string, std::string> networks;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const ModelRecipe r = read_recipe(entry.path());
    networks[entry.path().stem().string()] = text(r.network);
    CHECK(!r.about.name.empty());
    CHECK(to_json(recipe_from_json(to_json(r), "again")) == to_json(r));
  }
  CHECK(networks == std::map<std::string, std::string>{{"coronary", "BasicUNet, 3-D, 1 -> 2 channels"},
                                                       {"liver", "UNet, 3-D, 1 -> 1 channels"},
                                                       {"liver_slices", "UNet, 2-D, 1 -> 1 channels"},
                                                       {"lung_nodules", "ResidualUNet, 3-D, 1 -> 1 channels"},
                                                       {"monai_spleen_ct", "ResidualUNet, 3-D, 1 -> 2 channels"},
                                                       {"monai_whole_body_ct", "SegResNet, 3-D, 1 -> 105 channels"},
                                                       {"spine", "VNet, 3-D, 1 -> 26 channels"}});
}
