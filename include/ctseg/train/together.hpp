// What a training does because others train with it: begin alike, add up gradients, agree on when to stop. Alone it does
// nothing.
#pragma once
#include "checkpoint.hpp"
#include "gradient_sums.hpp"

namespace ctseg::detail {

/// The group's part in the steps of one training. Rank 0 leads: it has the folder of checkpoints, and judges.
template <AnySpec S> class Together {
 public:
  Together(ProcessGroup* group, const Plan<S>& plan, Gradients<S>& gradients)
      : group_(group && group->size() > 1 ? group : nullptr), gradients_(&gradients) {
    if (group_) sums_.emplace(plan, gradients, *group_);
  }

  int rank() const { return group_ ? group_->rank() : 0; }
  int size() const { return group_ ? group_->size() : 1; }
  bool leads() const { return rank() == 0; }

  /// Comes before begin(), with the same options as text.
  /// Errors    bad_argument in every process unless all say the same.
  void agree(const std::string& own) {
    if (!group_) return;
    std::string first = own;
    Index size = std::ssize(first);
    broadcast(size);
    first.resize(static_cast<std::size_t>(size));
    group_->broadcast(std::as_writable_bytes(std::span(first)));
    double others = own == first ? 0 : 1;
    group_->sum(std::span(&others, 1));
    if (others > 0)
      throw Error(Code::bad_argument, "fit",
                  text(others, " of ", this->size(), " processes differ from rank 0, which has ", first,
                       leads() ? std::string() : text("; rank ", rank(), " has ", own), ". Hint: the same options in all."));
  }
  /// Everybody goes on from rank 0's weights, moments and state.
  template <class Net, class Optimizer>
  void begin(const TrainingParts<Net, Optimizer>& parts, TrainingState& state, bool& resumed) {
    if (!group_) return;
    TrainingTensors<Net, Optimizer>(parts).overwrite([&](auto values) { group_->broadcast(std::as_writable_bytes(values)); });
    each_field(state, [&](const char*, auto& field) { broadcast(field); });
    std::array<Index, 3> counts = {resumed, parts.optimizer.steps(), parts.average ? parts.average->updates() : Index{0}};
    broadcast(counts);
    resumed = counts[0] != 0;
    parts.optimizer.set_steps(counts[1]);
    if (parts.average) parts.average->set_updates(counts[2]);
  }

  /// For the last backward pass of a step.
  StepDone during_backward() { return group_ ? sums_->during_backward() : StepDone{}; }
  /// Behind it: gradients, running statistics and the loss, given as shares of the mean, are those of all.
  void finish(bool cancelled) {
    if (!group_) return;
    sums_->finish();
    gradients_->share_statistics(group_->size());   // they are whole in every process
    std::array<double, 2> all = {gradients_->loss(), cancelled ? 1.0 : 0.0};
    group_->sum(all);
    cancelled_ = all[1] > 0;
    gradients_->set_loss(all[0]);
  }
  /// After a step: whether one of the processes was asked to stop.
  void check_cancelled() const {
    if (cancelled_) throw Error(Code::cancelled, "fit", "the caller of one of the processes asked to stop.");
  }
  /// What rank 0 judges.
  template <class Judge> double score(Judge&& judge) {
    double value = leads() ? judge() : 0;
    if (group_) broadcast(value);
    return value;
  }

 private:
  template <class T> void broadcast(T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    group_->broadcast(std::as_writable_bytes(std::span(&value, 1)));
  }

  ProcessGroup* group_;
  Gradients<S>* gradients_;
  std::optional<GradientSums<S>> sums_;
  bool cancelled_ = false;
};

}   // namespace ctseg::detail
