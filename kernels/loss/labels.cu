// Labels at another size, as regions, as values: one thread per voxel. A byte or two of labels per voxel are a small part of
// what a loss reads. Not measured yet.
#include "ctseg/loss/cuda/labels.hpp"

#include "../common/launch.cuh"
#include "../common/values.cuh"

namespace ctseg::cuda {
namespace {

template <class L> struct LabelRows {
  L* data;
  Index pitch;
  CTSEG_DEVICE L* row(Index r) const { return data + r * pitch; }
};
template <class L> LabelRows<L> label_rows(const Array& a) { return {a.as<L>(), a.pitch}; }
template <class F> void with_labels(Dtype dtype, F f) {
  if (dtype == Dtype::u8)
    f(std::uint8_t{});
  else
    f(std::uint16_t{});
}

template <class L> struct ResizeLabels {
  static constexpr const char* kName = "resize_labels";
  LabelRows<const L> from;
  LabelRows<L> to;
  Index channels, in[3], out[3];

  CTSEG_DEVICE void operator()(Index r) const {
    Index rest = r, source = 0, scale = 1;
    for (int d = 2; d >= 0; --d) {
      source += (2 * (rest % out[d]) + 1) * in[d] / (2 * out[d]) * scale;
      rest /= out[d], scale *= in[d];
    }
    for (Index c = 0; c < channels; ++c) to.row(r)[c] = from.row(rest * scale + source)[c];
  }
};

inline constexpr int kListed = 16;   // labels of a region in one launch; more come with a second one
template <class L> struct LabelRegion {
  static constexpr const char* kName = "label_regions";
  LabelRows<const L> from;
  LabelRows<L> to;
  Index ignored;
  bool first;   // else what other labels have made stays
  int count, labels[kListed];

  CTSEG_DEVICE void operator()(Index r) const {
    const int label = *from.row(r);
    bool in = false;
    for (int k = 0; k < kListed; ++k) in = in || (k < count && labels[k] == label);
    if (label == ignored)
      *to.row(r) = static_cast<L>(label);
    else if (first || in)
      *to.row(r) = in ? L{1} : L{0};
  }
};

template <class L, class T> struct OneHot {
  static constexpr const char* kName = "one_hot";
  LabelRows<const L> from;
  LabelRows<T> to;
  Index channels, wide;   // no bool: its padding would be an argument as well

  CTSEG_DEVICE void operator()(Index r) const {
    const bool values = wide != 0 || channels == 1;   // the labels are 0 and 1 themselves, not classes
    for (Index c = 0; c < channels; ++c) {
      const int label = from.row(r)[wide != 0 ? c : 0];
      float value = values ? static_cast<float>(label) : label == c ? 1.f : 0.f;
      if (label >= (values ? 2 : channels)) value = HUGE_VALF - HUGE_VALF;
      to.row(r)[c] = from_float<T>(value);
    }
  }
};

}   // namespace

void resize_labels(Stream stream, const Array& from, const Array& to) {
  with_labels(to.dtype, [&](auto l) {
    using L = decltype(l);
    ResizeLabels<L> body{label_rows<const L>(from), label_rows<L>(to), to.c, {}, {}};
    for (int d = 0; d < 3; ++d)
      body.in[d] = from.space[static_cast<std::size_t>(d)], body.out[d] = to.space[static_cast<std::size_t>(d)];
    for_each(stream, to.rows(), body);
  });
}

void label_regions(Stream stream, const std::vector<std::vector<Index>>& regions, Index ignored, const Array& from,
                   const Array& to) {
  with_labels(to.dtype, [&](auto l) {
    using L = decltype(l);
    for (std::size_t k = 0; k < regions.size(); ++k)
      for (std::size_t done = 0; done < regions[k].size(); done += kListed) {
        LabelRegion<L> body{label_rows<const L>(from), {to.as<L>() + k, to.pitch}, ignored, done == 0, 0, {}};
        while (body.count < kListed && done + static_cast<std::size_t>(body.count) < regions[k].size()) {
          body.labels[body.count] = static_cast<int>(regions[k][done + static_cast<std::size_t>(body.count)]);
          ++body.count;
        }
        for_each(stream, to.rows(), body);
      }
  });
}

void one_hot(Stream stream, const Array& labels, const Array& to) {
  with_labels(labels.dtype, [&](auto l) {
    with_storage(to.dtype, [&](auto t) {
      using L = decltype(l);
      using T = decltype(t);
      for_each(stream, to.rows(), OneHot<L, T>{label_rows<const L>(labels), label_rows<T>(to), to.c, labels.c > 1 ? 1 : 0});
    });
  });
}

}   // namespace ctseg::cuda
