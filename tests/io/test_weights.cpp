#include <doctest/doctest.h>
#include <unistd.h>

#include <ctseg/io/weights.hpp>
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/ops/cpu.hpp>

using namespace ctseg;
using S = Spec<float, 3, Cpu>;

namespace {

struct TempFile {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("ctseg_weights_" + std::to_string(getpid()) + ".safetensors");
  ~TempFile() { std::filesystem::remove(path); }
};
constexpr BasicUNetOptions kSmall{.features = {2, 2, 3, 3, 4, 2}};

BasicUNet<S> make_net(std::uint64_t seed, const BasicUNetOptions& o = kSmall) {
  BasicUNet<S> net{o};
  initialize_default(net, seed);
  return net;
}
bool same(const BasicUNet<S>& a, const BasicUNet<S>& b) {
  std::vector<std::vector<float>> all;
  for (const auto* net : {&a, &b})
    visit(*net, [&](const std::string&, const Parameter<S>& p) { all.emplace_back(p.values().begin(), p.values().end()); });
  return std::equal(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2),
                    all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2));
}

}   // namespace

TEST_CASE("weights come back bit for bit, under PyTorch's names, shapes and order") {
  const TempFile file;
  const auto net = make_net(1);
  auto other = make_net(2);
  REQUIRE(!same(net, other));
  io::save_weights(file.path, net, {.metadata = {{"model", "basic_unet"}}});
  io::load_weights(file.path, other);
  CHECK(same(net, other));
  CHECK_THROWS_WITH_AS(io::load_weights(file.path, other, {.dictionary = "ema"}),
                       doctest::Contains("dictionary = \"ema\" names nothing"), Error);
  const auto raw = io::read_safetensors(file.path);
  CHECK(raw.metadata.at("model") == "basic_unet");
  const auto at = std::ranges::find(raw.tensors, std::string("down_1.convs.conv_0.conv.weight"), &io::TensorRecord::name);
  REQUIRE(at != raw.tensors.end());
  CHECK(at->shape == std::vector<Index>{2, 2, 3, 3, 3});
}

TEST_CASE("the file order of a convolution is [out, in, k] and of a transposed one [in, out, k], group by group") {
  for (const Index groups : {1, 3})
    for (const bool transposed : {false, true}) {
      Conv<S> conv({.in_channels = 2 * groups,
                    .out_channels = 3 * groups,
                    .kernel = {1, 1, 2},
                    .transposed = transposed,
                    .groups = groups});
      const auto values = conv.weight.edit();
      for (Index g = 0; g < groups; ++g)
        for (Index tap = 0; tap < 2; ++tap)
          for (Index i = 0; i < 2; ++i)
            for (Index o = 0; o < 3; ++o)
              values[static_cast<std::size_t>(((g * 2 + tap) * 2 + i) * 3 + o)] =
                  static_cast<float>(1000 * g + 100 * o + 10 * i + tap);
      const TempFile file;
      io::save_weights(file.path, conv);
      const auto raw = io::read_safetensors(file.path);
      const auto& record = raw.tensors[0].name == "weight" ? raw.tensors[0] : raw.tensors[1];
      CHECK(record.shape ==
            (transposed ? std::vector<Index>{2 * groups, 3, 1, 1, 2} : std::vector<Index>{3 * groups, 2, 1, 1, 2}));
      std::vector<float> got(static_cast<std::size_t>(12 * groups));
      std::memcpy(got.data(), record.bytes.data(), got.size() * sizeof(float));
      std::size_t k = 0;
      for (Index g = 0; g < groups; ++g)
        for (Index a = 0; a < (transposed ? 2 : 3); ++a)
          for (Index b = 0; b < (transposed ? 3 : 2); ++b)
            for (Index tap = 0; tap < 2; ++tap)
              CHECK(got[k++] == static_cast<float>(1000 * g + (transposed ? 100 * b + 10 * a : 100 * a + 10 * b) + tap));
    }
}

TEST_CASE("a file that does not fit leaves the model alone and says why") {
  const TempFile file;
  auto net = make_net(1);
  const auto before = net;
  const auto refuses = [&](const char* words) {
    CHECK_THROWS_WITH_AS(io::load_weights(file.path, net), doctest::Contains(words), Error);
    CHECK(same(net, before));
  };
  io::save_weights(file.path, make_net(2, {.features = {2, 2, 3, 3, 5, 2}}));
  refuses("is [5,3,3,3,3], the network's is [4,3,3,3,3]");
  auto raw = io::read_safetensors(file.path);
  io::save_weights(file.path, make_net(2));
  raw = io::read_safetensors(file.path);
  raw.tensors.push_back({.name = "extra", .dtype = Dtype::u8, .shape = {1}, .bytes = {std::byte{1}}});
  io::write_safetensors(file.path, raw);
  refuses("extra");
  raw.tensors.pop_back();
  auto nan = raw;
  const std::uint32_t bits = 0x7fc00000u;
  std::memcpy(nan.tensors[0].bytes.data(), &bits, 4);
  io::write_safetensors(file.path, nan);
  refuses("not finite");
  raw.tensors.pop_back();
  io::write_safetensors(file.path, raw);
  refuses("no tensor for 1 of the network's");
  std::filesystem::remove(file.path);
  CHECK_THROWS_AS(io::load_weights(file.path, net), Error);
}

TEST_CASE("half and bf16 weights load into float") {
  const TempFile file;
  const auto net = make_net(1);
  io::save_weights(file.path, net);
  auto raw = io::read_safetensors(file.path);
  for (auto& t : raw.tensors) {
    std::vector<std::byte> small(t.bytes.size() / 2);
    for (std::size_t i = 0; i < small.size() / 2; ++i) {
      float v;
      std::memcpy(&v, t.bytes.data() + 4 * i, 4);
      const half h(v);
      std::memcpy(small.data() + 2 * i, &h, 2);
    }
    t.dtype = Dtype::f16;
    t.bytes = small;
  }
  io::write_safetensors(file.path, raw);
  auto other = make_net(2);
  io::load_weights(file.path, other);
  auto copy = net;
  const auto a = copy.parameters(), b = other.parameters();
  for (std::size_t k = 0; k < a.size(); ++k)
    for (std::size_t i = 0; i < a[k]->values().size(); ++i)
      CHECK(double(b[k]->values()[i]) == doctest::Approx(double(a[k]->values()[i])).epsilon(1e-3));
}
