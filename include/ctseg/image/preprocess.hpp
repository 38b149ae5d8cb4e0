// From a CT scan to what a network is trained on: one orientation, one voxel size, one range of values.
#pragma once
#include "intensity.hpp"
#include "orientation.hpp"
#include "resample.hpp"

namespace ctseg {

struct PreprocessOptions {
  Xyz<double> spacing_mm{};   // 0 keeps the scan's own spacing on that axis; x is left-right, y front-back, z head-feet
  WindowHu window_hu{};
  Executor* executor = nullptr;
};

/// The scan turned to RAS, resampled (linear) and windowed to [0, 1]; resample_like(mask, ct) is the way back for a mask.
/// apply_steps() (steps.hpp) does the same and more, and knows its way back.
/// A template, though nothing varies: then who includes it and does not call it compiles none of it.
template <class = void> Volume<float> preprocess(const Volume<float>& ct, const PreprocessOptions& options = {}) {
  check(options.window_hu);
  Volume<float> turned = reorient(ct, "RAS", options.executor);
  Xyz<double> spacing = turned.spacing_mm();
  const auto set = [](double& own, double wanted) {
    if (is_nan(wanted) || wanted != 0) own = wanted;   // a NaN is refused below
  };
  set(spacing.x, options.spacing_mm.x);
  set(spacing.y, options.spacing_mm.y);
  set(spacing.z, options.spacing_mm.z);
  const Grid grid = grid_with_spacing(turned.grid(), spacing);
  if (!(grid.shape == turned.shape() && grid.affine == turned.affine()))
    turned = resample(turned, grid, {.executor = options.executor});
  return apply_window(std::move(turned), options.window_hu, options.executor);
}

#ifdef CTSEG_PREBUILT   // linked to ctseg::prebuilt, which holds this
CTSEG_PREBUILT template Volume<float> preprocess<void>(const Volume<float>&, const PreprocessOptions&);
#endif

}   // namespace ctseg
