// PyTorch checkpoints: archives whose checksums are not compared, so that changes get through, and, where the input is no
// archive, bare pickles. What is read has tensors of the size they say, none far larger than the input.
#include <ctseg/io/torch_file.hpp>

#include "fuzz.hpp"

using namespace ctseg;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  fuzz::run([&] {
    if (!input.starts_with("PK")) {
      const io::pickle::Document document = io::pickle::Machine(input, "x").run();
      fuzz::require(document.top < document.values.size() && document.values.size() <= size && document.tensors.size() <= size);
      for (const io::pickle::Value& v : document.values)
        for (const io::pickle::Id id : v.items) fuzz::require(id < document.values.size());
      return;
    }
    const io::ByteSource source(std::as_bytes(std::span(data, size)), "x");
    std::size_t total = 0;
    for (const io::TensorRecord& t : io::read_all(io::index_torch_file<>(source, {.check_crc = false})).tensors) {
      fuzz::require(static_cast<Index>(t.bytes.size()) == io::byte_count(t.shape, t.dtype));
      total += t.bytes.size();
    }
    fuzz::require(total <= 8 * size + (std::size_t{64} << 20));
  });
  return 0;
}
