// Gradients summed over processes while backward is still at work: what the last layers have is on its way when the first
// layers start. Buckets, because a sum of many small arrays is slow and one of everything would have to wait.
#pragma once
#include <map>

#include "../core/process_group.hpp"
#include "../nn/run.hpp"

namespace ctseg {

/// The gradients of one plan, cut into buckets, and the step of backward after which each is complete. All processes hold the
/// same plan, so all begin the same sums in the same order.
/// Source    Li et al., PyTorch Distributed: Experiences on Accelerating Data Parallel Training, VLDB 2020, arXiv:2006.15704.
template <AnySpec S> class GradientSums {
 public:
  using Acc = typename S::Acc;

  /// Plan, gradients and group must outlive it. A bucket is closed when it has this many bytes.
  GradientSums(const Plan<S>& plan, Gradients<S>& gradients, ProcessGroup& group, Index bucket_bytes = Index{4} << 20)
      : gradients_(&gradients), group_(&group) {
    const std::size_t most = std::max<std::size_t>(1, static_cast<std::size_t>(bucket_bytes) / sizeof(Acc));
    const std::size_t size = gradients.flat().size();
    buckets_.push_back({0, size, -1});
    for (const auto& [first, ready] : last_writers(plan)) {   // ascending: a bucket ends where the next parameter begins
      if (first - buckets_.back().first >= most) {
        buckets_.back().end = first;
        buckets_.push_back({first, size, -1});
      }
      buckets_.back().ready = std::max(buckets_.back().ready, ready);
    }
    std::stable_sort(buckets_.begin(), buckets_.end(), [](const Bucket& a, const Bucket& b) { return a.ready < b.ready; });
  }

  /// For Run::backward. Of several backward passes that add up, only the last gets it.
  StepDone during_backward() {
    begun_ = 0;
    return {[](void* self, int step) { static_cast<GradientSums*>(self)->begin_until(step); }, this};
  }
  /// Begins what is left and waits for all; without during_backward() it does everything.
  void finish() {
    begin_until(std::numeric_limits<int>::max());
    gradients_->finish_sum(*group_);
    begun_ = 0;
  }
  std::size_t buckets() const { return buckets_.size(); }

 private:
  struct Bucket {
    std::size_t first, end;
    int ready;
  };

  /// Of every parameter, by its place in the flat gradients, the last step that adds to it.
  std::map<std::size_t, int> last_writers(const Plan<S>& plan) const {
    std::map<std::size_t, int> last;
    for (int s = 0; s < plan.steps(); ++s)
      if (const Node<S>* node = plan.backward_at(s))
        for (const auto& w : node->weights)
          if (const std::span<Acc> g = gradients_->of(w); !g.empty())
            last[static_cast<std::size_t>(g.data() - gradients_->flat().data())] = s;
    return last;
  }
  void begin_until(int step) {
    for (; begun_ < buckets_.size() && buckets_[begun_].ready <= step; ++begun_)
      gradients_->begin_sum(*group_, buckets_[begun_].first, buckets_[begun_].end - buckets_[begun_].first);
    group_->advance();
  }

  Gradients<S>* gradients_;
  ProcessGroup* group_;
  std::vector<Bucket> buckets_;
  std::size_t begun_ = 0;
};

}   // namespace ctseg
