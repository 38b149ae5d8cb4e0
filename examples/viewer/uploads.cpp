#include "uploads.hpp"

#include <array>
#include <ctseg/io/metaimage_header.hpp>
#include <ctseg/io/zip.hpp>

namespace viewer {

namespace {

namespace io = cs::io;

/// The ending a reader expects, by the first bytes; "" for what is none of them.
std::string ending_of(std::string_view start) {
  if (start.starts_with("PK\3\4")) return ".zip";
  if (start.starts_with("\x1f\x8b")) return ".nii.gz";
  for (const std::string_view size : {"\x5c\x01\0\0", "\0\0\x01\x5c", "\x1c\x02\0\0", "\0\0\x02\x1c"})   // 348 and 540
    if (start.starts_with(std::string_view(size.data(), 4))) return ".nii";
  if (start.size() >= 132 && start.substr(128, 4) == "DICM") return ".dcm";
  for (const char* key : {"ObjectType", "NDims", "Comment"})
    if (const auto at = start.find(key); at != std::string_view::npos && (at == 0 || start[at - 1] == '\n')) return ".mha";
  return "";
}
std::string ending_of(const fs::path& file) {
  std::array<std::byte, 512> bytes{};
  return ending_of({reinterpret_cast<const char*>(bytes.data()), io::InputFile(file, false).read(bytes)});
}

/// One entry of an archive, inflated into a file: exactly as long as its directory says, with the checksum it says.
void extract(const io::ByteSource& source, const io::ZipDirectory& zip, const io::ZipEntry& entry, const fs::path& to) {
  const auto damaged = [&] {
    return cs::Error(cs::Code::bad_input, "upload", text("entry ", io::printable(entry.name), " of the archive is damaged."));
  };
  if (entry.method != 0 && entry.method != 8)
    throw cs::Error(cs::Code::unsupported, "upload",
                    text("entry ", io::printable(entry.name), " is packed by method ", static_cast<int>(entry.method),
                         "; stored and deflated ones are read. Hint: pack it again with an ordinary zip program."));
  Index at = zip.begin_of(entry), left = entry.packed, made = 0;
  io::OutputFile out(to);
  std::vector<std::byte> in(1 << 17), piece(1 << 18);
  z_stream stream{};
  if (inflateInit2(&stream, -15) != Z_OK) throw std::bad_alloc();
  const std::unique_ptr<z_stream, int (*)(z_stream*)> ended(&stream, &inflateEnd);
  uLong crc = crc32(0, nullptr, 0);
  int state = Z_OK;
  const auto put = [&](std::span<const std::byte> bytes) {
    made += std::ssize(bytes);
    if (made > entry.bytes) throw damaged();
    crc = crc32(crc, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size()));
    out.write(bytes);
  };
  while (left > 0 && state != Z_STREAM_END) {
    const auto take = std::span(in).first(static_cast<std::size_t>(std::min<Index>(left, std::ssize(in))));
    source.read(at, take);
    at += std::ssize(take), left -= std::ssize(take);
    if (entry.method == 0) {
      put(take);
      continue;
    }
    stream.next_in = reinterpret_cast<Bytef*>(take.data()), stream.avail_in = static_cast<uInt>(take.size());
    do {
      stream.next_out = reinterpret_cast<Bytef*>(piece.data()), stream.avail_out = static_cast<uInt>(piece.size());
      state = inflate(&stream, Z_NO_FLUSH);
      if (state != Z_OK && state != Z_STREAM_END && state != Z_BUF_ERROR) throw damaged();
      put(std::span(piece).first(piece.size() - stream.avail_out));
    } while (stream.avail_out == 0 && state != Z_STREAM_END);
  }
  if (made != entry.bytes || crc != entry.crc || left != 0 || (entry.method == 8 && state != Z_STREAM_END)) throw damaged();
  out.commit();
}

/// Entries that are files a scan could be: no folders, nothing that a Mac adds.
std::vector<const io::ZipEntry*> wanted(const io::ZipDirectory& zip, const UnpackLimits& limits) {
  std::vector<const io::ZipEntry*> out;
  Index bytes = 0;
  for (const io::ZipEntry& e : zip.entries()) {
    const std::string name = e.name.substr(e.name.rfind('/') + 1);   // npos + 1 is 0
    if (name.empty() || name[0] == '.' || name == "DICOMDIR" || e.name.starts_with("__MACOSX/") || e.bytes == 0) continue;
    if ((e.flags & 1) != 0) throw cs::Error(cs::Code::unsupported, "upload", "the archive is encrypted.");
    out.push_back(&e);
    bytes += std::min(e.bytes, limits.most_bytes + 1);
    if (out.size() > limits.most_entries || bytes > limits.most_bytes)
      throw cs::Error(cs::Code::bad_input, "upload",
                      text("the archive holds more than ", limits.most_entries, " files or ", limits.most_bytes, " bytes."));
  }
  if (out.empty()) throw cs::Error(cs::Code::bad_input, "upload", "the archive holds no file.");
  return out;
}

/// The text of a header above the line that names its files: the last one, or the last before their list.
std::string_view above_names(std::string_view header) {
  for (std::size_t at = 0; at < header.size();) {
    const std::size_t end = std::min(header.find('\n', at), header.size());
    const std::string_view line = header.substr(at, end - at);
    if (io::metaimage::trimmed(line.substr(0, line.find('='))) == "ElementDataFile") return header.substr(0, at);
    at = end + 1;
  }
  return header;
}

/// A MetaImage header of an archive, and the files beside it that it names, under names of our own: they are written into it.
std::string unzip_metaimage(const io::ByteSource& source, const io::ZipDirectory& zip,
                            const std::vector<const io::ZipEntry*>& entries, const io::ZipEntry& header,
                            const fs::path& folder) {
  const fs::path to = folder / "scan.mhd";
  extract(source, zip, header, to);
  std::string content(static_cast<std::size_t>(std::min(header.bytes, io::metaimage::kMostHeaderBytes)), '\0');
  io::InputFile(to, false).read_exactly(std::as_writable_bytes(std::span(content)), "the header");
  const bool whole = std::ssize(content) == header.bytes;
  const std::vector<std::string> names = io::read_metaimage_header(content, whole, {"upload", {}}).files;
  if (names.empty()) return "scan.mhd";   // the voxels follow it
  std::map<std::string, const io::ZipEntry*> beside;
  for (const io::ZipEntry* e : entries) beside[e->name] = e;
  std::string written(above_names(content));
  written += names.size() == 1 ? "ElementDataFile = " : "ElementDataFile = LIST\n";
  const std::string place = header.name.substr(0, header.name.rfind('/') + 1);   // npos + 1 is 0
  for (std::size_t k = 0; k < names.size(); ++k) {
    const auto found = beside.extract(place + names[k]);   // each once
    if (found.empty())
      throw cs::Error(cs::Code::bad_input, "upload",
                      text("ElementDataFile = ", io::metaimage::shown(names[k]),
                           "; must be a file beside the .mhd in the archive, named once. Hint: pack both together."));
    char name[32];
    std::snprintf(name, sizeof name, "%06zu.raw", k);
    extract(source, zip, *found.mapped(), folder / name);
    written += name + std::string("\n");
  }
  io::write_file(to, std::as_bytes(std::span(written)));
  return "scan.mhd";
}

std::string unzip(const fs::path& file, const fs::path& folder, const UnpackLimits& limits) {
  const io::ByteSource source(file);
  const io::ZipDirectory zip(source);
  const auto entries = wanted(zip, limits);
  Index bytes = 0;
  for (const io::ZipEntry* e : entries) bytes += e->bytes;
  if (fs::space(folder).available < static_cast<std::uintmax_t>(bytes) + (1u << 26))
    throw Refusal{507, text("the archive unpacks to ", bytes, " bytes; the store's disk has no room for that.")};
  std::vector<const io::ZipEntry*> headers;
  std::copy_if(entries.begin(), entries.end(), std::back_inserter(headers),
               [](const io::ZipEntry* e) { return io::ends_with(e->name, ".mhd"); });
  if (headers.size() > 1)
    throw cs::Error(
        cs::Code::bad_input, "upload",
        text("the archive holds ", headers.size(), " .mhd files; must be one scan. Hint: pack one with its voxels."));
  if (headers.size() == 1) return unzip_metaimage(source, zip, entries, *headers[0], folder);
  fs::create_directory(folder / "dicom");
  for (std::size_t k = 0; k < entries.size(); ++k) {
    char name[32];
    std::snprintf(name, sizeof name, "%06zu.dcm", k);
    extract(source, zip, *entries[k], folder / "dicom" / name);
  }
  if (entries.size() > 1) return "dicom";
  const fs::path only = folder / "dicom" / "000000.dcm";
  const std::string ending = ending_of(only);
  if (ending.empty() || ending == ".dcm" || ending == ".zip") return "dicom";
  fs::rename(only, folder / ("scan" + ending));
  return "scan" + ending;
}

}   // namespace

std::string unpack_upload(const fs::path& file, const fs::path& folder, const UnpackLimits& limits) {
  const std::string ending = ending_of(file);
  if (ending.empty())
    throw cs::Error(cs::Code::unsupported, "upload",
                    "is neither NIfTI nor MetaImage (.mha) nor DICOM nor a zip of DICOM files or of a .mhd with its .raw.");
  if (ending == ".zip") return unzip(file, folder, limits);
  const std::string inside = ending == ".dcm" ? "dicom" : "scan" + ending;
  if (ending == ".dcm") fs::create_directory(folder / inside);
  fs::rename(file, ending == ".dcm" ? folder / inside / "000000.dcm" : folder / inside);
  return inside;
}

std::string shown_text(std::string words) {
  std::erase_if(words, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 127; });
  while (words.size() > 120) {   // whole characters of UTF-8
    while ((static_cast<unsigned char>(words.back()) & 0xc0) == 0x80 && words.size() > 1) words.pop_back();
    words.pop_back();
  }
  return words;
}
std::string shown_name(const std::string& name) {
  const std::string out = shown_text(name.substr(name.find_last_of("/\\") + 1));   // npos + 1 is 0
  return out.empty() ? "scan" : out;
}

}   // namespace viewer
