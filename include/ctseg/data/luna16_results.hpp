// LUNA16's tables of results: candidates with probabilities as they are handed in, the list of scans, and the annotations that
// count for nothing.
#pragma once
#include "luna16.hpp"

namespace ctseg {

/// A row of a submission: seriesuid, coordX, coordY, coordZ, probability.
struct NoduleFinding {
  std::string series_uid;
  Point<Lps> centre{};
  double probability = 0;
};

/// Reads a submission; columns are found by their names.
/// Errors    bad_input naming file, line and column.
inline std::vector<NoduleFinding> read_luna16_results(const std::filesystem::path& path) {
  std::vector<NoduleFinding> out;
  luna16::for_rows(path, [&](const luna16::Row& row) {
    out.push_back({std::string(row.word("seriesuid")), row.centre(), row.number("probability", -1e9, 1e9)});
  });
  return out;
}

namespace luna16 {

/// Writes a table with a name and numbers in each row, in decimals that read back as the same doubles.
template <class Row, class NumbersOf>
void write_rows(const std::filesystem::path& path, std::string head, const std::vector<Row>& rows, NumbersOf numbers_of) {
  for (const Row& row : rows) {
    if (row.series_uid.empty() || row.series_uid.find_first_of(",\"\r\n") != std::string::npos)
      throw Error(Code::bad_argument, path.string(), text("\"", row.series_uid, "\" cannot be a seriesuid of a table."));
    head += row.series_uid;
    for (const double v : numbers_of(row)) {
      if (!is_finite(v))
        throw Error(Code::bad_argument, path.string(), text("a row of ", row.series_uid, " has a number that is not finite."));
      char digits[32];
      const auto end = std::to_chars(digits, digits + sizeof digits, v).ptr;
      head += ',';
      head.append(digits, end);
    }
    head += '\n';
  }
  io::write_file(path, std::as_bytes(std::span(std::as_const(head))));
}

}   // namespace luna16

/// Writes a submission; read_luna16_results reads the same doubles again.
/// Errors    bad_argument for a number that is not finite, or a name with a comma, quote or line break; io.
inline void write_luna16_results(const std::filesystem::path& path, const std::vector<NoduleFinding>& findings) {
  luna16::write_rows(path, "seriesuid,coordX,coordY,coordZ,probability\n", findings, [](const NoduleFinding& f) {
    return std::array{f.centre.x, f.centre.y, f.centre.z, f.probability};
  });
}

/// Writes annotations.csv; read_luna16_annotations reads the same doubles again.
/// Errors    those of write_luna16_results.
inline void write_luna16_annotations(const std::filesystem::path& path, const std::vector<Nodule>& nodules) {
  luna16::write_rows(path, "seriesuid,coordX,coordY,coordZ,diameter_mm\n", nodules, [](const Nodule& n) {
    return std::array{n.centre.x, n.centre.y, n.centre.z, n.diameter_mm};
  });
}

/// Reads annotations_excluded.csv: as annotations.csv, but a diameter may be unknown (-1).
/// Errors    bad_input naming file, line and column.
inline std::vector<Nodule> read_luna16_excluded(const std::filesystem::path& path) {
  std::vector<Nodule> out;
  luna16::for_rows(path, [&](const luna16::Row& row) {
    out.push_back({std::string(row.word("seriesuid")), row.centre(), row.number("diameter_mm", -1, 1000)});
  });
  return out;
}

/// Reads seriesuids.csv: one name a line, no first line of names (one that says seriesuid is skipped).
/// Errors    bad_input for a line with a comma, or a file without names.
inline std::vector<std::string> read_luna16_series(const std::filesystem::path& path) {
  const auto bytes = io::read_file(path, {.max_bytes = Index{1} << 28});
  std::string_view rest(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (rest.starts_with("\xef\xbb\xbf")) rest.remove_prefix(3);
  std::vector<std::string> out;
  for (int line = 1; !rest.empty(); ++line) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const auto cells = luna16::cells(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (cells.size() != 1)
      throw Error(Code::bad_input, text(path.string(), ", line ", line), text(cells.size(), " columns; must be one name."));
    if (!cells[0].empty() && cells[0] != "seriesuid") out.emplace_back(cells[0]);
  }
  if (out.empty()) throw Error(Code::bad_input, path.string(), "has no names of scans.");
  return out;
}

}   // namespace ctseg
