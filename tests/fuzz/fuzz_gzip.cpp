// gzip: read whole and in pieces, the bytes are the same.
#include <ctseg/io/file.hpp>

#include "fuzz.hpp"

using namespace ctseg;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto path = fuzz::as_file("x.gz", data, size);
  fuzz::run([&] {
    const auto whole = io::read_file(path, {.max_bytes = Index{1} << 22, .gzip = true});
    io::InputFile file(path, true);
    std::vector<std::byte> piece(whole.size() / 3 + 1);
    for (std::size_t at = 0; at < whole.size();) {
      const std::size_t got = file.read(piece);
      fuzz::require(got > 0 && at + got <= whole.size() &&
                    std::equal(piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(got),
                               whole.begin() + static_cast<std::ptrdiff_t>(at)));
      at += got;
    }
    file.expect_end("the content");
  });
  return 0;
}
