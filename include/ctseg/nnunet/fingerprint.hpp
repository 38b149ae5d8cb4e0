// What nnU-Net's planner wants to know of a data set: shapes, spacings, and how bright the foreground is. Its voxels are drawn
// as nnU-Net draws them (a Mersenne twister seeded anew for each case, masked rejection), so that both draw the same ones.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <span>
#include <vector>

#include "../image/crop.hpp"
#include "../recipe/json.hpp"

namespace ctseg::nnunet {

/// Of one channel's foreground voxels, all cases together.
struct IntensityProperties {
  double mean = 0, median = 0, std = 0, min = 0, max = 0, percentile_99_5 = 0, percentile_00_5 = 0;
};

/// nnU-Net's dataset_fingerprint.json. Axes are z, y, x; cases are in the order in which they were added.
struct DatasetFingerprint {
  std::vector<std::array<double, 3>> spacings{};   // mm
  std::vector<std::array<Index, 3>> shapes_after_crop{};
  std::vector<IntensityProperties> foreground{};   // one per channel
  double median_relative_size_after_cropping = 1;
};

namespace planning {

/// Element number (n - 1) * share of n sorted values, between two elements in a straight line.
/// PyTorch   numpy.percentile, to the bit: beyond the middle it starts from the upper element
inline double between(double low, double high, double t) {
  const double step = high - low;
  return t < 0.5 ? low + step * t : high - step * (1 - t);
}
template <class = void> double percentile(std::vector<double> values, double percent) {
  std::sort(values.begin(), values.end());
  const double at = static_cast<double>(values.size() - 1) * (percent / 100), floor = std::floor(at);
  const auto low = static_cast<std::size_t>(floor), high = std::min(low + 1, values.size() - 1);
  return between(values[low], values[high], at - floor);
}
template <class = void> double median(std::vector<double> values) {   // the mean of two, where percentile(50) may round apart
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/// A value and how many of the drawn voxels have it. CT has a few thousand values, whatever the number of voxels.
struct Tally {
  float value = 0;
  std::uint64_t count = 0;
};

/// Sorted by value, one entry for each.
template <class = void> void tidy(std::vector<Tally>& tallies) {
  std::sort(tallies.begin(), tallies.end(), [](const Tally& a, const Tally& b) { return a.value < b.value; });
  std::size_t kept = 0;
  for (const Tally& t : tallies) {
    if (kept > 0 && tallies[kept - 1].value == t.value)
      tallies[kept - 1].count += t.count;
    else
      tallies[kept++] = t;
  }
  tallies.resize(kept);
}

/// A number from 0 to `last`, as NumPy's RandomState draws it: as many bits as it takes, again where they say more.
template <class = void> std::uint32_t draw_up_to(std::uint32_t last, std::mt19937& generator) {
  std::uint32_t mask = last, drawn = 0;
  for (int shift = 1; shift < 32; shift *= 2) mask |= mask >> shift;
  while ((drawn = static_cast<std::uint32_t>(generator()) & mask) > last) continue;
  return drawn;
}

/// `samples` of the values, drawn with replacement. No values: none are drawn, and the generator stays where it is.
template <class = void>
std::vector<Tally> draw(const std::vector<float>& values, std::uint32_t samples, std::mt19937& generator) {
  std::vector<std::uint32_t> times(values.size());
  if (values.size() == 1) times[0] = samples;   // no number is drawn for a choice of one
  if (values.size() > 1) {
    const auto last = static_cast<std::uint32_t>(values.size() - 1);
    for (std::uint32_t i = 0; i < samples; ++i) ++times[draw_up_to(last, generator)];
  }
  std::vector<Tally> out;
  for (std::size_t i = 0; i < values.size(); ++i)
    if (times[i] > 0) out.push_back({values[i], times[i]});
  tidy(out);
  return out;
}

/// Statistics of tallies that are sorted; at least one.
template <class = void> IntensityProperties properties_of(const std::vector<Tally>& tallies) {
  double sum = 0, squares = 0;
  std::uint64_t all = 0;
  for (const Tally& t : tallies) sum += double{t.value} * static_cast<double>(t.count), all += t.count;
  const double count = static_cast<double>(all), mean = sum / count;
  for (const Tally& t : tallies) squares += (t.value - mean) * (t.value - mean) * static_cast<double>(t.count);
  const auto at = [&](std::uint64_t rank) {
    std::size_t i = 0;
    while (rank >= tallies[i].count) rank -= tallies[i++].count;
    return double{tallies[i].value};
  };
  const auto percent = [&](double p) {
    const double place = static_cast<double>(all - 1) * (p / 100), floor = std::floor(place);
    const auto low = static_cast<std::uint64_t>(floor);
    return between(at(low), at(std::min(low + 1, all - 1)), place - floor);
  };
  return {.mean = mean,
          .median = percent(50),
          .std = std::sqrt(squares / count),
          .min = double{tallies.front().value},
          .max = double{tallies.back().value},
          .percentile_99_5 = percent(99.5),
          .percentile_00_5 = percent(0.5)};
}

/// As the header has it: what nnU-Net's reader takes, where the affine's columns would round apart from it.
template <class = void> std::array<double, 3> spacing_zyx(const Grid& grid) {
  Xyz<double> mm = grid.spacing_mm();
  if (grid.nifti && (grid.nifti->xyzt_units & 7) == 2)
    mm = {grid.nifti->pixdim[1], grid.nifti->pixdim[2], grid.nifti->pixdim[3]};
  return {mm.z, mm.y, mm.x};
}

}   // namespace planning

/// A case as it lies in its files: every channel and the label on one grid, nothing turned or resampled.
struct FingerprintCase {
  std::string name{};
  std::vector<Volume<float>> channels{};
  Volume<std::uint8_t> label;
};

/// Collects a fingerprint case by case; a case's voxels are let go again.
/// Numerics  values are drawn and percentiles taken as nnU-Net does, to the last bit; mean and std are summed in double, where
///           nnU-Net sums float32 (1e-6 apart).
/// Cost      for each channel 1e8 / cases draws a case; 16 bytes for each different value that was drawn.
/// Errors    bad_argument for no cases or channels; shape_mismatch for another number of channels or another grid; bad_input
///           for values that are not finite, a case whose voxels are all 0, and no foreground in any case.
class FingerprintCollector {
 public:
  FingerprintCollector(Index channels, Index cases);
  void add(const FingerprintCase& c);
  /// Of the cases that were added.
  DatasetFingerprint finish() const;

