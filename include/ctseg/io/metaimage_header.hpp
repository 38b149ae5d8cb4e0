// The MetaImage header (.mhd, or the text at the start of .mha): lines of "Key = value", checked before they are believed.
// MetaImage is LPS; MetaImageHeader::grid() is the one point where it becomes RAS.
#pragma once
#include <charconv>

#include "reading.hpp"

namespace ctseg::io {

/// What the header says. `files` are as written there: not yet looked for, let alone opened.
struct MetaImageHeader {
  Xyz<Index> shape{};
  Encoding encoding{};
  Affine<Lps> affine;
  bool compressed = false;
  std::optional<Index> compressed_bytes{};
  Index skipped_bytes = 0;            // HeaderSize of each data file; -1: the voxels are the last bytes of the file
  std::vector<std::string> files{};   // one, or one a slice; none: the voxels follow the header
  Index data_begin = 0;               // where the header's text ends

  Index voxel_bytes() const { return shape.x * shape.y * shape.z * bytes_of(encoding.stored); }
  Grid grid() const { return {shape, to_ras(affine)}; }
};

namespace metaimage {

constexpr Index kMostHeaderBytes = Index{1} << 20;
constexpr std::size_t kMostLineBytes = 65536;
constexpr Index kMostFiles = 100000;
constexpr std::string_view kChecksumKey = "CtsegHeaderCRC";   // of the lines above it; other readers pass over it

struct ElementType {
  std::string_view name;
  Stored stored;
};
constexpr ElementType kElementTypes[] = {   // a LONG has 4 bytes on any machine, as in MetaIO
    {"MET_CHAR", Stored::i8},    {"MET_ASCII_CHAR", Stored::i8}, {"MET_UCHAR", Stored::u8},       {"MET_SHORT", Stored::i16},
    {"MET_USHORT", Stored::u16}, {"MET_INT", Stored::i32},       {"MET_UINT", Stored::u32},       {"MET_LONG", Stored::i32},
    {"MET_ULONG", Stored::u32},  {"MET_LONG_LONG", Stored::i64}, {"MET_ULONG_LONG", Stored::u64}, {"MET_FLOAT", Stored::f32},
    {"MET_DOUBLE", Stored::f64}};

/// A value fit for a message: short, and without bytes that a terminal would obey.
inline std::string shown(std::string_view value) {
  std::string out(value.substr(0, 80));
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 32 || c == 127) c = '?';
  return out.append(value.size() > 80 ? "..." : "");
}

inline std::string_view trimmed(std::string_view line) {
  constexpr std::string_view kSpace = " \t\r";
  const std::size_t first = line.find_first_not_of(kSpace);
  return first == std::string_view::npos ? "" : line.substr(first, line.find_last_not_of(kSpace) - first + 1);
}

inline std::vector<std::string_view> words(std::string_view value) {
  std::vector<std::string_view> out;
  while (!(value = trimmed(value)).empty()) {
    out.push_back(value.substr(0, value.find_first_of(" \t")));
    value.remove_prefix(out.back().size());
  }
  return out;
}

/// The whole word as a number, in any locale; false if it is none.
template <class T> bool number(std::string_view word, T& out) {
  if (word.starts_with('+')) word.remove_prefix(1);
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), out);
  return error == std::errc() && end == word.data() + word.size();
}

/// The lines of a header up to ElementDataFile, by key.
class Fields {
 public:
  /// `content` is the start of the file; `whole` if it is all of it.
  Fields(std::string_view content, bool whole, const Complaints& complaints)
      : text_(content), whole_(whole), complaints_(complaints) {
    while (const auto line = next()) {
      const std::string_view entry = trimmed(*line);
      if (entry.empty() || entry.starts_with('#')) continue;
      const std::size_t equals = entry.find('=');
      if (equals == std::string_view::npos) {
        if (!std::exchange(odd_line_, true)) complaints_.warn(shown_line("has no \"=\" and is passed over"));
        continue;
      }
      const std::string_view key = trimmed(entry.substr(0, equals)), value = trimmed(entry.substr(equals + 1));
      for (const char c : key)
        if (c < 32 || c > 126) complaints_.refuse(shown_line("has a key with bytes that are no printable ASCII."));
      if (key == kChecksumKey) check_sum(*line, value);
      fields_.push_back({key, value});
      if (key == "ElementDataFile") return;
    }
    complaints_.refuse(find({"NDims"}) ? "the header has no ElementDataFile, which must be its last line."
                                       : "has neither NDims nor ElementDataFile: this is not a MetaImage header.");
  }

