// The networks of models/ to a file and back, residuals inside their blocks included.
#include <ctseg/models/attention_unet.hpp>
#include <ctseg/models/residual_unet.hpp>
#include <ctseg/models/segresnet.hpp>
#include <ctseg/models/vnet.hpp>

#include "nets.hpp"

using namespace onnx_test;

namespace {

template <class Net> void check_network(const char* name, Net net) {
  INFO(name);
  scramble(net);
  const TempFolder folder;
  onnx::export_model(net, {.shape = {1, 1, {32, 32}}, .dynamic_size = true}, folder / "net.onnx");
  const onnx::Model<F2> model(folder / "net.onnx");
  for (const Shape<2>& shape : {Shape<2>{1, 1, {32, 32}}, Shape<2>{2, 1, {48, 64}}}) {
    const auto x = random_input(shape);
    CHECK(difference(output_of(net, x), output_of(model, x)) <= 1e-6);
  }
}

}   // namespace

TEST_CASE("onnx: networks of models/ come back, any size") {
  check_network("VNet", VNet<F2>({.width = 2}));
  check_network("SegResNet", SegResNet<F2>({.init_filters = 4, .groups = 2}));
  check_network("AttentionUnet", AttentionUnet<F2>({.channels = {4, 6, 8}, .strides = {2, 2}}));
  check_network("ResidualUNet", ResidualUNet<F2>({.channels = {4, 6, 8}, .strides = {2, 2}, .num_res_units = 2}));
}
