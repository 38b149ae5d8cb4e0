#include "program.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "patterns.hpp"

namespace ctseg::onnx {
namespace {

constexpr Index kFirstOpset = 13, kLastOpset = 23;

class Loader {
 public:
  Loader(const std::filesystem::path& path, Graph graph, std::size_t rank)
      : path_(path.string()), graph_(std::move(graph)), rank_(rank) {}

  Program load(std::vector<ProgramWeight>& weights) {
    check_opset();
    const GraphValue& input = find_input();   // before the tensors are taken away
    name_everything();
    sort();
    fold_constants();
    Patterns(graph_.nodes, rank_, [this](const std::string& name) { return constant(name); }).replace();
    keep_what_outputs_need();
    refuse_unknown();
    Program program{.path = path_, .opset = graph_.opset, .input_extents = input.dims, .metadata = graph_.metadata};
    program.input = value(input.name);
    for (GraphNode& n : graph_.nodes) program.steps.push_back(step(n, weights));
    join_blocks(program.steps);
    for (const GraphValue& y : graph_.outputs) {
      program.output_names.push_back(y.name);
      program.outputs.push_back(value(resolved(y.name)));
    }
    program.values.resize(value_numbers_.size());
    for (const auto& [name, number] : value_numbers_)
      if (const auto it = constants_.find(name); it != constants_.end()) program.values[at(number)] = it->second;
    return program;
  }

 private:
  static std::size_t at(int i) { return static_cast<std::size_t>(i); }
  Error bad(const std::string& message) const { return {Code::bad_input, path_, message}; }
  Error refused(const std::string& message) const { return {Code::unsupported, path_, message}; }

  void check_opset() const {
    if (graph_.opset < kFirstOpset || graph_.opset > kLastOpset)
      throw refused(text("is of opset ", graph_.opset, "; read are ", kFirstOpset, " to ", kLastOpset,
                         ". Hint: export with opset_version=17, or convert with onnx.version_converter."));
  }

  const GraphValue& find_input() const {
    std::set<std::string> known;
    for (const TensorData& t : graph_.tensors) known.insert(t.name);
    const GraphValue* input = nullptr;
    std::size_t count = 0;
    for (const GraphValue& v : graph_.inputs)
      if (!known.contains(v.name)) input = &v, ++count;
    if (count != 1) throw refused(text("has ", count, " inputs; networks with one are run."));
    if (input->element != Element::f32 && input->element != Element::f16)
      throw refused(text("input \"", input->name, "\" has values of type ", static_cast<int>(input->element),
                         "; must be float (1) or float16 (10)."));
    if (input->dims.size() != rank_)
      throw refused(text("input \"", input->name, "\" has ", input->dims.size(), " axes, this model has ", rank_, " (N, C and ",
                         rank_ - 2, " of space). Hint: Model<Spec<float, ", input->dims.size() == 5 ? 3 : 2, ", Cpu>>."));
    for (const Index e : input->dims)
      if (e < 0) throw bad(text("input \"", input->name, "\" has extents ", list(input->dims), "."));
    return *input;
  }

  /// Every name has one maker, and every name that is read has a maker.
  void name_everything() {
    std::set<std::string> made;
    for (TensorData& t : graph_.tensors) {
      const std::string name = t.name;
      if (!made.insert(name).second) throw bad(text("has two tensors \"", name, "\"."));
      tensors_[name] = std::make_shared<const TensorData>(std::move(t));
    }
    graph_.tensors.clear();
    for (const GraphValue& v : graph_.inputs) made.insert(v.name);
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i)
      for (const std::string& y : graph_.nodes[i].outputs) {
        if (y.empty()) continue;
        if (!made.insert(y).second) throw bad(text(name_of(graph_.nodes[i]), " makes \"", y, "\", which is made before."));
        maker_[y] = i;
      }
    for (const GraphNode& n : graph_.nodes)
      for (const std::string& x : n.inputs)
        if (!x.empty() && !made.contains(x)) throw bad(text(name_of(n), " reads \"", x, "\", which nothing makes."));
    if (graph_.outputs.empty()) throw bad("has no outputs.");
    for (const GraphValue& y : graph_.outputs)
      if (!made.contains(y.name)) throw bad(text("output \"", y.name, "\" is made by no node."));
  }

  /// Makers before readers, in the file's order where it allows.
  void sort() {
    std::vector<std::size_t> waits(graph_.nodes.size(), 0);
    std::vector<std::vector<std::size_t>> readers(graph_.nodes.size());
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i)
      for (const std::string& x : graph_.nodes[i].inputs)
        if (const auto m = maker_.find(x); m != maker_.end()) ++waits[i], readers[m->second].push_back(i);
    std::set<std::size_t> ready;
    for (std::size_t i = 0; i < waits.size(); ++i)
      if (waits[i] == 0) ready.insert(i);
    std::vector<GraphNode> sorted;
    while (!ready.empty()) {
      const std::size_t i = *ready.begin();
      ready.erase(ready.begin());
      for (const std::size_t r : readers[i])
        if (--waits[r] == 0) ready.insert(r);
      sorted.push_back(std::move(graph_.nodes[i]));
    }
    for (std::size_t i = 0; i < waits.size(); ++i)
      if (waits[i] > 0) throw bad(text("has a cycle, and ", name_of(graph_.nodes[i]), " is part of it or behind it."));
    graph_.nodes = std::move(sorted);
  }

