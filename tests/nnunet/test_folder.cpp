// Model folders made by hand: what their recipes say, and how they segment.
#include <doctest/doctest.h>

#include <ctseg/nnunet/cascade.hpp>

#include "folder_files.hpp"

using namespace folder_files;

namespace {

Volume<float> scan(std::uint64_t seed = 3) {
  Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
  m.block<3, 3>(0, 0) << 0, -0.9, 0, 0, 0, 3, 1.1, 0, 0;
  Volume<float> v(Grid{{.x = 24, .y = 22, .z = 9}, Affine<Ras>(m)});
  for (Index i = 0; i < v.grid().voxels(); ++i)
    v.data()[i] = 300 * uniform(RandomKey{seed}, static_cast<std::uint64_t>(i)) - 100;
  return v;
}
Json older_configuration() {
  Json c = configuration();
  c.erase("architecture");
  c["UNet_class_name"] = "PlainConvUNet";
  c["UNet_base_num_features"] = 2;
  c["unet_max_num_features"] = 3;
  c["n_conv_per_stage_encoder"] = {2, 2};
  c["n_conv_per_stage_decoder"] = Json::array({1});
  c["num_pool_per_axis"] = {0, 1, 1};
  c["pool_op_kernel_sizes"] = {{1, 1, 1}, {1, 2, 2}};
  c["conv_kernel_sizes"] = {{1, 3, 3}, {3, 3, 3}};
  return c;
}
bool has(const std::string& words, const std::string& part) { return words.find(part) != std::string::npos; }
std::vector<const LoadedModel*> pointers(const std::vector<LoadedModel>& models) { return nnunet::cascade::pointers(models); }

}   // namespace

TEST_CASE("the recipe of a folder") {
  Json p = changed(plans(), "/transpose_forward", {2, 0, 1});
  const Made made(p, dataset());
  made.fold("fold_0", checkpoint(network(p, dataset()), {.mirror = {0, 2}}));
  made.fold("fold_3", checkpoint(network(p, dataset(), 2)));
  const auto folds = nnunet::load_folder(made.path);
  REQUIRE(folds.size() == 2);
  const ModelRecipe& r = folds[1].recipe;
  CHECK(to_json(r) == to_json(folds[0].recipe));
  CHECK(to_json(r) == to_json(parse_recipe(to_json(r).dump(), "again")));   // a model file can carry it
  CHECK(r.about.name == "Dataset001_Made 3d_fullres");
  CHECK(r.mirror == Xyz<bool>{.x = true, .y = false, .z = true});
  CHECK(r.labels.size() == 3);
  CHECK(r.labels[2].name == "tumour");
  CHECK(to_json(r.preprocess) == Json::parse(R"([{"step":"Transpose","axes":[2,0,1]},{"step":"CropNonzero"},
                        {"step":"CtNormalization","mean":50.0,"deviation":20.0,"low":-100.0,"high":200.0},
                        {"step":"Spacing","spacing_mm":{"x":1.0,"y":1.0,"z":2.5},"rule":"nnunet","interpolation":"cubic"}])"));
  const auto& w = std::get<SlidingWindowOptions<3>>(r.sliding_window);
  CHECK((w.rule == WindowRule::nnunet && w.overlap == 0.5 && w.window == Axes<3>{16, 16, 16}));
  CHECK(nnunet::load_folder(made.path, {.folds = {"3"}}).size() == 1);
  CHECK(nnunet::find_folder(made.all.path).folds == std::vector<std::string>{"0", "3"});
}

TEST_CASE("plans of older versions are the same networks, trainers and norms included") {
  Json old = plans();
  old["configurations"]["3d_fullres"] = older_configuration();
  const auto config = [](const Json& p, const char* trainer = "nnUNetTrainer") {
    return to_json(nnunet::plans_from_json(p, "plans.json").configuration("3d_fullres").network({1, 3}, trainer));
  };
  CHECK(config(old) == config(plans()));
  CHECK(config(plans(), "nnUNetTrainerBN")["norm"] == "batch");
  old["configurations"]["3d_fullres"]["UNet_class_name"] = "ResidualEncoderUNet";
  CHECK(config(old)["network"] == "ResidualEncoderUNet");
  CHECK(config(old)["n_blocks_per_stage"] == Json::array({2, 2}));
}

