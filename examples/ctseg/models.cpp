#include "models.hpp"

#include <ctseg/io/torch_file.hpp>

#include "onnx.hpp"

#ifndef CTSEG_PREBUILT_RECIPES   // with ctseg::prebuilt they lie there
template ctseg::AnyModel ctseg::make_model<float, ctseg::Cpu>(const ctseg::NetworkConfig&);
#endif

namespace cli {

bool is_onnx(const fs::path& file) {
  if (file.extension() == ".onnx") return true;
  const cs::io::ByteSource source(file);
  const std::string start = source.read(0, std::min<cs::Index>(source.size(), 9));
  return start.starts_with('\b') && !start.ends_with('{');   // ir_version, its first field; safetensors have a '{' there
}

cs::ModelRecipe recipe_of_file(const fs::path& file, const cs::LoadModelOptions& options) {
  if (is_onnx(file))
    return cs::model_file::recipe_for(file, {.bytes = cs::io::ByteSource(file), .metadata = onnx::metadata_of(file)}, options);
  cs::io::LoadOptions weights = options.weights;
  weights.reader = cs::io::torch_reader();
  return cs::model_file::recipe_for(file, cs::io::weights::index_of(file, weights), options);
}

cs::LoadedModel load_model_file(const fs::path& file, const cs::LoadModelOptions& options) {
  if (is_onnx(file)) return onnx::load(file, recipe_of_file(file, options));
  cs::LoadModelOptions all = options;
  all.weights.reader = cs::io::torch_reader();
  return cs::load_model(file, all);
}

}   // namespace cli
