// What is wrong with a model folder is one sentence that names the file, what was found and what is known.
#include <doctest/doctest.h>

#include "folder_files.hpp"

using namespace folder_files;

namespace {

bool has(const std::string& words, const std::string& part) { return words.find(part) != std::string::npos; }

/// What() of reading plans and the configuration in them.
std::string plans_error(const Json& plans_json, const Json& dataset_json = dataset(),
                        const std::string& trainer = "nnUNetTrainer") {
  return error_of([&] {
    const nnunet::TrainedFiles files{nnunet::plans_from_json(plans_json, "plans.json"),
                                     nnunet::dataset_from_json(dataset_json, "dataset.json"),
                                     {"3d_fullres", trainer, {}},
                                     "checkpoint_final.pth"};
    (void)nnunet::recipe_of(files);
  });
}
std::string with(const std::string& pointer, const Json& value) {
  return plans_error(changed(plans(), "/configurations/3d_fullres/" + pointer, value));
}
std::string lacking(const std::string& parent, const std::string& key) { return plans_error(without(plans(), parent, key)); }
std::string dataset_error(const Json& d) { return plans_error(plans(), d); }

const std::string kIn = "plans.json: configurations.3d_fullres";

}   // namespace

TEST_CASE("plans: what is missing is named, what is not known is fine") {
  CHECK(plans_error(plans()) == "");
  CHECK(plans_error(changed(plans(), "/a_new_key", {1, 2})) == "");
  CHECK(with("a_new_key", "x") == "");
  const std::string configuration = "/configurations/3d_fullres";
  for (const char* key : {"patch_size", "spacing", "normalization_schemes", "use_mask_for_norm", "resampling_fn_data",
                          "resampling_fn_probabilities"})
    CHECK(lacking(configuration, key) == kIn + " has no \"" + key + "\".");
  CHECK(lacking(configuration, "architecture") == kIn + " has no \"UNet_class_name\".");
  CHECK(lacking("", "transpose_forward") == "plans.json: the document has no \"transpose_forward\".");
  CHECK(lacking("", "configurations") == "plans.json: the document has no \"configurations\".");
  CHECK(lacking("/foreground_intensity_properties_per_channel", "0") ==
        "plans.json: foreground_intensity_properties_per_channel has no \"0\", which CTNormalization needs.");
  CHECK(lacking("/foreground_intensity_properties_per_channel/0", "std") ==
        "plans.json: foreground_intensity_properties_per_channel.0 has no \"std\".");
  CHECK(lacking(configuration + "/architecture/arch_kwargs", "strides") ==
        kIn + ".architecture.arch_kwargs has no \"strides\".");
}

TEST_CASE("plans: wrong types, ranges and shapes") {
  CHECK(with("patch_size", {16, 0, 16}) == kIn + ".patch_size[1] is 0; must be a whole number from 1 to 4096.");
  CHECK(with("patch_size", {16, 16, 16, 16}) == kIn + ".patch_size is [16,16,16,16]; must be a list of 2 or 3 extents.");
  CHECK(with("spacing", {1, 1}) == kIn + ".spacing is [1,1]; must be a list of 3 numbers, as patch_size.");
  CHECK(with("use_mask_for_norm", true) == kIn + ".use_mask_for_norm is true; must be a list of 1 values.");
  CHECK(with("architecture/arch_kwargs/strides", Json::array({Json::array({1, 1, 1})})) ==
        kIn + ".architecture.arch_kwargs.strides is [[1,1,1]]; must be a list of 2 entries.");
  CHECK(with("architecture/arch_kwargs/conv_op", "torch.nn.modules.conv.Conv2d") ==
        kIn +
            ".architecture.arch_kwargs.conv_op is \"torch.nn.modules.conv.Conv2d\"; must be Conv3d, as the patch has 3 axes.");
  CHECK(with("normalization_schemes", Json::array({"NoNormalization", "NoNormalization"})) ==
        kIn + ".use_mask_for_norm is [false]; must be a list of 2 values.");
  CHECK(plans_error(changed(plans(), "/transpose_forward", {0, 1, 1})) ==
        "plans.json: transpose_forward is [0,1,1]; must be 0, 1 and 2 in some order.");
}

