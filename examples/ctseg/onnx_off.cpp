// In place of onnx_on.cpp where ctseg::onnx is not built.
#include "onnx.hpp"

namespace cli::onnx {

namespace {

constexpr const char* kNeeds = "this program was built without ONNX (CTSEG_ONNX needs libonnx and protobuf).";
[[noreturn]] void refuse(const fs::path& file) {
  throw cs::Error(cs::Code::unsupported, file.string(), cs::text("is ONNX, and ", kNeeds));
}

}   // namespace

std::map<std::string, std::string> metadata_of(const fs::path& file) { refuse(file); }
cs::LoadedModel load(const fs::path& file, const cs::ModelRecipe&) { refuse(file); }
void write(const fs::path& file, const cs::LoadedModel&) {
  throw cs::Error(cs::Code::unsupported, file.string(), cs::text("cannot be made: ", kNeeds));
}

}   // namespace cli::onnx
