// Rules of post-processing as JSON: [{"rule": "KeepLargest", "labels": [1], "together": false}, ...].
#pragma once
#include "../post/rules.hpp"
#include "json.hpp"

namespace ctseg {

inline std::span<const json::Name<Connectivity>> names_of(Connectivity) {
  static constexpr json::Name<Connectivity> kNames[] = {
      {"faces", Connectivity::faces}, {"edges", Connectivity::edges}, {"corners", Connectivity::corners}};
  return kNames;
}

namespace json {

inline constexpr Range kLabels{1, 255}, kRadius{1e-3, 1000};

template <class Rule> struct RuleName;
template <> struct RuleName<KeepLargest> { static constexpr const char* kName = "KeepLargest"; };
template <> struct RuleName<RemoveSmall> { static constexpr const char* kName = "RemoveSmall"; };
template <> struct RuleName<FillHoles> { static constexpr const char* kName = "FillHoles"; };
template <> struct RuleName<CloseGaps> { static constexpr const char* kName = "CloseGaps"; };
template <> struct RuleName<OpenThin> { static constexpr const char* kName = "OpenThin"; };
template <> struct RuleName<Relabel> { static constexpr const char* kName = "Relabel"; };

}   // namespace json

template <class F> void fields(KeepLargest& r, F& f) {
  f("labels", r.labels, json::kLabels);
  f("together", r.together);
  f("count", r.count, json::Range{1, 1000});
  f("connectivity", r.connectivity);
}
template <class F> void fields(RemoveSmall& r, F& f) {
  f("labels", r.labels, json::kLabels);
  f("together", r.together);
  f("min_voxels", r.min_voxels, json::Range{0, 1e9});
  f("min_mm3", r.min_mm3, json::Range{0, 1e9});
  f("connectivity", r.connectivity);
  if constexpr (std::is_same_v<F, json::Reader>)   // an error now, not behind the network
    if (r.min_voxels == 0 && r.min_mm3 == 0) f.place().fail(f.object(), "with min_voxels or min_mm3 above 0");
}
template <class F> void fields(FillHoles& r, F& f) {
  f("labels", r.labels, json::kLabels);
  f("per_slice", r.per_slice);
  f("connectivity", r.connectivity);
}
template <class F> void fields(CloseGaps& r, F& f) {
  f("labels", r.labels, json::kLabels);
  f("radius_mm", r.radius_mm, json::kRadius);
}
template <class F> void fields(OpenThin& r, F& f) {
  f("labels", r.labels, json::kLabels);
  f("radius_mm", r.radius_mm, json::kRadius);
}
template <class F> void fields(Relabel& r, F& f) {
  f.required("from", r.from, json::kLabels);
  f.required("to", r.to, json::Range{0, 255});
}

namespace json {

template <std::size_t I = 0> PostRule rule_named(const std::string& name, Reader& members) {
  if constexpr (I < std::variant_size_v<PostRule>) {
    using Rule = std::variant_alternative_t<I, PostRule>;
    if (name != RuleName<Rule>::kName) return rule_named<I + 1>(name, members);
    Rule rule{};
    fields(rule, members);
    members.finish();
    return rule;
  } else {
    std::string known;
    [&]<std::size_t... K>(std::index_sequence<K...>) {
      ((known += text(K ? ", " : "one of ", RuleName<std::variant_alternative_t<K, PostRule>>::kName)), ...);
    }
    (std::make_index_sequence<std::variant_size_v<PostRule>>());
    (members.place() / "rule").fail(Json(name), known);
  }
}

}   // namespace json

/// Errors    bad_input with place, value and what is allowed.
template <class = void> std::vector<PostRule> rules_from_json(const Json& list, const json::Place& at) {
  if (!list.is_array() || list.size() > 64) at.fail(list, "a list of at most 64 rules");
  std::vector<PostRule> rules;
  for (std::size_t i = 0; i < list.size(); ++i) {
    json::Reader members(list[i], at[i]);
    std::string name;
    members.required("rule", name);
    rules.push_back(json::rule_named(name, members));
  }
  return rules;
}
template <class = void> Json to_json(const std::vector<PostRule>& rules) {
  Json list = Json::array();
  for (const PostRule& rule : rules)
    std::visit(
        [&]<class Rule>(const Rule& r) {
          Json one = {{"rule", json::RuleName<Rule>::kName}};
          one.update(json::write(r));
          list.push_back(std::move(one));
        },
        rule);
  return list;
}

}   // namespace ctseg