TEST_CASE("plans: what is not known is refused by name") {
  CHECK(with("architecture/network_class_name", "a.b.Primus") ==
        kIn +
            ".architecture.network_class_name is \"a.b.Primus\", which is not among the networks that are known here: "
            "PlainConvUNet, ResidualEncoderUNet.");
  CHECK(with("architecture/arch_kwargs/bottleneck_attention", 3) ==
        kIn +
            ".architecture.arch_kwargs has \"bottleneck_attention\" = 3, which is not known here; the network would be "
            "another one.");
  CHECK(with("architecture/arch_kwargs/nonlin", "torch.nn.Mish") ==
        kIn + ".architecture.arch_kwargs.nonlin is \"torch.nn.Mish\"; known here are LeakyReLU and ReLU.");
  CHECK(has(with("normalization_schemes", Json::array({"MyNormalization"})),
            ".normalization_schemes has \"MyNormalization\"; known here are CTNormalization, "));
  CHECK(with("resampling_fn_data", "my_resampling") ==
        kIn +
            ".resampling_fn_data: \"my_resampling\"; known here is resample_data_or_seg_to_shape, resample_torch_fornnunet and "
            "no_resampling_hack.");
  CHECK(with("resampling_fn_data_kwargs/order_z", 1) == kIn + ".resampling_fn_data: order_z = 1; known here is 0.");
  CHECK(with("resampling_fn_data_kwargs/force_separate_z", false) ==
        kIn + ".resampling_fn_data: force_separate_z = false; known here is null: as the spacing is.");
  CHECK(with("resampling_fn_data_kwargs/separate_z_anisotropy_threshold", 3) == "");
  CHECK(with("resampling_fn_data_kwargs/separate_z_anisotropy_threshold", 2) ==
        kIn + ".resampling_fn_data: separate_z_anisotropy_threshold = 2; known here is 3.");
  CHECK(with("architecture/arch_kwargs/norm_op_kwargs/track_running_stats", true) ==
        kIn + ".architecture.arch_kwargs.norm_op_kwargs.track_running_stats is true; must be false.");
  CHECK(with("previous_stage", "../3d_lowres") ==
        kIn + ".previous_stage is \"../3d_lowres\"; must be the name of a configuration.");
  CHECK(with("resampling_fn_probabilities_kwargs/order", 3) ==
        kIn + ".resampling_fn_probabilities_kwargs.order is not 1; known here is 1.");
  CHECK(has(with("preprocessor_name", "Mine"), ".preprocessor_name is \"Mine\"; known here is DefaultPreprocessor."));
  CHECK(plans_error(changed(plans(), "/image_reader_writer", "Tiff3DIO")) ==
        "plans.json: image_reader_writer is \"Tiff3DIO\"; known here are SimpleITKIO, NibabelIO and NibabelIOWithReorient.");
  CHECK(plans_error({{"plans_per_stage", Json::object()}, {"num_stages", 2}}) ==
        "plans.json: is a plan of nnU-Net 1 (it has \"plans_per_stage\"); known are those of nnU-Net 2. Hint: train the model "
        "again with nnU-Net 2.");
}

TEST_CASE("plans: inheritance") {
  Json p = plans();
  const Json base = p["configurations"]["3d_fullres"];
  p["configurations"]["3d_fullres"] = {{"inherits_from", "base"}, {"spacing", {3, 2, 1}}};
  CHECK(plans_error(p) == "plans.json: has no configuration \"base\"; there are: 3d_fullres.");
  p["configurations"]["base"] = base;
  CHECK(plans_error(p) == "");
  const auto c = nnunet::plans_from_json(p, "plans.json").configuration("3d_fullres");
  CHECK(c.spacing == std::vector<double>{3, 2, 1});
  CHECK(c.patch_size == std::vector<Index>{16, 16, 16});
  p["configurations"]["base"]["inherits_from"] = "3d_fullres";
  CHECK(plans_error(p) == "plans.json: configurations: 3d_fullres inherits from itself, by way of 3d_fullres.");
}

