// JPEG 2000 by OpenJPEG. The size that a code stream claims is checked before OpenJPEG hears of it, because it takes memory for
// every tile and component it is told of.
#include <openjpeg.h>

#include <algorithm>
#include <cstring>

#include "decode.hpp"

namespace ctseg::io::dicom {

namespace {

constexpr std::uint32_t kMaxTiles = 4096;

std::uint32_t big_endian(std::span<const std::byte> bytes, std::size_t at, std::size_t count) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < count; ++i) value = value << 8 | static_cast<std::uint32_t>(bytes[at + i]);
  return value;
}

/// The bare code stream: some writers leave it in its JP2 box.
std::span<const std::byte> code_stream(std::span<const std::byte> stream) {
  if (stream.size() < 12 || big_endian(stream, 4, 4) != 0x6a502020) return stream;
  for (std::size_t at = 0; at + 8 <= stream.size();) {
    const std::uint32_t length = big_endian(stream, at, 4);
    if (big_endian(stream, at + 4, 4) == 0x6a703263) return stream.subspan(at + 8);
    if (length < 8) break;
    at += length;
  }
  return stream;
}

/// Reads the SIZ marker that opens every code stream.
void check_size(const File& file, const PixelFormat& f, std::span<const std::byte> s) {
  const auto refuse = [&](const std::string& message) {
    throw Error(Code::bad_input, file.path.string(), text("the JPEG 2000 stream ", message));
  };
  if (s.size() < 43 || big_endian(s, 0, 4) != 0xff4fff51) refuse("does not begin with its size. Hint: the file is damaged.");
  const std::uint32_t x1 = big_endian(s, 8, 4), y1 = big_endian(s, 12, 4), x0 = big_endian(s, 16, 4), y0 = big_endian(s, 20, 4),
                      tile_x = big_endian(s, 24, 4), tile_y = big_endian(s, 28, 4), components = big_endian(s, 40, 2);
  if (x1 < x0 || y1 < y0 || Index{x1 - x0} != f.columns || Index{y1 - y0} != f.rows || components != 1)
    refuse(text("holds ", Index{x1} - Index{x0}, " x ", Index{y1} - Index{y0}, " pixels of ", Index{components},
                " component(s); the header says ", f.columns, " x ", f.rows, " of one."));
  if (tile_x == 0 || tile_y == 0 || (Index{x1 - x0} / tile_x + 2) * (Index{y1 - y0} / tile_y + 2) > kMaxTiles)
    refuse(
        text("has tiles of ", Index{tile_x}, " x ", Index{tile_y}, "; more than ", Index{kMaxTiles}, " tiles are not read."));
}

/// OpenJPEG's way to read from memory.
struct Source {
  std::span<const std::byte> bytes;
  std::size_t at = 0;

  static OPJ_SIZE_T read(void* out, OPJ_SIZE_T count, void* user) {
    auto& s = *static_cast<Source*>(user);
    const std::size_t got = std::min<std::size_t>(count, s.bytes.size() - s.at);
    if (got == 0) return static_cast<OPJ_SIZE_T>(-1);
    std::memcpy(out, s.bytes.data() + s.at, got);
    s.at += got;
    return got;
  }
  static OPJ_OFF_T skip(OPJ_OFF_T count, void* user) {
    auto& s = *static_cast<Source*>(user);
    if (count < 0) return -1;
    const std::size_t passed = std::min(static_cast<std::size_t>(count), s.bytes.size() - s.at);
    s.at += passed;
    return static_cast<OPJ_OFF_T>(passed);
  }
  static OPJ_BOOL seek(OPJ_OFF_T to, void* user) {
    auto& s = *static_cast<Source*>(user);
    if (to < 0 || static_cast<std::size_t>(to) > s.bytes.size()) return OPJ_FALSE;
    s.at = static_cast<std::size_t>(to);
    return OPJ_TRUE;
  }
};

void keep_first(const char* message, void* user) {
  auto& kept = *static_cast<std::string*>(user);
  if (kept.empty()) kept = message;
}

template <auto Destroy> struct Deleter {
  template <class T> void operator()(T* thing) const { Destroy(thing); }
};

}   // namespace

void decode_jpeg2000(const File& file, const PixelFormat& format, std::span<const std::byte> bytes,
                     std::vector<std::uint16_t>& cells) {
  Source source{code_stream(bytes)};
  check_size(file, format, source.bytes);
  std::string complaint;
  const auto refuse = [&](const char* what) {
    std::replace(complaint.begin(), complaint.end(), '\n', ' ');
    while (complaint.ends_with(' ')) complaint.pop_back();
    throw Error(Code::bad_input, file.path.string(),
                text("the JPEG 2000 stream ", what, complaint.empty() ? "" : " (OpenJPEG: ", complaint,
                     complaint.empty() ? "." : ").", " Hint: copy the file again."));
  };
  const std::unique_ptr<opj_stream_t, Deleter<opj_stream_destroy>> stream(opj_stream_default_create(OPJ_TRUE));
  opj_stream_set_user_data(stream.get(), &source, nullptr);
  opj_stream_set_user_data_length(stream.get(), source.bytes.size());
  opj_stream_set_read_function(stream.get(), Source::read);
  opj_stream_set_skip_function(stream.get(), Source::skip);
  opj_stream_set_seek_function(stream.get(), Source::seek);
  const std::unique_ptr<opj_codec_t, Deleter<opj_destroy_codec>> codec(opj_create_decompress(OPJ_CODEC_J2K));
  opj_set_error_handler(codec.get(), keep_first, &complaint);
  opj_dparameters_t parameters;
  opj_set_default_decoder_parameters(&parameters);
  opj_image_t* raw = nullptr;
  const bool begun = opj_setup_decoder(codec.get(), &parameters) && opj_decoder_set_strict_mode(codec.get(), OPJ_TRUE) &&
                     opj_read_header(stream.get(), codec.get(), &raw);
  const std::unique_ptr<opj_image_t, Deleter<opj_image_destroy>> image(raw);
  if (!begun || !image || image->numcomps != 1) refuse("has a damaged header");
  if (!opj_decode(codec.get(), stream.get(), image.get()) || !image->comps[0].data) refuse("is damaged");
  const opj_image_comp_t& c = image->comps[0];
  if (Index{c.w} != format.columns || Index{c.h} != format.rows) refuse("decodes to another size");
  if (c.prec < 1 || c.prec > 31) refuse("has samples of no known width");
  const CellOf cell{file, format, static_cast<int>(c.prec), c.sgnd != 0};
  cells.resize(format.pixels());
  for (std::size_t i = 0; i < cells.size(); ++i) cells[i] = cell(c.data[i], i);
}

}   // namespace ctseg::io::dicom
