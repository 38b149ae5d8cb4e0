// An ONNX graph as plain values: what lies between the protobuf messages and our ops. Only protobuf.cpp knows the messages.
#pragma once
#include <ctseg/core/error.hpp>
#include <filesystem>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace ctseg::onnx {

/// Numbers of TensorProto::DataType.
enum class Element : int { none = 0, f32 = 1, i32 = 6, i64 = 7, boolean = 9, f16 = 10, f64 = 11, bf16 = 16 };

/// Bytes of one value; 0 for types that are not read.
constexpr std::size_t size_of(Element e) {
  switch (e) {
    case Element::f64:
    case Element::i64:
      return 8;
    case Element::f32:
    case Element::i32:
      return 4;
    case Element::f16:
    case Element::bf16:
      return 2;
    case Element::boolean:
      return 1;
    default:
      return 0;
  }
}

struct TensorData {
  std::string name{};
  Element element = Element::f32;
  std::vector<Index> dims{};
  std::string bytes{};   // little endian, the last axis fastest; a string, because protobuf takes it without a copy
};

/// monostate: a kind of attribute that is not read (graphs, lists of strings).
using AttributeValue =
    std::variant<std::monostate, Index, float, std::string, std::vector<Index>, std::vector<float>, TensorData>;

struct GraphNode {
  std::string op{}, name{}, domain{};
  std::vector<std::string> inputs{}, outputs{};   // an empty name is an input that is left out
  std::map<std::string, AttributeValue> attributes{};
};

/// An input or output of the graph. Extent 0: any, called `axis_names` where that is not empty.
struct GraphValue {
  std::string name{};
  Element element = Element::f32;
  std::vector<Index> dims{};
  std::vector<std::string> axis_names{};
};

struct Graph {
  std::string name{};
  Index opset = 0;
  std::vector<GraphNode> nodes{};
  std::vector<TensorData> tensors{};
  std::vector<GraphValue> inputs{}, outputs{};
  std::map<std::string, std::string> metadata{};
};

/// "Conv node \"down_1/Conv_4\"", for errors.
inline std::string name_of(const GraphNode& node) {
  const std::string op = node.domain.empty() ? node.op : text(node.domain, ".", node.op);
  return node.name.empty() ? text(op, " node that makes \"", node.outputs.empty() ? "" : node.outputs[0], "\"")
                           : text(op, " node \"", node.name, "\"");
}
/// "[1,2,3]"
inline std::string list(const std::vector<Index>& values) {
  std::string out = "[";
  for (std::size_t i = 0; i < values.size(); ++i) out += (i ? "," : "") + text(values[i]);
  return out + "]";
}

Graph read_graph(const std::filesystem::path& path, Index max_bytes);
/// Takes the tensors' bytes out of the graph. The file appears whole or not at all.
void write_graph(const std::filesystem::path& path, Graph graph);

}   // namespace ctseg::onnx
