// Networks to a file and back: the same output, at other sizes as well.
#include "nets.hpp"

using namespace onnx_test;

namespace {

/// Exports, imports and compares at every size; returns the largest difference.
template <class Net> double round_trip(const Net& net, const onnx::ExportOptions<Net::Spec::kDim>& options,
                                       std::initializer_list<Shape<Net::Spec::kDim>> shapes) {
  const TempFolder folder;
  onnx::export_model(net, options, folder / "net.onnx");
  const onnx::Model<typename Net::Spec> model(folder / "net.onnx");
  CHECK(parameter_count(model) == parameter_count(net));
  double most = 0;
  for (const auto& shape : shapes) {
    const auto x = random_input(shape);
    most = std::max(most, difference(output_of(net, x), output_of(model, x)));
  }
  return most;
}

}   // namespace

TEST_CASE("onnx: a network of every op comes back, fixed size") {
  EveryOpNet<F2> flat;
  scramble(flat);
  CHECK(round_trip(flat, {.shape = {2, 2, {12, 16}}, .dynamic_batch = false}, {{2, 2, {12, 16}}}) <= 1e-6);
  EveryOpNet<F3> net;
  scramble(net);
  CHECK(round_trip(net, {.shape = {1, 2, {8, 6, 10}}}, {{1, 2, {8, 6, 10}}, {3, 2, {8, 6, 10}}}) <= 1e-6);
}

TEST_CASE("onnx: a network of every op comes back, any size") {
  EveryOpNet<F2> flat;
  scramble(flat);
  CHECK(round_trip(flat, {.shape = {1, 2, {12, 16}}, .dynamic_size = true}, {{2, 2, {12, 16}}, {1, 2, {20, 14}}}) <= 1e-6);
  EveryOpNet<F3> net;
  scramble(net);
  CHECK(round_trip(net, {.shape = {1, 2, {8, 6, 10}}, .dynamic_size = true}, {{1, 2, {8, 6, 10}}, {1, 2, {10, 12, 6}}}) <=
        1e-6);
}

TEST_CASE("onnx: BasicUNet comes back with the same bits, odd sizes included") {
  BasicUNet<F2> flat({.in_channels = 2, .features = {4, 4, 4, 6, 8, 4}});
  scramble(flat);
  CHECK(round_trip(flat, {.shape = {1, 2, {33, 40}}}, {{1, 2, {33, 40}}, {2, 2, {33, 40}}}) == 0);
  CHECK(round_trip(flat, {.shape = {1, 2, {32, 32}}, .dynamic_size = true},
                   {{1, 2, {32, 32}}, {1, 2, {47, 33}}, {2, 2, {63, 18}}}) == 0);
  for (const NormKind norm : {NormKind::instance, NormKind::batch}) {
    BasicUNet<F3> net({.features = {2, 2, 3, 4, 4, 2}, .activation = prelu(), .norm = norm, .dropout = 0.1f});
    scramble(net);
    CHECK(round_trip(net, {.shape = {1, 1, {16, 32, 16}}, .dynamic_size = true},
                     {{1, 1, {16, 32, 16}}, {1, 1, {17, 35, 19}}}) == 0);
  }
}

TEST_CASE("onnx: weights keep their names, metadata and extents come back, the same net gives the same bytes") {
  BasicUNet<F2> net({.features = {2, 2, 2, 2, 2, 2}});
  scramble(net);
  const TempFolder folder;
  for (const char* name : {"a.onnx", "b.onnx"})
    onnx::export_model(net, {.shape = {1, 1, {32, 48}}, .metadata = {{"spacing_mm", "1 1"}}}, folder / name);
  CHECK(io::read_file(folder / "a.onnx") == io::read_file(folder / "b.onnx"));
  onnx::Model<F2> model(folder / "a.onnx");
  std::map<std::string, std::vector<float>> mine, theirs;
  visit(net, [&](const std::string& name, const Parameter<F2>& p) { mine[name] = {p.values().begin(), p.values().end()}; });
  visit(model, [&](const std::string& name, const Parameter<F2>& p) { theirs[name] = {p.values().begin(), p.values().end()}; });
  CHECK(mine == theirs);
  CHECK(mine.contains("down_1.convs.conv_0.adn.N.weight"));
  CHECK(model.metadata().at("spacing_mm") == "1 1");
  CHECK(onnx::read_metadata(folder / "a.onnx") == model.metadata());
  CHECK_THROWS_WITH_AS(onnx::read_metadata(folder / "a.onnx", {.max_bytes = 100}), doctest::Contains("more than 100 bytes"),
                       Error);
  io::write_file(folder / "words", std::as_bytes(std::span("no model", 8)));
  CHECK_THROWS_WITH_AS(onnx::read_metadata(folder / "words"), doctest::Contains("holds no ONNX model"), Error);
  CHECK(model.input_extents() == std::vector<Index>{0, 1, 32, 48});
  CHECK(model.output_names() == std::vector<std::string>{"output"});
  onnx::export_model(model, {.shape = {1, 1, {32, 48}}}, folder / "again.onnx");   // an import is a network like any other
  const auto x = random_input(Shape<2>{1, 1, {32, 48}});
  CHECK(difference(output_of(net, x), output_of(onnx::Model<F2>(folder / "again.onnx"), x)) == 0);
}
