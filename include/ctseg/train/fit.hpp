// The training loop: plan once, then draw, forward, backward, step. It knows no model, and prints nothing: it reports.
#pragma once
#include <chrono>

#include "../core/finite.hpp"
#include "../core/tensor.hpp"
#include "../data/patch_sampler.hpp"
#include "../data/prefetch.hpp"
#include "../io/weights.hpp"
#include "../loss/loss.hpp"
#include "../nn/run.hpp"
#include "../optim/adam.hpp"
#include "../optim/clip.hpp"
#include "../optim/schedule.hpp"
#include "../optim/weight_average.hpp"
#include "checkpoint.hpp"
#include "observer.hpp"

namespace ctseg {

struct EarlyStop {
  Index patience = 0;     // validations without a better score, after which the training ends; 0: never
  double min_delta = 0;   // what counts as better
};

template <AnySpec S> struct FitOptions {
  Index steps = 1000, batch = 2;
  Index accumulate = 1;   // batches per step, their gradients averaged
  Index first_step = 0;   // to go on where a training ended, without `checkpoints`
  Loss<S> loss = dice_ce();
  Schedule schedule{};
  double clip_norm = 0;                   // longest gradient, all parameters together; 0: any
  WeightAverage<S>* average = nullptr;    // moved after every step; validation looks at it, best.safetensors holds it
  std::vector<std::string> recompute{};   // stages to run again in backward: less memory, more time
  Index max_memory = 0;                   // bytes; 0: no limit. Else stages are recomputed, then batches halved, to fit
  int workers = 0;                        // threads that draw samples ahead; 0: drawn between the steps
  Index validate_every = 0;               // steps; 0: never
  double smoothing = 0;                   // of scores: share of the past in a running mean; nnU-Net 0.9
  EarlyStop early_stop{};
  CheckpointOptions checkpoints{};
  FitObserver* observer = nullptr;
};

struct FitResult {
  Index steps = 0, skipped = 0;          // done in this call
  Index first_step = 0, last_step = 0;   // of all steps: where this call began, and where it ended
  double loss = 0;                       // of the last step that was not skipped
  double best_score = std::numeric_limits<double>::quiet_NaN();
  Index best_step = -1;
  bool stopped_early = false;
  double seconds = 0;
  Index batch = 0, accumulate = 0;   // as trained: max_memory may have changed them
  std::vector<std::string> recomputed{};
  MemoryEstimate memory{};
};

/// What a network gives to a loss: the logits of all heads, finest first, if the loss takes them and the network has
/// forward_deep; else those of forward.
template <class Net, AnySpec S> std::vector<Var<S>> outputs_for(const Loss<S>& loss, const Net& net, Var<S> x) {
  if constexpr (requires { net.forward_deep(x); })
    if (loss.takes_heads()) return net.forward_deep(x);
  return {net.forward(x)};
}

namespace detail {

/// Errors    bad_argument for options out of range.
template <AnySpec S> const FitOptions<S>& checked(const FitOptions<S>& o) {
  check(o.schedule);
  if (o.first_step < 0) throw Error(Code::bad_argument, "fit", text("first_step = ", o.first_step, "; must be 0 or more."));
  if (o.batch < 1 || o.accumulate < 1 || o.workers < 0 || o.validate_every < 0 || o.early_stop.patience < 0)
    throw Error(Code::bad_argument, "fit",
                text("batch = ", o.batch, ", accumulate = ", o.accumulate, ", workers = ", o.workers,
                     ", validate_every = ", o.validate_every, ", patience = ", o.early_stop.patience,
                     "; the first two must be 1 or more, the "
                     "others 0 or more."));
  if (!is_finite(o.clip_norm) || o.clip_norm < 0)
    throw Error(Code::bad_argument, "fit", text("clip_norm = ", o.clip_norm, "; must be 0, which is none, or more."));
  if (!is_finite(o.smoothing) || o.smoothing < 0 || o.smoothing >= 1)
    throw Error(Code::bad_argument, "fit", text("smoothing = ", o.smoothing, "; must be 0 or more and below 1."));
  if ((o.validate_every > 0 || o.early_stop.patience > 0) && !(o.observer && o.validate_every > 0))
    throw Error(Code::bad_argument, "fit",
                "validate_every and early_stop need an observer with validate(). Hint: set FitOptions::observer, and "
                "validate_every above 0.");
  return o;
}

/// One batch through network and loss, planned: the largest batch and the least recomputing that the memory allows.
template <class Net> class TrainingStep {
 public:
  using S = typename Net::Spec;
  using Device = typename S::Device;

  template <class Sampler> TrainingStep(Context<Device>& ctx, const Net& net, const Sampler& sampler, const FitOptions<S>& o)
      : batch(o.batch), accumulate(o.accumulate), recomputed(o.recompute) {
    for (;;) {
      record(ctx, net, sampler, o.loss);
      if (o.max_memory <= 0 || plan->memory().total() <= o.max_memory) return;
      const Index need = plan->memory().total() >> 20, allowed = o.max_memory >> 20;
      if (const auto all = scopes(); recomputed.size() < all.size()) {
        recomputed = all;
        ctx.log(text("fit: training needs ", need, " MiB, allowed are ", allowed, " MiB: recomputing ", all.size(), " stages"));
      } else if (batch % 2 == 0) {
        batch /= 2, accumulate *= 2;
        ctx.log(text("fit: training needs ", need, " MiB, allowed are ", allowed, " MiB: batches of ", batch, ", ", accumulate,
                     " a step"));
      } else {
        throw Error(Code::out_of_memory, "fit",
                    text("training needs ", need, " MiB, allowed are ", allowed,
                         " MiB, with every stage recomputed and a batch of ", batch, ". Hint: a smaller patch."));
      }
    }
  }

  Index batch, accumulate;
  std::vector<std::string> recomputed;
  std::optional<Tape<S>> tape;
  std::optional<Var<S>> x, labels, loss;
  Index classes = 0;
  std::optional<Plan<S>> plan;

 private:
  template <class Sampler> void record(Context<Device>& ctx, const Net& net, const Sampler& sampler, const Loss<S>& loss_of) {
    plan.reset();
    tape.emplace(Mode::train, ctx.traits());
    x = tape->input(sampler.shape(batch)), labels = tape->input(sampler.shape(batch), Dtype::u8);
    const auto outputs = outputs_for(loss_of, net, *x);
    classes = outputs.front().shape().c;
    loss = loss_of(outputs, *labels);
    if (loss->shape().elements() != 1)
      throw Error(Code::shape_mismatch, "fit", text("the loss is ", loss->shape(), "; it must be one number."));
    plan.emplace(*tape, PlanOptions<S>{.loss = *loss, .checkpoint = recomputed});
  }
  std::vector<std::string> scopes() const {
    std::vector<std::string> all;
    for (const auto& node : tape->nodes())
      if (!node.scope.empty() && !node.inputs.empty() && std::find(all.begin(), all.end(), node.scope) == all.end())
        all.push_back(node.scope);
    return all;
  }
};

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
        o_(checked(o)),
        gradients_(parts.optimizer.parameters()),
        step_(ctx, parts.net, sampler, o) {
    check_network();
    if (!o.checkpoints.folder.empty()) folder_.emplace(o.checkpoints);
    state_.step = o.first_step, state_.seed = ctx.seed(), state_.batch = step_.batch, state_.accumulate = step_.accumulate;
    if (folder_)
      if (auto resumed = folder_->resume(parts_, state_, LogSink{write_log, this})) {
        state_ = *resumed;
        resumed_ = true;
        ctx.log(text("fit: goes on from step ", state_.step));
      }
    run_.emplace(*step_.plan, ctx);
  }

