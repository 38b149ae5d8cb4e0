// safetensors: what parses has tensors of the size they say.
#include <ctseg/io/safetensors.hpp>

#include "fuzz.hpp"

using namespace ctseg;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::run([&] {
    const io::TensorFile file = io::parse_safetensors(std::as_bytes(std::span(data, size)), "x");
    for (const io::TensorRecord& t : file.tensors)
      fuzz::require(static_cast<Index>(t.bytes.size()) == io::byte_count(t.shape, t.dtype) &&
                    t.bytes.size() <= size);
  });
  return 0;
}