  /// The name that a value was first made under.
  const std::string& resolved(const std::string& name) const {
    const auto it = alias_.find(name);
    return it == alias_.end() ? name : it->second;
  }

  Constant constant(const std::string& name) {
    if (const auto it = constants_.find(name); it != constants_.end()) return it->second;
    const auto t = tensors_.find(name);
    if (t == tensors_.end() || std::ssize(t->second->bytes) > kMostNumbers) return nullptr;
    return keep(name, numbers_of(*t->second));
  }
  Constant keep(const std::string& name, Numbers numbers) {
    total_ += numbers.count();
    if (total_ > kMostConstants) throw bad(text("has more than ", kMostConstants, " values of constants."));
    return constants_[name] = std::make_shared<const Numbers>(std::move(numbers));
  }

  /// Computes what depends on no input, and forgets nodes that pass their input on.
  void fold_constants() {
    std::vector<GraphNode> rest;
    for (GraphNode& n : graph_.nodes) {
      for (std::string& x : n.inputs) x = resolved(x);
      const bool passes = n.domain.empty() && (n.op == "Identity" || (n.op == "Dropout" && !trains(n)));
      if (passes && !n.inputs.empty() && !n.inputs[0].empty() && !n.outputs.empty()) {
        alias_[n.outputs[0]] = n.inputs[0];
        continue;
      }
      if (!fold_node(n)) rest.push_back(std::move(n));
    }
    graph_.nodes = std::move(rest);
  }
  bool trains(const GraphNode& n) {
    if (n.inputs.size() < 3 || n.inputs[2].empty()) return false;
    const Constant mode = constant(n.inputs[2]);
    return !mode || mode->count() != 1 || mode->values[0] != 0;
  }
  bool fold_node(const GraphNode& n) {
    const auto all = foldable();
    if (std::find(all.begin(), all.end(), n.op) == all.end() || n.outputs.size() != 1) return false;
    std::vector<Constant> inputs;
    for (const std::string& x : n.inputs) {
      inputs.push_back(x.empty() ? nullptr : constant(x));
      if (!x.empty() && !inputs.back()) return false;
    }
    try {
      if (auto result = fold(n, inputs)) return keep(n.outputs[0], std::move(*result)) != nullptr;
    } catch (const Error& e) {
      throw Error(e.code(), path_, text(name_of(n), ": ", e.what()));
    }
    return false;
  }

  void keep_what_outputs_need() {
    std::set<std::string> needed;
    for (const GraphValue& y : graph_.outputs) needed.insert(resolved(y.name));
    std::vector<GraphNode> kept;
    for (std::size_t i = graph_.nodes.size(); i-- > 0;) {
      GraphNode& n = graph_.nodes[i];
      if (std::none_of(n.outputs.begin(), n.outputs.end(), [&](const std::string& y) { return needed.contains(y); })) continue;
      for (const std::string& x : n.inputs) needed.insert(x);
      kept.push_back(std::move(n));
    }
    std::reverse(kept.begin(), kept.end());
    graph_.nodes = std::move(kept);
  }

  void refuse_unknown() const {
    const auto folds = foldable();
    for (const GraphNode& n : graph_.nodes) {
      if (n.domain.empty() && (is_operator(n.op) || std::find(folds.begin(), folds.end(), n.op) != folds.end())) continue;
      throw refused(text(name_of(n),
                         " has an operator that is not run here. Hint: docs/onnx.md lists those that are; "
                         "export the network for inference (model.eval()), with opset_version=17."));
    }
  }

  int value(const std::string& name) {
    return value_numbers_.emplace(name, static_cast<int>(value_numbers_.size())).first->second;
  }

  ProgramStep step(GraphNode& n, std::vector<ProgramWeight>& weights) {
    ProgramStep s{.weights = std::vector<int>(n.inputs.size(), -1)};
    mark_weights(n, s, weights);
    for (std::size_t k = 0; k < n.inputs.size(); ++k) {
      const std::string& x = n.inputs[k];
      if (x.empty() || s.weights[k] >= 0) {
        s.inputs.push_back(-1);
        continue;
      }
      if (!constant(x) && tensors_.contains(x))
        throw refused(text(name_of(n), " reads tensor \"", x, "\" of extents ", list(tensors_[x]->dims),
                           " other than as weights of a convolution, a norm or PRelu."));
      s.inputs.push_back(value(x));
    }
    for (const std::string& y : n.outputs) s.outputs.push_back(y.empty() ? -1 : value(y));
    s.node = std::move(n);
    return s;
  }

