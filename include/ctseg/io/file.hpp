// Files as bytes: read with an exact count or a clear error, written whole or not at all. gzip on both sides.
#pragma once
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "../core/error.hpp"

namespace ctseg::io {

/// The operating system's reason for a call that just failed.
inline Error system_error(const std::filesystem::path& path, std::string_view call) {
  const int reason = errno;
  return Error(Code::io, path.string(), text("cannot ", call, ": ", std::generic_category().message(reason), "."));
}

/// A file descriptor that is closed once.
class FileDescriptor {
 public:
  explicit FileDescriptor(int number = -1) : number_(number) {}
  FileDescriptor(FileDescriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~FileDescriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int number() const { return number_; }
  bool close() { return ::close(std::exchange(number_, -1)) == 0; }

 private:
  int number_;
};

/// A regular file read from front to back, through gzip (any number of members) if so asked.
/// Errors    io if it cannot be opened or is a folder, pipe or device; bad_input if the gzip data are damaged.
class InputFile {
 public:
  InputFile(std::filesystem::path path, bool gzip) : path_(std::move(path)), gzip_(gzip) {
    file_ = FileDescriptor(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));   // a pipe must not block
    if (file_.number() < 0) throw system_error(path_, "open");
    struct stat facts {};
    if (::fstat(file_.number(), &facts) != 0) throw system_error(path_, "stat");
    if (S_ISDIR(facts.st_mode)) throw Error(Code::io, path_.string(), "is a folder; here a file is read.");
    if (!S_ISREG(facts.st_mode))
      throw Error(Code::io, path_.string(), "is not a regular file. Hint: pipes and devices are not read.");
    file_bytes_ = facts.st_size;
    if (!gzip_) return;
    buffer_.resize(kBuffer);
    if (inflateInit2(&stream_, 15 + 16) != Z_OK) throw Error(Code::out_of_memory, path_.string(), "no memory to decompress.");
  }
  InputFile(const InputFile&) = delete;
  ~InputFile() {
    if (gzip_) inflateEnd(&stream_);
  }

  const std::filesystem::path& path() const { return path_; }
  /// More bytes than this cannot come out: deflate shrinks 1032 times at best.
  Index most_bytes() const { return gzip_ ? file_bytes_ * 1032 : file_bytes_; }

  /// As many bytes as there are, up to out.size(); fewer only at the end.
  std::size_t read(std::span<std::byte> out) { return gzip_ ? inflate_some(out) : read_raw(out); }

  void read_exactly(std::span<std::byte> out, std::string_view what) {
    const std::size_t got = read(out);
    if (got == out.size()) return;
    throw Error(
        Code::bad_input, path_.string(),
        text("ends ", out.size() - got, " bytes too early, inside ", what, ". Hint: the file is truncated; copy it again."));
  }
  void skip(Index count, std::string_view what) {
    std::vector<std::byte> passed(std::min<std::size_t>(1 << 16, static_cast<std::size_t>(count)));
    for (; count > 0; count -= static_cast<Index>(passed.size()))
      read_exactly(std::span(passed).first(std::min(passed.size(), static_cast<std::size_t>(count))), what);
  }
  /// Bytes at any place of the file as it lies on the disk; where `read` goes on does not change.
  void read_at(Index at, std::span<std::byte> out) const {
    while (!out.empty()) {
      const ssize_t n = ::pread(file_.number(), out.data(), std::min<std::size_t>(out.size(), 1u << 30), at);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) throw system_error(path_, "read");
      if (n == 0)
        throw Error(Code::bad_input, path_.string(),
                    text("ends at byte ", at, ", ", out.size(), " bytes too early. Hint: it changed while it was read."));
      out = out.subspan(static_cast<std::size_t>(n));
      at += n;
    }
  }
  /// Nothing may follow. For gzip this is also what compares the checksum and the length.
  void expect_end(std::string_view what) {
    std::byte extra[1];
    if (read(extra) == 0) return;
    throw Error(Code::bad_input, path_.string(), text("has trailing bytes after ", what, "; the file must end there."));
  }

 private:
  static constexpr std::size_t kBuffer = std::size_t{1} << 17;

  std::size_t read_raw(std::span<std::byte> out) {
    std::size_t got = 0;
    while (got < out.size()) {
      const ssize_t n = ::read(file_.number(), out.data() + got, std::min<std::size_t>(out.size() - got, 1u << 30));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) throw system_error(path_, "read");
      if (n == 0) break;
      got += static_cast<std::size_t>(n);
    }
    return got;
  }

  std::size_t inflate_some(std::span<std::byte> out) {
    std::size_t got = 0;
    while (got < out.size()) {
      if (stream_.avail_in == 0) {
        stream_.avail_in = static_cast<uInt>(read_raw(buffer_));
        stream_.next_in = reinterpret_cast<Bytef*>(buffer_.data());
      }
      if (stream_.avail_in == 0) {
        if (between_members_) break;
        throw Error(Code::bad_input, path_.string(),
                    "the gzip data end too early. Hint: the file is truncated; copy it again.");
      }
      if (between_members_) inflateReset(&stream_);
      const auto room = static_cast<uInt>(std::min<std::size_t>(out.size() - got, 1u << 30));
      stream_.next_out = reinterpret_cast<Bytef*>(out.data() + got);
      stream_.avail_out = room;
      const int result = inflate(&stream_, Z_NO_FLUSH);
      if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
        throw Error(
            Code::bad_input, path_.string(),
            text("the gzip data are damaged: ", stream_.msg ? stream_.msg : "unknown reason", ". Hint: copy the file again."));
      got += room - stream_.avail_out;
      between_members_ = result == Z_STREAM_END;
    }
    return got;
  }

  std::filesystem::path path_;
  bool gzip_, between_members_ = false;
  FileDescriptor file_;
  Index file_bytes_ = 0;
  std::vector<std::byte> buffer_;
  z_stream stream_{};
};

