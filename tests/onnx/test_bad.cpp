// Graphs that are wrong or not run: one error each, which names node, operator or tensor.
#include "../../onnx/graph.hpp"
#include "nets.hpp"

using namespace onnx_test;
using onnx::Graph;
using onnx::GraphNode;

namespace {

std::string file_of(const std::string& name) { return std::string(CTSEG_SOURCE_DIR) + "/tests/parity/onnx/" + name + ".onnx"; }

std::string error_of_file(const std::filesystem::path& path, const Shape<2>& shape = {1, 2, {6, 6}}) {
  try {
    const onnx::Model<F2> model(path);
    Tape<F2> tape(Mode::infer);
    model.forward(tape.input(shape));
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

onnx::TensorData tensor(const std::string& name, const std::vector<Index>& dims, const std::vector<float>& values) {
  return {.name = name, .dims = dims, .bytes = {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)}};
}
onnx::TensorData integers(const std::string& name, const std::vector<Index>& values) {
  return {.name = name,
          .element = onnx::Element::i64,
          .dims = {std::ssize(values)},
          .bytes = {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(Index)}};
}

/// x [any, 2, any, any] -> y through the nodes.
Graph graph(std::vector<GraphNode> nodes, std::vector<onnx::TensorData> tensors = {}) {
  Graph g{.opset = 17, .nodes = std::move(nodes), .tensors = std::move(tensors)};
  g.inputs = {{.name = "x", .dims = {0, 2, 0, 0}, .axis_names = {"n", "", "h", "w"}}};
  g.outputs = {{.name = "y", .dims = {0, 0, 0, 0}, .axis_names = {"", "", "", ""}}};
  return g;
}
std::string error_of(Graph g, const Shape<2>& shape = {1, 2, {6, 6}}) {
  const TempFolder folder;
  onnx::write_graph(folder / "g.onnx", std::move(g));
  return error_of_file(folder / "g.onnx", shape);
}
/// One node "it" from x, and constants, to y.
std::string error_of_node(const std::string& op, std::map<std::string, onnx::AttributeValue> attributes = {},
                          std::vector<onnx::TensorData> constants = {}) {
  GraphNode n{.op = op, .name = "it", .inputs = {"x"}, .outputs = {"y"}, .attributes = std::move(attributes)};
  for (const auto& t : constants) n.inputs.push_back(t.name);
  return error_of(graph({n}, std::move(constants)));
}
void check(const std::string& error, const std::string& words) {
  INFO(error);
  CHECK(error.find(words) != std::string::npos);
}
using Ints = std::vector<Index>;

}   // namespace

TEST_CASE("onnx bad: well-formed files that are not run are refused by name") {
  check(error_of_file(file_of("refused_external")), "tensor \"w\" lies in another file (external data)");
  check(error_of_file(file_of("refused_strings")), "tensor \"w\" has values of type 8");
  check(error_of_file(file_of("refused_branch")),
        "If node \"choose\" has an operator that is not run here. Hint: docs/onnx.md");
  check(error_of_file(file_of("refused_domain")), "com.example.Relu node \"mine\" has an operator that is not run here");
  check(error_of_file(file_of("refused_sparse")), "has sparse tensors");
  check(error_of_file(file_of("unet_3d")),
        "input \"x\" has 5 axes, this model has 4 (N, C and 2 of space). Hint: Model<Spec<float, 3");
  check(error_of_file("/no/such/file.onnx"), "cannot open");
  check(error_of_file(std::string(CTSEG_SOURCE_DIR) + "/README.md"), "holds no ONNX model");
  check(error_of_node("LSTM"), "LSTM node \"it\" has an operator that is not run here");
}

TEST_CASE("onnx bad: names, cycles, inputs and opsets") {
  const GraphNode relu{.op = "Relu", .name = "r", .inputs = {"x"}, .outputs = {"y"}};
  Graph g = graph({relu});
  CHECK(error_of(g) == "no error");
  for (const Index opset : {0, 12, 24}) {
    g.opset = opset;
    check(error_of(g), text("is of opset ", opset, "; read are 13 to 23"));
  }
  g = graph({{.op = "Add", .name = "a", .inputs = {"x", "b"}, .outputs = {"a"}},
             {.op = "Relu", .name = "b", .inputs = {"a"}, .outputs = {"b"}},
             {.op = "Relu", .name = "c", .inputs = {"b"}, .outputs = {"y"}}});
  check(error_of(g), "has a cycle, and Add node \"a\" is part of it");
  g = graph({{.op = "Relu", .name = "late", .inputs = {"a"}, .outputs = {"y"}},
             {.op = "Relu", .name = "early", .inputs = {"x"}, .outputs = {"a"}}});
  CHECK(error_of(g) == "no error");   // not sorted, but sortable
  g = graph({{.op = "Relu", .name = "r", .inputs = {"nothing"}, .outputs = {"y"}}});
  check(error_of(g), "Relu node \"r\" reads \"nothing\", which nothing makes");
  check(error_of(graph({relu, relu})), "makes \"y\", which is made before");
  check(error_of(graph({})), "output \"y\" is made by no node");
  g = graph({relu});
  g.outputs.clear();
  check(error_of(g), "has no outputs");
  g = graph({relu});
  g.inputs.push_back(g.inputs[0]);
  check(error_of(g), "has 2 inputs; networks with one are run");
  g = graph({relu});
  g.inputs[0].element = onnx::Element::i64;
  check(error_of(g), "input \"x\" has values of type 7");
  check(error_of(graph({relu}), {1, 3, {6, 6}}), "input [1,3,6,6], the graph takes [0,2,0,0] (0: any)");
  g = graph({relu}, {tensor("w", {1}, {1}), tensor("w", {1}, {1})});
  check(error_of(g), "has two tensors \"w\"");
  check(error_of(graph({{.op = "Constant", .name = "c", .outputs = {"y"}, .attributes = {{"value_int", Index{1}}}}})),
        "output \"y\" is a constant");
}

TEST_CASE("onnx bad: weights") {
  const auto conv = [](onnx::TensorData w, std::map<std::string, onnx::AttributeValue> attributes = {}) {
    return error_of_node("Conv", std::move(attributes), {std::move(w)});
  };
  const std::vector<float> two(2, 1.f);
  CHECK(conv(tensor("w", {1, 2, 1, 1}, two)) == "no error");
  check(conv(tensor("w", {1, 2, 1, 1}, {1, INFINITY})), "weights \"w\": value 1 is not finite");
  check(conv(tensor("w", {1, 2, 1}, two)), "weights \"w\" have extents [1,2,1]; a convolution here has 4 axes");
  check(conv(tensor("w", {2, 1, 1, 1}, two)), "Conv node \"it\": ");
  check(conv(tensor("w", {1, 2, 0, 1}, {})), "weights \"w\"");
  check(conv(tensor("w", {1, 2, 1, 1}, {1})), "has 4 bytes, not 8");
  check(conv(tensor("w", {1, -2, 1, 1}, two)), "extents [1,-2,1,1]; must be 0 or more");
  check(conv(tensor("w", {Index{1} << 40, Index{1} << 40, 1, 1}, two)), "at most 2147483647 values together");
  check(conv(tensor("w", {1, 2, 1, 1}, two), {{"kernel_shape", Ints{3, 3}}}),
        "kernel_shape 3x3, but weights of extents [1,2,1,1]");
  check(conv(tensor("w", {1, 2, 1, 1}, two), {{"group", Index{3}}}), "weights \"w\": parameter: 3 groups of an extent of 1");
  check(conv(tensor("w", {1, 2, 1, 1}, two), {{"strides", Ints{0, 1}}}), "stride 0x1");
  check(conv(tensor("w", {1, 2, 1, 1}, two), {{"strides", Ints{1}}}), "strides [1]; must be 2 numbers");
  check(conv(tensor("w", {1, 2, 1, 1}, two), {{"strides", 1.f}}), "strides is of the wrong kind");
  check(conv(tensor("w", {1, 2, 1, 1}, two), {{"auto_pad", std::string("SAME_UPPER")}}), "auto_pad = SAME_UPPER");
  check(conv(tensor("w", {1, 2, 1, 1}, two), {{"pads", Ints{0, -1, 0, 0}}}), "pads [0,-1,0,0]; must be 0 or more");
  check(error_of_node("PRelu", {}, {tensor("s", {2}, two)}),
        "slopes of extents [2]; must be one, or one per channel as [C,1,1]");
  CHECK(error_of_node("PRelu", {}, {tensor("s", {2, 1, 1}, two)}) == "no error");
}

TEST_CASE("onnx bad: options that are not run") {
  check(error_of_node("Slice", {}, {integers("a", {0}), integers("b", {3}), integers("c", {2})}),
        "Slice node \"it\": graph: cuts axis 2 of [1,2,6,6] to 3 in steps of 1; only ranges of channels");
  check(error_of_node("Softmax"), "axis = -1; only channels (1)");
  check(error_of_node("MaxPool", {{"kernel_shape", Ints{4, 4}}, {"strides", Ints{4, 4}}, {"ceil_mode", Index{1}}}),
        "ceil_mode = 1");
  CHECK(error_of_node("MaxPool", {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}, {"ceil_mode", Index{1}}}) ==
        "no error");
  check(error_of_node("AveragePool", {{"kernel_shape", Ints{2, 2}}, {"pads", Ints{1, 1, 1, 1}}}), "count_include_pad = 0");
  check(error_of_node("Pad", {{"mode", std::string("wrap")}}, {integers("p", {0, 0, 1, 1, 0, 0, 1, 1})}), "mode = wrap");
  check(error_of_node("Pad", {}, {integers("p", {0, 0, -1, 0, 0, 0, 0, 0})}), "axes of space are padded, by 0 or more");
  check(error_of_node("Pad", {}, {integers("p", {0, 0, Index{1} << 40, 0, 0, 0, 0, 0})}), "must be 0 to 1048576");
  check(error_of_node("Resize", {{"mode", std::string("cubic")}}, {tensor("r", {0}, {}), tensor("s", {4}, {1, 1, 2, 2})}),
        "mode = cubic");
  check(error_of_node("Resize", {}, {tensor("r", {0}, {}), tensor("s", {4}, {1, 1, 1.3f, 2})}), "would get 7.8 voxels");
  check(error_of_node("Reshape", {}, {integers("s", {1, 72})}), "output \"y\" is a reshaped value");
  check(error_of_node("Reshape", {}, {integers("s", {1, 71})}), "extents [1,2,6,6] cannot become [1,71]");
  check(error_of_node("Reshape", {}, {integers("s", {-1, -1})}), "cannot become");
  check(error_of_node("Transpose", {{"perm", Ints{0, 1, 3, 2}}}), "only the order of a pixel shuffle is run");
  check(error_of_node("Tile", {}, {integers("t", {1, 1, 2, 1})}), "only channels are repeated");
  check(error_of_node("Tile", {}, {integers("t", {1, 9000, 1, 1})}), "at most 1024 times");
  check(error_of_node("Mul", {}, {tensor("m", {6}, {1, 1, 1, 1, 1, 1})}), "a constant of extents [6]; must be one number");
  check(error_of_node("Expand", {}, {integers("t", {4, 2, 6, 6})}), "activations are not expanded");
  check(error_of(graph({{.op = "BatchNormalization",
                         .name = "bn",
                         .inputs = {"x", "w", "w", "w", "w"},
                         .outputs = {"y", "mean", "variance", "saved", "squares"}}},
                       {tensor("w", {2}, {1, 1})})),
        "BatchNormalization node \"bn\": graph: 5 outputs, as in training");
  check(error_of_node("InstanceNormalization"), "1 inputs; must be x, scale and bias");
  check(error_of_node("InstanceNormalization", {{"epsilon", NAN}}, {tensor("s", {2}, {1, 1}), tensor("b", {2}, {0, 0})}),
        "epsilon = nan; must be 0 or more");
  check(error_of_node("Cast", {{"to", Index{7}}}), "activations to type 7");
  check(error_of_node("Split", {{"axis", Index{2}}}), "only channels (axis 1) are split");
  check(error_of(graph({{.op = "Dropout", .name = "d", .inputs = {"x"}, .outputs = {"z", "y"}}})),
        "output \"y\" is not computed here");
}

