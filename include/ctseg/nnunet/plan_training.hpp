// nnU-Net's training as values: loss, optimizer, schedule, sampling, augmentation, folds. What a plan says is batch, patch and
// whether Dice is one number for a batch; all else is the same for every data set.
#pragma once
#include "../data/augment/recipes.hpp"
#include "../data/patch_sampler.hpp"
#include "../loss/deep_supervision.hpp"
#include "../loss/nnunet.hpp"
#include "../optim/sgd.hpp"
#include "../train/fit_options.hpp"
#include "fingerprint.hpp"

namespace ctseg::nnunet {

/// Of a plan's configuration, and how long to train: nnU-Net's 1000 epochs of 250 batches, whatever the size of the data set.
struct TrainingPreset {
  Index batch = 2, classes = 2;   // classes: background included
  bool batch_dice = false;
  Index epochs = 1000, steps_per_epoch = 250;
};

/// Share of a batch's samples that are laid around foreground. A third, rounded up: one of two.
inline double oversampled_share(Index batch) {
  const double count = static_cast<double>(batch);
  return (count - std::nearbyint(count * (1 - 0.33))) / count;
}

/// Dice plus cross entropy at every resolution but the coarsest, halved from one to the next.
template <AnySpec S> Loss<S> training_loss(const TrainingPreset& p) {
  return deep_supervision(nnunet_dice_ce({.batch_dice = p.batch_dice}), {.mode = SupervisionMode::nnunet});
}

inline SgdOptions training_sgd() { return {.learning_rate = 1e-2, .momentum = 0.99, .weight_decay = 3e-5, .nesterov = true}; }

/// Steps, batch, loss, schedule (poly 0.9, once an epoch) and clipping (12). The caller adds folders and observers.
template <AnySpec S> FitOptions<S> training_options(const TrainingPreset& p) {
  FitOptions<S> o{.batch = p.batch, .epochs = p.epochs, .steps_per_epoch = p.steps_per_epoch, .loss = training_loss<S>(p)};
  o.schedule = {.kind = ScheduleKind::poly, .unit = ScheduleUnit::epoch, .power = 0.9};
  o.clip_norm = 12;
  o.smoothing = 0.9;
  return o;
}

/// Patches: that share around a voxel of a class, each class that a case has being as likely; the others around background.
/// nnU-Net lays those anywhere, and the oversampled ones at the end of every batch; here each sample is drawn on its own.
template <int Dim> PatchSamplerOptions<Dim> training_sampling(const TrainingPreset& p, const Axes<Dim>& patch) {
  const double share = oversampled_share(p.batch);
  PatchSamplerOptions<Dim> o{.patch = patch};
  o.class_weights.assign(static_cast<std::size_t>(p.classes), share / static_cast<double>(std::max<Index>(p.classes - 1, 1)));
  o.class_weights[0] = 1 - share;
  Extent extent{1, 1, 1};
  std::copy(patch.value.begin(), patch.value.end(), extent.end() - Dim);
  o.augment = nnunet_recipe(extent);
  return o;
}

/// Which cases each of nnU-Net's five folds keeps for validation: places in the sorted list of their names.
/// Errors    bad_argument for fewer than five cases.
/// PyTorch   sklearn.model_selection.KFold(5, shuffle=True, random_state=12345)
template <class = void> std::vector<std::vector<std::size_t>> validation_folds(std::size_t cases) {
  constexpr std::size_t kFolds = 5;
  if (cases < kFolds)
    throw Error(Code::bad_argument, "validation_folds",
                text(cases, " cases for ", kFolds, " folds; there must be one each. Hint: train on all of them."));
  std::vector<std::size_t> order(cases);
  for (std::size_t i = 0; i < cases; ++i) order[i] = i;
  std::mt19937 generator(12345);
  for (std::size_t i = cases - 1; i > 0; --i)
    std::swap(order[i], order[planning::draw_up_to(static_cast<std::uint32_t>(i), generator)]);
  std::vector<std::vector<std::size_t>> folds;
  std::size_t first = 0;
  for (std::size_t k = 0; k < kFolds; ++k) {
    const std::size_t end = first + cases / kFolds + (k < cases % kFolds ? 1 : 0);
    auto& fold = folds.emplace_back(order.begin() + static_cast<std::ptrdiff_t>(first),
                                    order.begin() + static_cast<std::ptrdiff_t>(end));
    std::sort(fold.begin(), fold.end());
    first = end;
  }
  return folds;
}

}   // namespace ctseg::nnunet
