// What check_onnx_export.py runs: every network as ONNX files in the folder of CTSEG_ONNX_EXPORTS, with inputs and outputs, each
// re-imported and compared. NAME.onnx and, for each shape, NAME.K.safetensors with x and y.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "onnx/nets.hpp"

#include <cstdlib>
#include <ctseg/io/safetensors.hpp>

#include "interchange.hpp"

using namespace onnx_test;

namespace {

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

template <class Net> struct Case {
  std::string name;
  const Net& net;
  Shape<Net::Spec::kDim> first, second;
};

/// One file, and what comes out of it for each of `shapes`.
template <class Net> void write(const Case<Net>& c, const onnx::ExportOptions<Net::Spec::kDim>& options,
                                const std::vector<Shape<Net::Spec::kDim>>& shapes) {
  using S = typename Net::Spec;
  const std::filesystem::path folder = std::getenv("CTSEG_ONNX_EXPORTS");
  const std::string name = text(c.name, "_", S::kDim, "d_",
                                options.dynamic_size    ? "size"
                                : options.dynamic_batch ? "batch"
                                                        : "fixed");
  INFO(name);
  onnx::export_model(c.net, options, folder / (name + ".onnx"));
  const onnx::Model<S> model(folder / (name + ".onnx"));
  CHECK(parameter_count(model) <= parameter_count(c.net));   // heads for training stay behind
  int k = 0;
  for (const auto& shape : shapes) {
    const auto x = random_input(shape);
    const auto y = output_of(c.net, x);
    const double apart = difference(y, output_of(model, x));
    INFO(shape);
    CHECK(apart <= 1e-6);
    const io::TensorFile file{.tensors = {record_of("x", x), record_of("y", y)}, .metadata = {{"import", text(apart)}}};
    io::write_safetensors(folder / text(name, ".", k++, ".safetensors"), file);
  }
}

template <class Net> void write_all(const Case<Net>& c) {
  auto more = c.first;
  more.n = 3;
  write(c, {.shape = c.first, .dynamic_batch = false}, {c.first});
  write(c, {.shape = c.first}, {c.first, more});
  write(c, {.shape = c.first, .dynamic_size = true}, {c.first, c.second});
}

template <AnySpec S> void write_networks() {
  using Size = std::array<Index, S::kDim>;
  const auto size = [](Index a, Index b) {
    Size s;
    s.fill(a);
    s.back() = b;
    return s;
  };
  test::for_networks<S>([&](const std::string& name, auto net) {
    scramble(net);
    const bool odd = name == "basic_unet" || name == "basic_unet_linear" || name == "basic_unet_shuffle";
    write_all(
        Case<decltype(net)>{name, net, {1, 1, odd ? size(33, 40) : size(16, 32)}, {2, 1, odd ? size(47, 35) : size(32, 48)}});
  });
  EveryOpNet<S> net;
  scramble(net);
  write_all(Case<EveryOpNet<S>>{"every_op", net, {1, 2, size(12, 16)}, {2, 2, size(20, 14)}});
}

}   // namespace

TEST_CASE("2-D") { write_networks<F2>(); }
TEST_CASE("3-D") { write_networks<F3>(); }
