// What there is to know of a scan before work begins: its grid, its type, its range of Hounsfield units, and what is odd about
// it.
#pragma once
#include "../io/reading.hpp"
#include "run.hpp"

namespace ctseg {

struct CaseInfo {
  std::string path{}, format{}, dtype{};   // dtype: of the stored voxels, in NumPy's words
  Grid grid;
  double hu_min = 0, hu_max = 0, hu_mean = 0, hu_sd = 0;   // over the voxels that are finite numbers; NaN without any
  Index not_finite = 0;
  std::vector<std::string> warnings{};
};

/// The type of stored numbers as NumPy calls it.
inline const char* numpy_name(Stored s) {
  constexpr const char* names[] = {"uint8", "int8",   "uint16", "int16",   "uint32",
                                   "int32", "uint64", "int64",  "float32", "float64"};
  return names[static_cast<std::size_t>(s)];
}

/// Range, mean and deviation of a scan, and warnings of what cannot be Hounsfield units.
/// Numerics  summed in double, in the order of memory.
inline CaseInfo describe(const Volume<float>& ct) {
  CaseInfo out{.grid = ct.grid()};
  double low = std::numeric_limits<double>::infinity(), high = -low, sum = 0, squares = 0;
  for (const float v : ct.voxels()) {
    if (!is_finite(v)) {
      ++out.not_finite;
      continue;
    }
    const double value = v;
    low = std::min(low, value), high = std::max(high, value);
    sum += value, squares += value * value;
  }
  const double n = static_cast<double>(ct.grid().voxels() - out.not_finite);
  const bool any = n > 0;
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  out.hu_min = any ? low : kNan, out.hu_max = any ? high : kNan;
  out.hu_mean = any ? sum / n : kNan;
  out.hu_sd = any ? std::sqrt(std::max(squares / n - out.hu_mean * out.hu_mean, 0.0)) : kNan;
  if (!any)
    out.warnings.push_back("no voxel is a finite number");
  else if (low == high)
    out.warnings.push_back(text("all voxels are ", low));
  else if (low >= 0)
    out.warnings.push_back(text("no voxel is below 0 (the least is ", low, "): is this a mask, or not in Hounsfield units?"));
  else if (low < -10000 || high > 100000)
    out.warnings.push_back(text("values from ", low, " to ", high, " are beyond those of a CT; expected about -1024 to 3071"));
  return out;
}

/// As JSON: shape [x, y, z], spacing_mm, orientation, affine (voxel to RAS mm), dtype, hu_min, hu_max, warnings and more.
inline std::string to_json(const CaseInfo& info) {
  report::JsonWriter json;
  json.open('{');
  json.field("schema", 1);
  json.field("path", info.path), json.field("format", info.format);
  report::write_grid(json, info.grid);
  json.field("dtype", info.dtype);
  json.field("hu_min", info.hu_min), json.field("hu_max", info.hu_max);
  json.field("hu_mean", info.hu_mean), json.field("hu_sd", info.hu_sd);
  json.field("not_finite", info.not_finite);
  report::write_strings(json, "warnings", info.warnings);
  json.close('}');
  return json.take();
}

/// The same for people.
inline std::string to_text(const CaseInfo& info) {
  const Xyz<double> mm = info.grid.spacing_mm();
  const Point<Ras> first = info.grid.affine(0, 0, 0);
  const Xyz<Index> n = info.grid.shape;
  std::string out =
      text(info.path, "\n  format       ", info.format, ", ", info.dtype, "\n  shape        ", n,
           "  (x, y, z)\n  spacing      ", mm, " mm\n  extent       ",
           Xyz<double>{mm.x * static_cast<double>(n.x), mm.y * static_cast<double>(n.y), mm.z * static_cast<double>(n.z)},
           " mm\n  orientation  ", axis_codes(info.grid), "\n  first voxel  (", first.x, ", ", first.y, ", ", first.z,
           ") mm RAS\n  values       ", info.hu_min, " to ", info.hu_max, ", mean ", info.hu_mean, ", sd ", info.hu_sd, "\n");
  for (const std::string& warning : info.warnings) out += text("  warning      ", warning, "\n");
  return out;
}

}   // namespace ctseg
