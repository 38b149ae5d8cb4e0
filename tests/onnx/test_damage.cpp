// Damaged files: every truncation and many flipped bytes give a graph that runs or one clean error, in bounded memory and time.
#include <cstdlib>
#include <fstream>

#include "nets.hpp"

using namespace onnx_test;

namespace {

const std::filesystem::path kFolder = std::filesystem::path(CTSEG_SOURCE_DIR) / "tests" / "parity" / "onnx";

std::string bytes_of(const std::filesystem::path& path) {
  const auto bytes = io::read_file(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Loads and records; running is not needed, for shapes and memory are known by then. False if there was an error.
template <AnySpec S> bool try_file(const std::filesystem::path& path, const std::string& bytes, const Shape<S::kDim>& shape) {
  std::ofstream(path, std::ios::binary) << bytes;
  try {
    const onnx::Model<S> model(path);
    Tape<S> tape(Mode::infer);
    model.forward(tape.input(shape));
    return true;
  } catch (const Error& e) {
    CHECK(std::string(e.what()).size() > 10);
    return false;
  }
}

/// CTSEG_ONNX_FLIPS sets the number for a longer run.
int flips() {
  const char* set = std::getenv("CTSEG_ONNX_FLIPS");
  return set ? std::atoi(set) : 150;
}

template <AnySpec S> void damage(const std::string& name, const Shape<S::kDim>& shape) {
  INFO(name);
  const TempFolder folder;
  const auto path = folder / "damaged.onnx";
  const std::string whole = bytes_of(kFolder / (name + ".onnx"));
  REQUIRE(try_file<S>(path, whole, shape));
  std::uint32_t state = 12345;
  const auto random = [&](std::size_t below) {
    state = state * 1664525u + 1013904223u;
    return static_cast<std::size_t>(state >> 4) % below;
  };
  for (int i = 0; i < flips(); ++i) {
    std::string bytes = whole;
    bytes[random(bytes.size())] ^= static_cast<char>(1u << random(8));
    if (i % 3 == 0) bytes[random(bytes.size())] = static_cast<char>(random(256));
    try_file<S>(path, bytes, shape);
  }
  int clean = 0, cuts = 0;
  for (std::size_t size = 0; size < whole.size(); size += 1 + random(2 * whole.size() / static_cast<std::size_t>(flips())))
    clean += try_file<S>(path, whole.substr(0, size), shape) ? 0 : 1, ++cuts;
  CHECK(clean > cuts * 9 / 10);   // a cut behind the graph loses nothing
}

}   // namespace

TEST_CASE("onnx damage: flipped bytes and truncations") {
  damage<F2>("computed_sizes_legacy_2d", {1, 1, {17, 19}});
  damage<F2>("computed_sizes_dynamo_2d", {1, 1, {17, 19}});
  damage<F3>("segresnet_3d", {1, 1, {8, 8, 8}});
  damage<F3>("basic_unet_shuffle_3d", {1, 1, {16, 16, 16}});
  damage<F3>("unet_batch_3d", {1, 1, {8, 8, 8}});
}

TEST_CASE("onnx damage: a file of nothing but empty nodes, and one that is too large") {
  const TempFolder folder;
  std::string nodes;
  for (int i = 0; i < 1'100'000; ++i) nodes += std::string("\x0a\x00", 2);
  std::string size;
  for (std::size_t n = nodes.size(); n > 0; n >>= 7) size += static_cast<char>((n & 127) | (n > 127 ? 128 : 0));
  std::ofstream(folder / "many.onnx", std::ios::binary) << "\x3a" + size + nodes;
  CHECK_THROWS_WITH_AS(onnx::Model<F2>(folder / "many.onnx"), doctest::Contains("more than 1048576 strings and messages"),
                       Error);
  CHECK_THROWS_WITH_AS(onnx::Model<F2>(folder / "many.onnx", {.max_bytes = 1000}),
                       doctest::Contains("holds more than 1000 bytes"), Error);
}
