// The directory of a zip archive whose entries are stored as they are: where each one's bytes lie in the file. Strict, because
// readers that disagree about an archive are how one file becomes two: no gap in the rules, no overlap, no second name.
#pragma once
#include "tensor_file.hpp"

namespace ctseg::io {

struct ZipEntry {
  std::string name;
  Index header = 0, limit = 0;   // where its local header begins, and the entry behind it
  Index bytes = 0;               // of its content
  Index packed = 0;              // of what lies in the archive
  std::uint32_t crc = 0;         // 0: not computed
  unsigned method = 0, flags = 0;
};

struct ZipOptions {
  Index max_directory_bytes = Index{64} << 20;
};

class ZipDirectory {
 public:
  /// Errors    bad_input if the end, the directory or two entries are not as a zip's must be.
  explicit ZipDirectory(ByteSource source, const ZipOptions& options = {}) : source_(std::move(source)) {
    const End end = find_end();
    if (end.bytes > options.max_directory_bytes)
      refuse(text("has a directory of ", end.bytes, " bytes; the most is ", options.max_directory_bytes));
    if (end.bytes < 0 || end.begin < 0 || end.entries < 0 || end.begin > end.at - end.bytes || end.begin + end.bytes != end.at)
      refuse(text("has no directory of ", end.bytes, " bytes at ", end.begin));
    read_entries(end);
    check_overlaps(end.begin);
  }

  /// Sorted by name.
  const std::vector<ZipEntry>& entries() const { return entries_; }
  const ZipEntry* find(std::string_view name) const {
    const auto at = std::lower_bound(entries_.begin(), entries_.end(), name,
                                     [](const ZipEntry& e, std::string_view key) { return e.name < key; });
    return at == entries_.end() || at->name != name ? nullptr : &*at;
  }
  /// Where the content of an entry lies.
  /// Errors    unsupported if it is compressed or encrypted; bad_input if its own header says something else.
  ChecksumBlock locate(const ZipEntry& e) const {
    if (e.method != 0 || (e.flags & 1) != 0)
      throw Error(Code::unsupported, source_.name(),
                  text("entry ", printable(e.name), (e.flags & 1) != 0 ? " is encrypted" : " is compressed", " (method ",
                       int(e.method), "); torch.save stores entries as they are. Hint: save it again with torch.save."));
    return {.begin = begin_of(e), .bytes = e.bytes, .crc = e.crc};
  }
  /// Where the `packed` bytes of an entry begin, whatever was done to them.
  /// Errors    bad_input if its own header says something else.
  Index begin_of(const ZipEntry& e) const {
    const std::string header = source_.read(e.header, kLocal);
    const Index name = number(header, 26, 2), extra = number(header, 28, 2), begin = e.header + kLocal + name + extra;
    if (header.compare(0, 4, "PK\3\4") != 0 || source_.read(e.header + kLocal, name) != e.name || e.packed > e.limit - begin)
      refuse(text("has an entry ", printable(e.name), " whose own header does not agree with the directory"));
    return begin;
  }

 private:
  static constexpr Index kEnd = 22, kLocator = 20, kEnd64 = 56, kCentral = 46, kLocal = 30;
  struct End {
    Index at = 0, entries = 0, bytes = 0, begin = 0;   // at: where the directory must end
  };

  [[noreturn]] void refuse(std::string_view what) const {
    throw Error(Code::bad_input, source_.name(),
                text("the zip archive ", std::string(what), ". Hint: the file is damaged or truncated; copy it again."));
  }
  /// Little-endian, without sign; beyond 63 bits -1.
  static Index number(const std::string& bytes, Index at, std::size_t size) {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data() + at, size);
    return value > std::uint64_t{std::numeric_limits<Index>::max()} ? -1 : static_cast<Index>(value);
  }

