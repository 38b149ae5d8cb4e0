// cuDNN without a card: for every convolution of every network the heuristics, the notes and the workspace of plans for an H200,
// from a description of it. Needs cuDNN's libraries and headers, no driver; says so and passes where they are missing.
#include <doctest/doctest.h>

#include <ctseg/core/error.hpp>

#if __has_include(<cudnn_graph.h>)

#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/models/plain_conv_unet.hpp>
#include <ctseg/models/residual_unet.hpp>
#include <ctseg/models/unet.hpp>
#include <ctseg/models/vnet.hpp>
#include <ctseg/ops/cpu.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "kernels/cudnn/graph.hpp"
#include "kernels/cudnn/plan_file.hpp"

using namespace ctseg;

namespace {

using S = Spec<float, 3, Cpu>;   // whose shapes are those of every device

/// Without one: why.
struct Card {
  std::optional<cudnn::Library> library;
  std::optional<cudnn::Target> target;
  std::string why;

  Card() try {
    library = cudnn::open_library();
    std::ifstream in(CTSEG_SOURCE_DIR "/tests/cuda/h200_deviceprop.json");
    const std::string json(std::istreambuf_iterator<char>(in), {});
    target.emplace(*library, json);
  } catch (const Error& e) {
    why = e.what();
  }
  explicit operator bool() const {
    if (!target) MESSAGE("SKIP: " << why);
    return target.has_value();
  }
};

struct Layer {
  ConvWindow window;
  Side y_side;
  Index images, in, out;
  bool first;   // nobody wants the gradient of its input
};
using Key = std::array<Index, 23>;
Key key_of(const Layer& l) {
  Key key{};
  std::size_t next = 0;
  for (const auto* axes :
       {&l.window.input, &l.window.output, &l.window.kernel, &l.window.stride, &l.window.padding, &l.window.dilation})
    for (const Index v : *axes) key[next++] = v;
  for (const Index v : {Index{l.y_side == Side::input}, l.images, l.in, l.out, Index{l.first}}) key[next++] = v;
  return key;
}
using Layers = std::map<Key, Layer>;

template <class Net> void add_layers(const Net& net, const Shape<3>& shape, Layers& layers) {
  Tape<S> tape(Mode::train);
  net.forward(tape.input(shape));
  for (const auto& node : tape.nodes()) {
    const ConvOp<S>* conv = node.op.template get<ConvOp<S>>();
    if (const auto* block = node.op.template get<ConvNormActOp<S>>()) conv = &block->conv;
    if (!conv) continue;
    const auto& x = tape.nodes()[at(node.inputs[0])];
    const ConvProblem p = conv->problem(x.info.shape, node.info.shape);
    const Layer layer{p.window, p.y_side, p.images, p.in_channels, p.out_channels, x.inputs.empty()};
    layers.emplace(key_of(layer), layer);
  }
}
Layers layers_of(Index extent, Index images) {
  Layers layers;
  const Shape<3> shape{images, 1, {extent, extent, extent}};
  add_layers(BasicUNet<S>(), shape, layers);
  add_layers(UNet<S>({.features = {32, 64, 128, 256, 512}}), shape, layers);
  add_layers(ResidualUNet<S>(nodule_unet()), shape, layers);
  add_layers(VNet<S>(), shape, layers);
  add_layers(PlainConvUNet<S>(), shape, layers);
  return layers;
}

cuda::ConvPass pass_of(const Layer& l, cuda::ConvPass::Kind kind, Dtype dtype) {
  const bool gathers = l.y_side == Side::output;
  const Index in = gathers ? l.in : l.out, out = gathers ? l.out : l.in;
  return {.kind = kind,
          .window = l.window,
          .images = l.images,
          .input_channels = in,
          .output_channels = out,
          .dtype = dtype,
          .workspace = Index{64} << 20};
}
cudnn::PlanLimits limits_of(const cuda::ConvPass& p) {
  return {.workspace = p.workspace, .tf32 = p.dtype != Dtype::f32, .compile = false};
}
std::string text_of(const cuda::ConvPass& p) {
  const ConvWindow& w = p.window;
  return text(p.dtype, " kind ", static_cast<int>(p.kind), " n", p.images, " ", w.input[0], "^3 x ", p.input_channels, " -> ",
              w.output[0], "^3 x ", p.output_channels, " k", w.kernel[0], " s", w.stride[0]);
}

}   // namespace

TEST_CASE("cuDNN's heuristics know engines for every convolution of five networks, and all three passes") {
  const Card card;
  if (!card) return;
  int passes = 0, layers = 0, configurations = 0;
  for (const auto& [extent, images] : {std::pair<Index, Index>{96, 1}, {96, 2}, {128, 1}, {128, 2}})
    for (const auto& [key, layer] : layers_of(extent, images)) {
      ++layers;
      for (const Dtype dtype : {Dtype::bf16, Dtype::f16, Dtype::f32})
        for (const auto kind : {cuda::ConvPass::forward, cuda::ConvPass::data, cuda::ConvPass::filter}) {
          const cuda::ConvPass pass = pass_of(layer, kind, dtype);
          INFO(text_of(pass));
          const int count = count_configurations(*card.target, convolution_graph(*card.target, pass), limits_of(pass));
          CHECK(count > 0);
          ++passes, configurations += count;
        }
    }
  MESSAGE("cuDNN " << card.library->version << ": " << layers << " layers, " << passes << " passes, " << configurations
                   << " configurations");
}