TEST_CASE("onnx bad: a part of a pattern that is not the pattern") {
  // Groups of channels normalised, with a scale that group norm has not; then with gamma for columns instead of channels.
  const auto groups = [](float scale, const Ints& gamma) {
    return error_of(graph({{.op = "Reshape", .name = "a", .inputs = {"x", "grouped"}, .outputs = {"a"}},
                           {.op = "InstanceNormalization", .name = "norm", .inputs = {"a", "s", "b"}, .outputs = {"n"}},
                           {.op = "Shape", .name = "c", .inputs = {"x"}, .outputs = {"c"}},
                           {.op = "Reshape", .name = "d", .inputs = {"n", "c"}, .outputs = {"d"}},
                           {.op = "Mul", .name = "m", .inputs = {"d", "gamma"}, .outputs = {"m"}},
                           {.op = "Add", .name = "y", .inputs = {"m", "beta"}, .outputs = {"y"}}},
                          {integers("grouped", {0, 1, -1}), tensor("s", {1}, {scale}), tensor("b", {1}, {0}),
                           tensor("gamma", gamma, {2, 3}), tensor("beta", gamma, {4, 5})}),
                    {1, 2, {6, 2}});
  };
  CHECK(groups(1, {2, 1, 1}) == "no error");
  check(groups(3, {2, 1, 1}), "InstanceNormalization node \"norm\": graph: scale or bias on groups of channels");
  check(groups(1, {2}), "Mul node \"m\": graph: a constant of extents [2]; must be one number");
  check(error_of(graph({{.op = "Reshape", .name = "empty", .outputs = {"a", "b"}},
                        {.op = "InstanceNormalization", .name = "n", .inputs = {"a", "s", "s"}, .outputs = {"y"}}},
                       {tensor("s", {1}, {1})})),
        "Reshape node \"empty\"");
}

