// Model folders of nnU-Net made by hand: small JSON files, and checkpoints whose weights come from a network of ctseg.
#pragma once
#include <ctseg/nnunet/model_folder.hpp>

#include "io/temp_folder.hpp"
#include "io/torch_zip.hpp"

extern template ctseg::AnyModel ctseg::make_model<float, ctseg::Cpu>(const ctseg::NetworkConfig&);   // test_model_folders.cpp

namespace folder_files {

using namespace ctseg;
using nnunet::FolderOptions;

/// A configuration of nnU-Net 2.4 and later.
inline Json configuration() {
  return {
      {"data_identifier", "nnUNetPlans_3d_fullres"},
      {"preprocessor_name", "DefaultPreprocessor"},
      {"patch_size", {16, 16, 16}},
      {"spacing", {2.5, 1.0, 1.0}},
      {"normalization_schemes", {"CTNormalization"}},
      {"use_mask_for_norm", {false}},
      {"resampling_fn_data", "resample_data_or_seg_to_shape"},
      {"resampling_fn_data_kwargs", {{"is_seg", false}, {"order", 3}, {"order_z", 0}, {"force_separate_z", nullptr}}},
      {"resampling_fn_probabilities", "resample_data_or_seg_to_shape"},
      {"resampling_fn_probabilities_kwargs", {{"is_seg", false}, {"order", 1}, {"order_z", 0}, {"force_separate_z", nullptr}}},
      {"architecture",
       {{"network_class_name", "dynamic_network_architectures.architectures.unet.PlainConvUNet"},
        {"arch_kwargs",
         {{"n_stages", 2},
          {"features_per_stage", {2, 3}},
          {"conv_op", "torch.nn.modules.conv.Conv3d"},
          {"kernel_sizes", {{1, 3, 3}, {3, 3, 3}}},
          {"strides", {{1, 1, 1}, {1, 2, 2}}},
          {"n_conv_per_stage", {2, 2}},
          {"n_conv_per_stage_decoder", {1}},
          {"conv_bias", true},
          {"norm_op", "torch.nn.modules.instancenorm.InstanceNorm3d"},
          {"norm_op_kwargs", {{"eps", 1e-5}, {"affine", true}}},
          {"dropout_op", nullptr},
          {"dropout_op_kwargs", nullptr},
          {"nonlin", "torch.nn.LeakyReLU"},
          {"nonlin_kwargs", {{"inplace", true}}}}},
        {"_kw_requires_import", {"conv_op", "norm_op", "dropout_op", "nonlin"}}}}};
}
inline Json plans() {
  return {{"dataset_name", "Dataset001_Made"},
          {"plans_name", "nnUNetPlans"},
          {"transpose_forward", {0, 1, 2}},
          {"transpose_backward", {0, 1, 2}},
          {"image_reader_writer", "SimpleITKIO"},
          {"label_manager", "LabelManager"},
          {"foreground_intensity_properties_per_channel",
           {{"0", {{"mean", 50.0}, {"std", 20.0}, {"percentile_00_5", -100.0}, {"percentile_99_5", 200.0}, {"median", 48.0}}}}},
          {"configurations", {{"3d_fullres", configuration()}}}};
}
inline Json dataset() {
  return {{"channel_names", {{"0", "CT"}}},
          {"labels", {{"background", 0}, {"liver", 1}, {"tumour", 2}}},
          {"numTraining", 3},
          {"file_ending", ".nii.gz"}};
}

/// What a checkpoint holds beside its weights, and what may be wrong with it.
struct CheckpointWords {
  std::string configuration = "3d_fullres", trainer = "nnUNetTrainer";
  std::vector<long> mirror{0, 1, 2};
  bool arguments = true;
  std::string more{};   // key and value, in a pickle
};

/// A checkpoint as torch.save writes one, with the weights of a network.
template <class Model> std::string checkpoint(const Model& model, const CheckpointWords& w = {}) {
  using namespace torch_zip;
  std::string weights = "}(";
  std::vector<Entry> storages;
  visit(model, [&](const std::string& name, const auto& p) {
    std::vector<float> values(static_cast<std::size_t>(p.size()));
    for_file_order(p, [&](Index memory, Index at) {
      values[static_cast<std::size_t>(at)] = p.values()[static_cast<std::size_t>(memory)];
    });
    const std::string key = text(storages.size());
    std::vector<long> shape(p.shape().begin(), p.shape().end()), strides(shape.size(), 1);
    for (std::size_t d = shape.size(); d-- > 1;) strides[d - 1] = strides[d] * shape[d];
    weights += words(name) + "ctorch._utils\n_rebuild_tensor_v2\n((" + words("storage") + "ctorch\nFloatStorage\n" +
               words(key) + words("cpu") + integer(static_cast<long>(values.size())) + "tQ" + integer(0) + tuple(shape) +
               tuple(strides) + "\x89}tR";
    storages.push_back({"a/data/" + key, std::string(reinterpret_cast<const char*>(values.data()), values.size() * 4)});
  });
  std::string all = "}(" + words("network_weights") + weights + "u" + words("current_epoch") + integer(7) +
                    words("trainer_name") + words(w.trainer) + words("inference_allowed_mirroring_axes") + tuple(w.mirror);
  if (w.arguments) all += words("init_args") + "}" + words("configuration") + words(w.configuration) + "s";
  std::vector<Entry> entries{{"a/data.pkl", pickle(all + w.more + "u")}, {"a/byteorder", "little"}};
  entries.insert(entries.end(), storages.begin(), storages.end());
  return zip(entries);
}

/// One folder of a trainer in a folder of a data set.
struct Made {
  TempFolder all;
  std::filesystem::path path = all / "nnUNetTrainer__nnUNetPlans__3d_fullres";

  Made(const Json& plans_json, const Json& dataset_json) {
    std::filesystem::create_directories(path);
    spill(path / "plans.json", plans_json.dump());
    spill(path / "dataset.json", dataset_json.dump());
  }
  void fold(const std::string& name, const std::string& bytes, const std::string& file = "checkpoint_final.pth") const {
    std::filesystem::create_directories(path / name);
    spill(path / name / file, bytes);
  }
};

/// The network of plans(), with weights from a seed.
inline AnyModel network(const Json& plans_json, const Json& dataset_json, std::uint64_t seed = 1) {
  const nnunet::DatasetJson d = nnunet::dataset_from_json(dataset_json, "dataset.json");
  const auto c = nnunet::plans_from_json(plans_json, "plans.json").configuration("3d_fullres");
  AnyModel model = make_model(c.network({std::ssize(d.channels), d.heads()}, ""));
  model.initialize(Context<Cpu>({.threads = 1, .seed = seed}));
  return model;
}
inline Json changed(Json j, const std::string& pointer, const Json& value) {
  j[Json::json_pointer(pointer)] = value;
  return j;
}
inline Json without(Json j, const std::string& parent, const std::string& key) {
  (parent.empty() ? j : j[Json::json_pointer(parent)]).erase(key);
  return j;
}

}   // namespace folder_files
