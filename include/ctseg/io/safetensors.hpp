// safetensors: named arrays in one file, the native checkpoint. The reader takes the strict grammar and nothing else.
#pragma once
#include "tensor_file.hpp"

namespace ctseg::io {

struct SafetensorsOptions {
  Index max_header_bytes = Index{16} << 20;
  Index max_bytes = Index{1} << 36;
};

namespace safetensors {

inline constexpr std::pair<const char*, Dtype> kNames[] = {{"F64", Dtype::f64},   {"F32", Dtype::f32}, {"F16", Dtype::f16},
                                                           {"BF16", Dtype::bf16}, {"I64", Dtype::i64}, {"I32", Dtype::i32},
                                                           {"I16", Dtype::i16},   {"U16", Dtype::u16}, {"U8", Dtype::u8}};
inline const char* name_of(Dtype d) { return kNames[static_cast<std::size_t>(d)].first; }

/// Length of the UTF-8 sequence at the front of `s`; 0 if it is none (overlong forms and surrogates included).
inline std::size_t utf8_length(std::string_view s) {
  const auto byte = [&](std::size_t i) { return i < s.size() ? static_cast<unsigned char>(s[i]) : 0u; };
  const auto tail = [&](std::size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const unsigned a = byte(0), b = byte(1);
  if (a < 0x80) return 1;
  if (a >= 0xC2 && a <= 0xDF && tail(1)) return 2;
  if ((a & 0xF0) == 0xE0 && tail(1) && tail(2) && !(a == 0xE0 && b < 0xA0) && !(a == 0xED && b > 0x9F)) return 3;
  if (a >= 0xF0 && a <= 0xF4 && tail(1) && tail(2) && tail(3) && !(a == 0xF0 && b < 0x90) && !(a == 0xF4 && b > 0x8F)) return 4;
  return 0;
}

/// One tensor as the header describes it.
struct Entry {
  std::string name;
  Dtype dtype = Dtype::f32;
  std::vector<Index> shape{};
  Index begin = 0, end = 0;
};

/// The JSON that a header may hold: an object of objects with three known keys, and one of strings. Depth is fixed by the
/// grammar.
class HeaderParser {
 public:
  HeaderParser(std::string_view json, std::string_view file) : json_(json), file_(file) {}

  std::vector<Entry> parse(std::map<std::string, std::string>& metadata) {
    std::map<std::string, Entry> entries;   // sorted, and finds duplicates
    bool metadata_seen = false;
    if (json_.empty() || json_[0] != '{') fail("must begin with '{'");
    object([&](std::string key) {
      if (key == "__metadata__") {
        if (std::exchange(metadata_seen, true)) fail("has two __metadata__ objects");
        object([&](std::string name) {
          std::string value = string();
          if (!metadata.emplace(name, std::move(value)).second)
            fail(text("has the key \"", printable(name), "\" twice in __metadata__"));
        });
      } else {
        Entry entry = tensor(key);
        if (!entries.emplace(key, std::move(entry)).second) fail(text("has the tensor \"", printable(key), "\" twice"));
      }
    });
    space();
    if (at_ != json_.size()) fail("goes on after the closing brace");
    std::vector<Entry> out;
    for (auto& [name, entry] : entries) out.push_back(std::move(entry));
    return out;
  }

 private:
  [[noreturn]] void fail(std::string_view what) const {
    throw Error(Code::bad_input, file_, text("safetensors header ", what, " (byte ", at_ + 8, ")."));
  }
  char peek() const { return at_ < json_.size() ? json_[at_] : '\0'; }
  void space() {
    while (peek() == ' ' || peek() == '\n' || peek() == '\r' || peek() == '\t') ++at_;
  }
  bool take(char c) {
    space();
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) fail(text("is not as expected: '", std::string(1, c), "' must come here"));
  }

  template <class F> void object(F&& member) {
    expect('{');
    if (take('}')) return;
    do {
      std::string key = string();
      expect(':');
      member(std::move(key));
    } while (take(','));
    expect('}');
  }

  unsigned hex4() {
    unsigned value = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = peek();
      const std::size_t digit = std::string_view("0123456789abcdef").find(c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c);
      if (c == '\0' || digit == std::string_view::npos) fail("has a \\u escape without four hexadecimal digits");
      value = value * 16 + static_cast<unsigned>(digit);
    }
    return value;
  }
  void escape(std::string& out) {
    const char c = peek();
    ++at_;
    const std::size_t simple = std::string_view("\"\\/bfnrt").find(c);
    if (c != '\0' && simple != std::string_view::npos) return out.push_back("\"\\/\b\f\n\r\t"[simple]);
    if (c != 'u') fail("has an unknown escape in a string");
    unsigned code = hex4();
    if (code >= 0xD800 && code < 0xDC00 && json_.substr(at_, 2) == "\\u") {
      at_ += 2;
      const unsigned low = hex4();
      code = low >= 0xDC00 && low < 0xE000 ? 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00) : 0xD800;
    }
    if (code >= 0xD800 && code < 0xE000) fail("has half a surrogate pair in a string");
    const auto put = [&](unsigned byte) { out.push_back(static_cast<char>(byte)); };
    if (code < 0x80) return put(code);
    if (code < 0x800) return put(0xC0 | code >> 6), put(0x80 | (code & 63));
    if (code < 0x10000)
      put(0xE0 | code >> 12);
    else
      put(0xF0 | code >> 18), put(0x80 | (code >> 12 & 63));
    put(0x80 | (code >> 6 & 63)), put(0x80 | (code & 63));
  }
  std::string string() {
    expect('"');
    std::string out;
    while (peek() != '"') {
      if (at_ >= json_.size()) fail("ends inside a string");
      if (static_cast<unsigned char>(peek()) < 0x20) fail("has a control character in a string");
      if (peek() == '\\') {
        ++at_;
        escape(out);
        continue;
      }
      const std::size_t length = utf8_length(json_.substr(at_));
      if (length == 0) fail("is not UTF-8");
      out += json_.substr(at_, length);
      at_ += length;
    }
    ++at_;
    return out;
  }

