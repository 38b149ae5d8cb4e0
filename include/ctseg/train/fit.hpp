// The training loop: plan once, then draw, forward, backward, step. It knows no model, and prints nothing: it reports.
#pragma once
#include <chrono>

#include "../core/finite.hpp"
#include "../data/patch_sampler.hpp"
#include "../loss/loss.hpp"
#include "../nn/run.hpp"
#include "../optim/adam.hpp"
#include "../optim/schedule.hpp"

namespace ctseg {

struct FitProgress {
  Index step = 0, steps = 0;
  double loss = 0;   // running mean over the last steps
  double steps_per_second = 0, eta_seconds = 0;
};
/// "step 120/400  loss 0.412  3.1 steps/s  ETA 1:31".
inline std::string text(const FitProgress& p) {
  char line[120];
  const auto eta = static_cast<long>(p.eta_seconds + 0.5);
  std::snprintf(line, sizeof line, "step %lld/%lld  loss %.4f  %.2f steps/s  ETA %ld:%02ld", static_cast<long long>(p.step),
                static_cast<long long>(p.steps), p.loss, p.steps_per_second, eta / 60, eta % 60);
  return line;
}

template <AnySpec S> struct FitOptions {
  Index steps = 1000, batch = 2;
  Index first_step = 0;   // to go on where a training ended: samples, schedule and dropout follow the number of the step
  Loss<S> loss = dice_ce();
  Schedule schedule{};
  std::vector<std::string> checkpoint{};                           // stages to recompute in backward: less memory, more time
  Index max_memory = 0;                                            // bytes; 0: no limit. Checked before anything is allocated
  void (*on_progress)(void* user, const FitProgress&) = nullptr;   // after every step, on the calling thread
  void* user = nullptr;
};

struct FitResult {
  Index steps = 0, skipped = 0;   // done in this call
  double loss = 0;                // of the last step that was not skipped
  double seconds = 0;
  MemoryEstimate memory{};
};

/// What a network gives to a loss: the logits of all heads, finest first, if the loss takes them and the network has
/// forward_deep; else those of forward.
template <class Net, AnySpec S> std::vector<Var<S>> outputs_for(const Loss<S>& loss, const Net& net, Var<S> x) {
  if constexpr (requires { net.forward_deep(x); })
    if (loss.takes_heads()) return net.forward_deep(x);
  return {net.forward(x)};
}

/// Trains net on patches: steps number first_step .. steps - 1.
/// Numerics  the same bits for any number of threads, given one seed.
/// Errors    before any work: bad_argument if the optimizer holds nothing of this network, bad_input for labels beyond its
///           classes, out_of_memory if the plan needs more than max_memory. Later: bad_input after ten steps in a row whose
///           loss or gradients are not finite (each is skipped and logged with its cases); cancelled between two ops.
template <class Net, class Optimizer, class Sampler>
FitResult fit(Context<typename Net::Spec::Device>& ctx, Net& net, Optimizer& optimizer, const Sampler& sampler,
              const std::type_identity_t<FitOptions<typename Net::Spec>>& o) {
  using S = typename Net::Spec;
  using Clock = std::chrono::steady_clock;
  Tape<S> tape(Mode::train, ctx.traits());
  const auto x = tape.input(sampler.shape(o.batch)), labels = tape.input(sampler.shape(o.batch), Dtype::u8);
  const auto outputs = outputs_for(o.loss, net, x);
  const auto logits = outputs.front(), loss = o.loss(outputs, labels);
  if (loss.shape().elements() != 1)
    throw Error(Code::shape_mismatch, "fit", text("the loss is ", loss.shape(), "; it must be one number."));
  const Index largest = o.loss.largest_label(logits.shape().c);
  if (sampler.largest_label() > largest)
    throw Error(Code::bad_input, "fit",
                text("labels go up to ", int{sampler.largest_label()}, ", the network has ", largest + 1, " classes, 0 .. ",
                     largest, ". Hint: out_channels = ", int{sampler.largest_label()} + 1, ", or map the labels."));
  Gradients<S> gradients(optimizer.parameters());
  const std::vector<Parameter<S>*> own = parameters_of<S>(net);
  if (std::none_of(own.begin(), own.end(), [&](const Parameter<S>* p) { return !gradients.of(*p).empty(); }))
    throw Error(Code::bad_argument, "fit",
                "the optimizer holds no parameter of this network. Hint: make it from net.parameters().");
  const Plan<S> plan(tape, {.loss = loss, .checkpoint = o.checkpoint});
  FitResult result{.memory = plan.memory()};
  if (o.max_memory > 0 && result.memory.total() > o.max_memory)
    throw Error(Code::out_of_memory, "fit",
                text("training needs ", result.memory.total() >> 20, " MiB, allowed are ", o.max_memory >> 20,
                     " MiB. Hint: a smaller batch or patch, or FitOptions::checkpoint."));
  Run<S> run(plan, ctx);
  const auto start = Clock::now();
  Index bad_in_a_row = 0;
  double mean = 0, weight = 0;
  for (Index step = o.first_step; step < o.steps; ++step) {
    ctx.resume_at(static_cast<std::uint64_t>(step));
    const auto cases =
        sampler.fill({ctx.seed(), 0, 0}, step * o.batch, run.input(x), run.template input_as<std::uint8_t>(labels));
    run.forward();
    gradients.zero();
    run.backward(gradients);
    const double value = run.scalar(loss);
    if (is_finite(value) && all_finite(gradients.flat())) {
      optimizer.step(ctx, gradients, schedule_factor(o.schedule, step, o.steps));
      result.loss = value;
      mean = 0.95 * mean + 0.05 * value;
      weight = 0.95 * weight + 0.05;
      bad_in_a_row = 0;
      ++result.steps;
    } else {
      ++result.skipped;
      std::string names;
      for (std::size_t k : cases) names.append(" ").append(sampler.cases()[k].name);
      ctx.log(text("fit: step ", step, " skipped, loss or gradients are not finite; cases:", names));
      if (++bad_in_a_row == 10)
        throw Error(Code::bad_input, "fit",
                    text("ten steps in a row without finite gradients, the last at step ", step, "; cases:", names,
                         ". Hint: a lower learning rate; check these cases for NaN."));
    }
    result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    const double rate = static_cast<double>(step + 1 - o.first_step) / result.seconds;
    if (o.on_progress)
      o.on_progress(o.user,
                    {step + 1, o.steps, weight > 0 ? mean / weight : 0, rate, static_cast<double>(o.steps - step - 1) / rate});
  }
  return result;
}

}   // namespace ctseg
