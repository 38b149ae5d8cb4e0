#include "training_config.hpp"

#include <ctseg/data/augment/recipes.hpp>

#include "learning.hpp"

namespace cli {

namespace {

/// A slightly turned and scaled patient under slightly other values. Nobody is mirrored: that would be safe for few organs.
cs::Recipe light_recipe() {
  return {{
      cs::RandAffine{.probability = 0.5, .degrees = cs::all_axes(cs::symmetric(10)), .scale = cs::all_axes(cs::symmetric(0.1))},
      cs::RandScaleIntensity{.probability = 0.3, .factor = cs::symmetric(0.1)},
      cs::RandShiftIntensity{.probability = 0.3, .offset = cs::symmetric(0.05)},
      cs::RandGaussianNoise{.probability = 0.3, .std = 0.03},
  }};
}

/// Errors    bad_input, with where the names stand.
cs::Recipe (*augmentation_named(const std::string& where, const std::string& name))() {
  return one_of<cs::Recipe (*)()>(where, name,
                                  {{"none", [] { return cs::Recipe{}; }},
                                   {"light", light_recipe},
                                   {"coronary", [] { return cs::coronary_recipe(); }},
                                   {"lung_nodules", [] { return cs::lung_nodule_recipe(); }},
                                   {"liver_slices", [] { return cs::liver_slice_recipe(); }}});
}
cs::ScheduleKind schedule_named(const std::string& where, const std::string& name) {
  using Kind = cs::ScheduleKind;
  return one_of<Kind>(where, name,
                      {{"constant", Kind::constant},
                       {"cosine", Kind::cosine},
                       {"poly", Kind::poly},
                       {"exponential", Kind::exponential},
                       {"step", Kind::step}});
}

}   // namespace

cs::Recipe augmentation(const TrainingConfig& t) { return augmentation_named("training.augment", t.augment)(); }

cs::Schedule schedule_of(const TrainingConfig& t) {
  const cs::ScheduleKind kind = schedule_named("training.schedule", t.schedule);
  const bool by_epoch = kind == cs::ScheduleKind::exponential || kind == cs::ScheduleKind::step;   // as PyTorch's are called
  return {.kind = kind,
          .unit = by_epoch ? cs::ScheduleUnit::epoch : cs::ScheduleUnit::step,
          .warm_up = t.warm_up,
          .every = t.every,
          .factor = t.factor};
}

void check(const TrainingConfig& t, const cs::NetworkConfig& network, const std::string& file) {
  augmentation_named(file + ": training.augment", t.augment);
  schedule_named(file + ": training.schedule", t.schedule);
  one_of<bool>(file + ": training.optimizer", t.optimizer, {{"adam", true}, {"adamw", false}});
  const Index axes = cs::dim_of(network), channels = cs::out_channels_of(network), classes = std::max<Index>(2, channels);
  const auto refuse = [&](const std::string& words) { throw cs::Error(cs::Code::bad_input, file, words); };
  if (!t.patch.empty() && std::ssize(t.patch) != axes)
    refuse(text("training.patch has ", t.patch.size(), " extents for a network of ", axes, " axes."));
  if (!t.sampling.empty() && std::ssize(t.sampling) != classes)
    refuse(text("training.sampling has ", t.sampling.size(), " numbers for ", classes, " classes with background."));
  const LossConfig& l = t.loss;
  if (!l.class_weights.empty() && std::ssize(l.class_weights) != channels)
    refuse(text("training.loss.class_weights has ", l.class_weights.size(), " numbers for ", channels, " channels."));
  if (l.dice + l.ce + l.focal + l.tversky + l.boundary + l.cldice == 0)
    refuse("training.loss is a sum of nothing. Hint: dice, ce, focal, tversky, boundary or cldice above 0.");
}

}   // namespace cli