TEST_CASE("plans keep their workspace, and go through a file and back") {
  const Card card;
  if (!card) return;
  int plans = 0, files = 0;
  Index most = 0;
  const Layers layers = layers_of(128, 1);
  std::size_t number = 0;
  for (const auto& [key, layer] : layers) {
    if (number++ % 6 != 0) continue;   // a plan takes longer than a list of configurations
    for (const auto kind : {cuda::ConvPass::forward, cuda::ConvPass::data, cuda::ConvPass::filter}) {
      const cuda::ConvPass pass = pass_of(layer, kind, plans % 5 == 4 ? Dtype::f32 : Dtype::bf16);
      INFO(text_of(pass));
      std::string why;
      const auto plan = choose_plan(*card.target, convolution_graph(*card.target, pass), limits_of(pass), &why);
      INFO(why);
      REQUIRE(plan.has_value());
      CHECK(plan->workspace <= pass.workspace);
      most = std::max(most, plan->workspace), ++plans;
      const auto json = to_json(*plan);
      if (!json) continue;
      const auto again = cudnn::from_json(*card.target, *json);
      if (again) CHECK(again->workspace == plan->workspace);
      files += again.has_value();
    }
  }
  MESSAGE(plans << " plans, at most " << (most >> 10) << " KiB of workspace; " << files << " of them came back from text");
}

TEST_CASE("a whole block between two convolutions is one graph that cuDNN compiles") {
  if (!dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL) &&
      !dlopen("/usr/local/cuda/lib64/stubs/libcuda.so", RTLD_NOW | RTLD_GLOBAL)) {   // which is libcuda.so.1 from now on
    MESSAGE("SKIP: neither libcuda.so.1 nor the toolkit's stub of it is here, and these engines need one");
    return;
  }
  const Card card;
  if (!card) return;
  cuda::ConvPass pass{.window = {.input = {64, 64, 64},
                                 .output = {64, 64, 64},
                                 .kernel = {3, 3, 3},
                                 .stride = {1, 1, 1},
                                 .padding = {1, 1, 1},
                                 .dilation = {1, 1, 1}},
                      .input_channels = 32,
                      .output_channels = 32,
                      .dtype = Dtype::bf16,
                      .workspace = Index{64} << 20};
  cudnn::PlanLimits limits = limits_of(pass);
  limits.compile = true;
  for (const std::optional<double> slope : {std::optional<double>(0.01), std::optional<double>()}) {
    CHECK(count_configurations(*card.target, block_graph(*card.target, pass, slope), limits) > 0);
    CHECK(count_configurations(*card.target, biased_graph(*card.target, pass, slope), limits) > 0);
  }
}

TEST_CASE("what cuDNN refuses is said with the attribute and the status") {
  const Card card;
  if (!card) return;
  cudnn::Descriptor tensor(*card.library, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  std::string said;
  try {
    tensor.set(cudnn::attribute::CONVOLUTION_SPATIAL_DIMS, std::int64_t{3});
  } catch (const Error& e) {
    said = e.what();
    CHECK(e.code() == Code::device);
  }
  CHECK(said.find("setting CONVOLUTION_SPATIAL_DIMS: CUDNN_STATUS_") != std::string::npos);
}

TEST_CASE("where cuDNN is not, the error says where it was looked for") {
  const char* before = std::getenv("CTSEG_CUDNN");
  const std::string kept = before ? before : "";
  setenv("CTSEG_CUDNN", "/nowhere", 1);
  std::string said;
  try {
    cudnn::open_library();
  } catch (const Error& e) {
    said = e.what();
    CHECK(e.code() == Code::unsupported);
  }
  before ? setenv("CTSEG_CUDNN", kept.c_str(), 1) : unsetenv("CTSEG_CUDNN");
  CHECK(said.find("cuDNN 9 was not found") != std::string::npos);
  CHECK(said.find("/nowhere/libcudnn.so.9") != std::string::npos);
  CHECK(said.find("Hint: ") != std::string::npos);
}

TEST_CASE("files of plans are a help, never an error") {
  namespace fs = std::filesystem;
  const fs::path folder = fs::temp_directory_path() / text("ctseg_plans_", static_cast<Index>(getpid()));
  const char* before = std::getenv("XDG_CACHE_HOME");
  const std::string kept = before ? before : "";
  setenv("XDG_CACHE_HOME", folder.c_str(), 1);
  const cudnn::PlanFiles files("91900-NVIDIA H200-sm90");
  CHECK_FALSE(files.read("a pass").has_value());
  files.write("a pass", "line\nand another");
  CHECK(files.read("a pass") == "line\nand another");
  CHECK(fs::exists(folder / "ctseg" / "cudnn-91900-NVIDIA_H200-sm90"));
  CHECK_FALSE(cudnn::PlanFiles("91900-another card").read("a pass").has_value());
  setenv("XDG_CACHE_HOME", "/dev/null", 1);
  const cudnn::PlanFiles nowhere("91900-NVIDIA H200-sm90");
  nowhere.write("a pass", "text");
  CHECK_FALSE(nowhere.read("a pass").has_value());
  before ? setenv("XDG_CACHE_HOME", kept.c_str(), 1) : unsetenv("XDG_CACHE_HOME");
  fs::remove_all(folder);
}

#else

TEST_CASE("cuDNN without a card") { MESSAGE("SKIP: cudnn_graph.h is not installed"); }

#endif
