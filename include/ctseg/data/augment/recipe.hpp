// A recipe says what may happen to a patch; drawing from it gives steps, values that can be printed and applied again; applying
// them joins neighbouring moves into one resampling pass. Functions are templates, though nothing varies, so that who includes
// this and does not augment compiles none of it.
#pragma once
#include <concepts>
#include <variant>

#include "check.hpp"

namespace ctseg {

using Transform = std::variant<RandRotate90, RandFlip, MirrorTransform, RandRotate, RandAffine, SpatialTransform, Rand3DElastic,
                               RandZoom, RandScaleIntensity, RandShiftIntensity, RandAdjustContrast, RandGaussianNoise,
                               MultiplicativeBrightnessTransform, ContrastTransform, GammaTransform, RandGaussianSmooth,
                               GaussianBlurTransform, SimulateLowResolutionTransform>;

/// Transforms in the order in which they act, each with its probability.
struct Recipe {
  std::vector<Transform> transforms{};
};

/// A transform that fired, with the numbers it drew.
using DrawnStep =
    std::variant<augment::AffineStep, augment::ElasticStep, augment::ZoomStep, augment::LinearStep, augment::ContrastStep,
                 augment::GammaStep, augment::NoiseStep, augment::SmoothStep, augment::LowResolutionStep>;

/// What happens to one patch: the transforms that fired, in order. A value: print it with text(), keep it, apply it again.
struct Augmentation {
  std::vector<DrawnStep> steps{};
};

struct PatchShape {
  Extent size{};   // z, y, x
  Index channels = 1;
};

namespace augment {

inline constexpr std::uint32_t kStream = 0x41554700;   // keeps these draws apart from every op's and the patch sampler's

template <class T> auto draw_one(const T& o, const RandomKey& key, const PatchShape& shape) {
  if constexpr (requires { draw(o, RandomStream(key), shape.size); })
    return draw(o, RandomStream(key), shape.size);
  else if constexpr (requires { draw(o, RandomStream(key), shape.channels); })
    return draw(o, RandomStream(key), shape.channels);
  else if constexpr (requires { draw(o, key, shape.size); })
    return draw(o, key, shape.size);
  else
    return draw(o, key);
}

/// RandZoom in linear mode is an affine map.
inline DrawnStep as_step(const ZoomStep& step, const Transform& from, const Extent& size) {
  if (std::get<RandZoom>(from).mode == ZoomMode::area) return step;
  const double s = 1 / step.zoom;
  return AffineStep{"RandZoom", scaling(flat(size) ? 1 : s, s, s), Border::border};
}
template <class T> DrawnStep as_step(const T& step, const Transform&, const Extent&) { return step; }

}   // namespace augment

/// Whether a transform can be drawn for such a patch; draw() asks this of the whole recipe first.
/// Errors    bad_argument for a probability outside [0, 1], or a range that is not finite, turned round, or far from anything
///           that makes sense, with its limits; shape_mismatch for quarter turns of a plane that is not square.
template <class = void> void check(const Transform& transform, const PatchShape& shape) {
  std::visit(
      [&](const auto& o) {
        if constexpr (requires { augment::check(o, shape.size); })
          augment::check(o, shape.size);
        else
          augment::check(o);
      },
      transform);
}

/// What happens to sample number key.run. Every transform draws from a stream of its own, named by the seed, the sample, its
/// kind and how many of its kind stand before it: neither the order of samples nor other transforms change its numbers.
/// Errors    those of check(), whether or not the transform fires; bad_argument for a patch without voxels or channels.
template <class = void> Augmentation draw(const Recipe& recipe, const RandomKey& key, const PatchShape& shape) {
  if (std::min({shape.size[0], shape.size[1], shape.size[2], shape.channels}) < 1)
    throw Error(Code::bad_argument, "augment",
                text("a patch of ", augment::list(shape.size), " with ", shape.channels, " channels; all must be 1 or more."));
  for (const Transform& transform : recipe.transforms) check(transform, shape);
  Augmentation drawn;
  std::array<std::uint32_t, 64> before{};
  for (const Transform& transform : recipe.transforms)
    std::visit(
        [&](const auto& o) {
          const std::uint32_t kind = o.kStream, op = key.op + augment::kStream + kind * 256 + before[kind]++;
          for (const auto& step : augment::draw_one(o, {key.seed, key.run, op}, shape))
            drawn.steps.push_back(augment::as_step(step, transform, shape.size));
        },
        transform);
  return drawn;
}
/// The key of a sample of an epoch, for loops that count both.
inline RandomKey sample_key(std::uint64_t seed, std::uint32_t epoch, std::uint32_t sample) {
  return {seed, std::uint64_t{epoch} << 32 | sample, 0};
}

namespace augment {

/// Moves that wait to become one pass, and the source that the first pass reads instead of the patch.
class Pipeline {
 public:
  Pipeline(Patch& patch, const PatchSource* source) : patch_(patch), source_(source) {}

  void operator()(const AffineStep& step) {
    (elastic_ ? warp_.after : warp_.before) = (elastic_ ? warp_.after : warp_.before) * step.matrix;
    if (step.resamples) warp_.border = step.border, warp_.labels = step.labels;
    waiting_ = true;
  }
  /// Moves behind it see the same field of offsets, drawn on the final grid.
  void operator()(const ElasticStep& step) {
    if (elastic_) flush();
    (*this)(step.affine);
    make_offsets(step, patch_);
    elastic_ = true;
  }
  template <class Step> void operator()(const Step& step) {
    flush();
    apply(step, patch_);
  }
  void flush() {
    if (waiting_ || source_) run();
    source_ = nullptr;
    warp_ = {};
    waiting_ = elastic_ = false;
  }

