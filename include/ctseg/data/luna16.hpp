// LUNA16: its tables of nodules, and masks of spheres on any grid. World coordinates stay LPS millimetres: they need no
// transform when a scan is resampled, because the mask is made on the grid that came out.
#pragma once
#include <charconv>
#include <map>

#include "../core/finite.hpp"
#include "../image/volume.hpp"
#include "../io/file.hpp"

namespace ctseg {

/// A row of annotations.csv: seriesuid, coordX, coordY, coordZ, diameter_mm.
struct Nodule {
  std::string series_uid;
  Point<Lps> centre{};
  double diameter_mm = 0;
};
/// A row of candidates.csv: seriesuid, coordX, coordY, coordZ, class.
struct NoduleCandidate {
  std::string series_uid;
  Point<Lps> centre{};
  bool is_nodule = false;
};

namespace luna16 {

inline std::vector<std::string_view> cells(std::string_view line) {
  std::vector<std::string_view> out;
  for (;;) {
    const std::size_t comma = line.find(',');
    std::string_view cell = line.substr(0, comma);
    while (!cell.empty() && (cell.front() == ' ' || cell.front() == '\t')) cell.remove_prefix(1);
    while (!cell.empty() && (cell.back() == ' ' || cell.back() == '\t' || cell.back() == '\r')) cell.remove_suffix(1);
    out.push_back(cell);
    if (comma == std::string_view::npos) return out;
    line.remove_prefix(comma + 1);
  }
}

/// A row by column names, with numbers checked.
class Row {
 public:
  Row(std::string where, const std::vector<std::string_view>& names, const std::vector<std::string_view>& values)
      : where_(std::move(where)), names_(names), values_(values) {
    if (names.size() != values.size())
      throw Error(Code::bad_input, where_, text(values.size(), " columns; the first line names ", names.size(), "."));
  }
  std::string_view word(std::string_view name) const {
    const auto at = std::find(names_.begin(), names_.end(), name);
    if (at == names_.end()) throw Error(Code::bad_input, where_, text("the first line names no column ", name, "."));
    const std::string_view value = values_[static_cast<std::size_t>(at - names_.begin())];
    if (value.empty()) throw Error(Code::bad_input, where_, text(name, " is empty."));
    return value;
  }
  double number(std::string_view name, double least, double most) const {
    const std::string_view value = word(name);
    double out = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out);
    if (error != std::errc() || end != value.data() + value.size() || !is_finite(out) || out < least || out > most)
      throw Error(Code::bad_input, where_,
                  text(name, " = ", value.substr(0, 40), "; must be a number from ", least, " to ", most, "."));
    return out;
  }
  Point<Lps> centre() const { return {number("coordX", -1e5, 1e5), number("coordY", -1e5, 1e5), number("coordZ", -1e5, 1e5)}; }

