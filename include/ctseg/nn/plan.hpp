// The recorded list as a schedule with one arena. A Plan is immutable: it says what runs when and where everything lives, and
// reads only what Inferred says; no op is known here. A Run (run.hpp) puts it to work.
#pragma once
#include <optional>

#include "tape.hpp"

namespace ctseg {

/// A loss makes it a plan for training. Stages named in `checkpoint` (scopes of the tape) are recomputed in backward, which
/// trades time for memory.
template <AnySpec S> struct PlanOptions {
  std::vector<Var<S>> outputs{};
  std::optional<Var<S>> loss{};
  std::vector<std::string> checkpoint{};
};

/// What a run will need, in bytes, known before anything is allocated. The optimizer's state is two numbers per parameter
/// (Adam).
struct MemoryEstimate {
  Index arena = 0, prepared = 0, parameters = 0, gradients = 0, optimizer = 0;
  Index total() const { return arena + prepared + parameters + gradients + optimizer; }
};

template <AnySpec S> class Run;
template <AnySpec S> class Prepared;

template <AnySpec S> class Plan {
 public:
  Plan(const Tape<S>& tape, const PlanOptions<S>& options);

  Index arena_bytes() const { return arena_; }
  Index live_bytes() const { return live_; }   // the most that is alive at once: no packing can beat it
  MemoryEstimate memory() const;
  const Nodes<S>& nodes() const { return nodes_; }
  Mode mode() const { return mode_; }
  const DeviceTraits<typename S::Device>& device() const { return device_; }
  std::string summary() const;

 private:
  friend class Run<S>;
  friend class Prepared<S>;
  struct Step {
    enum Kind { forward, backward } kind;
    int node;
  };

  /// Memory with a life: from the step that first writes it to the step that last touches it. `into`: it is part of another
  /// slot.
  struct Slot {
    Index bytes = 0, offset = 0, channel = 0, pitch = 0;
    int first = -1, last = -1, into = -1;
    bool used() const { return last >= 0; }
  };
  static void check_own(const Tape<S>& tape, const Var<S>& v) {
    if (v.tape != &tape) throw Error(Code::bad_argument, "plan", "an output or the loss belongs to another tape.");
  }

  // Slots of values, gradients and saved bytes, by node; then scratch, by step.
  int value(int node) const { return node; }
  int gradient(int node) const { return static_cast<int>(nodes_.size()) + nodes_[at(node)].origin; }
  int saved(int node) const { return 2 * static_cast<int>(nodes_.size()) + node; }
  int scratch(int step) const { return 3 * static_cast<int>(nodes_.size()) + step; }

  /// Forward of everything an output needs, then backward from the loss. Before the backward of a checkpointed stage its nodes
  /// are recorded once more; backward uses these twins, so that the first copy dies at once: recomputation is more list.
  void schedule(const PlanOptions<S>& options) {
    std::vector<bool> wanted(nodes_.size());
    for (const auto& v : options.outputs) wanted[at(v.id)] = true;
    if (options.loss) wanted[at(options.loss->id)] = true;
    for (int i = recorded_ - 1; i >= 0; --i)
      for (int v : nodes_[at(i)].inputs) wanted[at(v)] = wanted[at(v)] || wanted[at(i)];
    for (int i = 0; i < recorded_; ++i)
      if (wanted[at(i)]) steps_.push_back({Step::forward, i});
    forward_steps_ = static_cast<int>(steps_.size());
    if (!options.loss) return;
    loss_ = options.loss->id;
    writer_ = first_writers(nodes_, loss_);
    std::vector<int> twin(nodes_.size());
    for (int i = 0; i < recorded_; ++i) twin[at(i)] = i;
    for (int i = loss_; i >= 0; --i) {
      if (writer_[at(i)] < 0) continue;
      if (twin[at(i)] == i && std::count(options.checkpoint.begin(), options.checkpoint.end(), nodes_[at(i)].scope))
        record_again(nodes_[at(i)].scope, wanted, twin);
      steps_.push_back({Step::backward, twin[at(i)]});
    }
  }
  void record_again(const std::string stage, const std::vector<bool>& wanted,
                    std::vector<int>& twin) {   // stage by value: nodes_ grows
    for (int j = 0; j < recorded_; ++j) {
      if (nodes_[at(j)].scope != stage || !wanted[at(j)] || nodes_[at(j)].inputs.empty()) continue;   // an input is filled once
      Node<S> again = nodes_[at(j)];
      for (int& v : again.inputs) v = twin[at(v)];
      twin[at(j)] = static_cast<int>(nodes_.size());
      nodes_.push_back(std::move(again));
      steps_.push_back({Step::forward, twin[at(j)]});
    }
  }

  void touch(int slot, int step, Index bytes) {
    Slot& s = slots_[at(slot)];
    s.bytes = bytes;
    s.first = s.used() ? std::min(s.first, step) : step;
    s.last = std::max(s.last, step);
  }

  /// The life of every slot.
  void measure(const PlanOptions<S>& options) {
    slots_.resize(3 * nodes_.size() + steps_.size());
    const int end = static_cast<int>(steps_.size());
    for (int s = 0; s < end; ++s) {
      const auto [kind, i] = steps_[at(s)];
      const Node<S>& node = nodes_[at(i)];
      const bool forward = kind == Step::forward;
      if (forward || node.info.reads_output) touch(value(i), node.inputs.empty() ? 0 : s, node.value_bytes());
      if (!forward) touch(gradient(i), s, node.value_bytes());
      if (!forward && node.origin == loss_) touch(gradient(i), forward_steps_, node.value_bytes());   // seeded before all else
      touch(saved(i), s, node.info.saved);
      touch(scratch(s), s, forward ? node.info.forward_scratch : backward_scratch(nodes_, node, writer_));
      for (int v : node.inputs) {
        const Node<S>& input = nodes_[at(v)];
        const bool is_labels = input.info.dtype != dtype_of<typename S::T>();
        if (forward || node.info.reads_inputs || is_labels) touch(value(v), s, input.value_bytes());
        if (!forward && writer_[at(input.origin)] >= 0) touch(gradient(v), s, input.value_bytes());
      }
    }
    for (const auto& v : options.outputs) touch(value(v.id), end, nodes_[at(v.id)].value_bytes());
    if (options.loss) touch(value(loss_), end, nodes_[at(loss_)].value_bytes());
  }

  void put(int part, int whole, Index channel) {
    slots_[at(part)].into = whole;
    slots_[at(part)].channel = channel;
    slots_[at(whole)].last = std::max(slots_[at(whole)].last, slots_[at(part)].last);
  }

  /// Inputs of a concat are produced inside it, and so are their gradients; an op that may, overwrites its dying input.
  void share() {
    for (int s = 0; s < static_cast<int>(steps_.size()); ++s) {
      const auto [kind, i] = steps_[at(s)];
      const Node<S>& node = nodes_[at(i)];
      if (node.info.sharing != Sharing::stacked) continue;
      Index channel = 0;
      for (std::size_t k = 0; k < node.inputs.size(); ++k) {
        const int v = node.inputs[k];
        const bool fresh = !nodes_[at(v)].inputs.empty() && slots_[at(value(v))].into < 0;
        if (kind == Step::forward && fresh) put(value(v), value(i), channel);
        if (kind == Step::backward && assigns(nodes_, node, k, writer_)) put(gradient(v), gradient(i), channel);
        channel += nodes_[at(v)].info.shape.c;
      }
    }
    for (int s = 0; s < static_cast<int>(steps_.size()); ++s) {
      const auto [kind, i] = steps_[at(s)];
      const Node<S>& node = nodes_[at(i)];
      if (node.info.sharing != Sharing::in_place) continue;
      const int v = node.inputs[0];
      const Slot& x = slots_[at(value(v))];
      const bool dying = x.last == s && x.into < 0 && !nodes_[at(v)].inputs.empty();
      if (kind == Step::forward && dying) put(value(v), value(i), 0);
      if (kind == Step::backward && assigns(nodes_, node, 0, writer_)) put(gradient(v), gradient(i), 0);   // dy dies here
    }
  }

  /// Offsets: largest first, each at the lowest place that is free during its whole life. Parts point to later slots only.
  void pack() {
    for (Slot& s : slots_)
      if (s.into >= 0) {
        Slot& whole = slots_[at(s.into)];
        whole.first = std::min(whole.first, s.first);
        whole.last = std::max(whole.last, s.last);
      }
    std::vector<Slot*> wholes;
    for (Slot& s : slots_)
      if (s.used() && s.into < 0 && s.bytes > 0) wholes.push_back(&s);
    std::stable_sort(wholes.begin(), wholes.end(), [](const Slot* a, const Slot* b) { return a->bytes > b->bytes; });
    std::vector<const Slot*> placed;   // by offset
    for (Slot* s : wholes) {
      for (const Slot* other : placed)
        if (s->first <= other->last && other->first <= s->last && s->offset + s->bytes > other->offset)
          s->offset = std::max(s->offset, other->offset + other->bytes);
      const auto behind = [](const Slot* a, const Slot* b) { return a->offset < b->offset; };
      placed.insert(std::upper_bound(placed.begin(), placed.end(), s, behind), s);
      arena_ = std::max(arena_, s->offset + s->bytes);
    }
    for (int step = 0; step <= static_cast<int>(steps_.size()); ++step) {
      Index alive = 0;
      for (const Slot* s : wholes) alive += s->first <= step && step <= s->last ? s->bytes : 0;
      live_ = std::max(live_, alive);
    }
    const int nodes = static_cast<int>(nodes_.size());
    for (int i = 2 * nodes - 1; i >= 0; --i) {
      Slot& s = slots_[at(i)];
      const Inferred<S>& info = nodes_[at(i % nodes)].info;
      s.pitch = s.into < 0 ? info.shape.c : slots_[at(s.into)].pitch;
      if (s.into >= 0) s.offset = slots_[at(s.into)].offset + s.channel * size_of(info.dtype);
    }
  }

  Nodes<S> nodes_;   // as recorded, then the twins
  int recorded_, loss_ = -1;
  Mode mode_;
  DeviceTraits<typename S::Device> device_;
  std::vector<Step> steps_;
  int forward_steps_ = 0;
  std::vector<int> writer_;
  std::vector<Slot> slots_;
  Index arena_ = 0, live_ = 0;
};

template <AnySpec S> MemoryEstimate Plan<S>::memory() const {
  MemoryEstimate m{.arena = arena_};
  std::vector<const void*> seen;   // a parameter used twice is there once
  for (int i = 0; i < recorded_; ++i) {
    const Node<S>& node = nodes_[at(i)];
    m.prepared += bytes_of<std::byte>(node.info.prepared);
    for (const auto& w : node.weights) {
      if (w.empty() || std::find(seen.begin(), seen.end(), w.data()) != seen.end()) continue;
      seen.push_back(w.data());
      m.parameters += w.size() * Index{sizeof(typename S::Acc)};
    }
  }
  if (loss_ >= 0) m.gradients = m.parameters, m.optimizer = 2 * m.parameters;
  return m;
}

/// One row per recorded op: scope, op, engine, output, parameters, megabytes, and where the output lives.
template <AnySpec S> std::string Plan<S>::summary() const {
  std::string out;
  char line[200];
  for (int i = 0; i < recorded_; ++i) {
    const Node<S>& node = nodes_[at(i)];
    const Slot& slot = slots_[at(value(i))];
    Index own = 0;
    for (const auto& w : node.weights) own += w.size();
    const std::string where = !slot.used()    ? "not needed"
                              : slot.into < 0 ? text("at ", slot.offset)
                                              : text("in ", slot.into, " from channel ", slot.channel);
    std::snprintf(line, sizeof line, "%3d %-12.40s %-15.30s %-7.30s %-24.40s %9lld %9.3f MB  %s\n", i, node.scope.c_str(),
                  std::string(node.op->name()).c_str(), engine_of(nodes_, node).c_str(), text(node.value()).c_str(),
                  static_cast<long long>(own),
                  static_cast<double>(node.value_bytes()) / 1e6, where.c_str());
    out += line;
  }
  const MemoryEstimate m = memory();
  const auto mb = [](Index bytes) { return static_cast<double>(bytes) / 1e6; };
  std::snprintf(
      line, sizeof line,
      "%s: %.1f MB = arena %.1f (%.1f alive at once) + prepared %.1f + parameters %.1f + gradients %.1f + optimizer %.1f; "
      "%s\n",
      loss_ < 0 ? "inference" : "training", mb(m.total()), mb(arena_), mb(live_), mb(m.prepared), mb(m.parameters),
      mb(m.gradients), mb(m.optimizer), text(device_).c_str());
  return out + line;
}

template <AnySpec S> Plan<S>::Plan(const Tape<S>& tape, const PlanOptions<S>& options)
    : nodes_(tape.nodes()), recorded_(static_cast<int>(nodes_.size())), mode_(tape.mode()), device_(tape.device()) {
  if (options.loss && tape.mode() == Mode::infer)
    throw Error(Code::bad_argument, "plan", "a loss needs ops recorded for training. Hint: Tape{Mode::train}.");
  if (options.outputs.empty() && !options.loss)
    throw Error(Code::bad_argument, "plan", "neither outputs nor a loss: nothing to do.");
  for (const auto& v : options.outputs) check_own(tape, v);
  if (options.loss) check_own(tape, *options.loss);
  for (const std::string& stage : options.checkpoint)
    if (std::none_of(nodes_.begin(), nodes_.end(), [&](const Node<S>& node) { return node.scope == stage; }))
      throw Error(Code::bad_argument, "plan", text("no op was recorded in a scope called ", stage, "."));
  schedule(options);
  measure(options);
  share();
  pack();
}

#ifdef CTSEG_PREBUILT   // linked to ctseg::prebuilt, which holds these
CTSEG_PREBUILT template class Plan<Spec<float, 2, Cpu>>;
CTSEG_PREBUILT template class Plan<Spec<float, 3, Cpu>>;
#endif

}   // namespace ctseg