struct ReadFileOptions {
  Index max_bytes = Index{1} << 32;   // of the content, after decompression
  bool gzip = false;
};

/// The whole content of a file.
/// Errors    bad_input if it has more than max_bytes; those of InputFile.
inline std::vector<std::byte> read_file(const std::filesystem::path& path, const ReadFileOptions& options = {}) {
  InputFile file(path, options.gzip);
  const auto too_much = [&] {
    return Error(Code::bad_input, path.string(), text("holds more than ", options.max_bytes, " bytes, the most that is read."));
  };
  if (!options.gzip && file.most_bytes() > options.max_bytes) throw too_much();
  std::vector<std::byte> bytes;
  std::size_t used = 0, most = static_cast<std::size_t>(std::max<Index>(options.max_bytes, 0)) + 1;
  for (;;) {
    const std::size_t guess =
        std::max<std::size_t>(used * 2, options.gzip ? 1u << 16 : static_cast<std::size_t>(file.most_bytes()) + 1);
    bytes.resize(std::min(guess, most));
    used += file.read(std::span(bytes).subspan(used));
    if (used == most) throw too_much();
    if (used < bytes.size()) break;
  }
  bytes.resize(used);
  return bytes;
}

struct WriteFileOptions {
  bool gzip = false;
  int gzip_level = 6;   // 1 fast .. 9 small; the gzip header carries no time, so equal content gives equal files
};

/// A file that appears at its path complete or not at all: written beside it under a passing name, moved by commit().
/// Errors    io for any write that failed, also late ones; the file that was there before is then untouched.
class OutputFile {
 public:
  explicit OutputFile(std::filesystem::path path, const WriteFileOptions& options = {})
      : path_(std::move(path)), gzip_(options.gzip) {
    open_temporary();
    if (!gzip_) return;
    buffer_.resize(kBuffer);
    if (deflateInit2(&stream_, options.gzip_level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
      ::unlink(temporary_.c_str());
      throw Error(Code::bad_argument, path_.string(), text("gzip_level = ", options.gzip_level, "; must be 0 to 9."));
    }
  }
  OutputFile(const OutputFile&) = delete;
  ~OutputFile() {
    if (gzip_) deflateEnd(&stream_);
    if (!committed_) ::unlink(temporary_.c_str());
  }

  void write(std::span<const std::byte> bytes) {
    if (!gzip_) return write_raw(bytes);
    while (!bytes.empty()) {
      const std::size_t piece = std::min<std::size_t>(bytes.size(), 1u << 30);
      deflate_some(bytes.first(piece), Z_NO_FLUSH);
      bytes = bytes.subspan(piece);
    }
  }

  /// Puts everything on the disk, still under the passing name: after this commit() only moves.
  void finish() {
    if (std::exchange(finished_, true)) return;
    if (gzip_) deflate_some({}, Z_FINISH);
    if (::fsync(file_.number()) != 0) throw system_error(path_, "write to disk");
    if (!file_.close()) throw system_error(path_, "close");
  }
  void commit() {
    finish();
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) throw system_error(path_, "move the finished file to its name");
    committed_ = true;
    const FileDescriptor folder(::open(this->folder().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (folder.number() >= 0)
      ::fsync(folder.number());   // the new name survives a power cut; not every file system can promise it
  }

 private:
  static constexpr std::size_t kBuffer = std::size_t{1} << 17;

  std::filesystem::path folder() const { return path_.has_parent_path() ? path_.parent_path() : std::filesystem::path("."); }

  void open_temporary() {
    for (int attempt = 0; attempt < 1000; ++attempt) {
      temporary_ = folder() / text(".ctseg-", static_cast<Index>(::getpid()), "-", attempt, ".tmp");
      file_ = FileDescriptor(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));   // the umask decides
      if (file_.number() >= 0) return;
      if (errno != EEXIST) break;
    }
    throw system_error(path_, "create a file in its folder");
  }

  void write_raw(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(file_.number(), bytes.data(), std::min<std::size_t>(bytes.size(), 1u << 30));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) throw system_error(path_, "write");
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
  }

  void deflate_some(std::span<const std::byte> bytes, int flush) {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes.data()));
    stream_.avail_in = static_cast<uInt>(bytes.size());
    do {
      stream_.next_out = reinterpret_cast<Bytef*>(buffer_.data());
      stream_.avail_out = static_cast<uInt>(buffer_.size());
      deflate(&stream_, flush);
      write_raw(std::span(buffer_).first(buffer_.size() - stream_.avail_out));
    } while (stream_.avail_out == 0);
  }

  std::filesystem::path path_, temporary_;
  bool gzip_, finished_ = false, committed_ = false;
  FileDescriptor file_;
  std::vector<std::byte> buffer_;
  z_stream stream_{};
};

/// Writes a file whole or not at all.
inline void write_file(const std::filesystem::path& path, std::span<const std::byte> bytes,
                       const WriteFileOptions& options = {}) {
  OutputFile file(path, options);
  file.write(bytes);
  file.commit();
}

}   // namespace ctseg::io
