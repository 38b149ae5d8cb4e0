#include "config.hpp"

namespace systems {

template <class F> void fields(Relabel& r, F& f) {
  f.required("from", r.from, cs::json::Range{0, 255});
  f.required("to", r.to, cs::json::Range{0, 255});
}
template <class F> void fields(DataConfig& d, F& f) {
  f("layout", d.layout);
  f("train", d.train, cs::json::Range{0, 1});
  f("test", d.test, cs::json::Range{0, 1});
  f("relabel", d.relabel);
}
template <class F> void fields(PhantomConfig& p, F& f) {
  f("shape", p.shape, cs::json::Range{1, 2048});
  f("spacing_mm", p.spacing_mm, cs::json::Range{0.1, 100});
  f("train", p.train, cs::json::Range{1, 10000});
  f("val", p.val, cs::json::Range{0, 10000});
  f("test", p.test, cs::json::Range{0, 10000});
  f("noise_hu", p.noise_hu, cs::json::Range{0, 1000});
  f("blur_mm", p.blur_mm, cs::json::Range{0, 100});
}

namespace {

cs::Json read_json(const fs::path& file) {
  const auto bytes = cs::io::read_file(file, {.max_bytes = Index{4} << 20});
  cs::Json j = cs::json::parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, file.string());
  if (!j.is_object()) throw cs::Error(cs::Code::bad_input, file.string(), "must be a JSON object.");
  return j;
}

/// A file with what its recipe and its base say in their place.
cs::Json read_merged(const fs::path& file, int depth = 0) {
  if (depth > 8) throw cs::Error(cs::Code::bad_input, file.string(), "\"base\" leads more than 8 files away.");
  cs::Json own = read_json(file);
  const bool other_recipe = own.contains("recipe") && own["recipe"].is_string();   // a whole one: nothing of the base's is left
  if (other_recipe) own["recipe"] = read_json(file.parent_path() / own["recipe"].get<std::string>());
  if (!own.contains("base") || !own["base"].is_string()) return own;
  cs::Json merged = read_merged(file.parent_path() / own["base"].get<std::string>(), depth + 1);
  if (other_recipe) merged.erase("recipe");
  own.erase("base");
  merged.merge_patch(own);
  return merged;
}

}   // namespace

Config read_config(const fs::path& file) {
  const cs::Json merged = read_merged(file);
  Config config;
  cs::Json recipe;
  cs::json::Reader members(merged, {file.string()});
  members.required("recipe", recipe);
  members("training", config.training);
  members("data", config.data);
  members("phantom", config.phantom);
  members.finish();
  config.recipe = cs::recipe_from_json(recipe, file.string());
  cli::check(config.training, config.recipe.network, file.string());
  return config;
}

fs::path preset(const std::string& system, const std::string& name) {
  return fs::path(CTSEG_SYSTEMS_DIR) / system / (name + ".json");
}
fs::path find_config(const std::string& system, const std::string& name) {
  if (fs::is_regular_file(name)) return name;   // and no folder that happens to have the preset's name
  const fs::path file = preset(system, name);
  if (fs::is_regular_file(file)) return file;
  throw cs::Error(cs::Code::io, name, text("is neither a file nor a preset of this system; looked for ", file.string(), "."));
}

cs::CaseSplit find_cases(const fs::path& data, const Config& config, std::uint64_t seed) {
  const cs::Layout layout = cli::layout_named("data.layout", config.data.layout);
  if (fs::is_directory(data / "train")) return cs::find_split(data, layout);
  return cs::split(cs::find_cases(data, layout), {.train = config.data.train, .test = config.data.test, .seed = seed});
}

}   // namespace systems
