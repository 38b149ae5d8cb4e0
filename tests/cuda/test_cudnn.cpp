// cuDNN without a card: plans for every convolution of five networks on an H200, from a description of it. Notes, workspace,
// files, errors. Needs cuDNN's libraries and headers, no driver; says so and passes where they are missing.
#include <doctest/doctest.h>

#include <ctseg/core/error.hpp>

#if __has_include(<cudnn_graph.h>)

#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <ctseg/cuda.hpp>
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

/// As kernels/conv/convolution.cpp asks for it.
cuda::ConvPass pass_of(const Layer& l, cuda::ConvPass::Kind kind, Dtype dtype, bool tf32 = false) {
  const bool gathers = l.y_side == Side::output;
  const cuda::ConvShape shape{{l.window, l.y_side, l.images, l.in, l.out}, dtype};
  return {.kind = kind,
          .window = l.window,
          .images = l.images,
          .input_channels = gathers ? l.in : l.out,
          .output_channels = gathers ? l.out : l.in,
          .dtype = dtype,
          .tf32 = tf32,
          .workspace = cuda::conv_workspace(shape, {})};
}
/// Engines that are compiled when a plan is made would need a driver, or its stub.
cudnn::PlanLimits limits_of(const cuda::ConvPass& p) {
  return {.workspace = p.workspace, .tensor_cores = p.tf32 || p.dtype != Dtype::f32, .compile = false};
}
std::string text_of(const cuda::ConvPass& p) {
  const ConvWindow& w = p.window;
  return text(p.dtype, " kind ", static_cast<int>(p.kind), " n", p.images, " ", w.input[0], "x", w.input[1], "x", w.input[2],
              " x ", p.input_channels, " -> ", w.output[0], "x", w.output[1], "x", w.output[2], " x ", p.output_channels, " k",
              w.kernel[2], " s", w.stride[2], " d", w.dilation[2]);
}

constexpr cuda::ConvPass::Kind kKinds[] = {cuda::ConvPass::forward, cuda::ConvPass::data, cuda::ConvPass::filter};
struct Precision { Dtype dtype; bool tf32; const char* name; };
constexpr Precision kPrecisions[] = {
    {Dtype::bf16, false, "bf16"}, {Dtype::f16, false, "f16"}, {Dtype::f32, true, "tf32"}, {Dtype::f32, false, "f32"}};

struct Tally {
  int plans = 0, slow = 0;   // by the engines that know no tensor cores
  Index workspace = 0;
};
/// A plan for every pass of every layer; how many there are by type and pass.
void check_plans(const Card& card, const Layers& layers, Tally (&tally)[4][3], bool must_be_fast) {
  for (const auto& [key, layer] : layers)
    for (std::size_t d = 0; d < 4; ++d)
      for (std::size_t k = 0; k < 3; ++k) {
        const cuda::ConvPass pass = pass_of(layer, kKinds[k], kPrecisions[d].dtype, kPrecisions[d].tf32);
        std::string why;
        const auto plan = choose_plan(*card.target, convolution_graph(*card.target, pass), limits_of(pass), &why);
        INFO(text_of(pass) << ": " << why);
        REQUIRE(plan.has_value());
        CHECK(plan->workspace <= pass.workspace);
        if (pass.dtype == Dtype::f32 && !pass.tf32) CHECK_FALSE(plan->tensor_cores);
        const bool narrow = pass.kind == cuda::ConvPass::forward && std::min(layer.in, layer.out) <= 2;   // own kernels' part
        if (must_be_fast && pass.dtype != Dtype::f32 && !narrow) CHECK(plan->tensor_cores);
        Tally& t = tally[d][k];
        ++t.plans, t.slow += !plan->tensor_cores, t.workspace = std::max(t.workspace, plan->workspace);
      }
}

}   // namespace

TEST_CASE("every convolution of five networks has plans for all three passes, within the workspace") {
  const Card card;
  if (!card) return;
  Tally tally[4][3];
  std::size_t layers = 0;
  for (const auto& [extent, images] : {std::pair<Index, Index>{64, 1}, {96, 1}, {96, 2}, {128, 1}, {128, 2}}) {
    const Layers these = layers_of(extent, images);
    check_plans(card, these, tally, true);
    layers += these.size();
  }
  std::string table =
      text("cuDNN ", card.library->version, ", ", layers, " layers. Plans (without tensor cores; most MiB of workspace):");
  constexpr const char* names[] = {"forward", "data gradient", "weight gradient"};
  for (std::size_t d = 0; d < 4; ++d)
    for (std::size_t k = 0; k < 3; ++k) {
      const Tally& t = tally[d][k];
      table += text("\n  ", kPrecisions[d].name, " ", names[k], " ", t.plans, " (", t.slow, "; ", t.workspace >> 20, ")");
    }
  MESSAGE(table);
}

