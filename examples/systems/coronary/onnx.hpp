// Networks as ONNX files: in onnx_on.cpp where ctseg::onnx is built, else refusals (onnx_off.cpp).
#pragma once
#include "../common/system.hpp"

namespace systems {

/// A file of export_onnx, or any that makes logits of one channel: its recipe stands in its metadata, else it is `recipe`.
cs::LoadedModel load_onnx(const fs::path& file, const cs::ModelRecipe& recipe);

/// The network for windows of its recipe, any number at once, with the recipe in the metadata.
void export_onnx(const cs::LoadedModel& model, const fs::path& file);

}   // namespace systems
