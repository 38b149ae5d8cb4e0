// Which tensor goes where: maps of names, lists of what is left, second names; and nothing changes unless all fits.
#include <doctest/doctest.h>

#include <ctseg/io/torch_file.hpp>
#include <ctseg/io/weights.hpp>
#include <ctseg/nn/layers.hpp>
#include <ctseg/ops/cpu.hpp>

#include "temp_folder.hpp"
#include "torch_zip.hpp"

using namespace ctseg;
using S = Spec<float, 2, Cpu>;

namespace {

const std::string kFixtures = std::string(CTSEG_SOURCE_DIR) + "/tests/parity/weights/";

/// Vectors under any names.
struct Net {
  std::vector<std::pair<std::string, Parameter<S>>> all;
  explicit Net(const std::vector<std::pair<std::string, std::vector<Index>>>& parts) {
    for (const auto& [name, shape] : parts) all.emplace_back(name, Parameter<S>({.shape = shape, .fill = -1}));
  }
  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    for (auto& [name, p] : self.all) f(prefix + name, p);
  }
  float first(std::size_t i) const { return all[i].second.values()[0]; }
};
/// A file in which tensor i has the value i + 1 everywhere.
std::filesystem::path file_of(const TempFolder& folder, const std::vector<std::pair<std::string, Index>>& names) {
  io::TensorFile file;
  float value = 0;
  for (const auto& [name, count] : names) {
    const std::vector<float> values(static_cast<std::size_t>(count), ++value);
    const auto bytes = std::as_bytes(std::span(values));
    file.tensors.push_back({name, Dtype::f32, {count}, {bytes.begin(), bytes.end()}});
  }
  io::write_safetensors(folder / "w.safetensors", file);
  return folder / "w.safetensors";
}
void has(const std::string& message, std::string_view part) {
  INFO(message);
  CHECK(message.find(part) != std::string::npos);
}

TEST_CASE("wrappers are dropped, names and beginnings changed, lists obeyed") {
  const TempFolder folder;
  Net net({{"a", {1}}, {"b.c", {1}}, {"d", {1}}});
  io::load_weights(file_of(folder, {{"module._orig_mod.a", 1}, {"module.b.c", 1}, {"_orig_mod.d", 1}}), net);
  CHECK(net.first(2) == 3);
  io::load_weights(file_of(folder, {{"x", 1}, {"net.c", 1}, {"net.d", 1}, {"head.w", 1}, {"norm.num_batches_tracked", 1}}), net,
                   {.names = {{"x", "a"}, {"net.d", "d"}}, .prefixes = {{"net.", "b."}}, .ignore = {"head.*"}});
  CHECK(net.first(0) == 1);
  CHECK(net.first(1) == 2);
  CHECK(net.first(2) == 3);
  io::load_weights(file_of(folder, {{"d", 1}}), net, {.keep = {"a", "b.*"}});
  CHECK(net.first(0) == 1);
  CHECK(net.first(1) == 2);
  CHECK(net.first(2) == 1);
  Net wrapped({{"module.a", {1}}, {"a", {1}}});   // a network whose own names begin so
  io::load_weights(file_of(folder, {{"module.a", 1}, {"a", 1}}), wrapped);
  CHECK(wrapped.first(1) == 2);
}

