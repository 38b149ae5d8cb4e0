// Named tensors as weight files hold them: an index says where each lies, and one at a time is read, so that loading a network
// needs the memory of its largest tensor. Reads instead of mapping: a file that shrinks meanwhile is an error, not a signal.
#pragma once
#include <bit>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <string>

#include "../core/dtype.hpp"
#include "file.hpp"

namespace ctseg::io {

static_assert(std::endian::native == std::endian::little, "ctseg: weights are read and written on little-endian machines");

struct TensorRecord {
  std::string name;
  Dtype dtype = Dtype::f32;
  std::vector<Index> shape{};       // empty: one number
  std::vector<std::byte> bytes{};   // little-endian, last axis fastest
};

struct TensorFile {
  std::vector<TensorRecord> tensors{};
  std::map<std::string, std::string> metadata{};
};

/// Bytes of a file, or of memory, read at any place; `name` is what errors call them.
class ByteSource {
 public:
  explicit ByteSource(const std::filesystem::path& path)
      : name_(path.string()), file_(std::make_shared<InputFile>(path, false)), size_(file_->most_bytes()) {}
  ByteSource(std::span<const std::byte> memory, std::string_view name)
      : name_(name), memory_(memory), size_(std::ssize(memory)) {}

  const std::string& name() const { return name_; }
  Index size() const { return size_; }
  void read(Index at, std::span<std::byte> out) const {
    const Index count = std::ssize(out);
    check(at, count);
    if (file_) return file_->read_at(at, out);
    if (count > 0) std::memcpy(out.data(), memory_.data() + at, static_cast<std::size_t>(count));
  }
  std::string read(Index at, Index count) const {
    check(at, count);
    std::string out(static_cast<std::size_t>(count), '\0');
    read(at, std::as_writable_bytes(std::span(out)));
    return out;
  }

 private:
  void check(Index at, Index count) const {
    if (at < 0 || count < 0 || count > size_ || at > size_ - count)
      throw Error(Code::bad_input, name_,
                  text("has ", size_, " bytes; ", count, " are needed at byte ", at, ". Hint: the file is truncated."));
  }

  std::string name_;
  std::shared_ptr<InputFile> file_{};
  std::span<const std::byte> memory_{};
  Index size_ = 0;
};

/// Where a tensor lies in its file.
struct TensorEntry {
  std::string name;
  Dtype dtype = Dtype::f32;
  std::vector<Index> shape{};
  std::vector<Index> strides{};   // in values; empty: packed, last axis fastest
  Index begin = 0;                // byte of its first value
  Index block = -1;               // of TensorIndex::blocks; -1: none
};

/// Bytes with a checksum; several tensors may lie in one.
struct ChecksumBlock {
  Index begin = 0, bytes = 0;
  std::uint32_t crc = 0;
};

/// A file's tensors; their bytes stay in the file until `read_tensor`.
struct TensorIndex {
  ByteSource bytes;
  std::vector<TensorEntry> tensors{};
  std::map<std::string, std::string> metadata{};
  std::vector<ChecksumBlock> blocks{};
};

/// "[2,1,3,3]"
inline std::string shape_text(const std::vector<Index>& shape) {
  std::string out = "[";
  for (std::size_t d = 0; d < shape.size(); ++d) out += (d ? "," : "") + text(shape[d]);
  return out + "]";
}

/// What a file calls something, safe to print: at most 80 characters of ASCII.
inline std::string printable(std::string_view words) {
  std::string out(words.substr(0, 80));
  for (char& c : out)
    if (c < ' ' || c > '~') c = '?';
  return words.size() > 80 ? out + "..." : out;
}

/// Bytes of a tensor; -1 if they cannot be counted.
inline Index byte_count(const std::vector<Index>& shape, Dtype dtype) {
  Index count = size_of(dtype);
  for (Index e : shape) {
    if (e < 0 || (e > 0 && count > (std::numeric_limits<Index>::max() / 8) / e)) return -1;
    count *= e;
  }
  return count;
}

/// Bytes from a tensor's first value to behind its last one, in the file; -1 if they cannot be counted.
inline Index byte_span(const TensorEntry& t) {
  const Index packed = byte_count(t.shape, t.dtype);
  if (t.strides.empty() || packed <= 0) return packed;
  Index last = 0;
  for (std::size_t d = 0; d < t.shape.size(); ++d) {
    const Index steps = t.shape[d] - 1, stride = t.strides[d];
    if (stride < 0 || (steps > 0 && stride > (std::numeric_limits<Index>::max() / 16 - last) / steps)) return -1;
    last += steps * stride;
  }
  return (last + 1) * size_of(t.dtype);
}

namespace tensor_file {

/// Values at strides, one after the other.
inline std::vector<std::byte> packed(const TensorEntry& t, const std::vector<std::byte>& spread) {
  const auto size = static_cast<std::size_t>(size_of(t.dtype));
  std::vector<std::byte> out(static_cast<std::size_t>(byte_count(t.shape, t.dtype)));
  std::vector<Index> at(t.shape.size(), 0);
  Index from = 0;
  for (std::size_t to = 0; to < out.size(); to += size) {
    std::memcpy(out.data() + to, spread.data() + static_cast<std::size_t>(from) * size, size);
    for (std::size_t d = at.size(); d-- > 0;) {
      from += t.strides[d];
      if (++at[d] < t.shape[d]) break;
      from -= t.strides[d] * at[d];
      at[d] = 0;
    }
  }
  return out;
}

}   // namespace tensor_file

/// The values of a tensor, packed with the last axis fastest.
inline std::vector<std::byte> read_tensor(const TensorIndex& index, const TensorEntry& t) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(std::max<Index>(byte_span(t), 0)));
  index.bytes.read(t.begin, bytes);
  return t.strides.empty() || bytes.empty() ? bytes : tensor_file::packed(t, bytes);
}

/// Errors    bad_input if bytes are not those that were written.
inline void check_block(const ByteSource& source, const ChecksumBlock& block) {
  std::vector<std::byte> piece(static_cast<std::size_t>(std::min<Index>(block.bytes, 1 << 18)));
  std::uint32_t crc = 0;
  for (Index at = 0; at < block.bytes; at += std::ssize(piece)) {
    piece.resize(static_cast<std::size_t>(std::min(std::ssize(piece), block.bytes - at)));
    source.read(block.begin + at, piece);
    crc =
        static_cast<std::uint32_t>(::crc32(crc, reinterpret_cast<const Bytef*>(piece.data()), static_cast<uInt>(piece.size())));
  }
  if (crc != block.crc)
    throw Error(Code::bad_input, source.name(),
                text("the ", block.bytes, " bytes at ", block.begin,
                     " do not have the checksum that the file gives them. Hint: it is damaged; copy it again."));
}

/// Every tensor with its bytes, checksums compared.
inline TensorFile read_all(const TensorIndex& index) {
  for (const ChecksumBlock& block : index.blocks) check_block(index.bytes, block);
  TensorFile file{.tensors = {}, .metadata = index.metadata};
  for (const TensorEntry& t : index.tensors) file.tensors.push_back({t.name, t.dtype, t.shape, read_tensor(index, t)});
  return file;
}

}   // namespace ctseg::io
