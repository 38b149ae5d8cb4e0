// What training and inference on a CPU need. Included on their own: data/augment/recipes.hpp, data/phantom.hpp, interop/.
#pragma once
#include "data/patch_sampler.hpp"
#include "image/preprocess.hpp"
#include "image/steps.hpp"
#include "infer/accuracy.hpp"
#include "infer/sliding_window.hpp"
#include "io/preview.hpp"
#include "io/volume.hpp"
#include "io/weights.hpp"
#include "loss/loss.hpp"
#include "metrics/overlap.hpp"
#include "models/basic_unet.hpp"
#include "nn/run.hpp"
#include "ops/cpu.hpp"
#include "optim/adam.hpp"
#include "train/fit.hpp"
#include "version.hpp"

#ifdef CTSEG_PREBUILT   // linked to ctseg::prebuilt, which holds these
namespace ctseg {
CTSEG_PREBUILT template class Predictor<BasicUNet<Spec<float, 2, Cpu>>>;
CTSEG_PREBUILT template Volume<std::uint8_t> sliding_window_labels(Context<Cpu>&, const BasicUNet<Spec<float, 2, Cpu>>&,
                                                                   const Volume<float>&,
                                                                   const SlidingWindowOptions<Spec<float, 2, Cpu>::kDim>&);
CTSEG_PREBUILT template FitResult fit(Context<Cpu>&, BasicUNet<Spec<float, 2, Cpu>>&, AdamW<Spec<float, 2, Cpu>>&,
                                      const PatchSampler<Spec<float, 2, Cpu>>&, const FitOptions<Spec<float, 2, Cpu>>&);
CTSEG_PREBUILT template void io::save_weights(const std::filesystem::path&, const BasicUNet<Spec<float, 2, Cpu>>&,
                                              const io::SaveOptions&);
CTSEG_PREBUILT template void io::load_weights(const std::filesystem::path&, BasicUNet<Spec<float, 2, Cpu>>&,
                                              const io::LoadOptions&);
CTSEG_PREBUILT template class Predictor<BasicUNet<Spec<float, 3, Cpu>>>;
CTSEG_PREBUILT template Volume<std::uint8_t> sliding_window_labels(Context<Cpu>&, const BasicUNet<Spec<float, 3, Cpu>>&,
                                                                   const Volume<float>&,
                                                                   const SlidingWindowOptions<Spec<float, 3, Cpu>::kDim>&);
CTSEG_PREBUILT template FitResult fit(Context<Cpu>&, BasicUNet<Spec<float, 3, Cpu>>&, AdamW<Spec<float, 3, Cpu>>&,
                                      const PatchSampler<Spec<float, 3, Cpu>>&, const FitOptions<Spec<float, 3, Cpu>>&);
CTSEG_PREBUILT template void io::save_weights(const std::filesystem::path&, const BasicUNet<Spec<float, 3, Cpu>>&,
                                              const io::SaveOptions&);
CTSEG_PREBUILT template void io::load_weights(const std::filesystem::path&, BasicUNet<Spec<float, 3, Cpu>>&,
                                              const io::LoadOptions&);
}   // namespace ctseg
#endif
