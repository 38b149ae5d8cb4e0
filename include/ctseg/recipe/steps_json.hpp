// Preprocessing steps and sliding windows as JSON: [{"step": "Spacing", "spacing_mm": {"x": 1, "y": 1, "z": 1.5}}, ...].
#pragma once
#include "../image/steps.hpp"
#include "../infer/sliding_window.hpp"
#include "json.hpp"

namespace ctseg {

inline std::span<const json::Name<Voxels>> names_of(Voxels) {
  static constexpr json::Name<Voxels> kNames[] = {{"all", Voxels::all}, {"nonzero", Voxels::nonzero}, {"mask", Voxels::mask}};
  return kNames;
}
inline std::span<const json::Name<SizeRule>> names_of(SizeRule) {
  static constexpr json::Name<SizeRule> kNames[] = {{"monai", SizeRule::monai}, {"nnunet", SizeRule::nnunet}};
  return kNames;
}
/// Those of images.
inline std::span<const json::Name<Interpolation>> names_of(Interpolation) {
  static constexpr json::Name<Interpolation> kNames[] = {
      {"linear", Interpolation::linear}, {"nearest", Interpolation::nearest}, {"cubic", Interpolation::cubic}};
  return kNames;
}
inline std::span<const json::Name<ResizeMode>> names_of(ResizeMode) {
  static constexpr json::Name<ResizeMode> kNames[] = {{"linear", ResizeMode::linear},
                                                      {"nearest", ResizeMode::nearest},
                                                      {"area", ResizeMode::area},
                                                      {"cubic", ResizeMode::cubic}};
  return kNames;
}
inline std::span<const json::Name<Blend>> names_of(Blend) {
  static constexpr json::Name<Blend> kNames[] = {{"gaussian", Blend::gaussian}, {"constant", Blend::constant}};
  return kNames;
}

inline std::span<const json::Name<WindowRule>> names_of(WindowRule) {
  static constexpr json::Name<WindowRule> kNames[] = {{"monai", WindowRule::monai}, {"nnunet", WindowRule::nnunet}};
  return kNames;
}
inline std::span<const json::Name<WindowPadding>> names_of(WindowPadding) {
  static constexpr json::Name<WindowPadding> kNames[] = {{"constant", WindowPadding::constant},
                                                         {"reflect", WindowPadding::reflect},
                                                         {"replicate", WindowPadding::replicate},
                                                         {"circular", WindowPadding::circular}};
  return kNames;
}

template <class F> void fields(Reorient& s, F& f) {
  f("codes", s.codes);
  parse_axis_codes(s.codes);   // an error now, not with the first scan
}
template <class F> void fields(WindowHu& s, F& f) {
  f.required("low", s.low);
  f.required("high", s.high);
}
template <class F> void fields(ScaleIntensityRange& s, F& f) {
  f.required("a_min", s.a_min);
  f.required("a_max", s.a_max);
  f("b_min", s.b_min);
  f("b_max", s.b_max);
  f("clip", s.clip);
}
template <class F> void fields(ScaleIntensity& s, F& f) {
  f("minv", s.minv);
  f("maxv", s.maxv);
}
template <class F> void fields(ZScore& s, F& f) { f("voxels", s.voxels); }   // the mask is CropNonzero's
template <class F> void fields(CtNormalization& s, F& f) {
  f.required("mean", s.mean);
  f.required("deviation", s.deviation, json::Range{0, 1e9});
  f("low", s.low);
  f("high", s.high);
}
template <class F> void fields(Spacing& s, F& f) {
  f.required("spacing_mm", s.spacing_mm);
  f("rule", s.rule);
  f("interpolation", s.interpolation);
}
template <class F> void fields(Resize& s, F& f) {
  f.required("shape", s.shape);
  f("mode", s.mode);
}
template <class F> void fields(SpatialPad& s, F& f) {
  f("shape", s.shape);
  f("divisible_by", s.divisible_by, json::Range{1, 4096});
  f("outside", s.outside);
  f("at_end", s.at_end);
}
template <class F> void fields(CropForeground& s, F& f) {
  f("threshold", s.threshold);
  f("margin", s.margin);
  f("allow_smaller", s.allow_smaller);
  f("divisible_by", s.divisible_by, json::Range{1, 4096});
  f("outside", s.outside);
}
template <class F> void fields(CropNonzero&, F&) {}
template <class F> void fields(Transpose& s, F& f) {
  f.required("axes", s.axes, json::Range{0, 2});
  moves_of(s);   // an error now
}

/// Everything of a sliding window that belongs into a recipe.
template <int Dim, class F> void fields(SlidingWindowOptions<Dim>& o, F& f) {
  f.required("window", o.window, json::Range{1, 4096});
  f("overlap", o.overlap, json::Range{0, 0.99});
  f("rule", o.rule);
  f("blend", o.blend);
  f("padding", o.padding);
  f("outside", o.outside);
  f("batch", o.batch, json::Range{1, 64});
}

namespace json {

template <class Step> struct StepName;
template <> struct StepName<Reorient> { static constexpr const char* kName = "Reorient"; };
template <> struct StepName<WindowHu> { static constexpr const char* kName = "WindowHu"; };
template <> struct StepName<ScaleIntensityRange> { static constexpr const char* kName = "ScaleIntensityRange"; };
template <> struct StepName<ScaleIntensity> { static constexpr const char* kName = "ScaleIntensity"; };
template <> struct StepName<ZScore> { static constexpr const char* kName = "ZScore"; };
template <> struct StepName<CtNormalization> { static constexpr const char* kName = "CtNormalization"; };
template <> struct StepName<Spacing> { static constexpr const char* kName = "Spacing"; };
template <> struct StepName<Resize> { static constexpr const char* kName = "Resize"; };
template <> struct StepName<SpatialPad> { static constexpr const char* kName = "SpatialPad"; };
template <> struct StepName<CropForeground> { static constexpr const char* kName = "CropForeground"; };
template <> struct StepName<CropNonzero> { static constexpr const char* kName = "CropNonzero"; };
template <> struct StepName<Transpose> { static constexpr const char* kName = "Transpose"; };
template <> struct StepName<PerChannel> { static constexpr const char* kName = "PerChannel"; };

/// A is a variant of steps.
template <class A, std::size_t I = 0> A step_named(const std::string& name, Reader& members) {
  if constexpr (I < std::variant_size_v<A>) {
    using Step = std::variant_alternative_t<I, A>;
    if (name != StepName<Step>::kName) return step_named<A, I + 1>(name, members);
    Step step{};
    fields(step, members);
    members.finish();
    return step;
  } else {
    std::string known;
    [&]<std::size_t... K>(std::index_sequence<K...>) {
      ((known += text(K ? ", " : "one of ", StepName<std::variant_alternative_t<K, A>>::kName)), ...);
    }
    (std::make_index_sequence<std::variant_size_v<A>>());
    (members.place() / "step").fail(Json(name), known + ". Hint: MONAI's Orientation is Reorient here");
  }
}

template <class A> std::vector<A> steps_of(const Json& list, const Place& at) {
  if (!list.is_array() || list.size() > 64) at.fail(list, "a list of at most 64 steps");
  std::vector<A> steps;
  for (std::size_t i = 0; i < list.size(); ++i) {
    Reader members(list[i], at[i]);
    std::string name;
    members.required("step", name);
    steps.push_back(step_named<A>(name, members));
  }
  return steps;
}
template <class A> Json of_steps(const std::vector<A>& steps) {
  Json list = Json::array();
  for (const A& step : steps)
    std::visit(
        [&]<class Step>(const Step& s) {
          Json one = {{"step", StepName<Step>::kName}};
          one.update(write(s));
          list.push_back(std::move(one));
        },
        step);
  return list;
}

}   // namespace json

template <class F> void fields(PerChannel& s, F& f) {
  Json lists = Json::array();
  for (const auto& steps : s.channels) lists.push_back(json::of_steps(steps));
  f.required("channels", lists);
  if constexpr (std::is_same_v<F, json::Reader>) {
    const json::Place at = f.place() / "channels";
    if (!lists.is_array() || lists.empty() || lists.size() > 64) at.fail(lists, "a list of 1 to 64 lists of steps");
    s.channels.clear();
    for (std::size_t i = 0; i < lists.size(); ++i) s.channels.push_back(json::steps_of<IntensityStep>(lists[i], at[i]));
  }
}

/// Errors    bad_input with place, value and what is allowed.
template <class = void> std::vector<PreprocessStep> steps_from_json(const Json& list, const json::Place& at) {
  return json::steps_of<PreprocessStep>(list, at);
}
template <class = void> Json to_json(const std::vector<PreprocessStep>& steps) { return json::of_steps(steps); }

}   // namespace ctseg