  FitResult run() {
    const Index first = saved_ = state_.step;
    result_.memory = step_.plan->memory(), result_.first_step = first;
    result_.stopped_early = patience_is_over();
    start_ = Clock::now();
    if (o_.workers > 0 && first < o_.steps)
      ahead_.emplace([this](Index number) { return draw(number); },
                     PrefetchOptions{.workers = o_.workers, .first = first * step_.accumulate});
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
    result_.last_step = state_.step, result_.best_score = state_.best_score, result_.best_step = state_.best_step;
    result_.batch = step_.batch, result_.accumulate = step_.accumulate, result_.recomputed = step_.recomputed;
    return result_;
  }

 private:
  static constexpr Index kMostSkipped = 10;

  static void write_log(void* self, std::string_view line) { static_cast<Training*>(self)->ctx_.log(line); }

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

  /// Batch number `number` of all trainings with this seed.
  std::unique_ptr<Batch<S>> draw(Index number) const {
    const auto shape = sampler_.shape(step_.batch);
    auto b =
        std::make_unique<Batch<S>>(Batch<S>{Tensor<typename S::T, S::kDim>(shape), Tensor<std::uint8_t, S::kDim>(shape), {}});
    b->cases = sampler_.fill({ctx_.seed(), 0, 0}, number * step_.batch, b->images.view(), b->labels.view());
    return b;
  }
  std::vector<std::size_t> load(Index number) {
    const Out<S> images = run_->input(*step_.x);
    const auto labels = run_->template input_as<std::uint8_t>(*step_.labels);
    if (!ahead_) return sampler_.fill({ctx_.seed(), 0, 0}, number * step_.batch, images, labels);
    const std::unique_ptr<Batch<S>> b = *ahead_->next();
    std::copy_n(b->images.data(), b->images.shape().elements(), images.data);
    std::copy_n(b->labels.data(), b->labels.shape().elements(), labels.data);
    return b->cases;
  }

