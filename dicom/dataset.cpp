// The walk over the bytes. It is a fence as much as a reader: DCMTK's own parser recurses as deep as a file tells it to.
#include "dataset.hpp"

#include <zlib.h>

#include <algorithm>
#include <cstdio>
#include <ctseg/io/file.hpp>

namespace ctseg::io::dicom {

namespace {

constexpr Tag kPixelData = 0x7fe00010, kItem = 0xfffee000, kItemEnd = 0xfffee00d, kSequenceEnd = 0xfffee0dd;
constexpr std::uint32_t kUndefined = 0xffffffff;
constexpr int kMaxDepth = 32;
constexpr std::size_t kMaxElements = 500'000;

/// Sequences that are read. The others are stepped over where their length is given.
constexpr Tag kSequences[] = {
    0x00189329,   // CT image frame type
    0x00209113,   // plane position
    0x00209116,   // plane orientation
    0x00289110,   // pixel measures
    0x00289145,   // pixel value transformation
    0x00620002,   // segments
    0x0062000a,   // segment identification
    0x52009229,   // shared functional groups
    0x52009230,   // functional groups of each frame
};

constexpr std::string_view kLongVrs = "OB OD OF OL OV OW SQ SV UC UN UR UT UV";   // 4-byte length
constexpr std::string_view kShortVrs = "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US";
bool is_one_of(std::string_view vrs, std::string_view vr) {
  for (std::size_t i = 0; i < vrs.size(); i += 3)
    if (vrs.substr(i, 2) == vr) return true;
  return false;
}

constexpr Syntax kSyntaxes[] = {
    {"1.2.840.10008.1.2", "implicit little endian", false},
    {"1.2.840.10008.1.2.1", "explicit little endian"},
    {"1.2.840.10008.1.2.1.99", "deflated", true, false, true},
    {"1.2.840.10008.1.2.2", "explicit big endian", true, true},
    {"1.2.840.10008.1.2.4.50", "JPEG baseline", true, false, false, Codec::jpeg},
    {"1.2.840.10008.1.2.4.51", "JPEG extended", true, false, false, Codec::jpeg},
    {"1.2.840.10008.1.2.4.53", "JPEG spectral selection", true, false, false, Codec::jpeg},
    {"1.2.840.10008.1.2.4.55", "JPEG progressive", true, false, false, Codec::jpeg},
    {"1.2.840.10008.1.2.4.57", "JPEG lossless", true, false, false, Codec::jpeg},
    {"1.2.840.10008.1.2.4.70", "JPEG lossless SV1", true, false, false, Codec::jpeg},
    {"1.2.840.10008.1.2.4.80", "JPEG-LS lossless", true, false, false, Codec::jpeg_ls},
    {"1.2.840.10008.1.2.4.81", "JPEG-LS near-lossless", true, false, false, Codec::jpeg_ls},
    {"1.2.840.10008.1.2.4.90", "JPEG 2000 lossless", true, false, false, Codec::jpeg2000},
    {"1.2.840.10008.1.2.4.91", "JPEG 2000", true, false, false, Codec::jpeg2000},
    {"1.2.840.10008.1.2.5", "RLE", true, false, false, Codec::rle},
};

/// Walks elements from a position on; fills the tree as it goes, so that what came before an error is there.
class Walk {
 public:
  Walk(File& file, std::size_t first) : file_(file), at_(first) {}

  std::size_t at() const { return at_; }

  void meta(Dataset& out) {
    const std::size_t end = file_.bytes.size();
    while (end - at_ >= 8 && number<2>(at_) == 0x0002) element(out, end, 0);
  }
  void top(Dataset& out, const Syntax& syntax) {
    explicit_ = syntax.explicit_vr;
    big_ = syntax.big_endian;
    while (at_ < file_.bytes.size() && !done_) element(out, file_.bytes.size(), 0);
  }

 private:
  struct Header {
    Tag tag;
    std::array<char, 2> vr;
    std::uint32_t length;
  };

