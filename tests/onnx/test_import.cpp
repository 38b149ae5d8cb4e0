// Graphs that PyTorch's exporters wrote, for networks of MONAI and nnU-Net: PyTorch's outputs, at two sizes.
#include "nets.hpp"
#include "parity/fixture.hpp"

using namespace onnx_test;

namespace {

std::string file_of(const std::string& name) { return std::string(CTSEG_SOURCE_DIR) + "/tests/parity/onnx/" + name + ".onnx"; }

template <AnySpec S> void check_file(const std::string& name, int sizes) {
  INFO(name);
  const onnx::Model<S> model(file_of(name));
  const test::Fixture fixture("onnx/" + name);
  int found = 0;
  for (; fixture.has(text("x", found)); ++found) {
    const auto x = fixture.tensor<float, S::kDim>(text("x", found));
    const auto y = fixture.tensor<float, S::kDim>(text("y", found));
    CHECK(difference(y, output_of(model, x)) <= 1e-4);
  }
  CHECK(found == sizes);
}

}   // namespace

TEST_CASE("onnx import: MONAI's BasicUNet, odd sizes, pixel shuffle and linear upsampling") {
  check_file<F2>("basic_unet_2d", 2);
  check_file<F3>("basic_unet_3d", 1);
  check_file<F3>("basic_unet_shuffle_3d", 2);
  check_file<F2>("basic_unet_linear_2d", 2);
}
TEST_CASE("onnx import: MONAI's UNet, AttentionUnet, SegResNet, DynUNet and the stages of VNet") {
  check_file<F3>("unet_3d", 2);
  check_file<F3>("unet_batch_3d", 2);
  check_file<F3>("attention_unet_3d", 2);
  check_file<F3>("segresnet_3d", 2);
  check_file<F2>("segresnet_dynamo_2d", 2);
  check_file<F2>("vnet_stages_2d", 2);
  check_file<F3>("dynunet_3d", 2);
}
TEST_CASE("onnx import: nnU-Net's PlainConvUNet and ResidualEncoderUNet") {
  check_file<F3>("plain_conv_unet_3d", 2);
  check_file<F3>("residual_encoder_unet_3d", 2);
}
TEST_CASE("onnx import: pads and sizes that the graph computes") {
  check_file<F2>("computed_sizes_legacy_2d", 2);
  check_file<F2>("computed_sizes_dynamo_2d", 2);
}

TEST_CASE("onnx import: a convolution with its norm and activation is one op, group norm as well") {
  const auto count = [](const std::string& name, const Shape<3>& shape) {
    const onnx::Model<F3> model(file_of(name));
    Tape<F3> tape(Mode::infer);
    model.forward(tape.input(shape));
    std::map<std::string, int> ops;
    for (const auto& node : tape.nodes()) ++ops[std::string(node.op->name())];
    return ops;
  };
  auto ops = count("plain_conv_unet_3d", {1, 1, {8, 8, 8}});
  CHECK(ops["Conv+Norm+Act"] == 10);
  CHECK(ops["InstanceNorm"] == 0);
  ops = count("segresnet_3d", {1, 1, {8, 8, 8}});
  CHECK(ops["GroupNorm"] > 5);
  CHECK(ops["Affine"] == 0);
}

TEST_CASE("onnx import: forward says which sizes a graph takes, and does not train") {
  const onnx::Model<F3> fixed(file_of("basic_unet_3d"));
  const auto error = [&](Mode mode, const Shape<3>& shape) -> std::string {
    try {
      Tape<F3> tape(mode);
      fixed.forward(tape.input(shape));
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  CHECK(error(Mode::infer, {1, 1, {17, 16, 18}}) == "no error");
  CHECK(error(Mode::infer, {1, 1, {16, 16, 18}}).find("input [1,1,16,16,18], the graph takes [1,1,17,16,18] (0: any)") !=
        std::string::npos);
  CHECK(error(Mode::train, {1, 1, {17, 16, 18}}).find("a graph is for inference") != std::string::npos);
  const onnx::Model<F3> open(file_of("unet_3d"));
  Tape<F3> tape(Mode::infer);
  CHECK_THROWS_WITH_AS(open.forward(tape.input({1, 1, {9, 8, 8}})), doctest::Contains("onnx: Concat node \""), Error);
  CHECK(open.input_extents() == std::vector<Index>{0, 1, 0, 0, 0});
}

TEST_CASE("onnx import: an imported graph is exported again, its constants included") {
  const TempFolder folder;
  const onnx::Model<F2> model(file_of("computed_sizes_legacy_2d"));
  onnx::export_model(model, {.shape = {1, 1, {17, 19}}}, folder / "again.onnx");
  const onnx::Model<F2> again(folder / "again.onnx");
  const auto x = random_input(Shape<2>{2, 1, {17, 19}});
  CHECK(difference(output_of(model, x), output_of(again, x)) <= 1e-6);
}