  /// The value of a key or one of its synonyms; an error if two of them contradict each other.
  std::optional<std::string_view> find(std::initializer_list<std::string_view> keys) const {
    std::optional<std::string_view> found;
    std::string_view first;
    for (const auto& [key, value] : fields_) {
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) continue;
      if (found && (key == first || value != *found))
        complaints_.refuse(key, shown(value), text("contradicts or repeats ", first, " = ", shown(*found)));
      found = value;
      first = key;
    }
    return found;
  }
  std::string_view need(std::string_view key) const {
    if (const auto value = find({key})) return *value;
    complaints_.refuse(text("the header has no ", key, "."));
  }
  bool flag(std::initializer_list<std::string_view> keys, bool otherwise) const {
    const auto value = find(keys);
    if (!value) return otherwise;
    for (const std::string_view yes : {"True", "true", "TRUE", "1", "T"})
      if (*value == yes) return true;
    for (const std::string_view no : {"False", "false", "FALSE", "0", "F"})
      if (*value == no) return false;
    complaints_.refuse(*keys.begin(), shown(*value), "must be True or False");
  }
  template <class T> std::vector<T> numbers(std::string_view key, std::string_view value) const {
    std::vector<T> out;
    for (const std::string_view word : words(value)) {
      out.emplace_back();
      if (!number(word, out.back()))
        complaints_.refuse(key, shown(value), std::is_integral_v<T> ? "must be whole numbers" : "must be numbers");
    }
    return out;
  }

  /// The next line of the file: behind the header, the names of a LIST.
  std::optional<std::string_view> next() {
    if (at_ >= text_.size()) return std::nullopt;
    ++line_;
    const std::size_t end = text_.find('\n', at_), length = std::min(end, text_.size()) - at_;
    const std::string_view line = text_.substr(at_, length);
    if (length > kMostLineBytes) complaints_.refuse(shown_line(text("is longer than ", kMostLineBytes, " bytes.")));
    if (end == std::string_view::npos && !whole_)
      complaints_.refuse(text("the header has more than ", text_.size(), " bytes."));
    if (line.find('\0') != std::string_view::npos) complaints_.refuse(shown_line("of the header has a NUL byte."));
    at_ += length + 1;
    return line;
  }
  Index position() const { return static_cast<Index>(std::min(at_, text_.size())); }
  const Complaints& complaints() const { return complaints_; }

 private:
  std::string shown_line(std::string_view what) const { return text("line ", line_, " ", what); }
  void check_sum(std::string_view line, std::string_view value) const {
    const auto above = static_cast<uInt>(line.data() - text_.data());
    char sum[9];
    std::snprintf(sum, sizeof sum, "%08lx", crc32(0, reinterpret_cast<const Bytef*>(text_.data()), above));
    if (value != sum)
      complaints_.warn(text(kChecksumKey, " = ", shown(value), ", but the lines above it have ", std::string_view(sum),
                            ": the header was changed after it was written"));
  }

  struct Field {
    std::string_view key, value;
  };
  std::string_view text_;
  bool whole_, odd_line_ = false;
  const Complaints& complaints_;
  std::size_t at_ = 0;
  int line_ = 0;
  std::vector<Field> fields_;
};

