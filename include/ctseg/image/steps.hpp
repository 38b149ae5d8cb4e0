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
/// nnU-Net's transpose_forward: axis i of what comes is axis axes[i] of what was stored, both in the order z, y, x.
struct Transpose {
  std::array<Index, 3> axes{0, 1, 2};
};

/// Steps that change values alone.
using IntensityStep = std::variant<WindowHu, ScaleIntensityRange, ScaleIntensity, ZScore, CtNormalization>;
/// For scans of several channels: each with steps of its own.
struct PerChannel {
  std::vector<std::vector<IntensityStep>> channels{};
};

using PreprocessStep = std::variant<Reorient, WindowHu, ScaleIntensityRange, ScaleIntensity, ZScore, CtNormalization, Spacing,
                                    Resize, SpatialPad, CropForeground, CropNonzero, Transpose, PerChannel>;

/// Errors    bad_argument unless each of 0, 1, 2 appears once.
inline AxisMoves moves_of(const Transpose& t) {
  AxisMoves how;
  std::array<bool, 3> used{};
  for (std::size_t i = 0; i < 3; ++i) {
    const Index from = t.axes[i];
    if (from < 0 || from > 2 || std::exchange(used[static_cast<std::size_t>(from)], true))
      throw Error(Code::bad_argument, "transpose",
                  text("axes ", t.axes[0], ", ", t.axes[1], ", ", t.axes[2], "; must be 0, 1 and 2 in some order."));
    how.axes[2 - i] = static_cast<std::size_t>(2 - from);   // a volume's axes are x, y, z
  }
  return how;
}

/// A scan as a network sees it, and the way it took.
struct Preprocessed {
  Volume<float> image;
  GridPath path;
  std::optional<Volume<std::uint8_t>> nonzero{};   // the mask of CropNonzero, where the image was not resampled since
  std::vector<Volume<float>> more{};               // channels behind the first, on the same grid

  const Volume<float>& channel(std::size_t i) const { return i == 0 ? image : more[i - 1]; }

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
  Steps(Preprocessed at, Executor* executor) : at_(std::move(at)), executor_(executor) {}
  Preprocessed take() { return std::move(at_); }

  template <class Step>
  requires(std::is_constructible_v<IntensityStep, Step>) void operator()(const Step& s) {
    for (std::size_t i = 0; i <= at_.more.size(); ++i) change(channel(i), s);
  }
  void operator()(const PerChannel& s) {
    if (s.channels.size() != at_.more.size() + 1)
      throw Error(Code::bad_argument, "preprocess",
                  text("PerChannel has steps for ", s.channels.size(), " channels, the scan has ", at_.more.size() + 1, "."));
    for (std::size_t i = 0; i < s.channels.size(); ++i)
      for (const IntensityStep& step : s.channels[i]) std::visit([&](const auto& one) { change(channel(i), one); }, step);
  }
  void operator()(const Reorient& s) {
    const auto turn = [&](const auto& v) { return reorient(v, s.codes, executor_); };
    move(turn);
    if (at_.nonzero) at_.nonzero = turn(*at_.nonzero);
  }
  void operator()(const Transpose& s) {
    const AxisMoves how = moves_of(s);
    const auto turn = [&](const auto& v) { return move_axes(v, how, executor_); };
    move(turn);
    if (at_.nonzero) at_.nonzero = turn(*at_.nonzero);
  }
  void operator()(const SpatialPad& s) { to_box(padded_box(at_.image.shape(), s), s.outside); }
  void operator()(const CropForeground& s) {
    if (at_.more.empty()) return to_box(foreground_box(at_.image, s), s.outside);
    Volume<float> highest = at_.image;   // of all channels
    for (const Volume<float>& v : at_.more)
      for (std::size_t i = 0; i < v.voxels().size(); ++i) highest.voxels()[i] = std::max(highest.voxels()[i], v.voxels()[i]);
    to_box(foreground_box(highest, s), s.outside);
  }
  void operator()(const CropNonzero&) {
    at_.nonzero = any_nonzero();
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
    for (std::size_t i = 0; i <= at_.more.size(); ++i) channel(i) = resample(channel(i), grid, how);
    at_.path.resampled_to(grid, s.rule, mm);
    at_.nonzero.reset();
  }
  void operator()(const Resize& s) {
    const Grid grid = grid_with_shape(at_.image.grid(), s);
    if (grid.shape == at_.image.shape()) return;
    for (std::size_t i = 0; i <= at_.more.size(); ++i) channel(i) = resize(channel(i), s, executor_);
    at_.path.resampled_to(grid, SizeRule::monai);
    at_.nonzero.reset();
  }

