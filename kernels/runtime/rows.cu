// Rows of bytes between buffers of different pitch: how a view that is a channel range goes to and from the host.
// Idea      one thread per word of 16, 8, 4, 2 or 1 bytes, the widest that addresses, pitches and rows allow; neighbouring threads
//           take neighbouring words of a row. Not for hot paths: networks move rows by kernels that also compute.
// Bytes     one read and one write of each byte. Not measured yet.
#include <cstring>
#include <vector>

#include "kernels/common/launch.cuh"

namespace ctseg::cuda {
namespace {

template <int Bytes> struct Word {
  alignas(Bytes) unsigned char at[Bytes];
};

template <class W> struct CopyRows {
  static constexpr const char* kName = "copy_rows";
  char* to;
  const char* from;
  Index to_pitch, from_pitch, words;
  CTSEG_DEVICE void operator()(Index i) const {
    const Index row = i / words, word = i % words;
    reinterpret_cast<W*>(to + row * to_pitch)[word] = reinterpret_cast<const W*>(from + row * from_pitch)[word];
  }
};

template <int Bytes> bool fits(const RowCopy& c) {
  return (reinterpret_cast<std::uintptr_t>(c.to) | reinterpret_cast<std::uintptr_t>(c.from) |
          static_cast<std::uintptr_t>(c.to_pitch | c.from_pitch | c.row_bytes)) %
             Bytes == 0;
}
template <int Bytes> void copy_words(Stream stream, const RowCopy& c) {
  using W = Word<Bytes>;
  if constexpr (Bytes > 1)
    if (!fits<Bytes>(c)) return copy_words<Bytes / 2>(stream, c);
  for_each(stream, c.rows * (c.row_bytes / Bytes),
           CopyRows<W>{static_cast<char*>(c.to), static_cast<const char*>(c.from), c.to_pitch, c.from_pitch, c.row_bytes / Bytes});
}

/// Memory on the device for as long as a copy takes.
struct Staging {
  explicit Staging(Index bytes) : data(allocate(bytes)) {}
  ~Staging() { release(data); }
  Staging(const Staging&) = delete;
  void* data;
};

bool packed(Index pitch, const RowCopy& c) { return pitch == c.row_bytes || c.rows == 1; }

}   // namespace

void copy_rows(Stream stream, const RowCopy& c) {
  if (c.rows == 0 || c.row_bytes == 0) return;
  if (packed(c.to_pitch, c) && packed(c.from_pitch, c)) return copy_on_device(stream, c.to, c.from, c.rows * c.row_bytes);
  copy_words<16>(stream, c);
}

void upload(Stream stream, const RowCopy& c) {
  const Index bytes = c.rows * c.row_bytes;
  if (bytes == 0) return;
  if (!packed(c.to_pitch, c)) {
    const Staging staging(bytes);
    upload(stream, {staging.data, c.row_bytes, c.from, c.from_pitch, c.row_bytes, c.rows});
    copy_rows(stream, {c.to, c.to_pitch, staging.data, c.row_bytes, c.row_bytes, c.rows});
    return synchronize(stream);
  }
  if (packed(c.from_pitch, c)) return copy_to_device(stream, c.to, c.from, bytes);
  std::vector<char> host(static_cast<std::size_t>(bytes));
  for (Index r = 0; r < c.rows; ++r)
    std::memcpy(host.data() + r * c.row_bytes, static_cast<const char*>(c.from) + r * c.from_pitch,
                static_cast<std::size_t>(c.row_bytes));
  copy_to_device(stream, c.to, host.data(), bytes);
}

void download(Stream stream, const RowCopy& c) {
  const Index bytes = c.rows * c.row_bytes;
  if (bytes == 0) return;
  if (!packed(c.from_pitch, c)) {
    const Staging staging(bytes);
    copy_rows(stream, {staging.data, c.row_bytes, c.from, c.from_pitch, c.row_bytes, c.rows});
    return download(stream, {c.to, c.to_pitch, staging.data, c.row_bytes, c.row_bytes, c.rows});
  }
  if (packed(c.to_pitch, c)) {
    copy_to_host(stream, c.to, c.from, bytes);
    return synchronize(stream);
  }
  std::vector<char> host(static_cast<std::size_t>(bytes));
  copy_to_host(stream, host.data(), c.from, bytes);
  synchronize(stream);
  for (Index r = 0; r < c.rows; ++r)
    std::memcpy(static_cast<char*>(c.to) + r * c.to_pitch, host.data() + r * c.row_bytes, static_cast<std::size_t>(c.row_bytes));
}

}   // namespace ctseg::cuda