  Index number() {
    space();
    const std::size_t first = at_;
    Index value = 0;
    for (; peek() >= '0' && peek() <= '9'; ++at_) {
      const Index digit = peek() - '0';
      if (value > (std::numeric_limits<Index>::max() - digit) / 10) fail("has a number that is too large");
      value = value * 10 + digit;
    }
    if (at_ == first) fail("must have a whole number, 0 or more, here");
    if (json_[first] == '0' && at_ > first + 1) fail("has a number with a leading zero");
    return value;
  }
  std::vector<Index> numbers() {
    std::vector<Index> out;
    expect('[');
    if (take(']')) return out;
    do {
      if (out.size() == 32) fail("has a tensor of more than 32 dimensions");
      out.push_back(number());
    } while (take(','));
    expect(']');
    return out;
  }

  Entry tensor(const std::string& name) {
    Entry entry{name};
    bool dtype = false, shape = false, offsets = false;
    object([&](const std::string& key) {
      if (key == "dtype" && !std::exchange(dtype, true)) {
        const std::string type = string();
        bool known = false;
        for (const auto& [label, value] : kNames)
          if (type == label) entry.dtype = value, known = true;
        if (!known)
          fail(text("gives \"", printable(name), "\" the dtype \"", printable(type),
                    "\"; known are F64 F32 F16 BF16 I64 I32 I16 U16 U8"));
      } else if (key == "shape" && !std::exchange(shape, true)) {
        entry.shape = numbers();
      } else if (key == "data_offsets" && !std::exchange(offsets, true)) {
        const std::vector<Index> pair = numbers();
        if (pair.size() != 2 || pair[0] > pair[1])
          fail(text("gives \"", printable(name), "\" wrong data_offsets; must be [begin, end], begin <= end"));
        entry.begin = pair[0];
        entry.end = pair[1];
      } else {
        fail(text("gives \"", printable(name), "\" an unknown or repeated key \"", printable(key), "\""));
      }
    });
    if (!(dtype && shape && offsets))
      fail(text("gives \"", printable(name), "\" no dtype, shape or data_offsets; it needs all three"));
    return entry;
  }

