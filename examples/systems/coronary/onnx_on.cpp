#include "onnx.hpp"

#include <ctseg/io/onnx.hpp>

namespace systems {

namespace {

/// An ONNX graph where a network of ctseg is expected.
struct OnnxNetwork : cs::onnx::Model<cs::Spec<float, 3, cs::Cpu>> {
  using Model::Model;
  void initialize(const cs::Context<cs::Cpu>&) {}   // its weights are those of the file
};

}   // namespace

cs::LoadedModel load_onnx(const fs::path& file, const cs::ModelRecipe& recipe) {
  OnnxNetwork network(file);
  const auto own = network.metadata().find("ctseg");
  cs::ModelRecipe used = own == network.metadata().end() ? recipe : cs::parse_recipe(own->second, file.string());
  cs::NetworkConfig config = used.network;
  return {std::move(used), cs::AnyModel(std::move(config), cs::AnyModel::Network<3>(std::move(network)))};
}

void export_onnx(const cs::LoadedModel& model, const fs::path& file) {
  model.model.visit([&]<cs::AnySpec S>(const cs::AnyNetwork<S>& net) {
    const auto& window = std::get<cs::SlidingWindowOptions<S::kDim>>(model.recipe.sliding_window).window;
    cs::onnx::export_model(
        net, {.shape = {1, model.model.in_channels(), window.value}, .metadata = {{"ctseg", cs::to_json(model.recipe).dump()}}},
        file);
  });
}

}   // namespace systems