  void step(Index first) {
    const Index number = state_.step;
    ctx_.resume_at(static_cast<std::uint64_t>(number * step_.accumulate));
    gradients_.zero();
    double value = 0;
    std::vector<std::string> names;
    for (Index part = 0; part < step_.accumulate; ++part) {
      for (const std::size_t k : load(number * step_.accumulate + part)) names.push_back(sampler_.cases()[k].name);
      run_->forward();
      if (part > 0) follow();
      run_->backward(gradients_, typename S::Acc(1) / static_cast<typename S::Acc>(step_.accumulate));
      value += run_->scalar(*step_.loss) / static_cast<double>(step_.accumulate);
    }
    const double factor = schedule_factor(o_.schedule, number, o_.steps);
    double norm = std::numeric_limits<double>::quiet_NaN();
    const bool finite = is_finite(value) && all_finite(gradients_.flat());
    if (finite) {
      if (o_.clip_norm != 0) norm = clip_gradient_norm(ctx_, gradients_, o_.clip_norm);
      parts_.optimizer.step(ctx_, gradients_, factor);
      if (parts_.average) parts_.average->update(ctx_);
      ++state_.step;
      result_.loss = value, state_.skipped_in_a_row = 0;
      state_.loss_mean = 0.95 * state_.loss_mean + 0.05 * value;
      state_.loss_weight = 0.95 * state_.loss_weight + 0.05;
      ++result_.steps;
    } else {
      ++state_.step;
      skip(number, names);
    }
    result_.seconds = std::chrono::duration<double>(Clock::now() - start_).count();
    const double rate = static_cast<double>(state_.step - first) / std::max(result_.seconds, 1e-9);
    if (o_.observer)
      o_.observer->on_step({.step = state_.step,
                            .steps = o_.steps,
                            .loss = state_.loss_weight > 0 ? state_.loss_mean / state_.loss_weight : 0,
                            .last_loss = value,
                            .learning_rate = parts_.optimizer.learning_rate() * factor,
                            .gradient_norm = norm,
                            .steps_per_second = rate,
                            .eta_seconds = static_cast<double>(o_.steps - state_.step) / rate,
                            .memory_bytes = result_.memory.total()});
  }

