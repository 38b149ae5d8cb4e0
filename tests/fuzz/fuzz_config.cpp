// Configurations and recipes: what people write by hand, and what model files carry.
#include "../../examples/systems/common/config.hpp"

#include "fuzz.hpp"

using namespace ctseg;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto path = fuzz::as_file("x.json", data, size);   // a "base" of that name is itself
  fuzz::run([&] {
    const systems::Config config = systems::read_config(path);
    fuzz::require(config.training.steps >= 1 && config.training.batch >= 1 && config.phantom.train >= 1);
  });
  const std::string_view words(reinterpret_cast<const char*>(data), size);
  fuzz::run([&] {   // what is written of it can be read, and says the same
    const Json once = to_json(parse_recipe(words, "x"));
    fuzz::require(to_json(parse_recipe(once.dump(), "y")) == once);
  });
  return 0;
}