/// DimSize as x, y, z: a 2-D image is one slice, extents of 1 may follow.
inline Xyz<Index> read_shape(const Fields& fields) {
  const Complaints& complaints = fields.complaints();
  const std::string_view value = fields.need("DimSize");
  std::vector<Index> dims = fields.numbers<Index>("DimSize", value);
  Index rank = 0, count = 1;
  if (const auto ndims = fields.need("NDims"); !number(ndims, rank) || rank < 2 || rank > 7)
    complaints.refuse("NDims", shown(ndims), "must be 3; 2 for one slice; up to 7 with extents of 1 from the fourth on");
  if (static_cast<Index>(dims.size()) != rank)
    complaints.refuse("DimSize", shown(value), text("must be ", rank, " numbers, as NDims says"));
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] < 1) complaints.refuse("DimSize", shown(value), "every extent must be 1 or more");
    if (i > 2 && dims[i] > 1)
      complaints.refuse("DimSize", shown(value),
                        "must be 1 from the fourth on, one volume in one file. Hint: split the series first");
    if (count > std::numeric_limits<Index>::max() / 64 / dims[i])
      complaints.refuse("DimSize", shown(value), "makes more voxels than can be counted");
    count *= dims[i];
  }
  dims.resize(3, 1);
  return {dims[0], dims[1], dims[2]};
}

inline Encoding read_encoding(const Fields& fields) {
  const Complaints& complaints = fields.complaints();
  if (const auto kind = fields.find({"ObjectType"}); kind && *kind != "Image")
    complaints.refuse("ObjectType", shown(*kind), "must be Image");
  if (const auto channels = fields.find({"ElementNumberOfChannels"}); channels && *channels != "1")
    complaints.refuse("ElementNumberOfChannels", shown(*channels), "must be 1: colours and vectors are no volume");
  if (!fields.flag({"BinaryData"}, true)) complaints.refuse("BinaryData", "False", "voxels written as text are not read");
  for (const auto& [key, neutral] :
       {std::pair<std::string_view, double>{"ElementToIntensityFunctionSlope", 1}, {"ElementToIntensityFunctionOffset", 0}})
    if (const auto value = fields.find({key}); value && fields.numbers<double>(key, *value) != std::vector<double>{neutral})
      complaints.refuse(key, shown(*value), text("must be ", neutral, ": readers disagree on whether to apply it"));
  const std::string_view name = fields.need("ElementType");
  for (const ElementType& type : kElementTypes)
    if (name == type.name) {
      const std::initializer_list<std::string_view> order = {"BinaryDataByteOrderMSB", "ElementByteOrderMSB"};
      if (!fields.find(order) && bytes_of(type.stored) > 1)
        complaints.warn("BinaryDataByteOrderMSB is missing: little-endian voxels are assumed");
      return {type.stored, fields.flag(order, false) != (std::endian::native == std::endian::big)};
    }
  complaints.refuse("ElementType", shown(name),
                    "must be MET_ with CHAR, SHORT, INT, LONG, LONG_LONG, one of these behind a U, FLOAT or DOUBLE");
}

/// Reads `count` numbers of a placement field, each within +-most.
struct Numbers {
  std::initializer_list<std::string_view> keys;
  std::vector<std::size_t> counts;   // allowed ones
  double most;
};
inline std::optional<std::vector<double>> read_numbers(const Fields& fields, const Numbers& wanted) {
  const auto value = fields.find(wanted.keys);
  if (!value) return std::nullopt;
  const auto all = fields.numbers<double>(*wanted.keys.begin(), *value);
  if (std::find(wanted.counts.begin(), wanted.counts.end(), all.size()) == wanted.counts.end())
    fields.complaints().refuse(*wanted.keys.begin(), shown(*value),
                               text("must be ", wanted.counts[0], " numbers for NDims = ", shown(fields.need("NDims"))));
  for (const double v : all)
    if (!is_finite(v) || std::abs(v) > wanted.most)
      fields.complaints().refuse(*wanted.keys.begin(), shown(*value), text("must be finite and within ", wanted.most));
  return all;
}

