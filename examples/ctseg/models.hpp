// Networks of files. All of them are compiled in models.cpp or lie in ctseg::prebuilt; who includes this uses those.
#pragma once
#include <ctseg/recipe/model_file.hpp>

extern template ctseg::AnyModel ctseg::make_model<float, ctseg::Cpu>(const ctseg::NetworkConfig&);

namespace cli {

namespace cs = ctseg;
namespace fs = std::filesystem;

/// Whether a file is an ONNX graph: by its name, or by how it begins.
bool is_onnx(const fs::path& file);

/// The recipe of a model file: the one that the options name, the file's own, or one that lies beside it.
cs::ModelRecipe recipe_of_file(const fs::path& file, const cs::LoadModelOptions& options = {});

/// A model of any file: safetensors, a checkpoint of PyTorch, or an ONNX graph, which runs on the CPU.
/// Errors    bad_input for a file without a recipe; unsupported for a graph that is not run; those of cs::load_model.
cs::LoadedModel load_model_file(const fs::path& file, const cs::LoadModelOptions& options = {});

}   // namespace cli