TEST_CASE("what does not fit is listed, and nothing changes") {
  const TempFolder folder;
  Net net({{"a", {2}}, {"b", {1}}});
  const auto refuses = [&](const std::vector<std::pair<std::string, Index>>& names, const char* words,
                           const io::LoadOptions& o = {}) {
    has(error_of([&] { io::load_weights(file_of(folder, names), net, o); }), words);
    CHECK(net.first(0) == -1);
    CHECK(net.first(1) == -1);
  };
  refuses({{"a", 2}}, "The file has no tensor for 1 of the network's: b [1]. Hint: it was saved from another network");
  refuses({{"a", 2}, {"b", 1}, {"c", 5}}, "The network has no place for 1 of the file's: c [5]. Hint");
  refuses({{"a", 3}, {"b", 1}}, "tensor a is [3], the network's is [2]. Hint");
  refuses({{"x", 3}, {"b", 1}}, "tensor a (x in the file) is [3], the network's is [2].", {.names = {{"x", "a"}}});
  refuses({{"n.a", 2}, {"n.b", 1}},
          "for 2 of the network's: a [2], b [1]. The network has no place for 2 of the file's: n.a [2], n.b [1]. "
          "Hint: if only names differ, map them by the options prefixes and names.");
  refuses({{"module.a", 2}, {"a", 2}, {"b", 1}}, "tensors a and module.a are both named a");
  Net a({{"a", {2}}});
  io::load_weights(file_of(folder, {{"a", 2}, {"module.a", 2}}), a, {.ignore = {"module.a"}});
  CHECK(a.first(0) == 1);
  std::vector<std::pair<std::string, Index>> many = {{"a", 2}, {"b", 1}};
  for (int i = 0; i < 30; ++i) many.emplace_back("extra" + std::to_string(i), 1);
  refuses(many, "extra15 [1], ... (30 in all)");
  io::TensorFile file = io::read_safetensors(file_of(folder, {{"a", 2}, {"b", 1}}));
  for (auto& t : file.tensors)
    if (t.name == "b") t.dtype = Dtype::i32;   // the last one that is looked at
  io::write_safetensors(folder / "w", file);
  has(error_of([&] { io::load_weights(folder / "w", net); }), "tensor b is i32; weights are f64, f32, f16 or bf16");
  CHECK(net.first(0) == -1);
  file = io::read_safetensors(file_of(folder, {{"a", 2}, {"b", 1}}));
  for (auto& t : file.tensors)
    if (t.name == "b") t.bytes = {std::byte{0}, std::byte{0}, std::byte{0xc0}, std::byte{0x7f}};
  io::write_safetensors(folder / "w", file);
  has(error_of([&] { io::load_weights(folder / "w", net); }), "tensor b has a value that is not finite");
  CHECK(net.first(0) == -1);
  spill(folder / "n",
        torch_zip::checkpoint(torch_zip::one(torch_zip::tensor()), std::string(12, '\1') + std::string("\0\0\xc0\x7f", 4)));
  Net w({{"w", {4}}});
  has(error_of([&] { io::load_weights(folder / "n", w, {.reader = io::torch_reader()}); }), "not finite as f32 at 3");
  CHECK(w.first(0) == -1);
}

TEST_CASE("the content decides what a file is, and a .pth without its reader says which") {
  const TempFolder folder;
  spill(folder / "w.safetensors", torch_zip::checkpoint(torch_zip::one(torch_zip::tensor())));
  Net net({{"w", {4}}});
  io::load_weights(folder / "w.safetensors", net, {.reader = io::torch_reader()});
  CHECK(net.first(0) > 0);
  has(error_of([&] { io::load_weights(folder / "w.safetensors", net); }), "{.reader = io::torch_reader()}");
  std::filesystem::rename(file_of(folder, {{"w", 4}}), folder / "w.pth");
  io::load_weights(folder / "w.pth", net, {.reader = io::torch_reader()});
  CHECK(net.first(0) == 1);
  spill(folder / "x", "not weights at all");
  has(error_of([&] { io::load_weights(folder / "x", net, {.reader = io::torch_reader()}); }), "neither a safetensors file nor");
  spill(folder / "bad", torch_zip::zip({{"a/data.pkl", torch_zip::one(torch_zip::tensor())},
                                        {.name = "a/data/0", .content = std::string(16, '\2'), .crc_change = 1}}));
  has(error_of([&] { io::load_weights(folder / "bad", net, {.reader = io::torch_reader()}); }), "checksum");
  CHECK(net.first(0) == 1);
  io::load_weights(folder / "bad", net, {.reader = io::torch_reader(), .check_crc = false});
  CHECK(net.first(0) != 1);
}