 private:
  std::string where_;
  const std::vector<std::string_view>&names_, &values_;
};

/// Calls `add` with every row below the first line.
template <class Add> void for_rows(const std::filesystem::path& path, const Add& add) {
  const auto bytes = io::read_file(path, {.max_bytes = Index{1} << 28});
  std::string_view rest(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (rest.starts_with("\xef\xbb\xbf")) rest.remove_prefix(3);   // a spreadsheet's byte order mark
  std::vector<std::string_view> names;
  for (int line = 1; !rest.empty(); ++line) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const auto values = cells(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (values.size() == 1 && values[0].empty()) continue;
    if (names.empty())
      names = values;
    else
      add(Row(text(path.string(), ", line ", line), names, values));
  }
  if (names.empty()) throw Error(Code::bad_input, path.string(), "is empty; the first line must name the columns.");
}

}   // namespace luna16

/// Reads annotations.csv; columns are found by their names.
/// Errors    bad_input naming file, line and column.
inline std::vector<Nodule> read_luna16_annotations(const std::filesystem::path& path) {
  std::vector<Nodule> out;
  luna16::for_rows(path, [&](const luna16::Row& row) {
    out.push_back({std::string(row.word("seriesuid")), row.centre(), row.number("diameter_mm", 0.01, 1000)});
  });
  return out;
}

/// Reads candidates.csv.
/// Errors    bad_input naming file, line and column.
inline std::vector<NoduleCandidate> read_luna16_candidates(const std::filesystem::path& path) {
  std::vector<NoduleCandidate> out;
  luna16::for_rows(path, [&](const luna16::Row& row) {
    const double kind = row.number("class", 0, 1);
    out.push_back({std::string(row.word("seriesuid")), row.centre(), kind > 0.5});
  });
  return out;
}

/// Rows of each scan, in the order of the table.
template <class Item> std::map<std::string, std::vector<Item>> by_series(const std::vector<Item>& items) {
  std::map<std::string, std::vector<Item>> out;
  for (const Item& item : items) out[item.series_uid].push_back(item);
  return out;
}

/// Sets the voxels of `mask` whose centres lie in the nodule's sphere, and the one nearest to its centre in any case, so that
/// no nodule is lost on a coarse grid. Returns how many are set; 0 for a nodule outside the volume.
template <class T> Index draw_nodule(Volume<T>& mask, const Nodule& nodule, T label = T(1)) {
  const Grid& grid = mask.grid();
  const Point<Ras> centre = to_ras(nodule.centre);
  const Xyz<double> at = grid.affine.index_of(centre), corner = grid.affine.index_of({0, 0, 0});
  const Xyz<double> ax = grid.affine.index_of({1, 0, 0}), ay = grid.affine.index_of({0, 1, 0}),
                    az = grid.affine.index_of({0, 0, 1});
  const double radius = nodule.diameter_mm / 2;
  struct Range {
    Index first, last;
  };
  const auto range = [&](double Xyz<double>::*axis,
                         Index extent) {   // of voxels that the sphere's box touches, rounded outwards
    const double reach = 1e-6 + radius * std::hypot(ax.*axis - corner.*axis, ay.*axis - corner.*axis, az.*axis - corner.*axis);
    const auto clamped = [&](double v) { return static_cast<Index>(std::clamp(v, -1.0, static_cast<double>(extent))); };
    return Range{std::max<Index>(0, clamped(std::ceil(at.*axis - reach))),
                 std::min<Index>(extent - 1, clamped(std::floor(at.*axis + reach)))};
  };
  const Range x = range(&Xyz<double>::x, grid.shape.x), y = range(&Xyz<double>::y, grid.shape.y),
              z = range(&Xyz<double>::z, grid.shape.z);
  Index count = 0;
  for (Index k = z.first; k <= z.last; ++k)
    for (Index j = y.first; j <= y.last; ++j)
      for (Index i = x.first; i <= x.last; ++i) {
        const Point<Ras> p = grid.affine(static_cast<double>(i), static_cast<double>(j), static_cast<double>(k));
        if (std::hypot(p.x - centre.x, p.y - centre.y, p.z - centre.z) > radius) continue;
        mask(k, j, i) = label;
        ++count;
      }
  const double nearest[3] = {std::round(at.x), std::round(at.y), std::round(at.z)};
  const auto inside = [](double v, Index extent) { return v >= 0 && v < static_cast<double>(extent); };
  if (count > 0 || !inside(nearest[0], grid.shape.x) || !inside(nearest[1], grid.shape.y) || !inside(nearest[2], grid.shape.z))
    return count;
  mask(static_cast<Index>(nearest[2]), static_cast<Index>(nearest[1]), static_cast<Index>(nearest[0])) = label;
  return 1;
}

/// A mask of all nodules of one scan on `grid`: that of the scan, or that of what it was resampled to.
inline Volume<std::uint8_t> nodule_mask(const Grid& grid, const std::vector<Nodule>& nodules) {
  Volume<std::uint8_t> mask(grid);
  for (const Nodule& nodule : nodules) draw_nodule(mask, nodule);
  return mask;
}

}   // namespace ctseg