/// Voxel to LPS: column i is spacing i times line i of the TransformMatrix, the direction of voxel axis i.
template <class = void> Affine<Lps> read_affine(const Fields& fields, std::size_t rank) {
  const Complaints& complaints = fields.complaints();
  const std::string_view units = fields.find({"DistanceUnits"}).value_or("mm");
  if (units != "mm" && units != "?") complaints.refuse("DistanceUnits", shown(units), "must be mm");
  const std::vector<std::size_t> counts = rank == 2 ? std::vector<std::size_t>{2, 3} : std::vector<std::size_t>{rank};
  auto spacing = read_numbers(fields, {{"ElementSpacing"}, counts, 100});
  if (!spacing) spacing = read_numbers(fields, {{"ElementSize"}, counts, 100});
  if (!spacing)
    complaints.refuse("the header has no ElementSpacing: the size of a voxel is not known. Hint: add it if you know it.");
  for (const double v : *spacing)
    if (v <= 1e-6) complaints.refuse("ElementSpacing", v, "the voxel size must be > 1e-6 and <= 100 mm");
  auto offset = read_numbers(fields, {{"Offset", "Position", "Origin"}, counts, 1e6});
  auto matrix = read_numbers(fields, {{"TransformMatrix", "Rotation", "Orientation"}, {rank * rank}, 1.001});
  if (!offset || !matrix)
    complaints.warn(text(!offset && !matrix ? "Offset and TransformMatrix are"
                         : !offset          ? "Offset is"
                                            : "TransformMatrix is",
                         " missing: the file does not say where the patient is; axes L, P, S and a first voxel at 0, 0, 0 are "
                         "assumed where it is silent"));
  if (spacing->size() == 2) complaints.warn("NDims = 2: one slice, whose thickness the file does not say; 1 mm is assumed");
  spacing->resize(3, 1);
  if (!offset) offset.emplace();
  offset->resize(3, 0);

  Eigen::Matrix4d m = Eigen::Matrix4d::Identity(), directions = m;
  for (int j = 0; j < 3; ++j) {
    double squares = 0;
    for (int i = 0; i < 3; ++i) {
      const bool given = matrix && std::max(i, j) < static_cast<int>(rank);
      const double d = given ? (*matrix)[static_cast<std::size_t>(j) * rank + static_cast<std::size_t>(i)] : i == j;
      squares += d * d;
      directions(i, j) = d;
      m(i, j) = d * (*spacing)[static_cast<std::size_t>(j)];
    }
    if (std::abs(std::sqrt(squares) - 1) > 1e-3)
      complaints.refuse("TransformMatrix", text("a direction of length ", std::sqrt(squares)), "every line must have length 1");
    m(j, 3) = (*offset)[static_cast<std::size_t>(j)];
  }
  check_axes(directions, "TransformMatrix", complaints);
  return Affine<Lps>(m);
}

/// The file of slice number `n` by a pattern such as "slice%03d.raw", which never reaches printf.
inline std::string numbered(std::string_view pattern, Index n, const Complaints& complaints) {
  const std::size_t percent = pattern.find('%'), end = pattern.find_first_not_of("0123456789", percent + 1);
  const std::string_view width = pattern.substr(percent + 1, end - percent - 1);
  if (end == std::string_view::npos || pattern[end] != 'd' || width.size() > 2 ||
      pattern.find('%', end) != std::string_view::npos)
    complaints.refuse("ElementDataFile", shown(pattern), "a pattern must have one %d, with up to two digits as in %03d");
  std::size_t wide = 0;
  if (!width.empty()) number(width, wide);
  std::string digits = text(n);
  if (digits.size() < wide) digits.insert(0, wide - digits.size(), width.starts_with('0') ? '0' : ' ');
  return text(pattern.substr(0, percent), digits, pattern.substr(end + 1));
}

