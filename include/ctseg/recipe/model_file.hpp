// A model in one file: weights as plain safetensors, which any tool reads, and in their metadata the recipe and a test that the
// loader repeats, so that a file that computes something else than on the day it was saved is found out before it segments.
#pragma once
#include <cmath>

#include "../io/weights.hpp"
#include "any_model.hpp"
#include "recipe.hpp"

namespace ctseg {

/// What a network made of a made-up input, at some voxels. Input value i, in memory order, is 2 u - 1 with u =
/// uniform({seed}, i); logits are those of `voxels` one after the other, computed with Accuracy::strict.
struct TestPair {
  Index seed = 1;
  std::vector<Index> extent{};   // of the input: z, y, x or y, x
  std::vector<Index> voxels{};   // of the output, counted in memory order
  std::vector<float> logits{};
};
template <class F> void fields(TestPair& t, F& f) {
  f("seed", t.seed, json::Range{0, 1e9});
  f.required("extent", t.extent, json::Range{1, 512});
  f.required("voxels", t.voxels, json::Range{0, 1e9});
  f.required("logits", t.logits, json::Range{-3e38, 3e38});
}

struct LoadModelOptions {
  std::filesystem::path recipe{};   // a JSON file; unset: the model file's own, else MODEL.json or recipe.json beside it
  io::LoadOptions weights{};        // .reader = io::torch_reader() for a checkpoint of PyTorch
  bool verify = true;               // repeat the stored test
  double tolerance = 1e-4;          // of the largest stored logit
  Executor* executor = nullptr;     // unset: the calling thread
};

/// A model ready to segment, const for any number of threads.
struct LoadedModel {
  ModelRecipe recipe;
  AnyModel model;
  bool verified = false;   // there was a test, and it was repeated
  double difference = 0;   // of its logits, relative to the largest
  bool graph = false;      // the network is a graph of its own (ONNX): recipe.network says no more than its channels
};

namespace model_file {

inline constexpr const char* kRecipeKey = "ctseg";
inline constexpr const char* kTestKey = "ctseg_test";

inline Context<Cpu> context_of(Executor* executor) {
  return Context<Cpu>({.threads = 1, .executor = executor, .accuracy = Accuracy::strict});
}

/// Logits of a network at the voxels of a test.
/// Errors    bad_input if the test asks for a voxel that the network's output has not.
template <class Net> std::vector<float> logits_at(const Net& net, const TestPair& test, Index in_channels, Executor* executor) {
  using S = typename Net::Spec;
  Context<Cpu> ctx = context_of(executor);
  Shape<S::kDim> shape{1, in_channels, {}};
  std::copy_n(test.extent.begin(), S::kDim, shape.space.begin());
  Predictor<Net> predict(ctx, net, shape);
  const RandomKey key{static_cast<std::uint64_t>(test.seed)};
  for (Index i = 0; i < shape.elements(); ++i) predict.input().data[i] = 2 * uniform(key, static_cast<std::uint64_t>(i)) - 1;
  const In<S> out = predict();
  std::vector<float> logits;
  for (const Index v : test.voxels) {
    if (v >= out.shape.voxels())
      throw Error(Code::bad_input, "model_file", text("the test has a voxel ", v, " of ", out.shape.voxels(), "."));
    logits.insert(logits.end(), out.row(v), out.row(v) + out.shape.c);
  }
  return logits;
}

/// A test for a network: small, but for networks that need large inputs. Voxels are spread over the output.
template <class Net> TestPair make_test(const Net& net, const WindowShape& window, const NetworkConfig& config) {
  TestPair test;
  const auto divisor = net.divisor();
  Index voxels = 1;
  for (std::size_t d = 0; d < divisor.size(); ++d) {
    const Index k = divisor[d], wanted = (std::max<Index>(32, 2 * k) + k - 1) / k * k;
    test.extent.push_back(std::min(wanted, window.extent[d]));
    voxels *= test.extent.back();
  }
  const Index count = std::clamp<Index>(json::kMostEntries / out_channels_of(config), 1, 64);
  for (Index i = 0; i < count; ++i) test.voxels.push_back((2 * i + 1) * voxels / (2 * count));
  test.logits = logits_at(net, test, in_channels_of(config), nullptr);
  return test;
}

struct Comparison {
  double apart = 0, largest = 0;
  std::size_t worst = 0;   // logit that differs most
};
inline Comparison compare(const std::vector<float>& got, const std::vector<float>& stored) {
  Comparison c;
  for (std::size_t i = 0; i < stored.size(); ++i) {
    const double apart = std::abs(double{got[i]} - double{stored[i]});
    c.largest = std::max(c.largest, std::abs(double{stored[i]}));
    if (!is_finite(got[i]) || apart > c.apart) c.worst = i, c.apart = is_finite(got[i]) ? apart : 3e38;
  }
  return c;
}

/// Repeats the test that a file carries; relative difference.
template <class = void>
double verify(const TestPair& test, const AnyModel& model, const std::string& file, const LoadModelOptions& o) {
  const auto fail = [&](const std::string& words) { throw Error(Code::bad_input, file, words); };
  if (std::ssize(test.extent) != model.dim())
    fail(text("its test has an input of ", test.extent.size(), " axes, its network ", model.dim(), "."));
  model.check_window({test.extent});
  constexpr Index kMostMemory = Index{2} << 30;   // of values; weights are there anyway
  if (const Index need = model.memory({test.extent}).arena; need > kMostMemory)
    fail(text("its test needs ", need, " bytes; the most that is spent on one is ", kMostMemory,
              ". Hint: the file was not made by save_model; LoadModelOptions::verify = false loads it nevertheless."));
  const auto got = model.visit([&](const auto& net) { return logits_at(net, test, model.in_channels(), o.executor); });
  if (got.size() != test.logits.size() || got.empty())
    fail(text("its test has ", test.logits.size(), " logits, its network makes ", got.size(), "."));
  const Comparison c = compare(got, test.logits);
  if (!(c.apart <= o.tolerance * c.largest))
    fail(text("computes something else than when it was saved: logit ", c.worst, " of its test is ", double{got[c.worst]},
              ", stored is ", double{test.logits[c.worst]}, "; they may differ by ", o.tolerance, " of the largest, ",
              c.largest, ". Hint: the file was changed or damaged; LoadModelOptions::verify = false loads it nevertheless."));
  return c.largest > 0 ? c.apart / c.largest : 0;
}

/// The recipe of a model: named by the caller, in the file, or beside it.
template <class = void>
ModelRecipe recipe_for(const std::filesystem::path& path, const io::TensorIndex& index, const LoadModelOptions& o) {
  if (!o.recipe.empty()) return read_recipe(o.recipe);
  if (const auto own = index.metadata.find(kRecipeKey); own != index.metadata.end())
    return parse_recipe(own->second, path.string());
  auto named = path;
  named.replace_extension(".json");
  for (const auto& beside : {named, path.parent_path() / "recipe.json"})
    if (std::error_code none; std::filesystem::exists(beside, none)) return read_recipe(beside);
  throw Error(
      Code::bad_input, path.string(),
      text("holds weights but no recipe (metadata \"", kRecipeKey, "\"), and neither ", named.filename().string(),
           " nor recipe.json lies beside it. Hint: name one by LoadModelOptions::recipe; docs/recipes.md has examples."));
}

/// A lower bound of a network's weights: the first and the last convolution, those between one width and the next on the way
/// down, and those within a stage.
struct LeastWeights {
  double in = 0, last = 0;         // channels that come in, weights of the last convolution
  std::vector<double> widths{};    // of the stages
  std::vector<double> kernels{};   // taps of their convolutions; the last one's where there are fewer
  std::vector<double> ups{};       // taps of the transposed convolution between stage i and the next; none: not counted
  std::vector<double> more{};      // convolutions of a stage beyond its first

