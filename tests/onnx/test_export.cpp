// What is refused on export, and files for ONNX Runtime: tests/parity/check_onnx_export.py names a folder for them.
#include <cstdlib>
#include <ctseg/io/safetensors.hpp>

#include "nets.hpp"

using namespace onnx_test;

namespace {

template <class F> std::string error_of(F f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}
void check(const std::string& error, const std::string& words) {
  INFO(error);
  CHECK(error.find(words) != std::string::npos);
}

template <AnySpec S> struct Lambda {   // a network of one line
  using Spec = S;
  Var<S> (*run)(Var<S>);
  Var<S> forward(Var<S> x) const { return run(x); }
  template <class Self, class F> static void each(Self&, const std::string&, F) {}
};

struct Two {
  using Spec = F2;
  std::vector<Var<F2>> forward(Var<F2> x) const {
    const auto y = relu(x);
    return {y, max_pool(y), y, x};
  }
  template <class F> static void each(const Two&, const std::string&, F) {}
};

template <int Dim> io::TensorRecord record_of(const std::string& name, const Tensor<float, Dim>& t) {
  io::TensorRecord r{.name = name, .dtype = Dtype::f32, .shape = {t.shape().n, t.shape().c}};
  r.shape.insert(r.shape.end(), t.shape().space.begin(), t.shape().space.end());
  for (Index n = 0; n < t.shape().n; ++n)
    for (Index c = 0; c < t.shape().c; ++c)
      for (Index v = 0; v < t.shape().voxels(); ++v) {
        const auto* from = reinterpret_cast<const std::byte*>(t.view().at(n, v) + c);
        r.bytes.insert(r.bytes.end(), from, from + sizeof(float));
      }
  return r;
}

/// NAME.onnx and, for each shape, NAME.K.safetensors with x and y.
template <class Net> void write_for_onnxruntime(const std::filesystem::path& folder, const std::string& name, Net net,
                                                const onnx::ExportOptions<Net::Spec::kDim>& options,
                                                std::initializer_list<Shape<Net::Spec::kDim>> shapes) {
  scramble(net);
  onnx::export_model(net, options, folder / (name + ".onnx"));
  int k = 0;
  for (const auto& shape : shapes) {
    const auto x = random_input(shape);
    const io::TensorFile file{.tensors = {record_of("x", x), record_of("y", output_of(net, x))}, .metadata = {}};
    io::write_safetensors(folder / text(name, ".", k++, ".safetensors"), file);
  }
}

}   // namespace

TEST_CASE("onnx: exports for ONNX Runtime, where CTSEG_ONNX_EXPORTS names a folder") {
  const char* folder = std::getenv("CTSEG_ONNX_EXPORTS");
  if (!folder) {
    MESSAGE("CTSEG_ONNX_EXPORTS is not set; tests/parity/check_onnx_export.py sets it");
    return;
  }
  for (const bool dynamic : {false, true}) {
    const std::string end = dynamic ? "_dynamic" : "_fixed";
    write_for_onnxruntime(folder, "every_op_2d" + end, EveryOpNet<F2>(), {.shape = {2, 2, {12, 16}}, .dynamic_size = dynamic},
                          {{2, 2, {12, 16}}, {1, 2, dynamic ? std::array<Index, 2>{20, 14} : std::array<Index, 2>{12, 16}}});
    write_for_onnxruntime(
        folder, "every_op_3d" + end, EveryOpNet<F3>(), {.shape = {1, 2, {8, 6, 10}}, .dynamic_size = dynamic},
        {{1, 2, {8, 6, 10}}, {2, 2, dynamic ? std::array<Index, 3>{10, 12, 6} : std::array<Index, 3>{8, 6, 10}}});
    write_for_onnxruntime(folder, "basic_unet_2d" + end, BasicUNet<F2>(), {.shape = {1, 1, {33, 40}}, .dynamic_size = dynamic},
                          {{1, 1, {33, 40}}, {3, 1, dynamic ? std::array<Index, 2>{47, 64} : std::array<Index, 2>{33, 40}}});
    write_for_onnxruntime(
        folder, "basic_unet_3d" + end, BasicUNet<F3>(), {.shape = {1, 1, {32, 32, 32}}, .dynamic_size = dynamic},
        {{1, 1, {32, 32, 32}}, {2, 1, dynamic ? std::array<Index, 3>{33, 47, 35} : std::array<Index, 3>{32, 32, 32}}});
  }
}

TEST_CASE("onnx: what cannot be exported is named") {
  const TempFolder folder;
  const auto path = folder / "net.onnx";
  const auto refused = [&](auto run, const onnx::ExportOptions<2>& options) {
    return error_of([&] { onnx::export_model(Lambda<F2>{run}, options, path); });
  };
  using V = Var<F2>;
  check(refused([](V x) { return adaptive_average_pool(x, 3); }, {.shape = {1, 1, {8, 9}}}),
        "AdaptiveAveragePool of [1,1,8,9] to 3x3 has windows of several sizes");
  check(
      refused([](V x) { return adaptive_average_pool(x, 4); }, {.shape = {1, 1, {8, 8}}, .dynamic_size = true}),
      "with dynamic_size the graph must not depend on the size, but for inputs [1,1,8,8] and [1,1,16,16] its AveragePool node");
  check(refused(
            [](V x) {
              return upsample(max_pool(x), {.size = x.shape().space});   // nothing says which value has that size
            },
            {.shape = {1, 1, {8, 8}}, .dynamic_size = true}),
        "with dynamic_size");
  check(refused(
            [](V x) {
              return dice_ce(softmax(x), x.tape->input({1, 1, {8, 8}}, Dtype::u8));
            },
            {.shape = {1, 2, {8, 8}}}),
        "has no ONNX form here");
  check(refused([](V x) { return max_pool(x); }, {.shape = {1, 1, {8, 0}}}), "[1,1,8,0] has an extent of 0");
  check(refused([](V x) { return max_pool(x); }, {.shape = {1, 1, {8, 1}}}), "shorter than the window");
  check(refused([](V x) { return relu(x); }, {.shape = {1, 1, {8, 8}}, .input = "x", .output = "x"}), "they need two names");
  CHECK_FALSE(std::filesystem::exists(path));
  check(error_of([&] {
          onnx::export_model(Lambda<F2>{[](V x) { return relu(x); }}, {.shape = {1, 1, {8, 8}}}, folder / "no/net");
        }),
        "No such file");
}

TEST_CASE("onnx: several outputs, an output twice, and the input as one") {
  const TempFolder folder;
  onnx::export_model(Two{}, {.shape = {1, 1, {4, 4}}, .output = "y"}, folder / "two.onnx");
  const onnx::Model<F2> model(folder / "two.onnx");
  CHECK(model.output_names() == std::vector<std::string>{"y", "y_1", "y_2", "y_3"});
  Context<Cpu> ctx{{.threads = 1}};
  Tape<F2> tape(Mode::infer, ctx);
  const auto x = random_input(Shape<2>{1, 1, {4, 4}});
  const auto all = model.forward_all(tape.input(x.view()));
  REQUIRE(all.size() == 4);
  CHECK(all[1].shape() == Shape<2>{1, 1, {2, 2}});
  CHECK(all[3].value().row(3)[0] == x.view().row(3)[0]);
  CHECK(all[2].value().row(3)[0] == std::max(x.view().row(3)[0], 0.f));
}