  /// The end of a file that torch.save wrote: nothing behind it, and the 64-bit form beside the old one.
  End find_end() const {
    if (source_.size() < kEnd) refuse(text("has ", source_.size(), " bytes"));
    const Index at = source_.size() - kEnd;
    const std::string end = source_.read(at, kEnd);
    if (end.compare(0, 4, "PK\5\6") != 0 || number(end, 20, 2) != 0) refuse("has no end in its last 22 bytes");
    if (number(end, 4, 4) != 0) refuse("is one of several parts");
    const End old{.at = at, .entries = number(end, 10, 2), .bytes = number(end, 12, 4), .begin = number(end, 16, 4)};
    if (at < kLocator + kEnd64) return old;
    const std::string locator = source_.read(at - kLocator, kLocator);
    if (locator.compare(0, 4, "PK\6\7") != 0) return old;
    const Index at64 = number(locator, 8, 8);
    if (at64 != at - kLocator - kEnd64) refuse(text("says that its 64-bit end lies at ", at64));
    const std::string end64 = source_.read(at64, kEnd64);
    if (end64.compare(0, 4, "PK\6\6") != 0) refuse("has no 64-bit end");
    return {.at = at64, .entries = number(end64, 32, 8), .bytes = number(end64, 40, 8), .begin = number(end64, 48, 8)};
  }

  void read_entries(const End& end) {
    const std::string all = source_.read(end.begin, end.bytes);
    Index at = 0;
    while (at < end.bytes) {
      if (end.bytes - at < kCentral || all.compare(static_cast<std::size_t>(at), 4, "PK\1\2") != 0)
        refuse("has a damaged directory");
      const Index name = number(all, at + 28, 2), extra = number(all, at + 30, 2), comment = number(all, at + 32, 2);
      if (end.bytes - at - kCentral < name + extra + comment) refuse("has a damaged directory");
      ZipEntry e{.name = all.substr(static_cast<std::size_t>(at + kCentral), static_cast<std::size_t>(name)),
                 .header = number(all, at + 42, 4),
                 .bytes = number(all, at + 24, 4),
                 .crc = static_cast<std::uint32_t>(number(all, at + 16, 4)),
                 .method = static_cast<unsigned>(number(all, at + 10, 2)),
                 .flags = static_cast<unsigned>(number(all, at + 8, 2))};
      Index packed = number(all, at + 20, 4);
      widen(e, packed, all.substr(static_cast<std::size_t>(at + kCentral + name), static_cast<std::size_t>(extra)));
      e.packed = packed;
      if (e.method == 0 && packed != e.bytes) refuse(text("has an entry ", printable(e.name), " of two sizes"));
      entries_.push_back(std::move(e));
      at += kCentral + name + extra + comment;
    }
    if (std::ssize(entries_) != end.entries) refuse(text("has ", entries_.size(), " entries and says ", end.entries));
  }
  /// Numbers that 32 bits do not hold stand in an extra field, in a fixed order.
  void widen(ZipEntry& e, Index& packed, const std::string& extra) const {
    constexpr Index kFull = 0xffffffff;
    std::vector<Index*> wide;
    for (Index* n : {&e.bytes, &packed, &e.header})
      if (*n == kFull) wide.push_back(n);
    if (wide.empty()) return;
    for (Index at = 0; at + 4 <= std::ssize(extra);) {
      const Index kind = number(extra, at, 2), size = number(extra, at + 2, 2);
      at += 4;
      if (size > std::ssize(extra) - at) break;
      if (kind == 1 && size >= 8 * std::ssize(wide)) {
        for (Index* n : wide) *n = number(extra, std::exchange(at, at + 8), 8);
        if (e.bytes < 0 || packed < 0 || e.header < 0) break;
        return;
      }
      at += size;
    }
    refuse(text("has an entry ", printable(e.name), " without the size that it needs"));
  }

  void check_overlaps(Index directory) {
    std::vector<ZipEntry*> order;
    for (ZipEntry& e : entries_) order.push_back(&e);
    std::sort(order.begin(), order.end(), [](const ZipEntry* a, const ZipEntry* b) { return a->header < b->header; });
    for (std::size_t k = 0; k < order.size(); ++k) {
      ZipEntry& e = *order[k];
      e.limit = k + 1 < order.size() ? order[k + 1]->header : directory;
      if (e.header > e.limit || e.limit - e.header - kLocal - std::ssize(e.name) < (e.method == 0 ? e.bytes : 0))
        refuse(text("has an entry ", printable(e.name), " that reaches into the next one"));
    }
    std::sort(entries_.begin(), entries_.end(), [](const ZipEntry& a, const ZipEntry& b) { return a.name < b.name; });
    for (std::size_t k = 1; k < entries_.size(); ++k)
      if (entries_[k].name == entries_[k - 1].name) refuse(text("has the entry ", printable(entries_[k].name), " twice"));
  }

  ByteSource source_;
  std::vector<ZipEntry> entries_;
};

}   // namespace ctseg::io
