// safetensors: round trips, the published layout, and a refusal for everything outside the grammar.
#include <doctest/doctest.h>
#include <ctseg/core/random.hpp>
#include <ctseg/io/safetensors.hpp>

#include "temp_folder.hpp"

using namespace ctseg;

namespace {

io::TensorRecord record(const std::string& name, Dtype dtype, std::vector<Index> shape) {
  io::TensorRecord out{name, dtype, shape, {}};
  out.bytes.resize(static_cast<std::size_t>(io::byte_count(shape, dtype)));
  for (std::size_t i = 0; i < out.bytes.size(); ++i) out.bytes[i] = static_cast<std::byte>(i * 7 + name.size());
  return out;
}
std::string file_with(const std::string& json, std::size_t data_bytes) {
  const std::uint64_t length = json.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + json + std::string(data_bytes, 'd');
}
io::TensorFile parse(const std::string& content, const io::SafetensorsOptions& options = {}) {
  return io::parse_safetensors(std::as_bytes(std::span(content)), "model", options);
}
std::string refusal(const std::string& json, std::size_t data_bytes) {
  return error_of([&] { parse(file_with(json, data_bytes)); });
}

TEST_CASE("all dtypes, shapes and odd names survive; equal content gives equal files") {
  const TempFolder folder;
  io::TensorFile file;
  int i = 0;
  for (const auto& [label, dtype] : io::safetensors::kNames) {
    ++i;
    file.tensors.push_back(record(text("t", i), dtype, {2, Index{i}, 3}));
  }
  file.tensors.push_back(record("scalar", Dtype::i64, {}));
  file.tensors.push_back(record("empty", Dtype::f32, {0, 4}));
  file.tensors.push_back(record("quote \" slash \\ tab \t \xC3\xA9", Dtype::u8, {5}));
  file.metadata = {{"net", "basic\n\"unet\""}, {"empty", ""}};
  io::write_safetensors(folder / "a", file);
  const io::TensorFile back = io::read_safetensors(folder / "a");
  CHECK(back.metadata == file.metadata);
  REQUIRE(back.tensors.size() == file.tensors.size());
  for (const auto& t : file.tensors)
    CHECK(1 == std::count_if(back.tensors.begin(), back.tensors.end(), [&](const io::TensorRecord& o) {
            return o.name == t.name && o.dtype == t.dtype && o.shape == t.shape && o.bytes == t.bytes;
          }));
  std::reverse(file.tensors.begin(), file.tensors.end());
  io::write_safetensors(folder / "b", file);
  CHECK(slurp(folder / "a") == slurp(folder / "b"));
  CHECK(static_cast<unsigned char>(slurp(folder / "a")[0]) % 8 == 0);   // the data are aligned
}

TEST_CASE("the layout is the published one") {
  const io::TensorFile file = parse(file_with(
      R"({"__metadata__" : {"a":"\u00e9\ud83d\ude00"}, "x":{"dtype":"F32","shape":[1, 2],"data_offsets":[0,8]}}   )", 8));
  CHECK(file.metadata.at("a") == "\xC3\xA9\xF0\x9F\x98\x80");
  CHECK(file.tensors.at(0).shape == std::vector<Index>{1, 2});
  CHECK(parse(file_with("{}", 0)).tensors.empty());
}

TEST_CASE("each kind of damage has its error") {
  const auto has = [](const std::string& message, std::string_view part) {
    INFO(message);
    CHECK(message.find(part) != std::string::npos);
  };
  const std::string x = R"("x":{"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
  CHECK(refusal("{" + x + "}", 4).empty());
  has(refusal("{" + x + "}", 5), "trailing bytes");
  has(refusal("{" + x + "}", 3), "truncated");
  has(refusal("{" + x + "," + x + "}", 4), "\"x\" twice");
  has(refusal(R"({"__metadata__":{"a":"1","a":"2"}})", 0), "\"a\" twice");
  has(refusal(R"({"__metadata__":{},"__metadata__":{}})", 0), "two __metadata__");
  has(refusal(R"({"__metadata__":{"a":1}})", 0), "'\"' must come here");
  has(refusal("{" + x + R"(,"y":{"dtype":"U8","shape":[2],"data_offsets":[5,7]}})", 7), "hole");
  has(refusal("{" + x + R"(,"y":{"dtype":"U8","shape":[2],"data_offsets":[3,5]}})", 5), "inside the tensor before it");
  has(refusal(R"({"x":{"dtype":"F32","shape":[4],"data_offsets":[0,4]}})", 4), "need 16");
  has(refusal(R"({"x":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,4]}})", 4), "too large");
  has(refusal(R"({"x":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4]}})", 4), "too large");
  has(refusal(R"({"x":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}})", 4), "F8_E4M3");
  has(refusal(R"({"x":{"dtype":"U8","shape":[-4],"data_offsets":[0,4]}})", 4), "whole number");
  has(refusal(R"({"x":{"dtype":"U8","shape":[4.0],"data_offsets":[0,4]}})", 4), "']' must come");
  has(refusal(R"({"x":{"dtype":"U8","shape":[04],"data_offsets":[0,4]}})", 4), "leading zero");
  has(refusal(R"({"x":{"dtype":"U8","shape":[4],"data_offsets":[4,0]}})", 4), "data_offsets");
  has(refusal(R"({"x":{"dtype":"U8","shape":[4],"data_offsets":[0]}})", 4), "data_offsets");
  has(refusal(R"({"x":{"dtype":"U8","shape":[4]}})", 4), "needs all three");
  has(refusal(R"({"x":{"dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4), "repeated key \"dtype\"");
  has(refusal(R"({"x":{"dtype":"U8","shape":[4],"data_offsets":[0,4],"more":1}})", 4), "\"more\"");
  has(refusal(R"([1])", 0), "begin with '{'");
  has(refusal("{" + x + "} x", 4), "goes on");
  has(refusal("{" + x, 4), "'}' must come");
  has(refusal("{\"\xC0\x80\":{}}", 0), "UTF-8");
  has(refusal("{\"a\nb\":{}}", 0), "control character");
  has(refusal(R"({"\ud800":{}})", 0), "surrogate");
  has(refusal(R"({"\q":{}})", 0), "escape");
  has(refusal(R"({"x":)" + std::string(100'000, '{'), 0), "must come here");   // depth is not followed
  has(error_of([] { parse("1234567"); }), "has 7 bytes");
  const std::string loud = refusal(R"({"\u001b[2J":{"dtype":"\u001b[31m","shape":[4],"data_offsets":[0,4]}})", 4);
  has(loud, R"(gives "?[2J" the dtype "?[31m"; known are)");   // a terminal does nothing
  CHECK(refusal("{\"" + std::string(100'000, 'a') + "\":{}}", 0).size() < 300);
  has(error_of([] { parse(std::string(8, '\xff')); }), "header length");
  has(error_of([&] { parse(file_with("{}", 0).substr(0, 9)); }), "only 1 bytes follow");
  has(error_of([&] { parse(file_with("{" + x + "}", 4), {.max_header_bytes = 10}); }), "limit is 10");
}

TEST_CASE("the writer refuses what the reader would") {
  const TempFolder folder;
  const auto write = [&](io::TensorRecord a, io::TensorRecord b) { io::write_safetensors(folder / "a", {{a, b}, {}}); };
  CHECK_THROWS_AS(write(record("a", Dtype::u8, {1}), record("a", Dtype::u8, {1})), Error);
  CHECK_THROWS_AS(write(record("a", Dtype::u8, {1}), record("__metadata__", Dtype::u8, {1})), Error);
  CHECK_THROWS_AS(write(record("a", Dtype::u8, {1}), record("\xff", Dtype::u8, {1})), Error);
  CHECK_THROWS_AS(write(record("a", Dtype::u8, {1}), {"b", Dtype::f32, {3}, std::vector<std::byte>(11)}), Error);
  CHECK_THROWS_AS(io::write_safetensors(folder / "a", {{}, {{"k", "\xff"}}}), Error);
  CHECK(!std::filesystem::exists(folder / "a"));
}

TEST_CASE("3000 flips and all truncations: an error or the same number of bytes, never a crash") {
  const TempFolder folder;
  io::write_safetensors(folder / "a", {{record("a.weight", Dtype::f32, {2, 3}), record("b", Dtype::u8, {5})}, {{"k", "v"}}});
  const std::string good = slurp(folder / "a");
  for (std::size_t length = 0; length < good.size(); ++length) CHECK_THROWS_AS(parse(good.substr(0, length)), Error);
  RandomStream random({.seed = 1});
  int accepted = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string bad = good;
    const auto at = static_cast<std::size_t>(random.below(static_cast<Index>(bad.size())));
    bad[at] = static_cast<char>(bad[at] ^ 1 << random.below(8));
    try {
      std::size_t bytes = 0;
      for (const auto& t : parse(bad).tensors) bytes += t.bytes.size();
      CHECK(bytes == 29);
      ++accepted;
    } catch (const Error&) {}
  }
  CHECK(accepted > 100);
  CHECK(accepted < 2000);
}

}   // namespace