 private:
  static constexpr Index kDraws = 100'000'000;   // of all cases together
  static constexpr std::uint32_t kSeed = 1234;   // of every case

  Index cases_;
  DatasetFingerprint so_far_{};
  std::vector<std::vector<planning::Tally>> drawn_;   // of each channel
  std::vector<double> relative_sizes_{};
};

inline FingerprintCollector::FingerprintCollector(Index channels, Index cases) : cases_(cases) {
  if (channels < 1 || cases < 1)
    throw Error(Code::bad_argument, "fingerprint", text(channels, " channels, ", cases, " cases; both must be 1 or more."));
  drawn_.resize(static_cast<std::size_t>(channels));
}

inline void FingerprintCollector::add(const FingerprintCase& c) {
  if (c.channels.size() != drawn_.size())
    throw Error(Code::shape_mismatch, c.name,
                text("has ", c.channels.size(), " channels; the data set has ", drawn_.size(), "."));
  const Xyz<Index> shape = c.label.shape();
  Volume<std::uint8_t> nonzero(c.label.grid());
  for (const Volume<float>& channel : c.channels) {
    if (!(channel.shape() == shape))
      throw Error(Code::shape_mismatch, c.name,
                  text("a channel is ", channel.shape(), " voxels, the label ", shape, "; both must lie on one grid."));
    for (std::size_t i = 0; i < channel.voxels().size(); ++i) {
      if (!is_finite(channel.voxels()[i]))
        throw Error(Code::bad_input, c.name, text("voxel ", i, " of an image is not finite. Hint: mend the file."));
      nonzero.voxels()[i] |= channel.voxels()[i] != 0;
    }
  }
  const auto box = bounding_box(nonzero, [](std::uint8_t v) { return v != 0; });
  if (!box) throw Error(Code::bad_input, c.name, text("all ", shape, " voxels are 0; there is nothing to plan for."));
  std::mt19937 generator(kSeed);
  std::vector<float> values;
  for (std::size_t k = 0; k < drawn_.size(); ++k) {
    values.clear();
    for (Index z = box->begin.z; z < box->end.z; ++z)
      for (Index y = box->begin.y; y < box->end.y; ++y)
        for (Index x = box->begin.x; x < box->end.x; ++x)
          if (c.label(z, y, x) > 0) values.push_back(c.channels[k](z, y, x));
    const auto tallies = planning::draw(values, static_cast<std::uint32_t>(kDraws / cases_), generator);
    drawn_[k].insert(drawn_[k].end(), tallies.begin(), tallies.end());
    planning::tidy(drawn_[k]);
  }
  const Xyz<Index> cut = box->shape();
  so_far_.spacings.push_back(planning::spacing_zyx(c.channels[0].grid()));
  so_far_.shapes_after_crop.push_back({cut.z, cut.y, cut.x});
  relative_sizes_.push_back(static_cast<double>(cut.x * cut.y * cut.z) / static_cast<double>(c.label.grid().voxels()));
}

inline DatasetFingerprint FingerprintCollector::finish() const {
  if (relative_sizes_.empty()) throw Error(Code::bad_argument, "fingerprint", "no case was added.");
  if (drawn_[0].empty())
    throw Error(Code::bad_input, "fingerprint",
                text("no voxel of ", relative_sizes_.size(), " cases has a label above 0. Hint: are these the right masks?"));
  DatasetFingerprint out = so_far_;
  for (const auto& tallies : drawn_) out.foreground.push_back(planning::properties_of(tallies));
  out.median_relative_size_after_cropping = planning::median(relative_sizes_);
  return out;
}

template <class F> void fields(IntensityProperties& p, F& f) {
  f.required("max", p.max, json::Range{-1e30, 1e30});
  f.required("mean", p.mean, json::Range{-1e30, 1e30});
  f.required("median", p.median, json::Range{-1e30, 1e30});
  f.required("min", p.min, json::Range{-1e30, 1e30});
  f.required("percentile_00_5", p.percentile_00_5, json::Range{-1e30, 1e30});
  f.required("percentile_99_5", p.percentile_99_5, json::Range{-1e30, 1e30});
  f.required("std", p.std, json::Range{0, 1e30});
}

namespace planning {

template <class = void> Json foreground_json(const std::vector<IntensityProperties>& channels) {
  Json out = Json::object();
  for (std::size_t k = 0; k < channels.size(); ++k) out[text(k)] = json::write(channels[k]);
  return out;
}

/// A list longer than json::Reader takes: a data set may have many cases.
template <class T>
void take_rows(const Json& j, const json::Place& at, json::Range range, std::vector<std::array<T, 3>>& rows) {
  if (!j.is_array() || j.empty()) at.fail(j, "a list of one entry per case");
  for (std::size_t i = 0; i < j.size(); ++i) json::Reader::take(j[i], at[i], rows.emplace_back(), range);
}

}   // namespace planning

/// nnU-Net's dataset_fingerprint.json, keys in its order.
template <class = void> Json to_json(const DatasetFingerprint& f) {
  return {{"foreground_intensity_properties_per_channel", planning::foreground_json(f.foreground)},
          {"median_relative_size_after_cropping", f.median_relative_size_after_cropping},
          {"shapes_after_crop", f.shapes_after_crop},
          {"spacings", f.spacings}};
}
/// Errors    bad_input with place, value and what is allowed.
template <class = void> DatasetFingerprint fingerprint_from_json(const Json& j, const std::string& file) {
  DatasetFingerprint out;
  json::Reader members(j, {file});
  Json foreground, shapes, spacings;
  members.required("foreground_intensity_properties_per_channel", foreground);
  members.required("median_relative_size_after_cropping", out.median_relative_size_after_cropping, {0, 1});
  members.required("shapes_after_crop", shapes);
  members.required("spacings", spacings);
  members.finish();
  const json::Place at{file};
  planning::take_rows(shapes, at / "shapes_after_crop", {1, 1e6}, out.shapes_after_crop);
  planning::take_rows(spacings, at / "spacings", {1e-6, 1e6}, out.spacings);
  if (out.spacings.size() != out.shapes_after_crop.size())
    throw Error(Code::bad_input, file,
                text(out.spacings.size(), " spacings and ", out.shapes_after_crop.size(), " shapes; must be one per case."));
  json::Reader channels(foreground, at / "foreground_intensity_properties_per_channel");
  std::vector<std::string> keys;
  for (std::size_t k = 0; k < foreground.size(); ++k) keys.push_back(text(k));
  for (const std::string& key : keys) channels.required(key.c_str(), out.foreground.emplace_back());
  channels.finish();
  return out;
}

}   // namespace ctseg::nnunet