  template <int Bytes> std::uint32_t number(std::size_t at) const {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < Bytes; ++i)
      value |= static_cast<std::uint32_t>(file_.bytes[at + (big_ ? Bytes - 1 - i : i)]) << (8 * i);
    return value;
  }
  Tag tag_at(std::size_t at) const { return number<2>(at) << 16 | number<2>(at + 2); }

  /// Elements, items and fragments all take memory, an empty one several times its bytes.
  void count() {
    if (++count_ > kMaxElements)
      refuse("has more than ", kMaxElements, " elements, items and fragments, the most that are read.");
  }

  template <class... Parts> [[noreturn]] void refuse(const Parts&... parts) const {
    throw Error(Code::bad_input, file_.path.string(), text(parts...));
  }

  Header header(std::size_t end) {
    const std::size_t start = at_;
    if (end - at_ < 8)
      refuse("ends inside the head of an element at byte ", start, ". Hint: the file is truncated; copy it again.");
    Header h{tag_at(at_), {' ', ' '}, 0};
    if (!explicit_ || h.tag >> 16 == 0xfffe) {
      h.length = number<4>(at_ + 4);
      at_ += 8;
      return h;
    }
    h.vr = {static_cast<char>(file_.bytes[at_ + 4]), static_cast<char>(file_.bytes[at_ + 5])};
    const std::string_view vr(h.vr.data(), 2);
    if (is_one_of(kShortVrs, vr)) {
      h.length = number<2>(at_ + 6);
      at_ += 8;
    } else if (is_one_of(kLongVrs, vr)) {
      if (end - at_ < 12)
        refuse("ends inside the head of an element at byte ", start, ". Hint: the file is truncated; copy it again.");
      h.length = number<4>(at_ + 8);
      at_ += 12;
    } else {
      refuse("element ", text_of(h.tag), " at byte ", start, " has no known value representation (bytes ",
             static_cast<int>(static_cast<unsigned char>(vr[0])), ", ", static_cast<int>(static_cast<unsigned char>(vr[1])),
             "). Hint: the file is damaged.");
    }
    return h;
  }

  void element(Dataset& out, std::size_t end, int depth) {
    const std::size_t start = at_;
    const Header h = header(end);
    if (h.tag >> 16 == 0xfffe) refuse("delimiter ", text_of(h.tag), " at byte ", start, " stands where an element must be.");
    count();
    out.elements.push_back({h.tag, h.vr, {at_, 0}, {}});
    Element& e = out.elements.back();
    done_ = depth == 0 && h.tag == kPixelData;
    if (h.length == kUndefined) {
      if (h.tag == kPixelData) {   // those of an icon are walked and forgotten
        std::vector<Span> found = fragments();
        if (done_) file_.fragments = std::move(found);
        return;
      }
      const bool was_explicit = explicit_;
      if (h.vr == std::array{'U', 'N'}) explicit_ = false;   // so says the standard, part 5, section 6.2.2
      items(e, end, true, depth + 1);
      explicit_ = was_explicit;
      return;
    }
    if (h.length > end - at_)
      refuse("element ", text_of(h.tag), " at byte ", start, " has ", Index{h.length}, " bytes, and ", end - at_,
             " are left. Hint: the file is truncated or damaged; copy it again.");
    if (std::find(std::begin(kSequences), std::end(kSequences), h.tag) != std::end(kSequences))
      return items(e, at_ + h.length, false, depth + 1);
    e.value.length = h.length;
    at_ += h.length;
  }

