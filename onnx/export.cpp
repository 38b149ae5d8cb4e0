// ctseg::onnx::export_net: records a network, once for a fixed size and at several sizes for a dynamic one.
#include "export.hpp"

#include <ctseg/ops/cpu.hpp>
#include <set>

namespace ctseg::onnx {
namespace {

/// The first node in which two graphs differ, weights aside; empty if they are equal.
std::string difference(const Graph& a, const Graph& b) {
  for (std::size_t i = 0; i < std::max(a.nodes.size(), b.nodes.size()); ++i) {
    if (i >= a.nodes.size()) return name_of(b.nodes[i]);
    const GraphNode& n = a.nodes[i];
    if (i >= b.nodes.size() || n.op != b.nodes[i].op || n.inputs != b.nodes[i].inputs) return name_of(n);
    for (const auto& [key, value] : n.attributes) {
      const auto other = b.nodes[i].attributes.find(key);
      const bool same = other != b.nodes[i].attributes.end() && value.index() == other->second.index() &&
                        (!std::holds_alternative<std::vector<Index>>(value) ||
                         std::get<std::vector<Index>>(value) == std::get<std::vector<Index>>(other->second));
      if (!same) return name_of(n);
    }
  }
  return "";
}

/// A file has one set of names for inputs, parameters and everything that nodes make.
void check_names(const Graph& g) {
  std::set<std::string> made;
  const auto add = [&](const std::string& name) {
    if (!made.insert(name).second)
      throw Error(Code::bad_argument, "onnx",
                  text("\"", name,
                       "\" would be the name of two things in the file. Hint: give the parameter, or "
                       "ExportOptions::input or output, another one."));
  };
  for (const GraphValue& v : g.inputs) add(v.name);
  for (const TensorData& t : g.tensors) add(t.name);
  for (const GraphNode& n : g.nodes)
    for (const std::string& y : n.outputs) add(y);
}

template <AnySpec S> class Export {
 public:
  using Size = Shape<S::kDim>;
  Export(const ExportedNet<S>& net, const ExportOptions<S::kDim>& options) : net_(net), options_(options) {}

  Graph run() {
    checked(options_.shape, "onnx");
    if (options_.input.empty() || options_.output.empty() || options_.input == options_.output)
      throw Error(Code::bad_argument, "onnx",
                  text("input is called \"", options_.input, "\", output \"", options_.output, "\"; they need two names."));
    Size shape = options_.shape;
    record(shape, false);   // the caller's own size must work in any case, and its errors are the network's
    if (options_.dynamic_size) shape = choose_size();
    Exporter<S> exporter(net_, shape, options_, {.dynamic_size = options_.dynamic_size});
    Graph graph = exporter.take();
    graph.name = "ctseg";
    graph.metadata = options_.metadata;
    std::vector<Index> dims = {options_.dynamic_batch ? 0 : shape.n, shape.c};
    for (const Index e : shape.space) dims.push_back(options_.dynamic_size ? 0 : e);
    graph.inputs = {{.name = options_.input, .dims = dims, .axis_names = axis_names(true)}};
    for (std::size_t k = 0; k < graph.outputs.size(); ++k) {
      const Size& y = exporter.output_shapes()[k];
      graph.outputs[k].dims = {dims[0], y.c};
      for (const Index e : y.space) graph.outputs[k].dims.push_back(options_.dynamic_size ? 0 : e);
      graph.outputs[k].axis_names = axis_names(y.space == shape.space);
    }
    check_names(graph);
    return graph;
  }

 private:
  Graph record(const Size& shape, bool dynamic) const {
    return Exporter<S>(net_, shape, options_, {.dynamic_size = dynamic, .weights = false}).take();
  }

  std::vector<std::string> axis_names(bool sizes_of_input) const {
    std::vector<std::string> names = {"batch", ""};
    for (const char* axis : {"depth", "height", "width"}) names.push_back(sizes_of_input ? axis : "");
    if (S::kDim == 2) names.erase(names.begin() + 2);
    return names;
  }

  Size resized(Index factor, Index less) const {
    Size s = options_.shape;
    for (Index& e : s.space) e = (e + less + factor - 1) / factor * factor - less;
    return s;
  }

  /// A size that shows everything the graph may need. A network that takes sizes of 64 k - 1, where every pooling by two
  /// loses a voxel, pads for them; one that refuses them takes multiples of its size. Either must give the same graph twice.
  Size choose_size() const {
    Size odd = resized(64, 1), even = options_.shape, larger = even;
    try {
      record(odd, true);
    } catch (const Error&) {
      for (Index& e : larger.space) e *= 2;
      compare(even, larger);
      return even;
    }
    larger = odd;
    for (Index& e : larger.space) e += 64;
    compare(odd, larger);
    return odd;
  }

  void compare(const Size& a, const Size& b) const {
    const std::string where = difference(record(a, true), record(b, true));
    if (!where.empty())
      throw Error(Code::unsupported, "onnx",
                  text("with dynamic_size the graph must not depend on the size, but for inputs ", a, " and ", b, " its ",
                       where, " differs. Hint: set ExportOptions::dynamic_size = false, and export one file per size."));
  }

  const ExportedNet<S>& net_;
  const ExportOptions<S::kDim>& options_;
};

}   // namespace

template <AnySpec S>
void export_net(const ExportedNet<S>& net, const ExportOptions<S::kDim>& options, const std::filesystem::path& path) {
  write_graph(path, Export<S>(net, options).run());
}

template void export_net(const ExportedNet<Spec<float, 2, Cpu>>&, const ExportOptions<2>&, const std::filesystem::path&);
template void export_net(const ExportedNet<Spec<float, 3, Cpu>>&, const ExportOptions<3>&, const std::filesystem::path&);

}   // namespace ctseg::onnx
