// What a training is told, and what it returns.
#pragma once
#include "../loss/loss.hpp"
#include "../optim/loss_scaler.hpp"
#include "../optim/schedule.hpp"
#include "../optim/weight_average.hpp"
#include "checkpoint_folder.hpp"
#include "observer.hpp"

namespace ctseg {

struct EarlyStop {
  Index patience = 0;     // validations without a better score, after which the training ends; 0: never
  double min_delta = 0;   // by how much a score must be better to count here; the best weights are those of the best score
};

template <AnySpec S> struct FitOptions {
  Index steps = 1000, batch = 2;
  Index epochs = 0;            // above 0: so many, in place of `steps`
  Index steps_per_epoch = 0;   // 0: as many as it takes to draw one sample per case
  Index accumulate = 1;        // batches per step, their gradients averaged
  Index first_step = 0;        // to go on where a training ended, without `checkpoints`
  Loss<S> loss = dice_ce();
  Schedule schedule{};
  double clip_norm = 0;                             // longest gradient, all parameters together; 0: any
  std::optional<LossScalerOptions> loss_scaler{};   // unset: for half storage, and for no other
  WeightAverage<S>* average = nullptr;              // moved after every step; validation looks at it, best.safetensors holds it
  std::vector<std::string> recompute{};             // stages to run again in backward: less memory, more time
  Index max_memory = 0;       // bytes; 0: no limit. Else stages are recomputed, then batches halved, to fit
  int workers = 0;            // threads that draw samples ahead; 0: drawn between the steps
  Index validate_every = 0;   // steps; 0: never
  double smoothing = 0;       // of scores: share of the past in a running mean; nnU-Net 0.9
  EarlyStop early_stop{};
  CheckpointOptions checkpoints{};
  FitObserver* observer = nullptr;
};

struct FitResult {
  Index steps = 0, skipped = 0;          // done in this call
  Index first_step = 0, last_step = 0;   // of all steps: where this call began, and where it ended
  double loss = 0;                       // of the last step that was not skipped, in this call or before it
  double best_score = std::numeric_limits<double>::quiet_NaN();
  Index best_step = -1;
  bool stopped_early = false;
  double seconds = 0, total_seconds = 0;   // of this call; with what it went on from (NaN if an old checkpoint did not say)
  Index batch = 0, accumulate = 0;         // as trained: max_memory may have changed them
  Index steps_per_epoch = 0;
  double loss_scale = 1;
  std::vector<std::string> recomputed{};
  FitMemory memory{};
};

namespace detail {

/// Errors    bad_argument for options out of range.
template <AnySpec S> void check(const FitOptions<S>& o, bool judges) {
  ctseg::check(o.schedule);
  if (o.first_step < 0 || o.epochs < 0 || o.steps_per_epoch < 0)
    throw Error(Code::bad_argument, "fit",
                text("first_step = ", o.first_step, ", epochs = ", o.epochs, ", steps_per_epoch = ", o.steps_per_epoch,
                     "; must be 0 or more."));
  if (o.batch < 1 || o.accumulate < 1 || o.workers < 0 || o.validate_every < 0 || o.early_stop.patience < 0)
    throw Error(Code::bad_argument, "fit",
                text("batch = ", o.batch, ", accumulate = ", o.accumulate, ", workers = ", o.workers,
                     ", validate_every = ", o.validate_every, ", patience = ", o.early_stop.patience,
                     "; the first two must be 1 or more, the others 0 or more."));
  if (!is_finite(o.clip_norm) || o.clip_norm < 0)
    throw Error(Code::bad_argument, "fit", text("clip_norm = ", o.clip_norm, "; must be 0, which is none, or more."));
  if (!is_finite(o.smoothing) || o.smoothing < 0 || o.smoothing >= 1)
    throw Error(Code::bad_argument, "fit", text("smoothing = ", o.smoothing, "; must be 0 or more and below 1."));
  if (!is_finite(o.early_stop.min_delta) || o.early_stop.min_delta < 0)
    throw Error(Code::bad_argument, "fit", text("min_delta = ", o.early_stop.min_delta, "; must be 0 or more."));
  if ((o.validate_every > 0 || o.early_stop.patience > 0) && !((o.observer || !judges) && o.validate_every > 0))
    throw Error(Code::bad_argument, "fit",
                "validate_every and early_stop need an observer with validate(). Hint: set FitOptions::observer, and "
                "validate_every above 0.");
}

/// The same with steps, epochs and their length worked out. In a group rank 0 judges, and needs the observer for it.
template <AnySpec S> FitOptions<S> resolved(FitOptions<S> o, Index cases, const ProcessGroup* group) {
  check(o, !group || group->rank() == 0);
  const Index samples = o.batch * o.accumulate * (group ? group->size() : 1);
  if (o.steps_per_epoch == 0) o.steps_per_epoch = std::max<Index>(1, (cases + samples - 1) / samples);
  if (o.epochs > 0) o.steps = o.epochs * o.steps_per_epoch;
  return o;
}

}   // namespace detail
}   // namespace ctseg