  void items(Element& sequence, std::size_t end, bool delimited, int depth) {
    if (depth > kMaxDepth)
      refuse("sequences are nested more than ", kMaxDepth, " deep at byte ", at_, ". Hint: the file is damaged.");
    while (at_ < end) {
      const std::size_t start = at_;
      const Header h = header(end);
      if (delimited && h.tag == kSequenceEnd) return;
      if (h.tag != kItem)
        refuse("sequence ", text_of(sequence.tag), " has ", text_of(h.tag), " at byte ", start, " where an item must be.");
      if (h.length != kUndefined && h.length > end - at_)
        refuse("an item of sequence ", text_of(sequence.tag), " at byte ", start, " has ", Index{h.length}, " bytes, and ",
               end - at_, " are left. Hint: the file is truncated or damaged; copy it again.");
      count();
      sequence.items.emplace_back();
      item(sequence, h.length == kUndefined ? end : at_ + h.length, h.length == kUndefined, depth);
    }
    if (delimited)
      refuse("sequence ", text_of(sequence.tag),
             " of undefined length is never closed. Hint: the file is truncated or damaged.");
  }

  void item(Element& sequence, std::size_t end, bool delimited, int depth) {
    while (at_ < end) {
      if (delimited && end - at_ >= 8 && tag_at(at_) == kItemEnd) {
        at_ += 8;
        return;
      }
      element(sequence.items.back(), end, depth);
    }
    if (delimited)
      refuse("an item of sequence ", text_of(sequence.tag),
             " of undefined length is never closed. Hint: the file is truncated or damaged.");
  }

  std::vector<Span> fragments() {
    const std::size_t end = file_.bytes.size();
    std::vector<Span> found;
    for (;;) {
      if (end - at_ < 8)
        refuse("PixelData (7FE0,0010) of undefined length is never closed. Hint: the file is truncated; copy it again.");
      const std::size_t start = at_;
      const Header h = header(end);
      if (h.tag == kSequenceEnd) return found;
      if (h.tag != kItem)
        refuse("PixelData (7FE0,0010) has ", text_of(h.tag), " at byte ", start, " where a fragment must be.");
      if (h.length > end - at_)
        refuse("a fragment of PixelData (7FE0,0010) at byte ", start, " has ", Index{h.length}, " bytes, and ", end - at_,
               " are left. Hint: the file is truncated; copy it again.");
      count();
      found.push_back({at_, h.length});
      at_ += h.length;
    }
  }

  File& file_;
  std::size_t at_, count_ = 0;
  bool explicit_ = true, big_ = false, done_ = false;
};

/// Where the elements start, if these are the first bytes of a DICOM file: behind the preamble, or at once where it is missing.
std::optional<std::size_t> start_of(std::span<const std::byte> bytes) {
  const auto has = [&](std::size_t at, std::string_view what) {
    return bytes.size() >= at + what.size() &&
           std::equal(what.begin(), what.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at),
                      [](char a, std::byte b) { return static_cast<std::byte>(a) == b; });
  };
  using namespace std::string_view_literals;
  if (has(128, "DICM") || has(132, "\2\0\0\0UL"sv)) return 132;
  // Without a preamble, numbers of other files look alike: an element has a type of two letters, or a short even length.
  if (bytes.size() < 8 || bytes[3] != std::byte{0}) return {};
  const auto byte = [&](std::size_t at) { return static_cast<int>(bytes[at]); };
  const bool typed = byte(4) >= 'A' && byte(4) <= 'Z' && byte(5) >= 'A' && byte(5) <= 'Z';
  const bool implicit = byte(4) % 2 == 0 && byte(4) + byte(5) > 0 && byte(6) == 0 && byte(7) == 0;
  if (has(0, "\2\0"sv) && typed) return 0;
  if (has(0, "\10\0"sv) && (typed || implicit)) return 0;
  return {};
}

