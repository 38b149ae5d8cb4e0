// Post-processing as a value: what is done to the labels of a network before anybody sees them, as a list that a model carries.
#pragma once
#include <variant>

#include "../image/cleanup.hpp"
#include "../image/morphology.hpp"

namespace ctseg {

/// Which labels a rule is about; empty: all but 0. What is no such label is left as it is.
using Labels = std::vector<Index>;

/// Only the largest components stay (MONAI's KeepLargestConnectedComponent; nnU-Net's, on labels or on `together`).
struct KeepLargest {
  Labels labels{};
  bool together = false;   // the labels are one object; else each on its own
  int count = 1;
  Connectivity connectivity = Connectivity::corners;
};
/// Components below a size go (MONAI's RemoveSmallObjects).
struct RemoveSmall {
  Labels labels{};
  bool together = false;
  Index min_voxels = 0;   // what has fewer goes
  double min_mm3 = 0;     // what is smaller goes
  Connectivity connectivity = Connectivity::corners;
};
/// Holes within a label get the label; other labels in a hole stay (MONAI's FillHoles, SciPy's binary_fill_holes).
struct FillHoles {
  Labels labels{};
  bool per_slice = false;
  Connectivity connectivity = Connectivity::faces;   // of the hole
};
/// Gaps narrower than twice the radius close, label after label in ascending order; other labels stay.
struct CloseGaps {
  Labels labels{};
  double radius_mm = 1;
};
/// What is thinner than twice the radius goes, each label on its own.
struct OpenThin {
  Labels labels{};
  double radius_mm = 1;
};
/// One label becomes another; 0 drops it (MONAI's LabelFilter, with `from` everything that is not wanted).
struct Relabel {
  Labels from{};
  Index to = 0;
};

using PostRule = std::variant<KeepLargest, RemoveSmall, FillHoles, CloseGaps, OpenThin, Relabel>;

namespace rules {

/// Which values a rule is about, as a table: values beyond it are no labels of a rule.
template <class T> std::vector<std::uint8_t> chosen(const Labels& labels, std::string_view rule) {
  constexpr Index most = std::min<Index>(std::numeric_limits<T>::max(), 65535);
  std::vector<std::uint8_t> table(static_cast<std::size_t>(most) + 1, labels.empty());
  table[0] = 0;
  for (const Index l : labels) {
    if (l < 1 || l > most)
      throw Error(Code::bad_argument, rule, text("label ", l, "; the volume's labels are 1 to ", most, "."));
    table[static_cast<std::size_t>(l)] = 1;
  }
  return table;
}

/// Post-processing of one volume. A rule works on a copy that has only its labels, so that it cannot touch the others.
template <class T> class Rules {
 public:
  Rules(Volume<T> labels, Executor* executor) : volume_(std::move(labels)), executor_(executor) {}
  Volume<T> take() { return std::move(volume_); }

  void operator()(const KeepLargest& r) {
    dropped(chosen<T>(r.labels, "KeepLargest"), [&](Volume<T> v) {
      return keep_largest(std::move(v),
                          {.count = r.count, .connectivity = r.connectivity, .by_value = !r.together, .executor = executor_});
    });
  }
  void operator()(const RemoveSmall& r) {
    dropped(chosen<T>(r.labels, "RemoveSmall"), [&](Volume<T> v) {
      return remove_small(std::move(v), {.min_voxels = r.min_voxels,
                                         .min_mm3 = r.min_mm3,
                                         .connectivity = r.connectivity,
                                         .by_value = !r.together,
                                         .executor = executor_});
    });
  }
  void operator()(const FillHoles& r) {
    added(fill_holes(only(chosen<T>(r.labels, "FillHoles")),
                     {.connectivity = r.connectivity, .by_value = true, .per_slice = r.per_slice, .executor = executor_}));
  }
  void operator()(const CloseGaps& r) {
    for (const T label : present(chosen<T>(r.labels, "CloseGaps"))) {
      Volume<std::uint8_t> closed = closing(volume_, ball(r.radius_mm, label, "CloseGaps"));
      each([&](Index i) {
        if (closed.data()[i] && volume_.data()[i] == T(0)) volume_.data()[i] = label;
      });
    }
  }
  void operator()(const OpenThin& r) {
    for (const T label : present(chosen<T>(r.labels, "OpenThin"))) {
      const Volume<std::uint8_t> opened = opening(volume_, ball(r.radius_mm, label, "OpenThin"));
      each([&](Index i) {
        if (!opened.data()[i] && volume_.data()[i] == label) volume_.data()[i] = T(0);
      });
    }
  }
  void operator()(const Relabel& r) {
    const auto table = chosen<T>(r.from, "Relabel");
    if (r.to < 0 || r.to >= std::ssize(table))
      throw Error(Code::bad_argument, "Relabel", text("to = ", r.to, "; must be 0 to ", table.size() - 1, "."));
    each([&](Index i) {
      if (is_in(table, volume_.data()[i])) volume_.data()[i] = static_cast<T>(r.to);
    });
  }

 private:
  static bool is_in(const std::vector<std::uint8_t>& table, T value) {
    return static_cast<std::size_t>(value) < table.size() && table[static_cast<std::size_t>(value)];
  }
  template <class F> void each(F&& f) const {
    const Index slice = volume_.shape().x * volume_.shape().y;
    mask::for_tasks(executor_, volume_.shape().z, [&](Index z) {
      for (Index i = z * slice; i < (z + 1) * slice; ++i) f(i);
    });
  }
  /// The volume with a rule's labels alone.
  Volume<T> only(const std::vector<std::uint8_t>& table) const {
    Volume<T> part = volume_;
    each([&](Index i) {
      if (!is_in(table, part.data()[i])) part.data()[i] = T(0);
    });
    return part;
  }
  /// What f took out of a rule's labels goes.
  template <class F> void dropped(const std::vector<std::uint8_t>& table, F&& f) {
    const Volume<T> part = f(only(table));
    each([&](Index i) {
      if (part.data()[i] == T(0) && is_in(table, volume_.data()[i])) volume_.data()[i] = T(0);
    });
  }
  /// What is new in `part` is written where nothing was.
  void added(const Volume<T>& part) {
    each([&](Index i) {
      if (volume_.data()[i] == T(0)) volume_.data()[i] = part.data()[i];
    });
  }
  std::vector<T> present(const std::vector<std::uint8_t>& table) const {
    std::vector<T> found = cleanup::values_of(volume_.data(), volume_.shape());
    std::erase_if(found, [&](T v) { return !is_in(table, v); });
    return found;
  }
  MorphologyOptions ball(double radius_mm, T label, std::string_view rule) const {
    if (!(radius_mm > 0)) throw Error(Code::bad_argument, rule, text("radius_mm = ", radius_mm, "; must be above 0."));
    return {.radius_mm = radius_mm, .label = static_cast<Index>(label), .executor = executor_};
  }

  Volume<T> volume_;
  Executor* executor_;
};

}   // namespace rules

/// The labels after one rule after the other, in the order of the list.
/// Units     millimetres and cubic millimetres by the volume's affine.
/// Errors    bad_argument naming the rule, for labels that T cannot hold, counts below 1, radii and sizes that are not positive.
template <class T> Volume<T> apply_rules(Volume<T> labels, const std::vector<PostRule>& list, Executor* executor = nullptr) {
  static_assert(std::is_unsigned_v<T>, "ctseg: rules take label maps of unsigned integers");
  if (list.empty()) return labels;
  rules::Rules<T> rules(std::move(labels), executor);
  for (const PostRule& rule : list) std::visit(rules, rule);
  return rules.take();
}

}   // namespace ctseg
