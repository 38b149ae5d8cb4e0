// MetaImage volumes: .mha, and .mhd with .raw or .zraw beside it, one file or one a slice. Nothing outside the header's folder
// is opened.
#pragma once
#include "metaimage_header.hpp"

namespace ctseg::io {

namespace metaimage {

/// A zlib (or gzip) stream of known length inside a file.
class InflatedPart {
 public:
  InflatedPart(InputFile& file, Index bytes) : file_(file), left_(bytes), buffer_(std::size_t{1} << 17) {
    if (inflateInit2(&stream_, 15 + 32) != Z_OK) throw Error(Code::out_of_memory, path().string(), "no memory to decompress.");
  }
  InflatedPart(const InflatedPart&) = delete;
  ~InflatedPart() { inflateEnd(&stream_); }

  const std::filesystem::path& path() const { return file_.path(); }
  void read_exactly(std::span<std::byte> out, std::string_view what) {
    const std::size_t got = read(out);
    if (got < out.size()) throw damaged(text("end ", out.size() - got, " bytes too early, inside ", what));
  }
  /// Nothing may follow; this is also what compares the checksum.
  void expect_end() {
    std::byte extra[1];
    if (read(extra) > 0) throw damaged("hold more voxels than DimSize says");
    if (left_ > 0 || stream_.avail_in > 0) throw damaged("end before their last byte");
  }

 private:
  std::size_t read(std::span<std::byte> out) {
    std::size_t got = 0;
    while (got < out.size() && !ended_) {
      if (stream_.avail_in == 0 && left_ > 0) {
        const auto part = std::span(buffer_).first(static_cast<std::size_t>(std::min<Index>(left_, Index(buffer_.size()))));
        file_.read_exactly(part, "the compressed voxels");
        left_ -= static_cast<Index>(part.size());
        stream_.next_in = reinterpret_cast<Bytef*>(part.data());
        stream_.avail_in = static_cast<uInt>(part.size());
      }
      const auto room = static_cast<uInt>(std::min<std::size_t>(out.size() - got, 1u << 30));
      stream_.next_out = reinterpret_cast<Bytef*>(out.data() + got);
      stream_.avail_out = room;
      const int result = inflate(&stream_, Z_NO_FLUSH);
      if (result == Z_BUF_ERROR && left_ == 0) throw damaged("end too early");
      if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
        throw damaged(text("are damaged (", stream_.msg ? stream_.msg : "no zlib stream", ")"));
      got += room - stream_.avail_out;
      ended_ = result == Z_STREAM_END;
    }
    return got;
  }
  Error damaged(std::string_view how) const {
    return Error(Code::bad_input, path().string(), text("the compressed voxels ", how, ". Hint: copy the file again."));
  }

