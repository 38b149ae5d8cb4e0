// Every network of models/ to a file and back, residuals inside their blocks included.
#include "nets.hpp"
#include "parity/interchange.hpp"

using namespace onnx_test;

TEST_CASE("onnx: every network comes back, any size") {
  const TempFolder folder;
  int count = 0;
  test::for_networks<F2>([&](const std::string& name, auto net) {
    INFO(name);
    ++count;
    scramble(net);
    onnx::export_model(net, {.shape = {1, 1, {32, 16}}, .dynamic_size = true}, folder / "net.onnx");
    const onnx::Model<F2> model(folder / "net.onnx");
    for (const Shape<2>& shape : {Shape<2>{1, 1, {32, 16}}, Shape<2>{2, 1, {48, 64}}}) {
      const auto x = random_input(shape);
      CHECK(difference(output_of(net, x), output_of(model, x)) <= 1e-6);
    }
  });
  CHECK(count == 13);
}
