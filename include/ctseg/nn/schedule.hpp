// What a plan runs when: forward, then backward, and between its steps whatever is made a second time to save memory.
#pragma once
#include <optional>

#include "tape.hpp"

namespace ctseg {

/// A loss makes it a plan for training. Stages named in `checkpoint` (scopes of the tape) are recomputed in backward, which
/// trades time for memory. `again`: outputs that cost no arithmetic to speak of (norms, activations, concatenations) are made
/// again in backward instead of kept: up to a third less memory for about 2 % of the time. Neither changes a bit.
template <AnySpec S> struct PlanOptions {
  std::vector<Var<S>> outputs{};
  std::optional<Var<S>> loss{};
  std::vector<std::string> checkpoint{};
  bool again = true;
};

template <AnySpec S> struct StepList {
  struct Step {
    enum Kind { forward, again, backward } kind;
    int node;
  };
  Nodes<S> nodes;   // as recorded, then the twins
  /// The node whose value and saved bytes a node uses: its own, or those of the node it is a twin of.
  std::vector<int> value_of, saved_of;
  std::vector<Step> steps;
  int forward_steps = 0, loss = -1;
  std::vector<int> writer;   // first_writers

  int step_count() const { return static_cast<int>(steps.size()); }
  /// True where a step that makes the node's value again reads its input k.
  static bool reads_again(const Node<S>& node, std::size_t k) { return node.info.again == Again::from_inputs || k > 0; }
};

/// Twins do the work. Before the backward of a checkpointed stage its nodes are recorded once more; backward uses these, so
/// that the first copies die at once: recomputation is more list. A value that can be made again (Inferred::again) dies after
/// its last reader in forward; a twin makes it right before backward wants it, and whoever reads it there is a twin, too: the
/// same node with other inputs.
template <AnySpec S> class Scheduler {
 public:
  Scheduler(const Nodes<S>& recorded, const PlanOptions<S>& options);
  StepList<S> take() { return std::move(list_); }

 private:
  using Step = typename StepList<S>::Step;

  // Whoever reads a copy again so few steps later finds it kept. And what could be made only from a long row of others is kept:
  // rows, of residuals mostly, must end.
  static constexpr int kNear = 4, kDeepest = 3;

  void add_forward();
  void add_backward();
  void measure_depth();
  void record_again(const std::string& stage);
  int read(int v);
  int add_twin(int of, std::vector<int> inputs);
  void push(typename Step::Kind kind, int node) { list_.steps.push_back({kind, node}); }
  int now() const { return list_.step_count(); }

  bool checkpointed(int i) const {
    const auto& stages = options_.checkpoint;
    return std::find(stages.begin(), stages.end(), nodes()[at(i)].scope) != stages.end();
  }
  Nodes<S>& nodes() { return list_.nodes; }
  const Nodes<S>& nodes() const { return list_.nodes; }

  const PlanOptions<S>& options_;
  StepList<S> list_;
  int recorded_;
  std::vector<bool> wanted_;
  std::vector<int> depth_;      // how many values in a row must be made to make one again; 0: it is kept
  std::vector<int> copy_;       // the node that holds the newest copy of a value
  std::vector<int> last_use_;   // and the step that made or read it last
};

template <AnySpec S> Scheduler<S>::Scheduler(const Nodes<S>& recorded, const PlanOptions<S>& options)
    : options_(options),
      recorded_(static_cast<int>(recorded.size())),
      wanted_(recorded.size()),
      depth_(recorded.size()),
      last_use_(recorded.size(), -1) {
  list_.nodes = recorded;
  for (int i = 0; i < recorded_; ++i) copy_.push_back(i);
  list_.value_of = list_.saved_of = copy_;
  add_forward();
  if (!options.loss) return;
  list_.loss = options.loss->id;
  list_.writer = first_writers(nodes(), list_.loss);
  if (options.again) measure_depth();
  add_backward();
}

/// Everything an output needs.
template <AnySpec S> void Scheduler<S>::add_forward() {
  for (const auto& v : options_.outputs) wanted_[at(v.id)] = true;
  if (options_.loss) wanted_[at(options_.loss->id)] = true;
  for (int i = recorded_ - 1; i >= 0; --i)
    for (int v : nodes()[at(i)].inputs) wanted_[at(v)] = wanted_[at(v)] || wanted_[at(i)];
  for (int i = 0; i < recorded_; ++i) {
    if (!wanted_[at(i)]) continue;
    for (int v : nodes()[at(i)].inputs) last_use_[at(v)] = now();
    last_use_[at(i)] = now();
    push(Step::forward, i);
  }
  list_.forward_steps = now();
}

/// A value is made from others that can be made, or that are there anyhow because the node's own backward reads them.
template <AnySpec S> void Scheduler<S>::measure_depth() {
  std::vector<bool> kept(nodes().size());
  for (const auto& v : options_.outputs) kept[at(v.id)] = true;
  for (int i = 0; i < recorded_; ++i) {
    const Node<S>& node = nodes()[at(i)];
    if (node.info.again == Again::never || kept[at(i)] || node.inputs.empty()) continue;
    int deepest = 0;
    bool possible = true;
    for (std::size_t k = 0; k < node.inputs.size(); ++k) {
      if (!StepList<S>::reads_again(node, k)) continue;
      const int v = node.inputs[k];
      const bool makes = depth_[at(v)] > 0 && (!checkpointed(v) || node.scope == nodes()[at(v)].scope);
      possible = possible && (makes || node.info.reads_inputs);
      if (makes) deepest = std::max(deepest, depth_[at(v)]);
    }
    if (possible && deepest < kDeepest) depth_[at(i)] = deepest + 1;
  }
}

template <AnySpec S> int Scheduler<S>::add_twin(int of, std::vector<int> inputs) {
  Node<S> twin = nodes()[at(of)];
  twin.inputs = std::move(inputs);
  nodes().push_back(std::move(twin));
  const int id = static_cast<int>(nodes().size()) - 1;
  list_.value_of.push_back(id);
  list_.saved_of.push_back(list_.saved_of[at(of)]);
  return id;
}

/// The copy of value v that a step of backward may read, made if there is none near. Of a stage that will be recomputed but is
/// not yet, nothing but outputs should outlive forward.
template <AnySpec S> int Scheduler<S>::read(int v) {
  const int copy = copy_[at(v)];
  const bool there = depth_[at(v)] == 0 || now() - last_use_[at(v)] <= kNear || (copy == v && checkpointed(v));
  if (!there) {
    std::vector<int> inputs = nodes()[at(copy)].inputs;
    for (std::size_t k = 0; k < inputs.size(); ++k)
      if (StepList<S>::reads_again(nodes()[at(copy)], k)) inputs[k] = read(nodes()[at(inputs[k])].origin);
    copy_[at(v)] = add_twin(copy, std::move(inputs));
    push(Step::again, copy_[at(v)]);
  }
  last_use_[at(v)] = now();
  return copy_[at(v)];
}

template <AnySpec S> void Scheduler<S>::record_again(const std::string& stage) {
  const auto first = static_cast<int>(nodes().size());
  for (int j = 0; j < recorded_; ++j) {
    if (nodes()[at(j)].scope != stage || !wanted_[at(j)] || nodes()[at(j)].inputs.empty())
      continue;   // an input is filled once
    std::vector<int> inputs = nodes()[at(j)].inputs;
    for (int& v : inputs) v = copy_[at(v)] >= first ? copy_[at(v)] : read(v);
    copy_[at(j)] = add_twin(j, std::move(inputs));
    list_.saved_of[at(copy_[at(j)])] = copy_[at(j)];
    for (int v : nodes()[at(copy_[at(j)])].inputs) last_use_[at(nodes()[at(v)].origin)] = now();
    last_use_[at(j)] = now();
    push(Step::forward, copy_[at(j)]);
  }
}

template <AnySpec S> void Scheduler<S>::add_backward() {
  for (int i = list_.loss; i >= 0; --i) {
    if (list_.writer[at(i)] < 0) continue;
    if (copy_[at(i)] == i && checkpointed(i)) record_again(std::string(nodes()[at(i)].scope));   // a copy: nodes grow
    const Inferred<S>& info = nodes()[at(i)].info;
    const bool reads_inputs = info.reads_inputs, reads_output = info.reads_output;
    const int copy = copy_[at(i)];   // holds what was saved, perhaps no longer the value
    std::vector<int> inputs = nodes()[at(copy)].inputs;
    if (reads_inputs)
      for (int& v : inputs) v = read(nodes()[at(v)].origin);
    const int value = reads_output ? read(i) : copy;
    int node = copy;
    if (inputs != nodes()[at(copy)].inputs || value != copy) {
      node = add_twin(copy, std::move(inputs));
      list_.value_of[at(node)] = value;
    }
    push(Step::backward, node);
  }
}

}   // namespace ctseg
