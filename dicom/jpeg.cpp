// JPEG and JPEG-LS by DCMTK: the only file that includes it. DCMTK never sees a file: it is handed one frame in a small data
// set made here, whose sizes were checked. So its dictionary is not needed either.
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcdatset.h>
#include <dcmtk/dcmdata/dcpixel.h>
#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>
#include <dcmtk/dcmdata/dcvrcs.h>
#include <dcmtk/dcmdata/dcvrus.h>
#include <dcmtk/dcmjpeg/djdecode.h>
#include <dcmtk/dcmjpls/djdecode.h>

#include <algorithm>
#include <mutex>

#include "decode.hpp"

namespace ctseg::io::dicom {

namespace {

constexpr std::ptrdiff_t kMaxScans = 100;

/// DCMTK keeps its codecs in one list for the whole process. They are put there once and stay; the list has its own lock.
void register_codecs() {
  static std::once_flag once;
  std::call_once(once, [] {
    OFLog::getLogger("dcmtk").setLogLevel(OFLogger::OFF_LOG_LEVEL);   // the library does not print
    DJDecoderRegistration::registerCodecs();
    DJLSDecoderRegistration::registerCodecs();
  });
}

E_TransferSyntax syntax_of(const File& file) {
  for (const E_TransferSyntax x : {EXS_JPEGProcess1, EXS_JPEGProcess2_4, EXS_JPEGProcess6_8, EXS_JPEGProcess10_12,
                                   EXS_JPEGProcess14, EXS_JPEGProcess14SV1, EXS_JPEGLSLossless, EXS_JPEGLSLossy})
    if (file.syntax_uid == DcmXfer(x).getXferID()) return x;
  throw Error(Code::unsupported, file.path.string(),
              text("TransferSyntaxUID (0002,0010) = ", file.syntax_uid, " is not read."));
}

/// Each scan of a progressive image goes over all of its pixels; real ones have about ten.
std::ptrdiff_t count_scans(std::span<const std::byte> s) {
  std::ptrdiff_t scans = 0;
  for (std::size_t i = 0; i + 1 < s.size(); ++i) scans += s[i] == std::byte{0xff} && s[i + 1] == std::byte{0xda} ? 1 : 0;
  return scans;
}

/// Compares the frame header of a JPEG or JPEG-LS stream with the header of the file; returns the bits of a sample.
int check_size(const File& file, const PixelFormat& f, std::span<const std::byte> s) {
  const auto refused = [&](const std::string& message) {
    return Error(Code::bad_input, file.path.string(), text("the ", file.syntax.name, " stream ", message));
  };
  const auto byte = [&](std::size_t at) { return static_cast<int>(s[at]); };
  if (s.size() < 4 || byte(0) != 0xff || byte(1) != 0xd8) throw refused("does not begin as one. Hint: the file is damaged.");
  std::size_t end = s.size();
  while (end > 2 && byte(end - 1) == 0) --end;          // padding
  if (byte(end - 2) != 0xff || byte(end - 1) != 0xd9)   // the decoder would fill up with grey
    throw refused("has no end marker. Hint: the image is truncated.");
  if (const auto scans = count_scans(s); scans > kMaxScans)
    throw refused(text("has ", Index{scans}, " scans; at most ", Index{kMaxScans}, " are read."));
  const bool is_ls = file.syntax.codec == Codec::jpeg_ls;
  for (std::size_t at = 2; at + 9 < s.size();) {
    if (byte(at) != 0xff) throw refused(text("has no marker at byte ", at, ". Hint: the file is damaged."));
    const int marker = byte(at + 1);
    if (marker == 0xff) {   // fill byte
      ++at;
      continue;
    }
    const bool is_frame =
        is_ls ? marker == 0xf7 : marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
    if (marker < 0xc0 || (marker >= 0xd0 && marker <= 0xd9) ||
        (marker >= 0xf0 && marker <= 0xfd && !is_ls))   // no segment begins so, and DCMTK would wait here for ever
      throw refused(
          text("has a marker of type ", marker, " at byte ", at, ", before its frame header. Hint: the file is damaged."));
    if (!is_frame) {
      at += 2 + static_cast<std::size_t>(byte(at + 2) << 8 | byte(at + 3));
      continue;
    }
    const int bits = byte(at + 4), rows = byte(at + 5) << 8 | byte(at + 6), columns = byte(at + 7) << 8 | byte(at + 8),
              components = byte(at + 9);
    if (rows != f.rows || columns != f.columns || components != 1 || (bits > 8) != (f.bits_allocated > 8))
      throw refused(text("holds ", columns, " x ", rows, " pixels of ", components, " component(s) with ", bits,
                         " bits; the header says ", f.columns, " x ", f.rows, " of one with ", f.bits_allocated, "."));
    if (bits < 2 || bits > 16) throw refused(text("has samples of ", bits, " bits; must be 2 to 16."));
    return bits;
  }
  throw refused("has no frame header. Hint: the file is truncated.");
}

/// An element of group 0028.
void put(DcmItem& item, Uint16 number, Index value) {
  auto* element = new DcmUnsignedShort(DcmTag(0x0028, number, DcmVR(EVR_US)));
  element->putUint16(static_cast<Uint16>(value));
  item.insert(element, true);   // takes the element
}

}   // namespace

void decode_by_dcmtk(const File& file, const PixelFormat& f, std::span<const std::byte> stream,
                     std::vector<std::uint16_t>& cells) {
  register_codecs();
  const CellOf cell{file, f, check_size(file, f, stream), false};
  const auto refuse = [&](const char* why) {
    throw Error(Code::bad_input, file.path.string(),
                text("the ", file.syntax.name, " stream is damaged (DCMTK: ", why, "). Hint: copy the file again."));
  };
  DcmDataset dataset;
  put(dataset, 0x0002, 1);
  put(dataset, 0x0010, f.rows);
  put(dataset, 0x0011, f.columns);
  put(dataset, 0x0100, f.bits_allocated);
  put(dataset, 0x0101, f.bits_stored);
  put(dataset, 0x0102, f.high_bit);
  put(dataset, 0x0103, f.is_signed ? 1 : 0);
  auto* colours = new DcmCodeString(DcmTag(0x0028, 0x0004, DcmVR(EVR_CS)));
  colours->putString("MONOCHROME2");
  dataset.insert(colours, true);

  const E_TransferSyntax syntax = syntax_of(file);
  auto* sequence = new DcmPixelSequence(DcmTag(0x7fe0, 0x0010, DcmVR(EVR_OB)));
  sequence->insert(new DcmPixelItem(DcmTag(0xfffe, 0xe000, DcmVR(EVR_OB))));   // an empty offset table
  auto* fragment = new DcmPixelItem(DcmTag(0xfffe, 0xe000, DcmVR(EVR_OB)));
  sequence->insert(fragment);
  auto* pixels = new DcmPixelData(DcmTag(0x7fe0, 0x0010, DcmVR(EVR_OB)));
  pixels->putOriginalRepresentation(syntax, nullptr, sequence);
  dataset.insert(pixels, true);
  std::vector<Uint8> padded(stream.size() + stream.size() % 2);
  std::transform(stream.begin(), stream.end(), padded.begin(), [](std::byte b) { return static_cast<Uint8>(b); });
  fragment->putUint8Array(padded.data(), static_cast<unsigned long>(padded.size()));

  const std::size_t bytes = f.frame_bytes();
  std::vector<Uint16> out((bytes + 1) / 2);
  Uint32 first = 0;
  OFString colour_model;
  const OFCondition result =
      pixels->getUncompressedFrame(&dataset, 0, first, out.data(), static_cast<Uint32>(out.size() * 2), colour_model);
  if (result.bad()) refuse(result.text());
  const auto* narrow = reinterpret_cast<const Uint8*>(out.data());
  cells.resize(f.pixels());
  for (std::size_t i = 0; i < cells.size(); ++i) cells[i] = cell(f.bits_allocated == 16 ? out[i] : narrow[i], i);
}

}   // namespace ctseg::io::dicom
