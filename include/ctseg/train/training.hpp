// A training under way: draw, forward, backward, step, and what comes between. It prints nothing: it reports.
#pragma once
#include <chrono>

#include "../core/tensor.hpp"
#include "../data/patch_sampler.hpp"
#include "../data/prefetch.hpp"
#include "../io/weights.hpp"
#include "settings.hpp"
#include "together.hpp"

namespace ctseg::detail {

/// A batch drawn ahead.
template <AnySpec S> struct Batch {
  Tensor<typename S::T, S::kDim> images;
  Tensor<std::uint8_t, S::kDim> labels;
  std::vector<std::size_t> cases;
};

/// A training under way: what its steps share.
template <class Net, class Optimizer, class Sampler> class Training {
 public:
  using S = typename Net::Spec;
  using Device = typename S::Device;
  using Clock = std::chrono::steady_clock;

  Training(Context<Device>& ctx, const TrainingParts<Net, Optimizer>& parts, const Sampler& sampler, const FitOptions<S>& o)
      : ctx_(ctx),
        parts_(parts),
        sampler_(sampler),
        o_(resolved(o, std::ssize(sampler.cases()), ctx.group())),
        gradients_((ctx.synchronize(), parts.optimizer.parameters())),   // makes the context's card this thread's
        step_(ctx, parts.net, sampler, o_, parts.optimizer.moments()),
        together_(ctx.group(), *step_.plan, gradients_),
        scaler_(o.loss_scaler.value_or(LossScalerOptions{.enabled = std::is_same_v<typename S::T, half>})) {
    check_network();
    state_.step = o.first_step, state_.seed = ctx.seed(), state_.batch = step_.batch, state_.accumulate = step_.accumulate;
    together_.agree(text("seed ", ctx.seed(), ", ", step_.accumulate, " batch(es) of ", step_.batch, " a step, ",
                         gradients_.flat().size(), " gradients, loss scale ", scaler_.scale(), ", ",
                         shared_settings(parts_.optimizer, o_)));
    if (!o.checkpoints.folder.empty() && together_.leads()) {
      state_.settings = settings_of(ctx, parts_.optimizer, sampler, o_, step_);
      folder_.emplace(o.checkpoints);
      lock_.emplace(o.checkpoints.folder);
      folder_->sweep();
      resume();
    }
    together_.begin(parts_, state_, resumed_);
    if (resumed_) scaler_.restore(state_.loss_scale, state_.scale_steps);
    run_.emplace(*step_.plan, ctx);
    feed_.emplace(ctx, BatchPlace<S>{run_->input(*step_.x), run_->template input_as<std::uint8_t>(*step_.labels)});
  }

  FitResult run() {
    const Index first = saved_ = state_.step;
    result_.memory = step_.memory, result_.first_step = first, result_.loss = state_.last_loss;
    seconds_before_ = state_.seconds;
    result_.stopped_early = patience_is_over();
    tell_plan();
    start_ = epoch_start_ = Clock::now();
    if (o_.workers > 0 && !kFillsDevice && first < o_.steps)
      ahead_.emplace(
          [this](Index number) { return draw(number); },
          PrefetchOptions{
              .workers = o_.workers, .first = first * step_.accumulate, .count = (o_.steps - first) * step_.accumulate});
    try {
      if (resumed_ && state_.validated_step != first && due(o_.validate_every)) validate();   // where it was interrupted
      while (state_.step < o_.steps && !result_.stopped_early) {
        step(first);
        if (due(o_.validate_every)) validate();
        if (folder_ && (result_.stopped_early || due(o_.checkpoints.every))) save();
      }
    } catch (...) {
      save_quietly();
      throw;
    }
    result_.last_step = state_.step, result_.total_seconds = state_.seconds, result_.best_score = state_.best_score,
    result_.best_step = state_.best_step;
    result_.batch = step_.batch, result_.accumulate = step_.accumulate, result_.recomputed = step_.recomputed;
    result_.steps_per_epoch = o_.steps_per_epoch, result_.loss_scale = scaler_.scale();
    return result_;
  }

 private:
  static constexpr Index kMostSkipped = 10;
  static constexpr bool kFillsDevice =
      requires(const Sampler& s, Context<Device>& ctx, Out<S> x, View<std::uint8_t, S::kDim> y) {
    s.fill(ctx, RandomKey{}, Index{0}, x, y);
  };

  static void write_log(void* self, std::string_view line) { static_cast<Training*>(self)->ctx_.log(line); }

  void resume() {
    const auto resumed = folder_->resume(parts_, state_, LogSink{write_log, this});
    if (!resumed) return;
    const auto settings = std::exchange(state_, *resumed).settings;
    state_.settings = settings;   // from here on
    resumed_ = true;
    ctx_.log(text("fit: goes on from step ", state_.step));
  }
  void tell_plan() const {
    if (!o_.observer) return;
    o_.observer->on_plan({.first_step = state_.step,
                          .steps = o_.steps,
                          .steps_per_epoch = o_.steps_per_epoch,
                          .batch = step_.batch,
                          .accumulate = step_.accumulate,
                          .recomputed = std::ssize(step_.recomputed),
                          .patch = text(Axes<S::kDim>(step_.x->shape().space)),
                          .memory = step_.memory,
                          .last_score = state_.last_score});
  }

  void check_network() {
    const Index largest = o_.loss.largest_label(step_.classes);
    if (sampler_.largest_label() > largest)
      throw Error(Code::bad_input, "fit",
                  text("labels go up to ", int{sampler_.largest_label()}, ", the network has ", largest + 1, " classes, 0 .. ",
                       largest, ". Hint: out_channels = ", int{sampler_.largest_label()} + 1, ", or map the labels."));
    const std::vector<Parameter<S>*> own = parameters_of<S>(parts_.net);
    if (std::none_of(own.begin(), own.end(), [&](const Parameter<S>* p) { return !gradients_.of(*p).empty(); }))
      throw Error(Code::bad_argument, "fit",
                  "the optimizer holds no parameter of this network. Hint: make it from net.parameters().");
  }

  /// After the last step too.
  bool due(Index every) const { return every > 0 && (state_.step % every == 0 || state_.step >= o_.steps); }

  /// Processes that train together take turns with batches: what one process would take as one of their size.
  Index first_sample(Index number) const { return (number * together_.size() + together_.rank()) * step_.batch; }
  /// Batch number `number` of all trainings with this seed.
  std::unique_ptr<Batch<S>> draw(Index number) const {
    const auto shape = sampler_.shape(step_.batch);
    auto b =
        std::make_unique<Batch<S>>(Batch<S>{Tensor<typename S::T, S::kDim>(shape), Tensor<std::uint8_t, S::kDim>(shape), {}});
    b->cases = sampler_.fill({ctx_.seed(), 0, 0}, first_sample(number), b->images.view(), b->labels.view());
    return b;
  }
  /// Into the place of a batch, on the host.
  auto drawing() {
    return [this](Index number, const BatchPlace<S>& to) {
      if (!ahead_) return sampler_.fill({ctx_.seed(), 0, 0}, first_sample(number), to.images, to.labels);
      const std::unique_ptr<Batch<S>> b = *ahead_->next();
      std::copy_n(b->images.data(), b->images.shape().elements(), to.images.data);
      std::copy_n(b->labels.data(), b->labels.shape().elements(), to.labels.data);
      return b->cases;
    };
  }

  /// By way of the host, unless the sampler makes its patches on the device (DevicePatchSampler).
  std::vector<std::size_t> load(Index number) {
    if constexpr (kFillsDevice)
      return sampler_.fill(ctx_, {ctx_.seed(), 0, 0}, first_sample(number), run_->input(*step_.x),
                           run_->template input_as<std::uint8_t>(*step_.labels));
    else
      return feed_->load(number, drawing());
  }

  /// Loss and gradients of one step, the mean over its batches, here and in all processes; and up to `end`, which is to finish.
  void find_gradients(Index number, std::vector<std::string>& names, StepEnd<S, Optimizer>& end) {
    ctx_.resume_at(static_cast<std::uint64_t>((number * together_.size() + together_.rank()) * step_.accumulate));
    gradients_.zero();
    const double share = 1 / static_cast<double>(step_.accumulate * together_.size());
    const auto seed = static_cast<typename S::Acc>(scaler_.scale() * share);
    const auto add_loss = [&] {
      gradients_.add_loss(ctx_, run_->template output_as<typename S::Acc>(*step_.loss).data, share);
    };
    for (Index part = 0; part < step_.accumulate; ++part) {
      const auto cases = load(number * step_.accumulate + part);
      for (const std::size_t k : cases) names.push_back(sampler_.cases()[k].name);
      if (part > 0) parts_.optimizer.follow(ctx_, gradients_);
      const bool last = part + 1 == step_.accumulate;
      if (last && together_.size() == 1) {   // nobody comes between backward and the step's end
        const auto behind = [&] { add_loss(), end.launch(); };
        end.begin();
        return run_->step(gradients_, behind, {.seed = seed, .depends = end.depends()});
      }
      run_->forward();
      run_->backward(gradients_, seed, last ? together_.during_backward() : StepDone{});
      add_loss();
    }
    together_.finish(ctx_.cancelled());
    end.begin(), end.launch();
  }

  void step(Index first) {
    const Index number = state_.step;
    std::vector<std::string> names;
    const double scale = scaler_.scale(), factor = schedule_factor(o_.schedule, {number, o_.steps, o_.steps_per_epoch});
    StepEnd<S, Optimizer> end({ctx_, gradients_, parts_.optimizer, parts_.average, scaler_, o_.clip_norm, factor});
    find_gradients(number, names, end);
    const StepOutcome outcome = end.finish([&] {
      if (number + 1 < o_.steps && !kFillsDevice) feed_->ahead((number + 1) * step_.accumulate, drawing());
    });
    feed_->settled();
    if (outcome.finite) {
      result_.loss = state_.last_loss = outcome.loss, state_.skipped_in_a_row = 0;
      state_.loss_mean = 0.95 * state_.loss_mean + 0.05 * outcome.loss;
      state_.loss_weight = 0.95 * state_.loss_weight + 0.05;
      state_.epoch_loss += outcome.loss, ++state_.epoch_steps, ++result_.steps;
    }
    scaler_.update(outcome.finite);
    state_.loss_scale = scaler_.scale(), state_.scale_steps = scaler_.good_steps();
    ++state_.step;
    if (!outcome.finite) skip(number, names, is_finite(outcome.loss) && scale > 1);
    tell_step(first, outcome.loss, outcome.norm, parts_.optimizer.learning_rate() * factor);
    together_.check_cancelled();
  }

  void tell_step(Index first, double value, double norm, double learning_rate) {
    result_.seconds = std::chrono::duration<double>(Clock::now() - start_).count();
    state_.seconds = seconds_before_ + result_.seconds;
    const double rate = static_cast<double>(state_.step - first) / std::max(result_.seconds, 1e-9);
    const auto epoch = end_of_epoch(learning_rate);   // first: an observer that throws must not leave it to the next epoch
    if (o_.observer)
      o_.observer->on_step({.step = state_.step,
                            .steps = o_.steps,
                            .loss = state_.loss_weight > 0 ? state_.loss_mean / state_.loss_weight : 0,
                            .last_loss = value,
                            .learning_rate = learning_rate,
                            .gradient_norm = norm,
                            .steps_per_second = rate,
                            .eta_seconds = static_cast<double>(o_.steps - state_.step) / rate,
                            .memory_bytes = result_.memory.total()});
    if (epoch && o_.observer) o_.observer->on_epoch(*epoch);
  }
  std::optional<FitEpoch> end_of_epoch(double learning_rate) {
    if (state_.step % o_.steps_per_epoch != 0) return {};
    const double steps = static_cast<double>(std::exchange(state_.epoch_steps, 0));
    return FitEpoch{.epoch = state_.step / o_.steps_per_epoch,
                    .epochs = (o_.steps + o_.steps_per_epoch - 1) / o_.steps_per_epoch,
                    .step = state_.step,
                    .loss = std::exchange(state_.epoch_loss, 0) / steps,
                    .skipped = std::exchange(state_.epoch_skipped, 0),
                    .learning_rate = learning_rate,
                    .seconds = std::chrono::duration<double>(Clock::now() - std::exchange(epoch_start_, Clock::now())).count()};
  }

  /// overflowed: a smaller loss scale may mend it, so it does not count among the ten.
  void skip(Index number, const std::vector<std::string>& cases, bool overflowed) {
    ++result_.skipped, ++state_.epoch_skipped;
    std::string names;
    for (const auto& name : cases) names.append(" ").append(name);
    ctx_.log(text("fit: step ", number, " skipped, loss or gradients are not finite; cases:", names,
                  scaler_.enabled() ? text("; the loss scale is now ", scaler_.scale()) : ""));
    if (o_.observer) o_.observer->on_skipped(number, cases);
    if (!overflowed && ++state_.skipped_in_a_row >= kMostSkipped)
      throw Error(Code::bad_input, "fit",
                  text("ten steps in a row without finite gradients, the last at step ", number, "; cases:", names,
                       ". Hint: a lower learning rate; check these cases for NaN."));
  }

  /// Weights and their averages change places as long as it lives.
  struct Averaged {
    WeightAverage<S>* average;
    explicit Averaged(WeightAverage<S>* a) : average(a) {
      if (average) average->swap();
    }
    Averaged(const Averaged&) = delete;
    ~Averaged() {
      if (average) average->swap();
    }
  };

  bool patience_is_over() const {
    return o_.early_stop.patience > 0 && state_.validations_since_better >= o_.early_stop.patience;
  }
  void validate() {
    FitScore judged{.step = state_.step};
    {
      const Averaged averaged(parts_.average);
      judged.score = together_.score([&] { return o_.observer->validate(state_.step); });
      state_.validated_step = state_.step;
      if (is_nan(judged.score)) return;
      judged.smoothed = is_nan(state_.score) ? judged.score : o_.smoothing * state_.score + (1 - o_.smoothing) * judged.score;
      judged.best = is_nan(state_.best_score) || judged.smoothed > state_.best_score;
      if (judged.best && folder_)
        io::save_weights(folder_->best(), parts_.net,
                         {.metadata = {{"step", text(state_.step)}, {"score", exact(judged.smoothed)}}});
    }
    state_.last_score = judged.score, state_.score = judged.smoothed;
    if (judged.best) state_.best_score = state_.score, state_.best_step = state_.step;
    ++state_.validations_since_better;
    if (is_nan(state_.patience_score) || state_.score > state_.patience_score + o_.early_stop.min_delta)
      state_.patience_score = state_.score, state_.validations_since_better = 0;
    result_.stopped_early = patience_is_over();
    if (result_.stopped_early)
      ctx_.log(text("fit: no better score in ", state_.validations_since_better, " validations; the best was ",
                    state_.best_score, " at step ", state_.best_step));
    if (o_.observer) o_.observer->on_score(judged);
  }

  void save() { folder_->save(parts_, state_), saved_ = state_.step; }
  /// What ended the training must be told, not that saving failed as well.
  void save_quietly() noexcept {
    try {
      if (folder_ && saved_ != state_.step) save();
    } catch (const std::exception& error) {
      try {
        ctx_.log(text("fit: not saved: ", error.what()));
      } catch (...) {   // of a sink that throws there is nobody to tell
      }
    }
  }

  Context<Device>& ctx_;
  TrainingParts<Net, Optimizer> parts_;
  const Sampler& sampler_;
  const FitOptions<S> o_;
  Gradients<S> gradients_;
  TrainingStep<Net> step_;
  Together<S> together_;
  LossScaler scaler_;
  std::optional<CheckpointFolder> folder_;
  std::optional<FolderLock> lock_;
  std::optional<Run<S>> run_;
  std::optional<Feed<S>> feed_;
  std::optional<Prefetch<std::unique_ptr<Batch<S>>>> ahead_;
  TrainingState state_;
  FitResult result_;
  Index saved_ = -1;
  double seconds_before_ = 0;
  bool resumed_ = false;
  Clock::time_point start_, epoch_start_;
};

}   // namespace ctseg::detail