  void mark_weights(const GraphNode& n, ProgramStep& s, std::vector<ProgramWeight>& weights) {
    const auto use = [&](std::size_t k, WeightLayout layout, Role role = Role::trained) {
      if (k >= n.inputs.size() || n.inputs[k].empty()) return;
      const Index groups = layout == WeightLayout::plain ? 1 : integer(n, "group", 1);
      s.weights[k] = weight(n, n.inputs[k], {.layout = layout, .groups = groups, .role = role}, weights);
    };
    if (n.op == "Conv" || n.op == "ConvTranspose") {
      use(1, n.op == "Conv" ? WeightLayout::conv : WeightLayout::conv_transposed);
      use(2, WeightLayout::plain);
    } else if (n.op == "BatchNormalization") {
      for (const std::size_t k : {1u, 2u}) use(k, WeightLayout::plain);
      for (const std::size_t k : {3u, 4u}) use(k, WeightLayout::plain, Role::averaged);
    } else if (n.op == "InstanceNormalization" && n.inputs.size() == 3 && !trivial(n)) {
      for (const std::size_t k : {1u, 2u}) use(k, WeightLayout::plain);
    } else if (n.op == "GroupNormalization" && per_channel(n)) {
      for (const std::size_t k : {1u, 2u}) use(k, WeightLayout::plain);
    } else if (n.op == "PRelu") {
      use(1, WeightLayout::plain);
    }
  }
  bool per_channel(const GraphNode& n) const { return graph_.opset >= 21 || integer(n, "per_channel", 0) != 0; }

  /// A norm behind a convolution, and an activation behind a norm, go with it, where nobody else reads what is between.
  void join_blocks(std::vector<ProgramStep>& steps) {
    std::map<int, int> readers, maker;
    for (const GraphValue& y : graph_.outputs) ++readers[value(resolved(y.name))];
    for (const ProgramStep& s : steps)
      for (const int x : s.inputs) ++readers[x];
    std::vector<ProgramStep> joined;
    for (ProgramStep& s : steps) {
      const auto made = s.inputs.empty() ? maker.end() : maker.find(s.inputs[0]);
      ProgramStep* before = made == maker.end() || readers[s.inputs[0]] != 1 ? nullptr : &joined[at(made->second)];
      if (before && follows(s.node, before->behind.empty() ? before->node : before->behind.back().node)) {
        for (const int y : s.outputs) maker[y] = made->second;
        before->behind.push_back(std::move(s));
        continue;
      }
      for (const int y : s.outputs) maker[y] = static_cast<int>(joined.size());
      joined.push_back(std::move(s));
    }
    steps = std::move(joined);
  }
  static bool follows(const GraphNode& n, const GraphNode& before) {
    const auto among = [](const std::string& op, std::initializer_list<const char*> all) {
      return std::find(all.begin(), all.end(), op) != all.end();
    };
    if (among(n.op, {"BatchNormalization", "InstanceNormalization"})) return among(before.op, {"Conv", "ConvTranspose"});
    const bool norm = among(before.op, {"BatchNormalization", "InstanceNormalization"});
    return norm && among(n.op, {"Relu", "LeakyRelu", "Elu", "Sigmoid", "Gelu", "PRelu"});
  }

  /// A scale of ones and a bias of zeros are what exporters write for a norm without weights.
  bool trivial(const GraphNode& n) {
    const Constant scale = constant(n.inputs[1]), bias = constant(n.inputs[2]);
    const auto all = [](const Constant& c, double v) {
      return c && std::all_of(c->values.begin(), c->values.end(), [v](double x) { return x == v; });
    };
    return all(scale, 1) && all(bias, 0);
  }

  int weight(const GraphNode& n, const std::string& name, ProgramWeight w, std::vector<ProgramWeight>& weights) {
    const std::string key = text(name, "/", static_cast<int>(w.layout), "/", w.groups);
    if (const auto it = weight_numbers_.find(key); it != weight_numbers_.end()) return it->second;
    if (const auto t = tensors_.find(name); t != tensors_.end()) {
      w.tensor = t->second;
    } else if (const Constant c = constant(name)) {
      TensorData made{.element = Element::f64, .dims = c->dims};
      made.bytes.assign(reinterpret_cast<const char*>(c->values.data()), c->values.size() * sizeof(double));
      w.tensor = std::make_shared<const TensorData>(std::move(made));
    } else {
      throw refused(text(name_of(n), " has weights \"", name, "\" that are computed from the input."));
    }
    w.name = name;
    for (const ProgramWeight& other : weights)
      if (other.name == w.name) w.name += "_";   // one tensor in two layouts
    weights.push_back(std::move(w));
    return weight_numbers_[key] = static_cast<int>(weights.size()) - 1;
  }

  std::string path_;
  Graph graph_;
  std::size_t rank_;
  std::map<std::string, std::shared_ptr<const TensorData>> tensors_;
  std::map<std::string, std::size_t> maker_;
  std::map<std::string, std::string> alias_;
  std::map<std::string, Constant> constants_;
  std::map<std::string, int> value_numbers_, weight_numbers_;
  Index total_ = 0;
};

}   // namespace

Program load(const std::filesystem::path& path, Index max_bytes, std::size_t rank, std::vector<ProgramWeight>& weights) {
  return Loader(path, read_graph(path, max_bytes), rank).load(weights);
}

}   // namespace ctseg::onnx