/// The data set that follows `from`, inflated in place of its deflated bytes.
void inflate_rest(File& file, std::size_t from, Index max_bytes) {
  z_stream stream{};
  if (inflateInit2(&stream, -15) != Z_OK) throw Error(Code::out_of_memory, file.path.string(), "no memory to decompress.");
  const std::size_t most = std::min<std::size_t>(static_cast<std::size_t>(max_bytes), (file.bytes.size() - from) * 1032 + 1024);
  std::vector<std::byte> out;
  stream.next_in = reinterpret_cast<Bytef*>(file.bytes.data() + from);
  stream.avail_in = static_cast<uInt>(file.bytes.size() - from);
  int result = Z_OK;
  while (result == Z_OK && out.size() < most) {
    const std::size_t used = out.size(), room = std::min(most - used, std::max<std::size_t>(used, 1 << 16));
    out.resize(used + room);
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + used);
    stream.avail_out = static_cast<uInt>(room);
    result = inflate(&stream, Z_NO_FLUSH);
    out.resize(used + room - stream.avail_out);
  }
  inflateEnd(&stream);
  if (result == Z_OK) throw Error(Code::bad_input, file.path.string(), text("inflates to more than ", most, " bytes."));
  if (result != Z_STREAM_END)
    throw Error(Code::bad_input, file.path.string(),
                "the deflated data set is damaged or truncated. Hint: copy the file again.");
  file.bytes = std::move(out);
}

Syntax guess_syntax(const File& file, std::size_t at) {
  if (file.bytes.size() < at + 6) return kSyntaxes[0];
  const char vr[2] = {static_cast<char>(file.bytes[at + 4]), static_cast<char>(file.bytes[at + 5])};
  return kSyntaxes[is_one_of(kShortVrs, {vr, 2}) || is_one_of(kLongVrs, {vr, 2}) ? 1 : 0];
}

/// Files should have their elements in this order, and some do not. Of a tag that is there twice the first stays the first.
void sort_by_tag(Dataset& dataset) {
  const auto before = [](const Element& a, const Element& b) { return a.tag < b.tag; };
  if (!std::is_sorted(dataset.elements.begin(), dataset.elements.end(), before))
    std::stable_sort(dataset.elements.begin(), dataset.elements.end(), before);
  for (Element& e : dataset.elements)
    for (Dataset& item : e.items) sort_by_tag(item);
}

void walk(File& file, Index max_bytes) {
  const auto start = start_of(file.bytes);
  if (!start) throw Error(Code::bad_input, file.path.string(), "is not a DICOM file: no \"DICM\" at byte 128.");
  Walk head(file, *start);
  head.meta(file.meta);
  sort_by_tag(file.meta);
  file.syntax_uid = text_value(file, file.meta, 0x00020010);
  const auto known =
      std::find_if(std::begin(kSyntaxes), std::end(kSyntaxes), [&](const Syntax& s) { return s.uid == file.syntax_uid; });
  if (known != std::end(kSyntaxes))
    file.syntax = *known;
  else if (!file.syntax_uid.empty())
    file.syntax.codec = Codec::unknown;   // all encapsulated ones are explicit little endian
  else {
    file.syntax = guess_syntax(file, head.at());
    file.guessed_syntax = true;
  }
  std::size_t first = head.at();
  if (file.syntax.deflated) {
    for (Element& e : file.meta.elements) e.value = {};   // their bytes go
    inflate_rest(file, first, max_bytes);
    first = 0;
  }
  Walk(file, first).top(file.dataset, file.syntax);
}

}   // namespace

std::string text_of(Tag tag) {
  char line[16];
  std::snprintf(line, sizeof line, "(%04X,%04X)", static_cast<unsigned>(tag >> 16), static_cast<unsigned>(tag & 0xffff));
  return line;
}

const Element* Dataset::find(Tag tag) const {
  const auto at = std::lower_bound(elements.begin(), elements.end(), tag, [](const Element& e, Tag t) { return e.tag < t; });
  return at != elements.end() && at->tag == tag ? &*at : nullptr;
}

bool has_dicom_start(const std::filesystem::path& path) {
  std::vector<std::byte> first(138);
  first.resize(InputFile(path, false).read(first));
  return start_of(first).has_value();
}

File load(const std::filesystem::path& path, Index max_bytes) {
  File file{.path = path};
  file.bytes = read_file(path, {.max_bytes = max_bytes});
  try {
    walk(file, max_bytes);
  } catch (const Error& error) {
    file.damage = error;
  }
  sort_by_tag(file.dataset);
  return file;
}

}   // namespace ctseg::io::dicom
