// TensorBoard's event files: records with checksums, each one protobuf message, written by hand for there are five kinds of field.
#pragma once
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>

#include "../core/finite.hpp"
#include "file.hpp"
#include "png.hpp"

namespace ctseg::io {

/// CRC-32C (Castagnoli), which zlib does not have.
inline std::uint32_t crc32c(std::string_view bytes) {
  static constexpr auto kTable = [] {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t c = i;
      for (int bit = 0; bit < 8; ++bit) c = c & 1 ? 0x82f63b78u ^ c >> 1 : c >> 1;
      table[i] = c;
    }
    return table;
  }();
  std::uint32_t c = 0xffffffffu;
  for (const char b : bytes) c = kTable[(c ^ static_cast<unsigned char>(b)) & 255] ^ c >> 8;
  return ~c;
}

namespace event_file {

/// One protobuf message under construction.
class Message {
 public:
  Message& number(int field, std::uint64_t value) { return varint(static_cast<std::uint64_t>(field) << 3).varint(value); }
  Message& real(int field, double value) { return varint(static_cast<std::uint64_t>(field) << 3 | 1).raw(value); }
  Message& real32(int field, float value) { return varint(static_cast<std::uint64_t>(field) << 3 | 5).raw(value); }
  Message& bytes(int field, std::string_view value) {
    varint(static_cast<std::uint64_t>(field) << 3 | 2).varint(value.size());
    text_ += value;
    return *this;
  }
  Message& message(int field, const Message& inner) { return bytes(field, inner.text_); }
  Message& reals(int field, const std::vector<double>& values) {
    Message packed;
    for (const double v : values) packed.raw(v);
    return bytes(field, packed.text_);
  }
  const std::string& text() const { return text_; }

 private:
  Message& varint(std::uint64_t value) {
    for (; value >= 128; value >>= 7) text_ += static_cast<char>(value | 128);
    text_ += static_cast<char>(value);
    return *this;
  }
  template <class T> Message& raw(T value) {
    static_assert(std::endian::native == std::endian::little);
    char bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof(T));
    text_.append(bytes, sizeof(T));
    return *this;
  }
  std::string text_;
};

}   // namespace event_file

/// Appends to a file of its own in a folder, each record at once, so that TensorBoard can be watched while training goes on:
/// tensorboard --logdir FOLDER. A resumed training begins a new file beside the old one.
/// Errors    io if the folder or file cannot be made or written.
class EventFile {
 public:
  /// seconds: since 1970, the beginning of the run; names the file and dates the records.
  EventFile(const std::filesystem::path& folder, double seconds) : seconds_(seconds) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) throw Error(Code::io, folder.string(), text("cannot be made: ", error.message(), "."));
    for (int attempt = 0;; ++attempt) {
      path_ = folder / text("events.out.tfevents.", static_cast<Index>(seconds), ".ctseg.", static_cast<Index>(::getpid()), ".",
                            attempt);
      file_ = FileDescriptor(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666));
      if (file_.number() >= 0) break;
      if (errno != EEXIST || attempt == 1000) throw system_error(path_, "create");
    }
    record(event(0).bytes(3, "brain.Event:2"));
  }

  const std::filesystem::path& path() const { return path_; }

  /// A run that begins at this step: what an interrupted one wrote from there on is no longer shown.
  void begin(Index step, double seconds) {
    seconds_ = seconds;
    record(event(step).message(7, Message().number(1, 1)));
  }
  void scalar(const std::string& tag, double value, Index step, double seconds) {
    seconds_ = seconds;
    value_of(step, Message().bytes(1, tag).real32(2, static_cast<float>(value)));
  }
  void image(const std::string& tag, const RgbImage& picture, Index step, double seconds) {
    seconds_ = seconds;
    const auto png = encode_png(picture);
    const auto width = static_cast<std::uint64_t>(picture.width), height = static_cast<std::uint64_t>(picture.height);
    Message image;
    image.number(1, height).number(2, width).number(3, 3).bytes(4, {reinterpret_cast<const char*>(png.data()), png.size()});
    value_of(step, Message().bytes(1, tag).message(4, image));
  }
  /// How values are distributed, in 64 intervals from the least to the largest; values that are not finite are left out.
  void histogram(const std::string& tag, std::span<const float> values, Index step, double seconds) {
    seconds_ = seconds;
    constexpr int kIntervals = 64;
    double least = 0, most = 0, sum = 0, squares = 0, count = 0;
    for (const float v : values) {
      if (!is_finite(v)) continue;
      const double d = double{v};
      least = count == 0 ? d : std::min(least, d), most = count == 0 ? d : std::max(most, d);
      sum += d, squares += d * d, ++count;
    }
    const double width = most > least ? (most - least) / kIntervals : 1;
    std::vector<double> limits(kIntervals), counts(kIntervals);
    for (int i = 0; i < kIntervals; ++i) limits[static_cast<std::size_t>(i)] = least + (i + 1) * width;
    for (const float v : values)
      if (is_finite(v)) ++counts[static_cast<std::size_t>(std::min<double>((double{v} - least) / width, kIntervals - 1))];
    Message histogram;
    histogram.real(1, least).real(2, most).real(3, count).real(4, sum).real(5, squares).reals(6, limits).reals(7, counts);
    value_of(step, Message().bytes(1, tag).message(5, histogram));
  }

 private:
  using Message = event_file::Message;

  Message event(Index step) const { return Message().real(1, seconds_).number(2, static_cast<std::uint64_t>(step)); }
  void value_of(Index step, const Message& value) { record(event(step).message(5, Message().message(1, value))); }

  static std::uint32_t masked(std::uint32_t crc) { return (crc >> 15 | crc << 17) + 0xa282ead8u; }
  /// length, its checksum, the message, its checksum.
  void record(const Message& message) {
    const auto little = [](auto value) {
      std::string bytes(sizeof value, '\0');
      std::memcpy(bytes.data(), &value, sizeof value);
      return bytes;
    };
    const std::string length = little(static_cast<std::uint64_t>(message.text().size()));
    const std::string all = length + little(masked(crc32c(length))) + message.text() + little(masked(crc32c(message.text())));
    for (std::string_view rest = all; !rest.empty();) {
      const ssize_t n = ::write(file_.number(), rest.data(), rest.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) throw system_error(path_, "write");
      rest.remove_prefix(static_cast<std::size_t>(n));
    }
  }

  std::filesystem::path path_;
  FileDescriptor file_;
  double seconds_;
};

}   // namespace ctseg::io