 private:
  void run() {
    if (elastic_) warp_.offsets = patch_.offsets.data();
    if (waiting_)
      warp_patch(patch_, source_ ? *source_ : source_of(patch_), warp_);
    else
      cut(patch_, *source_);
  }

  Patch& patch_;
  const PatchSource* source_;
  Warp warp_{};
  bool waiting_ = false, elastic_ = false;
};

inline std::string list(const std::array<double, 3>& v) { return text("[", v[0], ", ", v[1], ", ", v[2], "]"); }
inline std::string channel_text(Index c) { return c < 0 ? std::string() : text(" channel ", c); }
inline std::string text_of(const AffineStep& s) {
  std::string out = text(s.name, " [");
  for (int r = 0; r < 3; ++r)
    for (int c = 0; c < 4; ++c) out.append(r + c ? (c ? " " : "; ") : "").append(text(s.matrix(r, c)));
  out.append("]");
  return s.resamples ? text(out, " border ", s.border, ", labels ", s.labels) : out;
}
inline std::string text_of(const ElasticStep& s) {
  return text("elastic sigma ", s.sigma_voxels, " voxels, magnitude ", s.magnitude_voxels, " voxels, then ", text_of(s.affine));
}
inline std::string text_of(const ZoomStep& s) { return text("RandZoom ", s.zoom, " area"); }
inline std::string text_of(const LinearStep& s) {
  return text(s.name, " x * ", s.scale, " + ", s.shift, channel_text(s.channel));
}
inline std::string text_of(const ContrastStep& s) { return text("ContrastTransform ", s.factor, channel_text(s.channel)); }
inline std::string text_of(const GammaStep& s) {
  return text(s.name, " gamma ", s.gamma, s.invert ? " inverted" : "", s.retain_statistics ? " retaining statistics" : "",
              channel_text(s.channel));
}
inline std::string text_of(const NoiseStep& s) { return text("RandGaussianNoise mean ", s.mean, " std ", s.std); }
inline std::string text_of(const SmoothStep& s) {
  return text(s.mirror ? "GaussianBlurTransform" : "RandGaussianSmooth", " sigma ", list(s.sigma_voxels), " voxels",
              channel_text(s.channel));
}
inline std::string text_of(const LowResolutionStep& s) {
  return text("SimulateLowResolutionTransform ", list(s.scale), channel_text(s.channel));
}

}   // namespace augment

template <class = void> std::string text(const DrawnStep& step) {
  return std::visit([](const auto& s) { return augment::text_of(s); }, step);
}
/// One line for each step.
template <class = void> std::string text(const Augmentation& drawn) {
  std::string out;
  for (const DrawnStep& step : drawn.steps) out.append(text(step)).append("\n");
  return out;
}

/// Applies the steps to the patch in their order. Moves that follow one another become one resampling pass, with the border and
/// label rules of the last.
/// Errors    shape_mismatch if the patch does not hold what its size and channels say.
template <class = void> void apply(const Augmentation& drawn, Patch& patch) {
  if (std::ssize(patch.image) != patch.voxels() * patch.channels ||
      (!patch.label.empty() && std::ssize(patch.label) != patch.voxels()))
    throw Error(Code::shape_mismatch, "augment",
                text(patch.image.size(), " values and ", patch.label.size(), " labels for a patch of ", patch.voxels(),
                     " voxels and ", patch.channels, " channels."));
  augment::Pipeline pipeline(patch, nullptr);
  for (const DrawnStep& step : drawn.steps) std::visit(pipeline, step);
  pipeline.flush();
}
/// The same for a patch that is still to be cut: moves at the beginning read the source, so what a turn brings in from beyond
/// the patch is the patient and not a border rule. Only `size` of the patch is read.
template <class = void> void cut_and_apply(const Augmentation& drawn, const PatchSource& source, Patch& patch) {
  augment::Pipeline pipeline(patch, &source);
  patch.channels = source.channels;
  for (const DrawnStep& step : drawn.steps) std::visit(pipeline, step);
  pipeline.flush();
}

/// A recipe among options. What it takes to run one is compiled where a recipe is given, and not by who gives none.
class AugmentOption {
 public:
  AugmentOption() = default;
  template <std::convertible_to<Recipe> R> AugmentOption(R&& recipe) : recipe_(std::forward<R>(recipe)), run_(&run<R>) {}

  bool empty() const { return !run_ || recipe_.transforms.empty(); }
  const Recipe& recipe() const { return recipe_; }
  /// Kind (its place in Transform) and probability of each: "1:0.5 1:0.5 11:0.1"; "none".
  std::string names() const {
    std::string out;
    for (const Transform& t : recipe_.transforms) {
      out += text(out.empty() ? "" : " ", t.index());
      std::visit(
          [&]<class O>(const O& o) {
            if constexpr (requires { o.probability; }) out += text(":", double{o.probability});
          },
          t);
    }
    return out.empty() ? "none" : out;
  }
  void operator()(const RandomKey& key, const PatchSource& source, Patch& patch) const { run_(*this, key, source, patch); }

 private:
  template <class> static void run(const AugmentOption& o, const RandomKey& key, const PatchSource& source, Patch& patch) {
    cut_and_apply(draw(o.recipe_, key, {patch.size, source.channels}), source, patch);
  }
  Recipe recipe_{};
  void (*run_)(const AugmentOption&, const RandomKey&, const PatchSource&, Patch&) = nullptr;
};

}   // namespace ctseg