  InputFile& file_;
  Index left_;
  bool ended_ = false;
  std::vector<std::byte> buffer_;
  z_stream stream_{};
};

/// The file that a header names; it must lie in the header's folder, links followed.
inline std::filesystem::path beside(const std::filesystem::path& header, const std::string& name,
                                    const Complaints& complaints) {
  constexpr std::string_view kField = "ElementDataFile";
  const std::filesystem::path wanted(name);
  for (const char c : name)
    if (static_cast<unsigned char>(c) < 32) complaints.refuse(kField, shown(name), "must have no control characters");
  if (name.size() > 4096) complaints.refuse(kField, shown(name), "must have at most 4096 bytes");
  if (wanted.is_absolute())
    complaints.refuse(kField, shown(name), "must not be an absolute path: only the header's folder is read");
  for (const auto& part : wanted)
    if (part == "..") complaints.refuse(kField, shown(name), "must not leave the header's folder");
  std::error_code error;
  const auto folder = std::filesystem::canonical(header.has_parent_path() ? header.parent_path() : ".", error);
  const auto found = error ? folder : std::filesystem::canonical(folder / wanted, error);
  if (error)
    complaints.refuse(kField, shown(name), text("cannot be opened: ", error.message(), ". Hint: it belongs beside the header"));
  const auto inside = found.lexically_relative(folder);
  if (inside.empty() || *inside.begin() == "..")
    complaints.refuse(kField, shown(name), "is a link that leaves the header's folder: not followed");
  return found;
}

/// Where in a data file the stored bytes of `need` bytes of voxels are; an error unless they are exactly the rest of it.
struct Part {
  Index begin = 0, bytes = 0;
};
inline Part part_of(const InputFile& file, const MetaImageHeader& h, Index need) {
  const Complaints complaints(file.path(), {});
  const bool local = h.files.empty(), last_bytes = h.skipped_bytes == -1;
  if (local && h.skipped_bytes > 0)
    complaints.refuse("HeaderSize", h.skipped_bytes, "must be 0 or -1 where the voxels follow the header");
  if (last_bytes && h.compressed) complaints.refuse("HeaderSize", h.skipped_bytes, "must be 0 or more for compressed voxels");
  const Index size = file.most_bytes(), first = local ? h.data_begin : std::max<Index>(h.skipped_bytes, 0);
  const Index begin = last_bytes ? size - need : first, rest = size - begin;
  if (!h.compressed) {
    if (begin < first || rest != need)
      complaints.refuse(text("DimSize and ElementType need ", need, " bytes of voxels; the file has ",
                             std::max<Index>(size - first, 0), ". Hint: the file is truncated or its header damaged."));
    return {begin, need};
  }
  if (rest < 1) complaints.refuse("the compressed voxels are missing.");
  if (h.compressed_bytes && *h.compressed_bytes != rest)
    complaints.refuse("CompressedDataSize", *h.compressed_bytes, text("the file has ", rest, " bytes of voxels"));
  if (need > rest * 1032)   // deflate shrinks no further
    complaints.refuse(
        text("DimSize and ElementType need ", need, " bytes of voxels; ", rest, " compressed bytes cannot hold them."));
  return {begin, rest};
}

template <class T> void read_slab(const std::filesystem::path& path, const MetaImageHeader& h, const Slab<T>& slab) {
  InputFile file(path, false);
  const Part part = part_of(file, h, slab.count * bytes_of(h.encoding.stored));
  file.skip(part.begin, "the space before the voxels");
  if (!h.compressed) return read_voxels(file, h.encoding, slab);
  InflatedPart inflated(file, part.bytes);
  read_voxels(inflated, h.encoding, slab);
  inflated.expect_end();
}

template <class = void> MetaImageHeader read_header(const std::filesystem::path& path, const Complaints& complaints) {
  InputFile file(path, false);
  std::string content(static_cast<std::size_t>(std::min(file.most_bytes(), kMostHeaderBytes)), '\0');
  file.read_exactly(std::as_writable_bytes(std::span(content)), "the header");
  return read_metaimage_header(content, static_cast<Index>(content.size()) == file.most_bytes(), complaints);
}

/// Before any voxel gets memory: every data file is there and has the right size.
template <class = void> std::vector<std::filesystem::path> check_files(const std::filesystem::path& path,
                                                                       const MetaImageHeader& h, const Complaints& complaints) {
  std::vector<std::filesystem::path> found;
  for (const std::string& name : h.files) found.push_back(beside(path, name, complaints));
  if (found.empty()) found.push_back(path);
  const Index need = h.voxel_bytes() / static_cast<Index>(found.size());
  for (const auto& file : found) part_of(InputFile(file, false), h, need);
  return found;
}

}   // namespace metaimage

/// Reads a volume as T from .mha or .mhd: any integer or floating ElementType in either byte order, plain or compressed.
/// Numerics  an integer T takes only values that it holds exactly.
/// Errors    bad_input naming file, field and value; data files outside the header's folder are refused unread.
template <class T> Volume<T> read_metaimage(const std::filesystem::path& path, const ReadOptions& options = {}) {
  const Complaints complaints(path, options.log);
  const MetaImageHeader h = metaimage::read_header(path, complaints);
  const Grid grid = h.grid();
  const Index bytes = std::max(h.voxel_bytes(), grid.voxels() * static_cast<Index>(sizeof(T)));
  if (bytes > options.max_bytes)
    complaints.refuse(text("DimSize = ", grid.shape, " takes ", bytes,
                           " bytes; the limit is ReadOptions::max_bytes = ", options.max_bytes, "."));
  try {
    const auto files = metaimage::check_files(path, h, complaints);
    Volume<T> volume(grid);
    const Index count = grid.voxels() / static_cast<Index>(files.size());
    for (std::size_t i = 0; i < files.size(); ++i)
      metaimage::read_slab(files[i], h, Slab<T>{volume, static_cast<Index>(i) * count, count});
    warn_of_nonfinite(volume.voxels(), complaints);
    return volume;
  } catch (const std::bad_alloc&) {
    throw Error(Code::out_of_memory, path.string(), text("no memory for a volume of ", grid.shape, " voxels."));
  }
}

struct WriteMetaImageOptions {
  bool compressed = false;   // .mhd then has a .zraw beside it
  int level = 6;             // 1 fast .. 9 small
};

namespace metaimage {

template <class T> constexpr std::string_view element_type() {
  for (const ElementType& type : kElementTypes) {
    constexpr bool kReal = std::is_floating_point_v<T>, kSigned = std::is_signed_v<T>;
    const bool real = type.stored >= Stored::f32, is_signed = static_cast<int>(type.stored) % 2 == 1;
    if (bytes_of(type.stored) == Index{sizeof(T)} && real == kReal && (kReal || is_signed == kSigned)) return type.name;
  }
  return "";
}

/// Numbers in their shortest form that reads back as the same bits, in any locale.
inline void append_number(std::string& line, double value) {
  char digits[32];
  line.append(" ").append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}

template <class = void>
std::string header_text(const Grid& grid, std::string_view element_type, std::optional<std::size_t> compressed_bytes) {
  const Eigen::Matrix4d m = to_lps(grid.affine).matrix;
  const Xyz<double> spacing = grid.spacing_mm();
  const double size[3] = {spacing.x, spacing.y, spacing.z};
  std::string directions, offset, sizes;
  for (int j = 0; j < 3; ++j) {
    for (int i = 0; i < 3; ++i) append_number(directions, m(i, j) / size[j] + 0.0);   // + 0.0: no "-0"
    append_number(offset, m(j, 3) + 0.0);
    append_number(sizes, size[j]);
  }
  std::string out = text("ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = ",
                         std::endian::native == std::endian::big ? "True" : "False",
                         "\nCompressedData = ", compressed_bytes ? "True" : "False", "\n");
  if (compressed_bytes) out += text("CompressedDataSize = ", *compressed_bytes, "\n");
  out += text("TransformMatrix =", directions, "\nOffset =", offset, "\nElementSpacing =", sizes, "\nDimSize = ", grid.shape.x,
              " ", grid.shape.y, " ", grid.shape.z, "\nElementType = ", element_type, "\n");
  char sum[9];
  std::snprintf(sum, sizeof sum, "%08lx", crc32(0, reinterpret_cast<const Bytef*>(out.data()), static_cast<uInt>(out.size())));
  return out + text(kChecksumKey, " = ", std::string_view(sum), "\n");
}

inline std::vector<std::byte> deflated(std::span<const std::byte> bytes, int level) {
  z_stream stream{};
  if (level < 0 || level > 9 || deflateInit(&stream, level) != Z_OK)
    throw Error(Code::bad_argument, "metaimage", text("level = ", level, "; must be 0 to 9."));
  std::vector<std::byte> out(1 << 16);
  int result = Z_OK;
  try {
    for (std::size_t used = 0; result != Z_STREAM_END;) {
      const std::size_t piece = std::min<std::size_t>(bytes.size(), 1u << 30);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes.data()));
      stream.avail_in = static_cast<uInt>(piece);
      stream.next_out = reinterpret_cast<Bytef*>(out.data() + used);
      stream.avail_out = static_cast<uInt>(std::min<std::size_t>(out.size() - used, 1u << 30));
      const uInt room = stream.avail_out;
      result = deflate(&stream, piece == bytes.size() ? Z_FINISH : Z_NO_FLUSH);
      used += room - stream.avail_out;
      bytes = bytes.subspan(piece - stream.avail_in);
      out.resize(result == Z_STREAM_END ? used : used == out.size() ? used * 2 : out.size());
    }
  } catch (...) {
    deflateEnd(&stream);
    throw;
  }
  deflateEnd(&stream);
  return out;
}