TEST_CASE("onnx: Max and Min of any number of constants") {
  for (const char* op : {"Max", "Min"}) {   // pads of 0, 2 and 1 columns
    Graph g = graph({{.op = op, .name = "most", .inputs = {"a", "b", "c"}, .outputs = {"p"}},
                     {.op = "Pad", .name = "pad", .inputs = {"x", "p"}, .outputs = {"z"}},
                     {.op = "Add", .name = "sum", .inputs = {"z", "x"}, .outputs = {"y"}}},
                    {integers("a", {0, 0, 0, 1, 0, 0, 0, 0}), integers("b", {0, 0, 0, 2, 0, 0, 0, 0}),
                     integers("c", {0, 0, 0, op[1] == 'a' ? 3 : 0, 0, 0, 0, 0})});
    const std::string error = error_of(g);
    if (op[1] == 'a')
      check(error, "[1,2,6,9]");
    else
      CHECK(error == "no error");
  }
}

TEST_CASE("onnx bad: constants stay small") {
  Graph g = graph({});
  g.tensors = {integers("n", {1 << 20}), integers("huge", {1 << 20, 1 << 20})};
  for (int i = 0; i < 40; ++i)
    g.nodes.push_back({.op = "ConstantOfShape", .name = text("c", i), .inputs = {"n"}, .outputs = {text("c", i)}});
  g.nodes.push_back({.op = "Relu", .name = "r", .inputs = {"x"}, .outputs = {"y"}});
  check(error_of(g), "has more than 16777216 values of constants");
  g.nodes = {{.op = "ConstantOfShape", .name = "c", .inputs = {"huge"}, .outputs = {"c"}},
             {.op = "Add", .name = "a", .inputs = {"x", "c"}, .outputs = {"y"}}};
  check(error_of(g), "ConstantOfShape node \"c\": constant: extents [1048576,1048576]; must be 0 or more, and at most 1048576");
}