  std::string_view json_, file_;
  std::size_t at_ = 0;
};

/// Every byte of the data belongs to exactly one tensor, and each tensor has the bytes of its shape.
inline void check_layout(std::vector<Entry>& entries, Index data_bytes, std::string_view file) {
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.begin != b.begin ? a.begin < b.begin : a.end < b.end; });
  Index at = 0;
  for (const Entry& e : entries) {
    const Index need = byte_count(e.shape, e.dtype);
    if (need != e.end - e.begin)
      throw Error(Code::bad_input, file,
                  text("tensor \"", printable(e.name), "\": data_offsets = [", e.begin, ", ", e.end, "] hold ", e.end - e.begin,
                       " bytes; shape and dtype ", name_of(e.dtype),
                       need < 0 ? std::string(" are too large to count.") : text(" need ", need, ".")));
    if (e.begin != at)
      throw Error(Code::bad_input, file,
                  text("tensor \"", printable(e.name), "\": data_offsets begin at ", e.begin,
                       e.begin < at ? ", inside the tensor before it" : ", which leaves a hole", "; must be ", at, "."));
    at = e.end;
  }
  if (at != data_bytes)
    throw Error(Code::bad_input, file,
                text("data_offsets end at ", at, ", the file has ", data_bytes, " bytes of data; ",
                     at < data_bytes ? "there are trailing bytes." : "it is truncated."));
}

inline void append_string(std::string& out, std::string_view words) {
  constexpr const char* kHex = "0123456789abcdef";
  out += '"';
  for (char c : words) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      out += '\\', out += c;
    else if (byte < 0x20)
      out += "\\u00", out += kHex[byte >> 4], out += kHex[byte & 15];
    else
      out += c;
  }
  out += '"';
}

inline void check_utf8(std::string_view words, std::string_view file) {
  for (std::string_view rest = words; !rest.empty();) {
    const std::size_t length = utf8_length(rest);
    if (length == 0)
      throw Error(Code::bad_argument, file,
                  text("\"", printable(words), "\" is not UTF-8, which names of tensors and metadata must be."));
    rest.remove_prefix(length);
  }
}
inline void check_record(const TensorRecord& t, std::string_view file) {
  check_utf8(t.name, file);
  if (t.name == "__metadata__") throw Error(Code::bad_argument, file, "a tensor cannot be named __metadata__.");
  const Index need = byte_count(t.shape, t.dtype);
  if (need != static_cast<Index>(t.bytes.size()))
    throw Error(
        Code::bad_argument, file,
        text("tensor \"", printable(t.name), "\" has ", t.bytes.size(), " bytes; its shape and dtype need ", need, "."));
}

/// The header for tensors in this order, padded so that the data begin at a multiple of 8.
inline std::string header_of(const std::vector<const TensorRecord*>& order,
                             const std::map<std::string, std::string>& metadata) {
  std::string json = "{";
  const char* comma = "";
  if (!metadata.empty()) {
    json += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) {
      json += std::exchange(comma, ",");
      append_string(json, key);
      json += ':';
      append_string(json, value);
    }
    json += '}';
  }
  Index at = 0;
  for (const TensorRecord* t : order) {
    json += std::exchange(comma, ",");
    append_string(json, t->name);
    json += text(":{\"dtype\":\"", name_of(t->dtype), "\",\"shape\":[");
    for (std::size_t i = 0; i < t->shape.size(); ++i) json += text(i ? "," : "", t->shape[i]);
    const Index end = at + static_cast<Index>(t->bytes.size());
    json += text("],\"data_offsets\":[", at, ",", end, "]}");
    at = end;
  }
  json += '}';
  json.append((8 - json.size() % 8) % 8, ' ');
  return json;
}

}   // namespace safetensors

