// nnU-Net's losses: Dice plus cross entropy of classes, Dice plus binary cross entropy of regions.
#pragma once
#include "segmentation_loss.hpp"

namespace ctseg {

struct NnunetLossOptions {
  double dice_weight = 1, ce_weight = 1;
  bool batch_dice = false;   // of the plan: true for 2d, and for 3d_fullres where there is a 3d_lowres
  bool do_bg = false;        // Dice of channel 0 too; nnunet_dice_bce always has it: regions know no background
  double smooth = 1e-5;      // the trainer's; the class alone has 1
  std::optional<Index> ignore_label{};
};
/// nnunet_dice_bce has the same options under a type of its own.
struct NnunetRegionLossOptions {
  NnunetLossOptions common{};
};

inline SegmentationLossOptions segmentation_loss(const NnunetLossOptions& o, Index) {
  return {.name = "nnunet_dice_ce",
          .overlap = {.weight = o.dice_weight,
                      .include_background = o.do_bg,
                      .batch = o.batch_dice,
                      .negative = true,
                      .smooth_numerator = o.smooth,
                      .smooth_denominator = o.smooth,
                      .least_denominator = 1e-8},
          .voxel = {.weight = o.ce_weight, .weighted_mean = true},
          .ignore_label = o.ignore_label};
}
inline SegmentationLossOptions segmentation_loss(const NnunetRegionLossOptions& o, Index channels) {
  SegmentationLossOptions out = segmentation_loss(o.common, channels);
  out.name = "nnunet_dice_bce";
  out.overlap.sigmoid = out.overlap.include_background = out.voxel.sigmoid = true;
  return out;
}

/// ce_weight * cross entropy - dice_weight * mean over (n, c) of (2 sum p q + s) / max(sum p + sum q + s, 1e-8): minus the Dice
/// score, so a perfect network has -1, not 0. Foreground classes alone make up Dice.
/// Shapes    logits [N, C, D, H, W], labels [N, 1, D, H, W] with classes -> [1, 1, 1, 1, 1]
/// PyTorch   nnunetv2's DC_and_CE_loss with MemoryEfficientSoftDiceLoss
/// Source    Isensee et al., nnU-Net, Nature Methods 2021.
inline SegmentationLoss<NnunetLossOptions> nnunet_dice_ce(const NnunetLossOptions& options = {}) { return {options}; }

/// The same of sigmoids, for regions that may overlap (region_loss makes them of class indices).
/// Shapes    logits [N, C, D, H, W], labels [N, C, D, H, W] of 0 and 1 -> [1, 1, 1, 1, 1]
/// Numerics  with ignored voxels nnU-Net divides cross entropy by voxels alone: C times the mean over channels that is here.
/// PyTorch   nnunetv2's DC_and_BCE_loss
inline SegmentationLoss<NnunetRegionLossOptions> nnunet_dice_bce(const NnunetLossOptions& options = {}) {
  return {NnunetRegionLossOptions{options}};
}

}   // namespace ctseg