/// The name of the data file as the header will have it.
inline std::filesystem::path data_name(const std::filesystem::path& header, bool compressed) {
  const std::string stem = header.stem().string();
  bool plain = trimmed(stem) == stem && !stem.starts_with("LIST") && stem.find('%') == std::string::npos;
  for (const char c : stem) plain = plain && static_cast<unsigned char>(c) >= 32;
  if (!plain)
    throw Error(
        Code::bad_argument, header.string(),
        "the name would be read as a list or pattern: no %, LIST, control characters or spaces at its ends. Hint: use .mha.");
  return stem + (compressed ? ".zraw" : ".raw");
}

}   // namespace metaimage

/// Writes .mha, or .mhd with .raw or .zraw beside it, whole or not at all. Equal volumes give equal files.
/// Numerics  spacing, directions and offset as decimals that read back as the same bits; the affine may move by one rounding.
/// Errors    bad_argument for another file name or a placement that readers refuse; io if anything could not be written. An
///           .mhd never stands beside voxels of another volume: the old header goes before the new voxels come, the new one
///           comes last.
template <class T>
void write_metaimage(const std::filesystem::path& path, const Volume<T>& volume, const WriteMetaImageOptions& options = {}) {
  static_assert(!metaimage::element_type<T>().empty(), "ctseg: MetaImage has no such voxels");
  const bool local = ends_with(path, ".mha");
  if (!local && !ends_with(path, ".mhd"))
    throw Error(Code::bad_argument, path.string(), "the name of a MetaImage file must end in .mha or .mhd.");
  check_writable(path, volume.grid());
  std::span<const std::byte> voxels = std::as_bytes(std::span(volume.voxels()));
  std::vector<std::byte> packed;
  if (options.compressed) voxels = packed = metaimage::deflated(voxels, options.level);
  std::optional<std::size_t> packed_bytes;
  if (options.compressed) packed_bytes = packed.size();
  std::string header = metaimage::header_text(volume.grid(), metaimage::element_type<T>(), packed_bytes);
  if (local) {
    header += "ElementDataFile = LOCAL\n";
    OutputFile file(path);
    file.write(std::as_bytes(std::span(header)));
    file.write(voxels);
    return file.commit();
  }
  const std::filesystem::path data = metaimage::data_name(path, options.compressed);
  header += text("ElementDataFile = ", data.string(), "\n");
  OutputFile data_file(path.parent_path() / data), header_file(path);
  data_file.write(voxels);
  data_file.finish();
  header_file.write(std::as_bytes(std::span(header)));
  header_file.finish();
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) throw system_error(path, "replace");
  data_file.commit();
  header_file.commit();
}

#ifdef CTSEG_PREBUILT   // linked to ctseg::prebuilt, which holds these
CTSEG_PREBUILT template Volume<float> read_metaimage(const std::filesystem::path&, const ReadOptions&);
CTSEG_PREBUILT template void write_metaimage(const std::filesystem::path&, const Volume<float>&, const WriteMetaImageOptions&);
CTSEG_PREBUILT template Volume<std::uint8_t> read_metaimage(const std::filesystem::path&, const ReadOptions&);
CTSEG_PREBUILT template void write_metaimage(const std::filesystem::path&, const Volume<std::uint8_t>&,
                                             const WriteMetaImageOptions&);
#endif

}   // namespace ctseg::io
