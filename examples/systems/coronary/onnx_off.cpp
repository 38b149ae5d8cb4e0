#include "onnx.hpp"

namespace systems {

cs::LoadedModel load_onnx(const fs::path& file, const cs::ModelRecipe&) {
  throw cs::Error(cs::Code::unsupported, file.string(), "is ONNX, and this program was built without it (CTSEG_ONNX).");
}
void export_onnx(const cs::LoadedModel&, const fs::path& file) {
  throw cs::Error(cs::Code::unsupported, file.string(), "cannot be made: this program was built without ONNX (CTSEG_ONNX).");
}

}   // namespace systems
