// Recipes as others use them: nnU-Net's default, and those of the reference systems.
#pragma once
#include "recipe.hpp"

namespace ctseg {

/// nnU-Net's default for patches of this extent, in its order and with its probabilities. Thick slices (a patch more than three
/// times as long in the plane as across) turn and scale in the plane only, its dummy 2-D; flat patches are 2-D.
/// Source    Isensee et al., nnU-Net, Nature Methods 18, 2021.
template <class = void> Recipe nnunet_recipe(const Extent& patch) {
  const Index longest = std::max({patch[0], patch[1], patch[2]});
  const bool flat = patch[0] == 1, thick = !flat && longest > 3 * patch[0];
  SpatialTransform spatial;
  if (flat && 2 * longest > 3 * std::min(patch[1], patch[2]))
    spatial.degrees = {.z = symmetric(15)};
  else if (flat || thick)
    spatial.degrees = {.z = symmetric(180)};
  spatial.scale_z = !thick;
  return {{
      spatial,
      RandGaussianNoise{.probability = 0.1, .std = 0.1},
      GaussianBlurTransform{},
      MultiplicativeBrightnessTransform{},
      ContrastTransform{},
      SimulateLowResolutionTransform{.scale_z = !thick},
      GammaTransform{.probability = 0.1, .invert = true},
      GammaTransform{},
      MirrorTransform{},
  }};
}

/// Lung nodules (LUNA16), with MONAI's transforms. The extent of its RandAffine is not handed down; this is ours.
template <class = void> Recipe lung_nodule_recipe() {
  return {{
      RandRotate90{.probability = 0.5},
      RandFlip{.probability = 0.5, .axes = {.z = true}},
      RandFlip{.probability = 0.5, .axes = {.y = true}},
      RandFlip{.probability = 0.5, .axes = {.x = true}},
      RandGaussianNoise{.probability = 0.3, .std = 0.05},
      RandScaleIntensity{.probability = 0.3, .factor = symmetric(0.1)},
      RandShiftIntensity{.probability = 0.3, .offset = symmetric(0.1)},
      RandAffine{.probability = 0.3, .degrees = all_axes(symmetric(15)), .scale = all_axes(symmetric(0.1))},
  }};
}

/// Liver on slices: turns, flips, brightness. How far they go is ours.
template <class = void> Recipe liver_slice_recipe() {
  return {{
      RandRotate{.probability = 0.5, .degrees = {.z = symmetric(15)}},
      RandFlip{.probability = 0.5, .axes = {.y = true}},
      RandFlip{.probability = 0.5, .axes = {.x = true}},
      RandShiftIntensity{.probability = 0.5, .offset = symmetric(0.1)},
  }};
}

/// Coronary arteries (ImageCAS), with MONAI's transforms; the moves become one resampling pass. RandAffine's extent is ours.
template <class = void> Recipe coronary_recipe() {
  return {{
      RandRotate{.probability = 0.3, .degrees = all_axes(symmetric(30))},
      RandFlip{.probability = 0.3, .axes = {.z = true}},
      RandFlip{.probability = 0.3, .axes = {.y = true}},
      RandFlip{.probability = 0.3, .axes = {.x = true}},
      RandZoom{.probability = 0.3, .zoom = {0.9, 1.1}, .mode = ZoomMode::linear},
      RandAffine{.probability = 0.3, .degrees = all_axes(symmetric(15)), .scale = all_axes(symmetric(0.1))},
      RandAdjustContrast{.probability = 0.3, .gamma = {0.7, 1.5}},
      RandScaleIntensity{.probability = 0.3, .factor = symmetric(0.1)},
      RandGaussianNoise{.probability = 0.3, .std = 0.05},
  }};
}

}   // namespace ctseg