TEST_CASE("regions, ignored labels, and normalisations of several channels") {
  Json d = dataset();
  d["labels"] = {{"background", 0}, {"whole", {1, 2, 3}}, {"core", {2, 3}}, {"enhancing", 3}, {"ignore", 4}};
  d["regions_class_order"] = {1, 2, 3};
  d["channel_names"] = {{"0", "T1"}, {"1", "FLAIR"}};
  Json p = plans();
  p["configurations"]["3d_fullres"]["normalization_schemes"] = {"ZScoreNormalization", "RescaleTo01Normalization"};
  p["configurations"]["3d_fullres"]["use_mask_for_norm"] = {true, false};
  const Made made(p, d);
  made.fold("fold_all", checkpoint(network(p, d)));
  const auto folds = nnunet::load_folder(made.path);
  const ModelRecipe& r = folds.at(0).recipe;
  CHECK(folds[0].model.in_channels() == 2);
  CHECK(folds[0].model.out_channels() == 3);
  CHECK(r.decision.kind == Decide::threshold);
  CHECK(r.decision.regions_order == std::vector<Index>{1, 2, 3});
  CHECK(to_json(r) == to_json(parse_recipe(to_json(r).dump(), "again")));

  Volume<float> a = scan(1), b = scan(2);
  for (Index i = 0; i < 24 * 22; ++i) a.data()[i] = b.data()[i] = 0;   // the first slice is cropped away
  const Preprocessed both = apply_steps(std::vector<Volume<float>>{a, b}, r.preprocess);
  REQUIRE(both.more.size() == 1);
  const std::vector<PreprocessStep> first = {CropNonzero{}, ZScore{Voxels::mask}, r.preprocess.back()};
  const std::vector<PreprocessStep> second = {CropNonzero{}, ScaleIntensity{}, r.preprocess.back()};
  CHECK(both.image.voxels() == apply_steps(a, first).image.voxels());
  CHECK(both.more[0].voxels() == apply_steps(b, second).image.voxels());
  Context<Cpu> ctx{{.threads = 2}};
  const Segmentation s = segment(ctx, pointers(folds), {.channels = {&a, &b}}, {.recipe_mirror = false});
  CHECK(same_grid(s.labels->grid(), a.grid()));
  CHECK(s.windows * 8 == segment(ctx, pointers(folds), {.channels = {&a, &b}}).windows);
  CHECK(error_of([&] { segment(ctx, pointers(folds), a); }) ==
        "segment: the network takes 2 channels, the scan has 1. Hint: SegmentInput::channels holds a volume for each, in the "
        "order of training.");
}

TEST_CASE("a cascade: the second network sees the first one's labels") {
  Json p = plans();
  Json& all = p["configurations"];
  all["3d_lowres"] = configuration();
  all["3d_lowres"]["spacing"] = {3, 1.5, 1.5};
  all["3d_cascade_fullres"] = {{"inherits_from", "3d_fullres"}, {"previous_stage", "3d_lowres"}};
  const Made made(p, dataset());   // only its parent is used
  const auto put = [&](const char* name, Index channels, std::uint64_t seed) {
    const auto path = made.all / (std::string("nnUNetTrainer__nnUNetPlans__") + name);
    std::filesystem::create_directories(path / "fold_0");
    spill(path / "plans.json", p.dump());
    spill(path / "dataset.json", dataset().dump());
    const auto c = nnunet::plans_from_json(p, "plans.json").configuration(name);
    AnyModel model = make_model(c.network({channels, 3}, ""));
    model.initialize(Context<Cpu>({.threads = 1, .seed = seed}));
    spill(path / "fold_0" / "checkpoint_final.pth", checkpoint(model, {.configuration = name, .mirror = {}}));
    return path;
  };
  const auto fullres = put("3d_cascade_fullres", 3, 4);
  CHECK(has(error_of([&] { nnunet::load_cascade(fullres); }),
            ": is the second network of a cascade; the first one, 3d_lowres, is "));
  const auto lowres = put("3d_lowres", 1, 5);
  const nnunet::Cascade model = nnunet::load_cascade(made.all.path, {.configuration = "3d_cascade_fullres"});
  REQUIRE(model.first.size() == 1);
  CHECK(model.folds[0].recipe.previous_labels == std::vector<Index>{1, 2});

  const Volume<float> ct = scan();
  Context<Cpu> ctx{{.threads = 2}};
  const Segmentation whole = nnunet::segment(ctx, model, ct);
  const Segmentation first = segment(ctx, pointers(nnunet::load_folder(lowres)), ct);
  const Segmentation second = segment(ctx, pointers(model.folds), {.channels = {&ct}, .previous = &*first.labels});
  CHECK(whole.labels->voxels() == second.labels->voxels());
  CHECK(whole.windows == first.windows + second.windows);
  const Volume<std::uint8_t> nothing(ct.grid());
  CHECK(whole.labels->voxels() !=
        segment(ctx, pointers(model.folds), {.channels = {&ct}, .previous = &nothing}).labels->voxels());
  CHECK(has(error_of([&] { segment(ctx, pointers(model.folds), ct); }), "segment: the network is the second of a cascade"));
  CHECK(nnunet::segment(ctx, model, ct, {.dry_run = true}).plan.find("network") != std::string::npos);
}

TEST_CASE("slices of a 2-D configuration") {
  Json p = plans();
  Json& c = p["configurations"]["3d_fullres"];
  c["patch_size"] = {16, 16}, c["spacing"] = {1.2, 1.2};
  Json& a = c["architecture"]["arch_kwargs"];
  a["conv_op"] = "torch.nn.modules.conv.Conv2d", a["norm_op"] = "torch.nn.modules.instancenorm.InstanceNorm2d";
  a["kernel_sizes"] = {{3, 3}, {3, 3}}, a["strides"] = {{1, 1}, {2, 2}};
  const Made made(p, dataset());
  made.fold("fold_0", checkpoint(network(p, dataset()), {.mirror = {0, 1}}));
  const auto folds = nnunet::load_folder(made.path);
  CHECK(folds[0].recipe.mirror == Xyz<bool>{.x = true, .y = true});
  const Volume<float> ct = scan();
  const Preprocessed prepared = apply_steps(ct, folds[0].recipe.preprocess);
  CHECK(prepared.image.shape().z == ct.shape().z);
  Context<Cpu> ctx{{.threads = 1}};
  CHECK(same_grid(segment(ctx, pointers(folds), ct).labels->grid(), ct.grid()));
}
