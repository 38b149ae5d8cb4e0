// Checkpoints made by hand: a zip archive of stored entries, and pickles as strings.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <zlib.h>

namespace torch_zip {

inline std::string number(std::uint64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 255);
  return out;
}

struct Entry {
  std::string name, content;
  unsigned method = 0;
  long offset = -1;    // where the directory says that it begins; beyond 32 bits there is no such place; -1: where it does
  bool wide = false;   // sizes in the 64-bit extra field
  int crc_change = 0;
};

inline std::string zip(const std::vector<Entry>& entries) {
  std::string out, directory;
  for (const Entry& e : entries) {
    const auto crc = static_cast<unsigned>(
        ::crc32(0, reinterpret_cast<const Bytef*>(e.content.data()), static_cast<unsigned>(e.content.size())));
    const auto begin = e.offset < 0 ? out.size() : static_cast<std::size_t>(e.offset);
    const std::string sizes = e.wide ? std::string(8, '\xff') : number(e.content.size(), 4) + number(e.content.size(), 4);
    const bool far = begin >= 0xffffffff;
    const std::string numbers =
        (e.wide ? number(e.content.size(), 8) + number(e.content.size(), 8) : "") + (far ? number(begin, 8) : "");
    const std::string extra = numbers.empty() ? "" : number(1, 2) + number(numbers.size(), 2) + numbers;
    const std::string checked = number(crc + static_cast<unsigned>(e.crc_change), 4);
    if (!far)
      out += "PK\3\4" + number(20, 2) + number(0, 2) + number(e.method, 2) + number(0, 4) + checked + sizes +
             number(e.name.size(), 2) + number(0, 2) + e.name + e.content;
    directory += "PK\1\2" + number(20, 2) + number(20, 2) + number(0, 2) + number(e.method, 2) + number(0, 4) + checked +
                 sizes + number(e.name.size(), 2) + number(extra.size(), 2) + number(0, 2) + number(0, 2) + number(0, 2) +
                 number(0, 4) + number(far ? 0xffffffff : begin, 4) + e.name + extra;
  }
  return out + directory + "PK\5\6" + number(0, 4) + number(entries.size(), 2) + number(entries.size(), 2) +
         number(directory.size(), 4) + number(out.size(), 4) + number(0, 2);
}

/// A string in a pickle.
inline std::string words(const std::string& s) { return "X" + number(s.size(), 4) + s; }
inline std::string integer(long value) { return "\x8a\x08" + number(static_cast<std::uint64_t>(value), 8); }
inline std::string tuple(const std::vector<long>& values) {
  std::string out = "(";
  for (long v : values) out += integer(v);
  return out + "t";
}
/// A tensor of `stored` values in storage 0.
struct View {
  long stored = 4, offset = 0;
  std::vector<long> shape{4}, strides{1};
  std::string type = "FloatStorage";
};
inline std::string tensor(const View& v = {}) {
  return "ctorch._utils\n_rebuild_tensor_v2\n((" + words("storage") + "ctorch\n" + v.type + "\n" + words("0") + words("cpu") +
         integer(v.stored) + "tQ" + integer(v.offset) + tuple(v.shape) + tuple(v.strides) + "\x89}tR";
}
inline std::string pickle(const std::string& body) { return "\x80\x02" + body + "."; }
/// {"w": tensor}
inline std::string one(const std::string& value) { return pickle("}" + words("w") + value + "s"); }

inline std::string checkpoint(const std::string& data_pkl, const std::string& storage = std::string(16, '\1')) {
  return zip({{"a/data.pkl", data_pkl}, {"a/byteorder", "little"}, {"a/data/0", storage}, {"a/version", "3\n"}});
}

}   // namespace torch_zip
