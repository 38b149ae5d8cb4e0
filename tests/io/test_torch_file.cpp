// PyTorch's checkpoints: what tensors come out, how the dictionary is chosen, and what files of other kinds are told.
#include <doctest/doctest.h>

#include <cstring>

#include <ctseg/io/torch_file.hpp>

#include "temp_folder.hpp"
#include "torch_zip.hpp"

using namespace ctseg;
using namespace torch_zip;

namespace {

const std::string kFixtures = std::string(CTSEG_SOURCE_DIR) + "/tests/parity/weights/";

io::TensorFile parse(const std::string& bytes, const io::TorchFileOptions& options = {}) {
  return io::read_all(io::index_torch_file<>(io::ByteSource(std::as_bytes(std::span(bytes)), "file"), options));
}
std::string refusal(const std::string& bytes, const io::TorchFileOptions& options = {}) {
  return error_of([&] { parse(bytes, options); });
}
void has(const std::string& message, std::string_view part) {
  INFO(message);
  CHECK(message.find(part) != std::string::npos);
}
template <class T> std::vector<double> values(const io::TensorRecord& t) {
  std::vector<double> out;
  for (std::size_t at = 0; at < t.bytes.size(); at += sizeof(T)) {
    T value;
    std::memcpy(&value, t.bytes.data() + at, sizeof(T));
    if constexpr (sizeof(T) == 2 && !std::is_integral_v<T>)
      out.push_back(double{static_cast<float>(value)});
    else
      out.push_back(static_cast<double>(value));
  }
  return out;
}

TEST_CASE("views, shared storages and all types have the values that PyTorch sees") {
  std::map<std::string, io::TensorRecord> all;
  for (auto& t : io::read_torch_file<>(kFixtures + "views.pth").tensors) all[t.name] = t;
  CHECK(all.size() == 16);
  const auto floats = [&](const char* name, const std::vector<Index>& shape, const std::vector<double>& expected) {
    INFO(name);
    CHECK(all[name].shape == shape);
    CHECK(values<float>(all[name]) == expected);
  };
  std::vector<double> count(24), transposed, columns;
  for (std::size_t i = 0; i < 24; ++i) count[i] = static_cast<double>(i);
  for (int c = 0; c < 6; ++c)
    for (int r = 0; r < 4; ++r) transposed.push_back(r * 6 + c);
  for (int k = 0; k < 4; ++k)
    for (int r = 0; r < 6; ++r) columns.push_back(r * 4 + k);
  floats("packed", {2, 3, 4}, count);
  floats("transposed", {6, 4}, transposed);
  floats("sliced", {2, 3}, {6, 8, 10, 12, 14, 16});
  floats("columns", {4, 2, 3}, columns);
  floats("repeated", {2, 3}, {5, 6, 7, 5, 6, 7});
  floats("scalar", {}, {9});
  floats("empty", {0, 3}, {});
  floats("parameter", {3}, {0, 1, 2});
  const std::vector<double> four = {0, 1, 2, 3};
  CHECK(values<double>(all["f64"]) == four);
  CHECK(values<half>(all["f16"]) == four);
  CHECK(values<bf16>(all["bf16"]) == four);
  CHECK(values<std::int64_t>(all["i64"]) == four);
  CHECK(values<std::int32_t>(all["i32"]) == four);
  CHECK(values<std::int16_t>(all["i16"]) == four);
  CHECK(values<std::uint8_t>(all["u8"]) == four);
  CHECK(values<std::uint8_t>(all["bool"]) == std::vector<double>{0, 1, 0, 1});
}

TEST_CASE("the dictionary is the named one, else the one that holds tensors") {
  const auto first = [](const std::string& pickled, const io::TorchFileOptions& o = {}) {
    return parse(checkpoint(pickled), o).tensors.at(0).name;
  };
  const auto in = [](const std::string& key, const std::string& name) {
    return words(key) + "}" + words(name) + tensor() + "ss";
  };
  CHECK(first(one(tensor())) == "w");
  CHECK(first(pickle("}" + in("anything", "a"))) == "a");
  CHECK(first(pickle("}" + in("ema", "b") + in("state_dict", "a"))) == "a");
  CHECK(first(pickle("}" + words("epoch") + "K\x03s" + in("net", "a"))) == "a");
  const std::string two = pickle("}" + in("model", "a") + in("net", "b")),
                    deep = pickle("}" + words("nets") + "}" + in("student", "c") + "s");
  has(refusal(checkpoint(two)), "has 2 dictionaries of tensors at its top level: model, net");
  CHECK(first(two, {.dictionary = "net"}) == "b");
  CHECK(first(deep, {.dictionary = "nets.student"}) == "c");
  has(refusal(checkpoint(deep)), "has 0 dictionaries of tensors at its top level: none (all keys: nets)");
  has(refusal(checkpoint(deep), {.dictionary = "nets.teacher"}),
      "has no dictionary nets.teacher; at teacher there are: student");
  has(refusal(checkpoint(deep), {.dictionary = "nets"}), "has no tensors in nets");
  has(refusal(checkpoint(pickle("]"))), "holds no dictionary");
}

TEST_CASE("files of other kinds are told apart, with a way out") {
  const auto refused = [](const std::string& bytes, const char* what) { has(refusal(bytes), what); };
  refused(
      "\x80\x02\x8a\x0al\xfc\x9c"
      "F\xf9 j\xa8P\x19.",
      "before version 1.6; a zip archive of torch.save is read. Hint: torch.save(torch.load(");
  refused(std::string(257, 'a') + "ustar" + std::string(200, '\0'), "before version 0.1.10");
  refused("\x80\x04.", "is a bare pickle");
  refused("", "neither a safetensors file nor");
  refused("\x89HDF\r\n\x1a\n", "neither a safetensors file nor");
  refused(zip({{"word/document.xml", "<x/>"}}), "without data.pkl");
  refused(zip({{"a/data.pkl", one(tensor())}, {"a/code/x.py", "pass"}}), "is a TorchScript program, whose code is not run");
  refused(zip({{"a/data.pkl", one(tensor())}, {"a/byteorder", "big"}, {"a/data/0", std::string(16, '\0')}}),
          "byte order \"big\"");
}

TEST_CASE("a tensor must lie inside its storage, and its storage in the file") {
  const auto view = [](const torch_zip::View& v) { return refusal(checkpoint(one(tensor(v)))); };
  CHECK(view({}).empty());
  CHECK(view({.offset = 3, .shape = {1}, .strides = {9}}).empty());
  CHECK(view({.shape = {0, 1L << 40, 1L << 40}, .strides = {1, 1L << 40, 1}}).empty());   // no value, and no overflow
  has(view({.offset = 1}), "tensor w [4] with strides [1] from value 1 of 4 reaches out of its storage");
  has(view({.offset = -1, .shape = {1}}), "reaches out of its storage");
  has(view({.shape = {2, 2}, .strides = {3, 1}}), "reaches out of its storage");
  has(view({.shape = {2}, .strides = {1L << 62}}), "cannot be counted");
  has(view({.shape = {1L << 40, 1L << 40}, .strides = {0, 0}}), "cannot be counted");
  has(view({.shape = {1L << 40}, .strides = {0}}), "far more than the file");
  has(view({.stored = 5}), "entry data/0 has 16 bytes; the pickle says 20");
  has(view({.stored = 1L << 62}), "cannot be counted");
  has(view({.shape = {-4}}), "an extent or stride below 0");
  has(view({.strides = {}}), "1 axes with 0 strides");
  has(view({.type = "CharStorage"}), "names torch.CharStorage");
  has(refusal(zip({{"a/data.pkl", one(tensor())}})), "has no entry data/0");
}

TEST_CASE("a source never gives fewer bytes than were asked for") {
  const io::ByteSource source(std::as_bytes(std::span("abc", 3)), "file");
  CHECK(source.read(1, 2) == "bc");
  for (const auto& [at, count] : std::vector<std::pair<Index, Index>>{{0, 4}, {2, 2}, {-1, 1}, {0, -1}, {1, Index{1} << 62}})
    has(error_of([&, at = at, count = count] { source.read(at, count); }), "file: has 3 bytes; ");
}

TEST_CASE("an archive that two readers could read in two ways is refused") {
  const std::string good = one(tensor()), data(16, '\1');
  const auto archive = [&](std::vector<Entry> more) {
    more.insert(more.begin(), {{"a/data.pkl", good}, {"a/data/0", data}});
    return refusal(zip(more));
  };
  CHECK(archive({}).empty());
  CHECK(archive({{.name = "a/wide", .content = "x", .wide = true}}).empty());
  has(archive({{"a/data/0", data}}), "has the entry a/data/0 twice");
  has(archive({{.name = std::string(60'000, 'x'), .content = "y", .offset = std::numeric_limits<long>::max()}}),
      "reaches into the next one");   // where 64 bits end
  has(archive({{.name = "a/x", .content = "y", .offset = 0}}), "reaches into the next one");
  has(refusal(zip({{"a/data.pkl", good}, {.name = "a/data/0", .content = data, .method = 8}})), "entry a/data/0 is compressed");
  has(refusal(zip({{"a/data.pkl", good}, {.name = "a/data/0", .content = data, .crc_change = 1}})), "checksum");
  CHECK(refusal(zip({{"a/data.pkl", good}, {.name = "a/data/0", .content = data, .crc_change = 1}}), {.check_crc = false})
            .empty());
  std::string other = checkpoint(good);
  other.replace(other.find("a/data/0"), 8, "a/data/1");   // the local header's name
  has(refusal(other), "does not agree with the directory");
  has(refusal(zip({{"a/data.pkl", good}, {"a/data/0", data}, {"b/data.pkl", good}, {"b/data/0", data}})),
      "has 2 checkpoints in one archive, a/data.pkl and b/data.pkl; must be 1");
  has(refusal(checkpoint(pickle("}" + words("w") + tensor() + "s" + words("w") + tensor() + "s"))), "two tensors named w.");
  has(refusal(checkpoint(good) + "x"), "has no end in its last 22 bytes");
  has(refusal(checkpoint(good), {.max_pickle_bytes = 10}), "the most is 10");
}

}   // namespace
