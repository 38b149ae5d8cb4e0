// docs/onnx.md: its programs run, and its table names the operators that there are.
#include <algorithm>
#include <fstream>

#include "nets.hpp"

using namespace onnx_test;

TEST_CASE("onnx docs: the table names every operator, and no other") {
  std::ifstream page(std::string(CTSEG_SOURCE_DIR) + "/docs/onnx.md");
  REQUIRE(page);
  std::vector<std::string> named;
  bool table = false;
  for (std::string line; std::getline(page, line);) {
    table = table ? line.starts_with("|") : line.starts_with("| operator | run");
    if (!table) continue;
    const std::string cell = line.substr(0, line.find('|', 1));
    for (std::size_t at = cell.find('`'); at != std::string::npos; at = cell.find('`', cell.find('`', at + 1) + 1))
      named.push_back(cell.substr(at + 1, cell.find('`', at + 1) - at - 1));
  }
  std::sort(named.begin(), named.end());
  const auto all = onnx::operators();
  CHECK(named == std::vector<std::string>(all.begin(), all.end()));
}

TEST_CASE("onnx docs: the two programs") {
  using S = F3;
  const TempFolder folder;
  Context<Cpu> ctx{{.threads = 1}};
  ctseg::BasicUNet<S> net({.features = {2, 2, 2, 2, 2, 2}});
  ctseg::onnx::export_model(net, {.shape = {1, 1, {96, 96, 96}}, .dynamic_size = true}, folder / "liver.onnx");
  const ctseg::onnx::Model<S> model(folder / "liver.onnx");
  ctseg::Predictor<ctseg::onnx::Model<S>> predict(ctx, model, {1, 1, {96, 96, 96}});
  CHECK(predict.output_shape() == Shape<3>{1, 2, {96, 96, 96}});
}
