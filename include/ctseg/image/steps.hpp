// Preprocessing as a value: a list of steps under the names that MONAI and nnU-Net have for them, and the way back.
#pragma once
#include <variant>

#include "crop.hpp"
#include "grid_path.hpp"
#include "intensity.hpp"
#include "orientation.hpp"
#include "resize.hpp"

namespace ctseg {

/// MONAI's Orientation.
struct Reorient {
  std::string codes = "RAS";
};
/// MONAI's Spacing, or with SizeRule::nnunet nnU-Net's resampling (nnunet_resampling: cubic, a coarse axis on its own).
struct Spacing {
  Xyz<double> spacing_mm{};   // 0 keeps an axis
  SizeRule rule = SizeRule::monai;
  std::optional<Interpolation> interpolation{};   // unset: linear, cubic with SizeRule::nnunet
};
/// nnU-Net's crop to the box around what is not exactly 0. Its mask, holes filled, serves ZScore steps until the next
/// resampling.
struct CropNonzero {};

using PreprocessStep = std::variant<Reorient, WindowHu, ScaleIntensityRange, ScaleIntensity, ZScore, CtNormalization, Spacing,
                                    Resize, SpatialPad, CropForeground, CropNonzero>;

/// A scan as a network sees it, and the way it took.
struct Preprocessed {
  Volume<float> image;
  GridPath path;
  std::optional<Volume<std::uint8_t>> nonzero{};   // the mask of CropNonzero, where the image was not resampled since

  /// Labels of the scan on the image's grid, for training.
  template <class T> Volume<T> to_prepared(const Volume<T>& labels, const ResampleOptions& options = {}) const {
    return path.to_prepared(labels, options);
  }
  /// A mask, or logits, on exactly the scan's grid.
  template <class T> Volume<T> to_original(const Volume<T>& result, const ResampleOptions& options = {}) const {
    return path.to_original(result, options);
  }
};

namespace preprocessing {

/// One step after the other on a scan that is on its way. A template, so that who does not use it compiles none of it.
template <class = void> class Steps {
 public:
  Steps(Volume<float> ct, GridPath path, Executor* executor) : at_{std::move(ct), std::move(path)}, executor_(executor) {}
  Preprocessed take() { return std::move(at_); }

  void operator()(const WindowHu& s) { at_.image = apply_window(std::move(at_.image), s, executor_); }
  void operator()(const ScaleIntensityRange& s) { at_.image = scale_intensity_range(std::move(at_.image), s, executor_); }
  void operator()(const ScaleIntensity& s) { at_.image = scale_intensity(std::move(at_.image), s, executor_); }
  void operator()(const CtNormalization& s) { at_.image = normalize_ct(std::move(at_.image), s, executor_); }
  void operator()(ZScore s) {
    if (s.voxels == Voxels::mask && !s.mask) {
      if (!at_.nonzero)
        throw Error(Code::bad_argument, "preprocess",
                    "ZScore with Voxels::mask needs a mask. Hint: put CropNonzero before it, and no resampling between them.");
      s.mask = &*at_.nonzero;
    }
    at_.image = z_score(std::move(at_.image), s, executor_);
  }
  void operator()(const Reorient& s) {
    move(reorient(at_.image, s.codes, executor_));
    if (at_.nonzero) at_.nonzero = reorient(*at_.nonzero, s.codes, executor_);
  }
  void operator()(const SpatialPad& s) { to_box(padded_box(at_.image.shape(), s), s.outside); }
  void operator()(const CropForeground& s) { to_box(foreground_box(at_.image, s), s.outside); }
  void operator()(const CropNonzero&) {
    at_.nonzero = nonzero_mask(at_.image, executor_);
    const auto box = bounding_box(*at_.nonzero, [](std::uint8_t v) { return v != 0; });
    if (!box)
      throw Error(Code::bad_input, "crop_nonzero",
                  text("all ", at_.image.shape(), " voxels are 0; there is nothing to crop to."));
    to_box(*box, 0);
  }
  void operator()(const Spacing& s) {
    const Xyz<double> old = at_.image.spacing_mm();
    const auto or_old = [](double wanted, double have) { return wanted == 0 ? have : wanted; };
    const Xyz<double> mm{or_old(s.spacing_mm.x, old.x), or_old(s.spacing_mm.y, old.y), or_old(s.spacing_mm.z, old.z)};
    const Grid grid = grid_with_spacing(at_.image.grid(), mm, s.rule);
    if (grid.shape == at_.image.shape() && grid.affine == at_.image.affine()) return;
    ResampleOptions how{.interpolation = s.interpolation};
    if (s.rule == SizeRule::nnunet) how = nnunet_resampling(old, mm, s.interpolation.value_or(Interpolation::cubic));
    how.executor = executor_;
    at_.image = resample(at_.image, grid, how);
    at_.path.resampled_to(grid, s.rule);
    at_.nonzero.reset();
  }
  void operator()(const Resize& s) {
    const Grid grid = grid_with_shape(at_.image.grid(), s);
    if (grid.shape == at_.image.shape()) return;
    at_.image = resize(at_.image, s, executor_);
    at_.path.resampled_to(grid, SizeRule::monai);
    at_.nonzero.reset();
  }

 private:
  void move(Volume<float> next) {
    at_.image = std::move(next);
    at_.path.moved_to(at_.image.grid());
  }
  void to_box(const Box& box, std::optional<double> outside) {
    move(crop(at_.image, box, outside));
    if (at_.nonzero) at_.nonzero = crop(*at_.nonzero, box);
  }

  Preprocessed at_;
  Executor* executor_;
};

}   // namespace preprocessing

/// The steps in their order: `apply_steps(ct, {Reorient{}, CropForeground{.threshold = -500}, Spacing{{1, 1, 1.5}}})`.
/// Errors    those of the steps' functions; bad_input for CropNonzero of a volume of zeros.
template <class = void>
Preprocessed apply_steps(Volume<float> ct, const std::vector<PreprocessStep>& steps, Executor* executor = nullptr) {
  GridPath path(ct.grid());
  preprocessing::Steps<> run(std::move(ct), std::move(path), executor);
  for (const PreprocessStep& step : steps) std::visit(run, step);
  return run.take();
}

}   // namespace ctseg