  void skip(Index number, const std::vector<std::string>& cases) {
    ++result_.skipped;
    std::string names;
    for (const auto& name : cases) names.append(" ").append(name);
    ctx_.log(text("fit: step ", number, " skipped, loss or gradients are not finite; cases:", names));
    if (o_.observer) o_.observer->on_skipped(number, cases);
    if (++state_.skipped_in_a_row >= kMostSkipped)
      throw Error(Code::bad_input, "fit",
                  text("ten steps in a row without finite gradients, the last at step ", number, "; cases:", names,
                       ". Hint: a lower learning rate; check these cases for NaN."));
  }

  /// Running statistics move once for every batch of a step, as they do in PyTorch: what came before counts less.
  void follow() {
    for (const auto* p : parts_.optimizer.parameters())
      if (p->role() == Role::averaged)
        for (auto& g : gradients_.of(*p)) g *= static_cast<typename S::Acc>(1 - p->average_rate());
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
    return o_.early_stop.patience > 0 && state_.validations_since_best >= o_.early_stop.patience;
  }
  void validate() {
    FitScore judged{.step = state_.step};
    {
      const Averaged averaged(parts_.average);
      judged.score = o_.observer->validate(state_.step);
      state_.validated_step = state_.step;
      if (is_nan(judged.score)) return;
      judged.smoothed = is_nan(state_.score) ? judged.score : o_.smoothing * state_.score + (1 - o_.smoothing) * judged.score;
      judged.best = is_nan(state_.best_score) || judged.smoothed > state_.best_score + o_.early_stop.min_delta;
      if (judged.best && folder_)
        io::save_weights(folder_->best(), parts_.net,
                         {.metadata = {{"step", text(state_.step)}, {"score", exact(judged.smoothed)}}});
    }
    state_.score = judged.smoothed;
    if (judged.best)
      state_.best_score = state_.score, state_.best_step = state_.step, state_.validations_since_best = 0;
    else
      ++state_.validations_since_best;
    result_.stopped_early = patience_is_over();
    if (result_.stopped_early)
      ctx_.log(text("fit: no better score in ", state_.validations_since_best, " validations; the best was ", state_.best_score,
                    " at step ", state_.best_step));
    o_.observer->on_score(judged);
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
  const FitOptions<S>& o_;
  Gradients<S> gradients_;
  TrainingStep<Net> step_;
  std::optional<CheckpointFolder> folder_;
  std::optional<Run<S>> run_;
  std::optional<Prefetch<std::unique_ptr<Batch<S>>>> ahead_;
  TrainingState state_;
  FitResult result_;
  Index saved_ = -1;
  bool resumed_ = false;
  Clock::time_point start_;
};

}   // namespace detail

/// Trains net on patches, to step number FitOptions::steps. Where a training is cancelled or fails between two changes of the
/// weights it saves what it has, if it has a folder, and throws; called again with the same options it goes on from there.
/// Numerics  the same bits for any number of threads and workers, and after any interruption, given one seed.
/// Errors    before any work: bad_argument if the optimizer holds nothing of this network, bad_input for labels beyond its
///           classes, out_of_memory if max_memory cannot be kept. Later: bad_input after ten steps in a row whose loss or
///           gradients are not finite (each is skipped and logged with its cases); cancelled between two ops; io if a
///           checkpoint cannot be written.
template <class Net, class Optimizer, class Sampler>
FitResult fit(Context<typename Net::Spec::Device>& ctx, Net& net, Optimizer& optimizer, const Sampler& sampler,
              const std::type_identity_t<FitOptions<typename Net::Spec>>& o) {
  return detail::Training<Net, Optimizer, Sampler>(ctx, {net, optimizer, o.average}, sampler, o).run();
}

}   // namespace ctseg