/// The files of "name%d.raw 1 93 1": first, last, step; what is left out follows from the number of slices.
inline std::vector<std::string> pattern_files(std::string_view value, Index slices, const Complaints& complaints) {
  const std::vector<std::string_view> parts = words(value);
  Index range[3] = {};
  std::size_t given = 0, name_words = parts.size();
  while (given < 3 && name_words > 1 && number(parts[name_words - 1], range[given])) ++given, --name_words;
  std::reverse(range, range + given);
  const auto sane = [](Index v) { return v >= 0 && v < Index{1} << 40; };
  if (given < 1) range[0] = 1;
  if (given < 2) range[1] = sane(range[0]) && slices <= kMostFiles ? range[0] + slices - 1 : -1;
  if (given < 3) range[2] = 1;
  const bool counts = slices <= kMostFiles && sane(range[0]) && sane(range[1]) && range[2] > 0 && range[1] >= range[0];
  if (!counts || (range[1] - range[0]) / range[2] + 1 != slices)
    complaints.refuse(
        "ElementDataFile", shown(value),
        text("the numbers (first, last, step) must make the ", slices, " files of DimSize, at most ", kMostFiles));
  const std::string_view last = parts[name_words - 1];
  const std::string_view name = value.substr(0, static_cast<std::size_t>(last.data() + last.size() - value.data()));
  std::vector<std::string> files;
  for (Index i = 0; i < slices; ++i) files.push_back(numbered(name, range[0] + i * range[2], complaints));
  return files;
}

/// ElementDataFile: LOCAL, LIST, a pattern with its numbers, or a name.
inline std::vector<std::string> read_files(Fields& fields, Index slices, std::size_t rank) {
  const Complaints& complaints = fields.complaints();
  const std::string_view value = fields.need("ElementDataFile");
  if (value == "LOCAL" || value == "Local" || value == "local") return {};
  if (value.empty()) complaints.refuse("ElementDataFile", value, "must be a name, a pattern, LIST or LOCAL");
  const bool list = words(value)[0] == "LIST", pattern = !list && value.find('%') != std::string_view::npos;
  if (!list && !pattern) return {std::string(value)};
  if (rank != 3 || (list && value != "LIST" && value != "LIST 2" && value != "LIST 2D"))
    complaints.refuse("ElementDataFile", shown(value), "several files must be one for each slice of a 3-D image");
  if (pattern) return pattern_files(value, slices, complaints);
  std::vector<std::string> files;
  while (const auto line = fields.next())
    if (const auto name = trimmed(*line); !name.empty()) files.emplace_back(name);
  if (static_cast<Index>(files.size()) != slices)
    complaints.refuse("ElementDataFile", shown(value), text("names ", files.size(), " files; DimSize asks for ", slices));
  return files;
}

}   // namespace metaimage

/// Reads and checks a header: `content` is the start of the file, `whole` if it is all of it.
/// Errors    bad_input naming file, field and value.
template <class = void>
MetaImageHeader read_metaimage_header(std::string_view content, bool whole, const Complaints& complaints) {
  metaimage::Fields fields(content, whole, complaints);
  const Xyz<Index> shape = metaimage::read_shape(fields);
  std::size_t rank = 0;
  metaimage::number(fields.need("NDims"), rank);
  MetaImageHeader h{
      .shape = shape, .encoding = metaimage::read_encoding(fields), .affine = metaimage::read_affine(fields, rank)};
  h.compressed = fields.flag({"CompressedData"}, false);
  if (const auto value = fields.find({"CompressedDataSize"}); value && h.compressed) {
    Index bytes = 0;
    if (!metaimage::number(*value, bytes) || bytes < 1)
      complaints.refuse("CompressedDataSize", metaimage::shown(*value), "must be a number of bytes");
    h.compressed_bytes = bytes;
  }
  if (const auto value = fields.find({"HeaderSize"}))
    if (!metaimage::number(*value, h.skipped_bytes) || h.skipped_bytes < -1 || h.skipped_bytes > Index{1} << 40)
      complaints.refuse("HeaderSize", metaimage::shown(*value), "must be a number of bytes, or -1");
  h.files = metaimage::read_files(fields, shape.z, rank);
  h.data_begin = fields.position();
  return h;
}

}   // namespace ctseg::io