/// The tensors of a safetensors file, in the order of their data, without reading those.
/// Errors    bad_input for a duplicate, hole, overlap, overflow, mismatch, unknown dtype or trailing byte, naming the tensor.
inline TensorIndex index_safetensors(ByteSource source, const SafetensorsOptions& options = {}) {
  const std::string& name = source.name();
  if (source.size() > options.max_bytes)
    throw Error(Code::bad_input, name,
                text("holds ", source.size(), " bytes; the most that is read is ", options.max_bytes, "."));
  std::uint64_t length = 0;
  constexpr Index kLength = sizeof length;
  if (source.size() < kLength)
    throw Error(Code::bad_input, name, text("has ", source.size(), " bytes; a safetensors file has 8 or more."));
  source.read(0, std::as_writable_bytes(std::span(&length, 1)));
  if (length > static_cast<std::uint64_t>(options.max_header_bytes))
    throw Error(Code::bad_input, name,
                text("safetensors header length = ", static_cast<double>(length), "; the limit is ", options.max_header_bytes,
                     " bytes."));
  const auto header = static_cast<Index>(length), data = kLength + header;
  if (data > source.size())
    throw Error(Code::bad_input, name,
                text("safetensors header length = ", header, ", but only ", source.size() - kLength, " bytes follow."));
  const std::string json = source.read(kLength, header);
  TensorIndex index{.bytes = source};
  std::vector<safetensors::Entry> entries = safetensors::HeaderParser(json, name).parse(index.metadata);
  safetensors::check_layout(entries, source.size() - data, name);
  for (safetensors::Entry& e : entries)
    index.tensors.push_back(
        {.name = std::move(e.name), .dtype = e.dtype, .shape = std::move(e.shape), .begin = data + e.begin});
  return index;
}

/// Reads the content of a safetensors file; `name` is what errors call it. Tensors come in the order of their data.
inline TensorFile parse_safetensors(std::span<const std::byte> bytes, std::string_view name,
                                    const SafetensorsOptions& options = {}) {
  return read_all(index_safetensors(ByteSource(bytes, name), options));
}
inline TensorFile read_safetensors(const std::filesystem::path& path, const SafetensorsOptions& options = {}) {
  return read_all(index_safetensors(ByteSource(path), options));
}

/// Writes tensors wide types first, then by name (each begins at a multiple of its size); equal content gives equal files.
/// Errors    bad_argument for duplicate names or bytes that do not fit the shape; io if it could not be written.
inline void write_safetensors(const std::filesystem::path& path, const TensorFile& file) {
  std::vector<const TensorRecord*> order;
  std::map<std::string_view, int> names;
  for (const TensorRecord& t : file.tensors) {
    safetensors::check_record(t, path.string());
    if (names[t.name]++ > 0)
      throw Error(Code::bad_argument, path.string(), text("two tensors are named \"", printable(t.name), "\"."));
    order.push_back(&t);
  }
  std::sort(order.begin(), order.end(), [](const TensorRecord* a, const TensorRecord* b) {
    return size_of(a->dtype) != size_of(b->dtype) ? size_of(a->dtype) > size_of(b->dtype) : a->name < b->name;
  });
  for (const auto& [key, value] : file.metadata)
    safetensors::check_utf8(key, path.string()), safetensors::check_utf8(value, path.string());
  const std::string json = safetensors::header_of(order, file.metadata);
  const std::uint64_t length = json.size();
  OutputFile out(path);
  out.write(std::as_bytes(std::span(&length, 1)));
  out.write(std::as_bytes(std::span(json)));
  for (const TensorRecord* t : order) out.write(t->bytes);
  out.commit();
}

}   // namespace ctseg::io