TEST_CASE("dataset.json") {
  CHECK(dataset_error(without(dataset(), "", "labels")) == "dataset.json: the document has no \"labels\".");
  CHECK(dataset_error(without(dataset(), "", "channel_names")) == "dataset.json: the document has no \"channel_names\".");
  CHECK(dataset_error(changed(dataset(), "/channel_names", {{"0", "CT"}, {"1", "PET"}})) ==
        "plans.json: configurations.3d_fullres.normalization_schemes has 1 entries; dataset.json has 2 channels.");
  CHECK(has(dataset_error(changed(dataset(), "/labels", {{"0", "background"}, {"1", "liver"}})),
            "numbers to names, the format of nnU-Net 1; known is nnU-Net 2, names to numbers."));
  CHECK(dataset_error(changed(dataset(), "/labels", {{"background", 0}, {"liver", 1}, {"tumour", 5}})) ==
        "dataset.json: labels has 2 ids above 0, the largest is 5; they must be 1, 2, 3 ...");
  CHECK(dataset_error(changed(dataset(), "/labels", {{"liver", 1}})) == "dataset.json: labels has no background, the label 0.");
  CHECK(dataset_error(changed(dataset(), "/labels", {{"background", 0}, {"liver", 300}})) ==
        "dataset.json: labels.liver is 300; must be a whole number from 0 to 255.");
  const Json regions = changed(dataset(), "/labels/whole", {1, 2});
  CHECK(dataset_error(regions) == "dataset.json: labels has regions, but there is no \"regions_class_order\".");
  CHECK(dataset_error(changed(regions, "/regions_class_order", {1, 2})) ==
        "dataset.json: regions_class_order has 2 ids for 3 regions; must be one each.");
  CHECK(dataset_error(changed(regions, "/regions_class_order", {1, 2, 1})) == "");
  CHECK(dataset_error(changed(dataset(), "/labels/ignore", 3)) == "");
}

TEST_CASE("folders: what is not there is said with what is") {
  const TempFolder empty;
  CHECK(error_of([&] { nnunet::load_folder(empty / "nothing"); }) ==
        (empty / "nothing").string() + ": is no folder; a model of nnU-Net is one, with plans.json and fold_0.");
  CHECK(has(error_of([&] { nnunet::load_folder(empty.path); }), ": has neither plans.json nor a folder like nnUNetTrainer__"));
  std::filesystem::create_directories(empty / "old");
  spill(empty / "old" / "plans.pkl", "x");
  CHECK(
      has(error_of([&] { nnunet::load_folder(empty / "old"); }), ": is a model of nnU-Net 1 (plans.pkl); known are those of "));

  const Made made(plans(), dataset());
  const std::string name = made.path.string();
  CHECK(error_of([&] { nnunet::load_folder(made.path); }) == name + ": has no folds, folders like fold_0.");
  made.fold("fold_0", checkpoint(network(plans(), dataset())), "checkpoint_best.pth");
  CHECK(error_of([&] { nnunet::load_folder(made.path); }) ==
        name +
            ": has no checkpoint_final.pth in fold_0; in fold_0 there are: checkpoint_best.pth. Hint: another name is "
            "FolderOptions::checkpoint.");
  CHECK(error_of([&] {
          nnunet::load_folder(made.path, {.folds = {"0", "3"}, .checkpoint = "checkpoint_best.pth"});
        }) == name + ": has no fold_3/checkpoint_best.pth; folds that have one are: 0.");
  CHECK(nnunet::load_folder(made.path, {.checkpoint = "checkpoint_best.pth"}).size() == 1);
  CHECK(nnunet::load_folder(made.all.path, {.checkpoint = "checkpoint_best.pth"}).size() == 1);   // the folder above
  CHECK(has(error_of([&] { nnunet::load_folder(made.all.path, {.configuration = "2d"}); }),
            ": has 0 models of the configuration 2d; there are: nnUNetTrainer__nnUNetPlans__3d_fullres."));
  CHECK(has(error_of([&] { nnunet::load_folder(made.path, {.configuration = "2d", .checkpoint = "checkpoint_best.pth"}); }),
            "checkpoint_best.pth: is of the configuration 3d_fullres, asked for was 2d."));
  std::filesystem::remove(made.path / "plans.json");
  CHECK(has(error_of([&] { nnunet::load_folder(made.path, {.checkpoint = "checkpoint_best.pth"}); }), "plans.json: "));
}