TEST_CASE("nnU-Net's second names must repeat their twin, and are written where asked for") {
  const TempFolder folder;
  std::map<std::string, std::vector<std::byte>> written, expected;
  std::vector<std::pair<std::string, std::vector<Index>>> parts;
  for (auto& t : io::read_torch_file<>(kFixtures + "nnunet.pth").tensors) {
    expected[t.name] = t.bytes;
    if (t.name.find("all_modules") == std::string::npos && !t.name.starts_with("decoder.encoder."))
      parts.emplace_back(t.name, t.shape);
  }
  CHECK(parts.size() == 31);
  Net net(parts);
  const io::LoadOptions torch = {.reader = io::torch_reader()};
  has(error_of([&] { io::load_weights(kFixtures + "nnunet_different.pth", net, torch); }),
      "tensor decoder.encoder.stem.convs.0.conv.bias is another name of encoder.stem.convs.0.conv.bias, but its "
      "values differ");
  CHECK(net.first(0) == -1);
  io::load_weights(kFixtures + "nnunet.pth", net, torch);
  CHECK(net.first(0) != -1);
  io::save_weights(folder / "w.safetensors", net, {.metadata = {{"for", "nnunet"}}, .second_names = true});
  for (auto& t : io::read_safetensors(folder / "w.safetensors").tensors) written[t.name] = t.bytes;
  CHECK((written == expected));
  io::load_weights(folder / "w.safetensors", net);
}

TEST_CASE("DynUNet's second names, of every kind of block, are left out, compared and written") {
  const TempFolder folder;
  io::TensorFile file = io::read_torch_file<>(kFixtures + "dynunet.pth");
  std::map<std::string, std::vector<std::byte>> written, expected;
  std::vector<std::pair<std::string, std::vector<Index>>> parts, finest;
  for (auto& t : file.tensors) {
    expected[t.name] = t.bytes;
    if (t.name.starts_with("skip_layers.")) continue;
    parts.emplace_back(t.name, t.shape);
    if (!t.name.starts_with("deep_supervision_heads.")) finest.push_back(parts.back());
  }
  CHECK(parts.size() == 51);
  CHECK(finest.size() == 47);
  Net net(parts), one_head(finest);
  const io::LoadOptions torch = {.reader = io::torch_reader()};
  io::load_weights(kFixtures + "dynunet.pth", net, torch);
  CHECK(net.first(0) != -1);
  io::save_weights(folder / "w.safetensors", net, {.second_names = true});
  for (auto& t : io::read_safetensors(folder / "w.safetensors").tensors) written[t.name] = t.bytes;
  CHECK((written == expected));
  has(error_of([&] { io::load_weights(kFixtures + "dynunet.pth", one_head, torch); }),
      "no place for 4 of the file's: deep_supervision_heads.0.conv.conv.bias [2], ");
  io::load_weights(kFixtures + "dynunet.pth", one_head,   // ignoring a tensor is ignoring its second names
                   {.reader = io::torch_reader(), .ignore = {"deep_supervision_heads.*"}});
  CHECK(one_head.first(0) == net.first(0));
  for (auto& t : file.tensors)
    if (t.name == "skip_layers.next_layer.upsample.transp_conv.conv.weight") t.bytes[0] ^= std::byte{1};
  io::write_safetensors(folder / "w.safetensors", file);
  has(error_of([&] { io::load_weights(folder / "w.safetensors", net); }),
      "tensor skip_layers.next_layer.upsample.transp_conv.conv.weight is another name of upsamples.1.transp_conv.conv.weight, "
      "but its values differ");
  io::save_weights(folder / "w.safetensors", Net({{"encoder.a.conv.weight", {1}}}), {.second_names = true});
  CHECK(io::read_safetensors(folder / "w.safetensors").tensors.size() == 1);   // a network of others has none
}

}   // namespace