 private:
  Volume<float>& channel(std::size_t i) { return i == 0 ? at_.image : at_.more[i - 1]; }

  void change(Volume<float>& v, const WindowHu& s) { v = apply_window(std::move(v), s, executor_); }
  void change(Volume<float>& v, const ScaleIntensityRange& s) { v = scale_intensity_range(std::move(v), s, executor_); }
  void change(Volume<float>& v, const ScaleIntensity& s) { v = scale_intensity(std::move(v), s, executor_); }
  void change(Volume<float>& v, const CtNormalization& s) { v = normalize_ct(std::move(v), s, executor_); }
  void change(Volume<float>& v, ZScore s) {
    if (s.voxels == Voxels::mask && !s.mask) {
      if (!at_.nonzero)
        throw Error(Code::bad_argument, "preprocess",
                    "ZScore with Voxels::mask needs a mask. Hint: put CropNonzero before it, and no resampling between them.");
      s.mask = &*at_.nonzero;
    }
    v = z_score(std::move(v), s, executor_);
  }

  /// Where any channel is not 0, holes filled.
  Volume<std::uint8_t> any_nonzero() const {
    if (at_.more.empty()) return nonzero_mask(at_.image, executor_);
    Volume<std::uint8_t> any(at_.image.grid());
    for (std::size_t c = 0; c <= at_.more.size(); ++c)
      for (std::size_t i = 0; i < any.voxels().size(); ++i)
        if (at_.channel(c).voxels()[i] != 0) any.voxels()[i] = 1;
    return fill_holes(std::move(any), {.executor = executor_});
  }
  template <class F> void move(const F& moved) {
    for (std::size_t i = 0; i <= at_.more.size(); ++i) channel(i) = moved(channel(i));
    at_.path.moved_to(at_.image.grid());
  }
  void to_box(const Box& box, std::optional<double> outside) {
    move([&](const Volume<float>& v) { return crop(v, box, outside); });
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
  preprocessing::Steps<> run({std::move(ct), std::move(path)}, executor);
  for (const PreprocessStep& step : steps) std::visit(run, step);
  return run.take();
}
/// The same for a scan of several channels. They are cropped together, by all of them; every other step is each one's own.
/// Errors    shape_mismatch for channels on different grids; bad_argument for none.
template <class = void> Preprocessed apply_steps(std::vector<Volume<float>> channels, const std::vector<PreprocessStep>& steps,
                                                 Executor* executor = nullptr) {
  if (channels.empty()) throw Error(Code::bad_argument, "preprocess", "no channel; a scan has one or more.");
  for (std::size_t i = 1; i < channels.size(); ++i)
    if (!same_grid(channels[0].grid(), channels[i].grid()))
      throw Error(Code::shape_mismatch, "preprocess",
                  text("channel ", i, " (", channels[i].shape(), " of ", channels[i].spacing_mm(), " mm) does not lie on the ",
                       "grid of channel 0 (", channels[0].shape(), " of ", channels[0].spacing_mm(),
                       " mm). Hint: resample_like() moves it there."));
  GridPath path(channels[0].grid());
  Preprocessed at{std::move(channels[0]), std::move(path)};
  for (std::size_t i = 1; i < channels.size(); ++i)   // to the last bit on the first one's grid
    at.more.emplace_back(at.image.grid(), std::move(channels[i].voxels()));
  preprocessing::Steps<> run(std::move(at), executor);
  for (const PreprocessStep& step : steps) std::visit(run, step);
  return run.take();
}

}   // namespace ctseg
