// Networks as ONNX files: in onnx_on.cpp where ctseg::onnx is built, else refusals (onnx_off.cpp).
#pragma once
#include "models.hpp"

namespace cli::onnx {

/// What a file says of itself; "ctseg" is a recipe.
std::map<std::string, std::string> metadata_of(const fs::path& file);

/// The graph of a file as the network of a recipe, which says its channels, its windows and what surrounds it.
/// Errors    shape_mismatch for a graph that takes or makes something else; those of ctseg::onnx.
cs::LoadedModel load(const fs::path& file, const cs::ModelRecipe& recipe);

/// The network for windows of its recipe, any number at once, with the recipe in the metadata.
void write(const fs::path& file, const cs::LoadedModel& model);

}   // namespace cli::onnx
