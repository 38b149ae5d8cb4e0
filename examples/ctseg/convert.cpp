// ctseg convert: a model that somebody else's program trained, as one file that carries its recipe and a test of itself.
#include <ctseg/report/run.hpp>
#include <ctseg/report/sha256.hpp>

#include "models.hpp"
#include "nnunet_options.hpp"
#include "onnx.hpp"

namespace cli {

namespace {

struct Converted {
  std::string name{}, path{};   // of the file in its folder, and where it will be
  cs::Index parameters = 0;
  double difference = 0;   // of the test, when it was read again
};

bool is_one_file(const ConvertArguments& a) { return a.output.ends_with(".safetensors") || a.output.ends_with(".onnx"); }

/// Writes a graph, reads it again, and compares the two for one window.
Converted write_graph(const cs::LoadedModel& model, const std::string& name, const fs::path& file) {
  onnx::write(file, model);
  const cs::LoadedModel again = load_model_file(file);
  cs::TestPair test{.extent = cs::model_file::window_of(model.recipe).extent};
  Index voxels = 1;
  for (const Index e : test.extent) voxels *= e;
  for (Index i = 0; i < 64; ++i) test.voxels.push_back((2 * i + 1) * voxels / 128);
  const auto logits = [&](const cs::AnyModel& m) {
    return m.visit([&](const auto& net) { return cs::model_file::logits_at(net, test, m.in_channels(), nullptr); });
  };
  const cs::model_file::Comparison c = cs::model_file::compare(logits(again.model), logits(model.model));
  if (!(c.apart <= 1e-4 * c.largest))
    throw cs::Error(
        cs::Code::bad_input, file.string(),
        text("logit ", c.worst, " of a test is ", c.apart, " off; they may differ by 1e-4 of the largest, ", c.largest, "."));
  return {name, {}, again.model.parameter_count(), c.largest > 0 ? c.apart / c.largest : 0};
}

/// Writes a model and reads it again, test included.
Converted convert_one(const cs::LoadedModel& model, const std::string& name, Staging& out) {
  const fs::path file = out / name;
  if (file.extension() == ".onnx") return write_graph(model, name, file);
  cs::save_model(file, model.model, model.recipe);
  const cs::LoadedModel again = cs::load_model(file);
  return {name, {}, again.model.parameter_count(), again.difference};
}

std::vector<Converted> convert_folder(const ConvertArguments& a, Staging& out, Console& console) {
  const cs::nnunet::FolderOptions o = folder_options(a.nnunet);
  const cs::nnunet::ModelFolder folder = cs::nnunet::find_folder(a.input, o);
  if (is_one_file(a) && folder.folds.size() > 1)
    throw cs::Error(cs::Code::bad_argument, a.output,
                    text("is one file, the model has ", folder.folds.size(),
                         " folds. Hint: --folds 0 takes one, a folder as output all of them."));
  const cs::ModelRecipe recipe = cs::nnunet::read_recipe_of(folder, o);
  if (!recipe.previous_labels.empty())
    console.note("the second network of a cascade: ctseg segment takes the mask of the first one, 3d_lowres, as --previous.");
  std::vector<Converted> made;
  for (std::size_t i = 0; i < folder.folds.size(); ++i) {
    console.check_cancelled();
    const std::string name =
        is_one_file(a) ? fs::path(a.output).filename().string() : "fold_" + folder.folds[i] + ".safetensors";
    made.push_back(convert_one(cs::nnunet::model_folder::load_fold(folder.checkpoints[i], recipe), name, out));
  }
  return made;
}

std::vector<Converted> convert_weights(const ConvertArguments& a, Staging& out) {
  const cs::LoadedModel model = load_model_file(a.input, {.recipe = a.recipe});
  const std::string name =
      is_one_file(a) ? fs::path(a.output).filename().string() : fs::path(a.input).stem().string() + ".safetensors";
  return {convert_one(model, name, out)};
}

}   // namespace

void convert(const ConvertArguments& a, Console& console) {
  const bool folder = fs::is_directory(a.input);
  if (folder && !a.recipe.empty())
    throw cs::Error(cs::Code::bad_argument, "--recipe",
                    "is for weights; a folder of nnU-Net says itself how its model is used.");
  const NnunetArguments &n = a.nnunet, unset{};
  const bool as_folder =
      !n.configuration.empty() || !n.folds.empty() || !n.postprocessing.empty() || n.checkpoint != unset.checkpoint;
  if (!folder && as_folder)
    throw cs::Error(cs::Code::bad_argument, a.input,
                    "is a file; --configuration, --folds, --checkpoint and --postprocessing are for a folder of nnU-Net.");
  if (!folder) console.keep(a.input);
  if (!a.recipe.empty()) console.keep(a.recipe);
  fs::path into = a.output;
  if (is_one_file(a)) {
    console.expect_output(into);
    into = into.has_parent_path() ? into.parent_path() : fs::path(".");
  } else {
    expect_folder_name(into, "one .safetensors file of each fold; a file's name ends in .safetensors or .onnx");
  }
  Staging out(into, console);
  std::vector<Converted> made = folder ? convert_folder(a, out, console) : convert_weights(a, out);
  console.check_cancelled();
  out.commit();
  const auto paths = out.outputs();
  for (std::size_t i = 0; i < made.size(); ++i) made[i].path = is_one_file(a) ? a.output : paths[i];
  if (!console.common().json) {
    for (const Converted& c : made)
      console.result(text(c.path, "  ", c.parameters, " parameters, its test repeated to ", c.difference, "\n"));
    return;
  }
  cs::report::JsonWriter json;
  json.open('{');
  json.key("outputs"), json.open('[');
  for (const Converted& c : made) {
    json.item(), json.open('{');
    json.field("path", c.path), json.field("sha256", cs::sha256_of(c.path));
    json.field("parameters", c.parameters), json.field("test_difference", c.difference);
    json.close('}');
  }
  json.close(']'), json.close('}');
  console.result(json.take());
}

}   // namespace cli