  double sum() const {
    double values = last, before = in;
    for (std::size_t i = 0; i < widths.size(); before = widths[i++]) {
      const double taps = kernels.empty() ? 1 : kernels[std::min(i, kernels.size() - 1)];
      values += (before + (i < more.size() ? std::max(more[i], 0.0) : 0) * widths[i]) * widths[i] * taps;
      if (i < ups.size() && i + 1 < widths.size()) values += widths[i] * widths[i + 1] * ups[i];
    }
    return values;
  }
};
template <int Dim> double taps_of(const Axes<Dim>& kernel) {
  double taps = 1;
  for (const Index k : kernel.value) taps *= static_cast<double>(k);
  return taps;
}
template <int Dim> std::vector<double> taps_of(const std::vector<Axes<Dim>>& kernels, std::size_t first = 0) {
  std::vector<double> all;
  for (std::size_t i = first; i < kernels.size(); ++i) all.push_back(taps_of(kernels[i]));
  return all;
}
template <class Options> double least_weights(const Options& o) {
  LeastWeights least{.in = static_cast<double>(o.in_channels)};
  const auto out = [&](Index before) { least.last = static_cast<double>(before * o.out_channels); };
  const auto widths = [&](const auto& all) { least.widths.assign(all.begin(), all.end()); };
  const auto more = [&](const std::vector<Index>& all, double less) {
    for (const Index n : all) least.more.push_back(static_cast<double>(n) - less);
  };
  if constexpr (requires { o.features; }) {
    widths(o.features);
    if (!o.features.empty()) out(std::is_same_v<Options, BasicUNetOptions> ? o.features.back() : o.features.front());
  } else if constexpr (requires { o.channels; }) {   // their highest transposed convolution has another output
    widths(o.channels);
    least.kernels = {taps_of(o.kernel_size)};
    least.ups.assign(o.channels.size() > 2 ? o.channels.size() - 2 : 0, taps_of(o.up_kernel_size));
    if constexpr (requires { o.num_res_units; })
      least.more.assign(o.strides.size() + 1, static_cast<double>(o.num_res_units) - 1);
  } else if constexpr (requires { o.filters; }) {
    widths(o.filters);
    least.kernels = taps_of(o.kernel_size), least.ups = taps_of(o.strides, 1);
  } else if constexpr (requires { o.n_blocks_per_stage; }) {   // a stem in front
    widths(o.features_per_stage);
    least.in = 0;
    least.kernels = taps_of(o.kernel_sizes), least.ups = taps_of(o.strides, 1);
    more(o.n_blocks_per_stage, 0);
  } else if constexpr (requires { o.features_per_stage; }) {
    widths(o.features_per_stage);
    least.kernels = taps_of(o.kernel_sizes), least.ups = taps_of(o.strides, 1);
    more(o.n_conv_per_stage, 1);
  } else if constexpr (requires { o.width; }) {
    least.widths = {5 * static_cast<double>(o.width), 5 * static_cast<double>(o.width)};
    out(o.width);
  } else {
    const double deepest = std::ldexp(static_cast<double>(o.init_filters), static_cast<int>(o.blocks_down.size()) - 1);
    least.widths = {static_cast<double>(o.init_filters), deepest, deepest};
    if (o.use_conv_final) out(o.init_filters);
  }
  if (least.last == 0 && !least.widths.empty()) least.last = least.widths[0] * static_cast<double>(o.out_channels);
  return least.sum();
}

/// Errors    bad_input where the file is too small for what the recipe describes: a few bytes must not ask for much memory.
template <class = void> void check_size(const NetworkConfig& config, const std::string& file, Index file_bytes) {
  const double least = visit_options(config, [](const auto& o) { return least_weights(o); });
  if (2 * least > static_cast<double>(file_bytes))   // f16
    throw Error(Code::bad_input, file,
                text("the recipe's network (", text(config), ") has more than ", least, " weights, but the file only ",
                     file_bytes, " bytes. Hint: it was saved from another network."));
}

/// The windows of a recipe, that its network must be able to take.
template <class = void> WindowShape window_of(const ModelRecipe& r) {
  return std::visit(
      [](const auto& o) {
        return WindowShape{{o.window.value.begin(), o.window.value.end()}};
      },
      r.sliding_window);
}

}   // namespace model_file

/// Writes weights, recipe and test into one safetensors file, whole or not at all.
/// Errors    bad_argument for a recipe of another network or a network whose logits are not finite; those of check().
template <class = void> void save_model(const std::filesystem::path& path, const AnyModel& model, const ModelRecipe& recipe) {
  check(recipe, path.string());
  const Json own = to_json(model.config()), wanted = to_json(recipe.network);
  if (own != wanted)
    throw Error(Code::bad_argument, path.string(),
                text("the model is ", own.dump(), ", the recipe's network ", wanted.dump(), "; they must be the same."));
  const WindowShape window = model_file::window_of(recipe);
  model.check_window(window);
  const TestPair test = model.visit([&](const auto& net) { return model_file::make_test(net, window, recipe.network); });
  if (!all_finite(std::span(test.logits)))
    throw Error(Code::bad_argument, path.string(), "the network makes logits that are not finite; such a model is not saved.");
  io::save_weights(
      path, model,
      {.metadata = {{model_file::kRecipeKey, to_json(recipe).dump()}, {model_file::kTestKey, json::write(test).dump()}}});
}

/// A model with its recipe: from a file of save_model, or from weights with a recipe beside them (or named by an option). Needs
/// make_model, so it compiles all networks where that is not an extern template.
/// Errors    bad_input for a file that is truncated, has no recipe, weights of another network or not finite, or a test that
///           comes out differently; each in one sentence.
template <class = void> LoadedModel load_model(const std::filesystem::path& path, const LoadModelOptions& o = {}) {
  const io::TensorIndex index = io::weights::index_of(path, o.weights);
  const ModelRecipe recipe = model_file::recipe_for(path, index, o);
  model_file::check_size(recipe.network, path.string(), index.bytes.size());
  LoadedModel loaded{recipe, make_model(recipe.network)};
  loaded.model.check_window(model_file::window_of(loaded.recipe));
  io::load_weights(path, loaded.model, o.weights);
  if (const auto test = index.metadata.find(model_file::kTestKey); o.verify && test != index.metadata.end()) {
    TestPair pair;
    json::Reader::take(json::parse(test->second, path.string()), {path.string(), model_file::kTestKey}, pair);
    loaded.difference = model_file::verify(pair, loaded.model, path.string(), o);
    loaded.verified = true;
  }
  return loaded;
}

#ifdef CTSEG_PREBUILT_RECIPES   // linked to ctseg::prebuilt, which holds these
CTSEG_PREBUILT_RECIPES template void save_model<void>(const std::filesystem::path&, const AnyModel&, const ModelRecipe&);
CTSEG_PREBUILT_RECIPES template LoadedModel load_model<void>(const std::filesystem::path&, const LoadModelOptions&);
#endif

}   // namespace ctseg
