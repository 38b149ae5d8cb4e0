// A graph while it is written: nodes get names, equal constants are there once.
#pragma once
#include <cstring>
#include <span>
#include <utility>

#include "graph.hpp"

namespace ctseg::onnx {

using Names = std::vector<std::string>;
using Attributes = std::map<std::string, AttributeValue>;

class Emitter {
 public:
  Graph graph{.opset = 17};

  /// Nodes from here on belong to op number `index` of the tape, recorded in `scope`.
  void enter(std::string scope, std::size_t index) {
    scope_ = std::move(scope);
    index_ = index;
    part_ = 0;
  }

  /// Appends a node with one output and returns the output's name.
  std::string node(const std::string& op, Names inputs, Attributes attributes = {}) {
    const std::string name = text(scope_.empty() ? "" : scope_ + "/", op, "_", index_, part_ == 0 ? "" : text("_", part_));
    ++part_;
    graph.nodes.push_back(
        {.op = op, .name = name, .inputs = std::move(inputs), .outputs = {name}, .attributes = std::move(attributes)});
    return name;
  }

  /// A list of integers; its name says what it holds, so graphs that differ in a number differ in a name.
  std::string integers(const std::vector<Index>& values) {
    std::string name = "integers";
    for (const Index v : values) name += text("_", v);
    if (!has(name))
      graph.tensors.push_back({.name = name, .element = Element::i64, .dims = {std::ssize(values)}, .bytes = bytes_of(values)});
    return name;
  }
  /// `count` times one number; count 0: a scalar.
  std::string numbers(float value, Index count = 0) {
    char exact[32];
    std::snprintf(exact, sizeof exact, "number_%.9g", double{value});
    const std::string name = text(exact, count ? text("_", count) : "");
    if (!has(name))
      graph.tensors.push_back(
          {.name = name,
           .dims = count ? std::vector<Index>{count} : std::vector<Index>{},
           .bytes = bytes_of(std::vector<float>(static_cast<std::size_t>(std::max<Index>(count, 1)), value))});
    return name;
  }
  /// A tensor under a name that the caller knows to be free.
  const std::string& tensor(TensorData t) { return graph.tensors.emplace_back(std::move(t)).name; }
  const TensorData* find(const std::string& name) const {
    for (const TensorData& t : graph.tensors)
      if (t.name == name) return &t;
    return nullptr;
  }
  bool has(const std::string& name) const { return find(name) != nullptr; }

  // Arithmetic of shapes, run by whoever runs the file.
  std::string shape(const std::string& x, Index first, Index last = 0) {
    Attributes range = {{"start", first}};
    if (last > 0) range["end"] = last;
    return node("Shape", {x}, range);
  }
  std::string joined(Names parts) {
    return parts.size() == 1 ? parts[0] : node("Concat", std::move(parts), {{"axis", Index{0}}});
  }

  template <class T> static std::string bytes_of(const std::vector<T>& values) {
    std::string bytes(values.size() * sizeof(T), '\0');
    if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
  }

 private:
  std::string scope_;
  std::size_t index_ = 0;
  int part_ = 0;
};

}   // namespace ctseg::onnx