TEST_CASE("checkpoints: foreign pickles, what is missing, weights of another network") {
  const Made made(plans(), dataset());
  const AnyModel net = network(plans(), dataset());
  const std::string file = (made.path / "fold_0" / "checkpoint_final.pth").string();
  const auto error = [&](const std::string& bytes) {
    made.fold("fold_0", bytes);
    return error_of([&] { nnunet::load_folder(made.path); });
  };
  CHECK(error(checkpoint(net)) == "");
  CHECK(has(error("not a checkpoint"), file + ": is neither a safetensors file nor a checkpoint of torch.save."));
  const std::string evil = torch_zip::words("x") + "cos\nsystem\n(" + torch_zip::words("true") + "tR";
  CHECK(has(error(checkpoint(net, {.more = evil})), "names os.system at byte "));
  CHECK(has(error(checkpoint(net, {.arguments = false})), file + ": has no \"init_args\"; a checkpoint of nnU-Net 2 has "));
  CHECK(has(error(torch_zip::checkpoint(torch_zip::one(torch_zip::tensor()))), file + ": has no \"network_weights\"; "));
  CHECK(has(error(checkpoint(net, {.configuration = "3d_lowres"})),
            "plans.json: has no configuration \"3d_lowres\"; there are: 3d_fullres."));
  CHECK(has(error(checkpoint(net, {.mirror = {0, 3}})),
            "inference_allowed_mirroring_axes has 3; the patch has the axes 0 to 2."));
  CHECK(error(checkpoint(net, {.trainer = "\xff"})) == "");
  CHECK(nnunet::load_folder(made.path)[0].recipe.about.training_data == "nnU-Net ?, nnUNetPlans");   // JSON takes UTF-8 alone
  const AnyModel other = network(plans(), changed(dataset(), "/labels/bone", 3));
  CHECK(has(error(checkpoint(other)),
            file + ": tensor decoder.seg_layers.0.weight is [4,2,1,1,1], the network's is [3,2,1,1,1], "));
}

TEST_CASE("postprocessing") {
  const TempFolder folder;
  const std::string known = "remove_all_but_largest_component_from_segmentation";
  const Json good = {{"postprocessing_fns", {known, known}},
                     {"postprocessing_kwargs", {{{"labels_or_regions", {1, {2, 3}}}}, {{"labels_or_regions", 2}}}}};
  spill(folder / "a.json", good.dump());
  const auto rules = nnunet::read_postprocessing(folder / "a.json");
  REQUIRE(rules.size() == 2);
  CHECK(std::get<KeepLargest>(rules[0]).labels == Labels{1, 2, 3});
  CHECK(std::get<KeepLargest>(rules[0]).together);
  CHECK(std::get<KeepLargest>(rules[1]).labels == Labels{2});
  spill(folder / "b.json", changed(good, "/postprocessing_fns/1", "sharpen").dump());
  CHECK(error_of([&] { nnunet::read_postprocessing(folder / "b.json"); }) ==
        (folder / "b.json").string() + ": asks for the function sharpen; known here is " + known + ".");

  using namespace torch_zip;
  const std::string function = "cnnunetv2.postprocessing.remove_connected_components\n" + known + "\n";
  const std::string options = "}" + words("labels_or_regions");
  spill(folder / "a.pkl", pickle("(](" + function + function + "e](" + options + "](" + integer(1) + tuple({2, 3}) + "es" +
                                 options + integer(2) + "set"));
  const auto same = nnunet::read_postprocessing(folder / "a.pkl");
  REQUIRE(same.size() == 2);
  CHECK(std::get<KeepLargest>(same[0]).labels == Labels{1, 2, 3});
  CHECK(std::get<KeepLargest>(same[1]).labels == Labels{2});
  const std::string numpy =
      "cnumpy._core.multiarray\nscalar\n(cnumpy\ndtype\n(" + words("i8") + "\x89\x88tRC\x08" + number(3, 8) + "tR";
  spill(folder / "n.pkl", pickle("(](" + function + "e](" + options + "](" + numpy + integer(1) + "eset"));
  CHECK(std::get<KeepLargest>(nnunet::read_postprocessing(folder / "n.pkl").at(0)).labels == Labels{1, 3});
  spill(folder / "b.pkl", pickle("(](cos\nsystem\ne](" + options + integer(2) + "set"));
  CHECK(has(error_of([&] { nnunet::read_postprocessing(folder / "b.pkl"); }), "names os.system at byte "));
  spill(folder / "c.pkl", pickle(integer(3)));
  CHECK(has(error_of([&] { nnunet::read_postprocessing(folder / "c.pkl"); }), ": is no pickle of postprocessing: "));
}