TEST_CASE("odd channels, dilations, uneven kernels, planes and depthwise groups have plans too") {
  const Card card;
  if (!card) return;
  using Op = ConvOp<S>;
  const std::vector<std::pair<Op, Shape<3>>> cases = {
      {{.in_channels = 3, .out_channels = 2, .kernel = 1, .padding = 0}, {1, 3, {17, 19, 23}}},
      {{.in_channels = 33, .out_channels = 7}, {2, 33, {9, 10, 11}}},
      {{.in_channels = 12, .out_channels = 12, .padding = 2, .dilation = 2}, {1, 12, {24, 24, 24}}},
      {{.in_channels = 16, .out_channels = 24, .kernel = {1, 3, 3}, .stride = {1, 2, 2}, .padding = {0, 1, 1}},
       {1, 16, {20, 48, 48}}},
      {{.in_channels = 1, .out_channels = 1}, {1, 1, {32, 32, 32}}},   // of depthwise groups
      {{.in_channels = 20, .out_channels = 10, .stride = 2, .output_padding = 1, .transposed = true}, {1, 20, {6, 7, 8}}},
      {{.in_channels = 6, .out_channels = 5, .kernel = 3, .stride = 2, .padding = 0, .transposed = true}, {1, 6, {4, 4, 4}}},
      {{.in_channels = 64, .out_channels = 64, .kernel = {1, 3, 3}, .padding = {0, 1, 1}}, {1, 64, {1, 512, 512}}},   // 2-D
      {{.in_channels = 3, .out_channels = 32, .kernel = {1, 7, 7}, .stride = {1, 2, 2}, .padding = {0, 3, 3}},
       {4, 3, {1, 96, 96}}},
  };
  Layers layers;
  for (const auto& [op, x] : cases) {
    const ConvProblem p = op.problem(x, op.infer_shape(x));
    const Layer layer{p.window, p.y_side, p.images, p.in_channels, p.out_channels, false};
    layers.emplace(key_of(layer), layer);
  }
  CHECK(layers.size() == cases.size());
  Tally tally[4][3];
  check_plans(card, layers, tally, false);
}

TEST_CASE("a plan goes through a file and back") {
  const Card card;
  if (!card) return;
  const ConvWindow cube{{64, 64, 64}, {64, 64, 64}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}};
  for (const auto kind : kKinds) {
    const cuda::ConvPass pass = pass_of({cube, Side::output, 1, 32, 32, false}, kind, Dtype::bf16);
    const auto plan = choose_plan(*card.target, convolution_graph(*card.target, pass), limits_of(pass));
    REQUIRE(plan.has_value());
    const auto json = to_json(*plan);
    REQUIRE(json.has_value());
    const auto again = cudnn::from_json(*card.target, *json);
    REQUIRE(again.has_value());
    CHECK(again->workspace == plan->workspace);
    CHECK(to_json(*again) == json);
  }
}

TEST_CASE("a whole block between two convolutions is one graph that cuDNN compiles") {
  if (!dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL) &&
      !dlopen("/usr/local/cuda/lib64/stubs/libcuda.so", RTLD_NOW | RTLD_GLOBAL)) {   // which is libcuda.so.1 from now on
    MESSAGE("SKIP: neither libcuda.so.1 nor the toolkit's stub of it is here, and these engines need one");
    return;
  }
  const Card card;
  if (!card) return;
  const ConvWindow cube{{64, 64, 64}, {64, 64, 64}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}};
  const cuda::ConvPass pass = pass_of({cube, Side::output, 1, 32, 32, false}, cuda::ConvPass::forward, Dtype::bf16);
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

TEST_CASE("without a card the first convolution says so") {
  if (cuda::emulated() || cuda::device_count() > 0) return;
  const auto plans = cuda::make_conv_plans(0);
  std::string said;
  try {
    plans->run(nullptr, pass_of({ConvWindow{}, Side::output, 1, 8, 8, false}, cuda::ConvPass::forward, Dtype::bf16), {});
  } catch (const Error& e) {
    said = e.what();
  }
  CHECK(said.find("cudnn: ") != std::string::npos);
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
  const cudnn::PlanFiles nowhere("91900");
  nowhere.write("a pass", "text");
  CHECK_FALSE(nowhere.read("a pass").has_value());
  before ? setenv("XDG_CACHE_HOME", kept.c_str(), 1) : unsetenv("XDG_CACHE_HOME");
  fs::remove_all(folder);
}

#else
TEST_CASE("cuDNN without a card") { MESSAGE("SKIP: cudnn_graph.h is not installed"); }
#endif
