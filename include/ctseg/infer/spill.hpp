// A temporary file for what does not fit into memory. It has no name, so it is gone after any end of the program.
#pragma once
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <system_error>

#include "../core/error.hpp"

namespace ctseg {

/// Bytes at places of a file without a name.
/// Errors    io with the system's reason, if the folder takes no file or the disk is full.
class SpillFile {
 public:
  /// Without a folder: the one that TMPDIR names, else /tmp.
  explicit SpillFile(std::string folder = "") : folder_(std::move(folder)) {
    const char* named = std::getenv("TMPDIR");
    if (folder_.empty()) folder_ = named && *named ? named : "/tmp";
#if defined(O_TMPFILE)
    file_ = ::open(folder_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
#endif
    if (file_ < 0) {   // file systems without O_TMPFILE: a name for a moment
      std::string name = folder_ + "/ctseg_spill_XXXXXX";
      file_ = ::mkstemp(name.data());
      if (file_ < 0) throw failed("make a temporary file");
      ::unlink(name.c_str());
      (void)::fcntl(file_, F_SETFD, FD_CLOEXEC);
    }
  }
  SpillFile(const SpillFile&) = delete;
  ~SpillFile() { ::close(file_); }

  const std::string& folder() const { return folder_; }
  /// One behind the last byte that was written.
  Index bytes() const { return bytes_; }

  void write(Index at, const void* from, Index bytes) {
    auto* next = static_cast<const char*>(from);
    for (const Index end = at + bytes; at < end;) {
      const ssize_t n = ::pwrite(file_, next, most(end - at), at);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) throw failed(text("write ", bytes >> 20, " MiB behind the ", bytes_ >> 20, " MiB that are there"));
      next += n, at += n;
      bytes_ = std::max<Index>(bytes_, at);
    }
  }
  void read(Index at, void* to, Index bytes) const {
    auto* next = static_cast<char*>(to);
    for (const Index end = at + bytes; at < end;) {
      const ssize_t n = ::pread(file_, next, most(end - at), at);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) throw failed("read");
      next += n, at += n;
    }
  }

 private:
  static std::size_t most(Index bytes) { return static_cast<std::size_t>(std::min<Index>(bytes, Index{1} << 30)); }
  Error failed(const std::string& what) const {
    const int reason = errno;
    return Error(Code::io, "spill file",
                 text("cannot ", what, " in ", folder_, ": ", std::generic_category().message(reason),
                      ". Hint: name a folder with more room (spill_folder, or TMPDIR), or allow more memory."));
  }
  std::string folder_;
  int file_ = -1;
  Index bytes_ = 0;
};

}   // namespace ctseg
