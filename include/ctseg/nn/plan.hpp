// The recorded list as a schedule with one arena. A Plan is immutable: it says what runs when and where everything lives, and
// reads only what Inferred says; no op is known here. A Run (run.hpp) puts it to work.
#pragma once
#include "arena.hpp"
#include "schedule.hpp"

namespace ctseg {

/// What a run will need, in bytes, known before anything is allocated. The optimizer's state is two numbers per parameter
/// (Adam).
struct MemoryEstimate {
  Index arena = 0, prepared = 0, parameters = 0, gradients = 0, optimizer = 0;
  Index total() const { return arena + prepared + parameters + gradients + optimizer; }
};

template <AnySpec S> class Run;
template <AnySpec S> class Prepared;

template <AnySpec S> class Plan {
  using Step = typename StepList<S>::Step;

 public:
  Plan(const Tape<S>& tape, const PlanOptions<S>& options);

  Index arena_bytes() const { return arena_; }
  Index live_bytes() const { return live_; }   // the most that is alive at once: no packing can beat it
  MemoryEstimate memory() const;
  const Nodes<S>& nodes() const { return list_.nodes; }
  /// Steps of forward and backward together; the node whose backward step it is, else none.
  int steps() const { return list_.step_count(); }
  const Node<S>* backward_at(int step) const {
    const auto [kind, node] = list_.steps.at(at(step));
    return kind == Step::backward ? &nodes()[at(node)] : nullptr;
  }
  Mode mode() const { return mode_; }
  const DeviceTraits<typename S::Device>& device() const { return device_; }
  std::string summary() const;
  /// What is alive where most is, largest first: whose value, gradient, saved bytes or scratch it is.
  std::string peak() const;

 private:
  friend class Run<S>;
  friend class Prepared<S>;

  // Slots of values, gradients and saved bytes, by node; then scratch, by step.
  int nodes_count() const { return static_cast<int>(nodes().size()); }
  int value(int node) const { return list_.value_of[at(node)]; }
  int gradient(int node) const { return nodes_count() + nodes()[at(node)].origin; }
  int saved(int node) const { return 2 * nodes_count() + list_.saved_of[at(node)]; }
  int scratch(int step) const { return 3 * nodes_count() + step; }

  void measure(const PlanOptions<S>& options);
  void share();
  void stack(const Step& step);
  void overwrite(int s);
  void squeeze();
  bool overlay(int step);

  StepList<S> list_;
  int recorded_;
  Mode mode_;
  DeviceTraits<typename S::Device> device_;
  Arena slots_;
  Index arena_ = 0, live_ = 0;
};

/// The life of every slot.
template <AnySpec S> void Plan<S>::measure(const PlanOptions<S>& options) {
  slots_.slots.resize(3 * nodes().size() + list_.steps.size());
  for (int s = 0; s < steps(); ++s) {
    const auto [kind, i] = list_.steps[at(s)];
    const Node<S>& node = nodes()[at(i)];
    const bool forward = kind != Step::backward;
    if (forward || node.info.reads_output) slots_.touch(value(i), node.inputs.empty() ? 0 : s, node.value_bytes());
    if (!forward) slots_.touch(gradient(i), s, node.value_bytes());
    if (!forward && node.origin == list_.loss)   // seeded before all else
      slots_.touch(gradient(i), list_.forward_steps, node.value_bytes());
    slots_.touch(saved(i), s, node.info.saved);
    slots_.touch(scratch(s), s,
                 forward ? node.info.forward_scratch : backward_scratch(nodes(), node, list_.writer) - node.info.dy_scratch);
    for (std::size_t k = 0; k < node.inputs.size(); ++k) {
      const int v = node.inputs[k];
      const Node<S>& input = nodes()[at(v)];
      const bool is_labels = input.info.dtype != dtype_of<typename S::T>();
      const bool reads = kind == Step::forward ? true
                         : kind == Step::again ? list_.reads_again(node, k)
                                               : node.info.reads_inputs || is_labels;
      if (reads) slots_.touch(value(v), s, input.value_bytes());
      if (!forward && list_.writer[at(input.origin)] >= 0) slots_.touch(gradient(v), s, input.value_bytes());
    }
  }
  for (const auto& v : options.outputs) slots_.touch(value(v.id), steps(), nodes()[at(v.id)].value_bytes());
  if (options.loss) slots_.touch(value(list_.loss), steps(), nodes()[at(list_.loss)].value_bytes());
}

/// Inputs of a concat are produced inside it, and so are their gradients; an op that may, overwrites its dying input.
template <AnySpec S> void Plan<S>::share() {
  for (const Step& step : list_.steps)
    if (nodes()[at(step.node)].info.sharing == Sharing::stacked) stack(step);
  for (int s = 0; s < steps(); ++s)
    if (nodes()[at(list_.steps[at(s)].node)].info.sharing == Sharing::in_place) overwrite(s);
}
template <AnySpec S> void Plan<S>::stack(const Step& step) {
  const Node<S>& node = nodes()[at(step.node)];
  Index at_byte = 0;
  for (std::size_t k = 0; k < node.inputs.size(); ++k) {
    const int v = node.inputs[k];
    const bool fresh = !nodes()[at(v)].inputs.empty() && slots_[value(v)].into < 0;
    if (step.kind != Step::backward && fresh) slots_.put(value(v), value(step.node), at_byte);
    if (step.kind == Step::backward && assigns(nodes(), node, k, list_.writer))
      slots_.put(gradient(v), gradient(step.node), at_byte);
    at_byte += nodes()[at(v)].info.shape.c * size_of(node.info.dtype);
  }
}
template <AnySpec S> void Plan<S>::overwrite(int s) {
  const auto [kind, i] = list_.steps[at(s)];
  const Node<S>& node = nodes()[at(i)];
  const int v = node.inputs[0];
  const Slot& x = slots_[value(v)];
  bool dying = x.last == s && x.into < 0 && !nodes()[at(v)].inputs.empty();
  for (const int other : node.inputs)   // written over, it would be read once more
    dying = dying && (other == v || slots_.whole_of(value(other)) != value(v));
  if (kind != Step::backward && dying) slots_.put(value(v), value(i), 0);
  if (kind == Step::backward && assigns(nodes(), node, 0, list_.writer)) slots_.put(gradient(v), gradient(i), 0);   // dy dies
}

template <AnySpec S> MemoryEstimate Plan<S>::memory() const {
  MemoryEstimate m{.arena = arena_};
  std::vector<const void*> seen;   // a parameter used twice is there once
  for (int i = 0; i < recorded_; ++i) {
    const Node<S>& node = nodes()[at(i)];
    m.prepared += bytes_of<std::byte>(node.info.prepared);
    for (const auto& w : node.weights) {
      if (w.empty() || std::find(seen.begin(), seen.end(), w.data()) != seen.end()) continue;
      seen.push_back(w.data());
      m.parameters += w.size() * Index{sizeof(typename S::Acc)};
    }
  }
  if (list_.loss >= 0) m.gradients = m.parameters, m.optimizer = 2 * m.parameters;
  return m;
}

template <AnySpec S> std::string Plan<S>::peak() const {
  const std::vector<Index> alive = slots_.alive(steps() + 1);
  const int when = static_cast<int>(std::max_element(alive.begin(), alive.end()) - alive.begin());
  const auto of = [&](int step) {
    return step < steps() ? list_.steps[at(step)] : Step{Step::forward, list_.steps.back().node};
  };
  const auto named = [&](int node) {
    const Node<S>& n = nodes()[at(node)];
    return text(n.origin, " ", n.scope, n.scope.empty() ? "" : ": ", n.op->name());
  };
  constexpr const char* kKinds[] = {"forward", "again", "backward"};
  const auto mb = [](Index bytes) { return static_cast<double>(bytes) / 1e6; };
  char line[200];
  std::snprintf(line, sizeof line, "%.1f MB alive at step %d of %d, %s of %s\n", mb(live_), when, steps(),
                kKinds[of(when).kind], named(of(when).node).c_str());
  std::string out = line;
  std::vector<int> there;
  for (int i = 0; i < static_cast<int>(slots_.slots.size()); ++i)
    if (slots_[i].placed_alone() && slots_[i].alive(when)) there.push_back(i);
  std::stable_sort(there.begin(), there.end(), [&](int a, int b) { return slots_[a].bytes > slots_[b].bytes; });
  Index rest = live_;
  for (int i : there) {
    if (rest * 100 < live_) break;
    rest -= slots_[i].bytes;
    const int kind = std::min(3, i / nodes_count());
    constexpr const char* kWhat[] = {"value", "gradient", "saved bytes", "scratch"};
    const int node = kind < 3 ? i % nodes_count() : of(i - 3 * nodes_count()).node;
    std::snprintf(line, sizeof line, "%9.3f MB  %-11s of %s\n", mb(slots_[i].bytes), kWhat[kind], named(node).c_str());
    out += line;
  }
  std::snprintf(line, sizeof line, "%9.3f MB  everything smaller\n", mb(rest));
  return out + line;
}

/// One row per recorded op: scope, op, engine, output, parameters, megabytes, and where the output lives.
template <AnySpec S> std::string Plan<S>::summary() const {
  std::string out;
  char line[200];
  for (int i = 0; i < recorded_; ++i) {
    const Node<S>& node = nodes()[at(i)];
    const Slot& slot = slots_[value(i)];
    Index own = 0;
    for (const auto& w : node.weights) own += w.size();
    const std::string where = !slot.used()    ? "not needed"
                              : slot.into < 0 ? text("at ", slot.offset)
                                              : text("in ", slots_.whole_of(value(i)) % nodes_count(), " from byte ",
                                                     slot.offset - slots_[slots_.whole_of(value(i))].offset);
    std::snprintf(line, sizeof line, "%3d %-12.40s %-15.30s %-7.30s %-24.40s %9lld %9.3f MB  %s\n", i, node.scope.c_str(),
                  std::string(node.op->name()).c_str(), engine_of(nodes(), node).c_str(), text(node.value()).c_str(),
                  static_cast<long long>(own), static_cast<double>(node.value_bytes()) / 1e6, where.c_str());
    out += line;
  }
  const MemoryEstimate m = memory();
  const auto mb = [](Index bytes) { return static_cast<double>(bytes) / 1e6; };
  std::snprintf(
      line, sizeof line,
      "%s: %.1f MB = arena %.1f (%.1f alive at once) + prepared %.1f + parameters %.1f + gradients %.1f + optimizer %.1f; "
      "%s\n",
      list_.loss < 0 ? "inference" : "training", mb(m.total()), mb(arena_), mb(live_), mb(m.prepared), mb(m.parameters),
      mb(m.gradients), mb(m.optimizer), text(device_).c_str());
  return out + line;
}

/// Where most is alive, an op that goes through its first input in order writes its result over what it has passed. That costs
/// a little time, so only where it lowers the peak.
template <AnySpec S> void Plan<S>::squeeze() {
  for (bool better = true; better;) {
    const std::vector<Index> before = slots_.alive(steps() + 1);
    const auto peak = std::max_element(before.begin(), before.end());
    const auto step = static_cast<int>(peak - before.begin());
    const Arena kept = slots_;
    better = overlay(step) && slots_.alive(steps() + 1)[at(step)] < *peak;
    if (!better) slots_ = kept;
  }
}
template <AnySpec S> bool Plan<S>::overlay(int s) {
  if (s >= steps() || list_.steps[at(s)].kind == Step::backward) return false;
  const Node<S>& node = nodes()[at(list_.steps[at(s)].node)];
  if (node.info.ahead == 0 || std::count(node.inputs.begin(), node.inputs.end(), node.inputs[0]) > 1) return false;
  const int source = node.inputs[0], whole = slots_.whole_of(value(list_.steps[at(s)].node));
  if (node.info.dtype != nodes()[at(source)].info.dtype) return false;
  for (const int other : node.inputs)   // a residual that is part of the source
    if (other != source && slots_.whole_of(value(other)) == value(source)) return false;
  Slot& x = slots_[value(source)];
  const bool dying = x.last == s && x.into < 0 && x.behind < 0 && !nodes()[at(source)].inputs.empty();
  if (!dying || slots_[whole].first != s) return false;   // a whole may have parts that are written already
  const auto& info = nodes()[at(source)].info;
  const Index rows = info.shape.n * info.shape.voxels(), size = size_of(info.dtype);
  const Index from = info.shape.c * size, to = nodes()[at(whole)].info.shape.c * size;   // bytes of a row
  const Index distance = to <= from ? node.info.ahead * to : rows * (to - from) + node.info.ahead * from;
  x.behind = whole;
  x.at = (distance + 63) / 64 * 64;
  return true;
}

/// Refuses what cannot be planned before anything is.
template <AnySpec S> const PlanOptions<S>& checked(const Tape<S>& tape, const PlanOptions<S>& options) {
  if (options.loss && tape.mode() == Mode::infer)
    throw Error(Code::bad_argument, "plan", "a loss needs ops recorded for training. Hint: Tape{Mode::train}.");
  if (options.outputs.empty() && !options.loss)
    throw Error(Code::bad_argument, "plan", "neither outputs nor a loss: nothing to do.");
  const auto check_own = [&](const Var<S>& v) {
    if (v.tape != &tape) throw Error(Code::bad_argument, "plan", "an output or the loss belongs to another tape.");
  };
  for (const auto& v : options.outputs) check_own(v);
  if (options.loss) check_own(*options.loss);
  for (const std::string& stage : options.checkpoint)
    if (std::none_of(tape.nodes().begin(), tape.nodes().end(), [&](const Node<S>& node) { return node.scope == stage; }))
      throw Error(Code::bad_argument, "plan", text("no op was recorded in a scope called ", stage, "."));
  return options;
}

template <AnySpec S> Plan<S>::Plan(const Tape<S>& tape, const PlanOptions<S>& options)
    : list_(Scheduler<S>(tape.nodes(), checked(tape, options)).take()),
      recorded_(static_cast<int>(tape.nodes().size())),
      mode_(tape.mode()),
      device_(tape.device()) {
  measure(options);
  share();
  squeeze();
  const std::vector<Index> alive = slots_.alive(steps() + 1);
  live_ = *std::max_element(alive.begin(), alive.end());
  arena_ = slots_.pack(live_);
  for (int i = 0; i < 2 * nodes_count(); ++i) {   // a part has the pitch of the whole
    const int node = i % nodes_count(), whole = slots_.whole_of(i) % nodes_count();
    slots_[i].pitch = slots_[i].into < 0 ? nodes()[at(node)].info.shape.c : nodes()[at(whole)].info.shape.c;
  }
}

#ifdef CTSEG_PREBUILT   // linked to ctseg::prebuilt, which holds these
CTSEG_PREBUILT template class Plan<Spec<float, 2, Cpu>>;
CTSEG_PREBUILT template class Plan<Spec<float, 3, Cpu>>;
#endif

}   // namespace ctseg
