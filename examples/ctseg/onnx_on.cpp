// ONNX through ctseg::onnx.
#include "onnx.hpp"

#include <ctseg/io/onnx.hpp>

namespace cli::onnx {

namespace {

/// A graph where a network of ctseg is expected.
template <int Dim> struct Network : cs::onnx::Model<cs::Spec<float, Dim, cs::Cpu>> {
  using cs::onnx::Model<cs::Spec<float, Dim, cs::Cpu>>::Model;
  void initialize(const cs::Context<cs::Cpu>&) {}   // its weights are those of the file
};

/// Takes and makes what the recipe says, found from shapes alone.
template <int Dim> void check(const Network<Dim>& network, const cs::ModelRecipe& recipe) {
  const auto& windows = std::get<cs::SlidingWindowOptions<Dim>>(recipe.sliding_window);
  const cs::Shape<Dim> in{windows.batch, cs::in_channels_of(recipe.network), windows.window.value};
  const cs::Shape<Dim> wanted = in.with_channels(cs::out_channels_of(recipe.network));
  cs::Tape<cs::Spec<float, Dim, cs::Cpu>> tape(cs::Mode::infer);
  const cs::Shape<Dim> made = network.forward(tape.input(in)).shape();
  constexpr cs::Index kMost = cs::Index{1} << 34;   // far more than any network needs; few bytes of a graph can ask for it
  for (const auto& node : tape.nodes())
    if (node.info.shape.elements() > kMost)
      throw cs::Error(cs::Code::bad_input, "the graph",
                      cs::text("makes ", node.info.shape, " of ", in, "; must be at most ", kMost, " values at once."));
  if (made != wanted)
    throw cs::Error(
        cs::Code::shape_mismatch, "the graph",
        cs::text("makes ", made, " of ", in, ", by its recipe it must be ", wanted,
                 " (N,C and space). Hint: in_channels, out_channels and window of the recipe must be the graph's."));
}

template <int Dim> cs::LoadedModel loaded(const fs::path& file, const cs::ModelRecipe& recipe) {
  Network<Dim> network(file);
  try {
    check(network, recipe);
  } catch (const cs::Error& error) {
    throw cs::Error(error.code() == cs::Code::bad_argument ? cs::Code::bad_input : error.code(), file.string(), error.what());
  }
  return {
      .recipe = recipe, .model = cs::AnyModel(recipe.network, cs::AnyModel::Network<Dim>(std::move(network))), .graph = true};
}

}   // namespace

std::map<std::string, std::string> metadata_of(const fs::path& file) { return cs::onnx::read_metadata(file); }

cs::LoadedModel load(const fs::path& file, const cs::ModelRecipe& recipe) {
  return cs::dim_of(recipe.network) == 2 ? loaded<2>(file, recipe) : loaded<3>(file, recipe);
}

void write(const fs::path& file, const cs::LoadedModel& model) {
  model.model.visit([&]<cs::AnySpec S>(const cs::AnyNetwork<S>& net) {
    const auto& window = std::get<cs::SlidingWindowOptions<S::kDim>>(model.recipe.sliding_window).window;
    cs::onnx::export_model(net,
                           {.shape = {1, model.model.in_channels(), window.value},
                            .metadata = {{cs::model_file::kRecipeKey, cs::to_json(model.recipe).dump()}}},
                           file);
  });
}

}   // namespace cli::onnx
