// The pickle machine: what is not on its list is refused by name, and what is too large ends early.
#include <doctest/doctest.h>

#include <chrono>

#include <ctseg/core/random.hpp>
#include <ctseg/io/torch_file.hpp>

#include "temp_folder.hpp"
#include "torch_zip.hpp"

using namespace ctseg;
using namespace torch_zip;

namespace {

const std::string kFixtures = std::string(CTSEG_SOURCE_DIR) + "/tests/parity/weights/";

std::string refusal(const std::string& pickled, const io::pickle::MachineOptions& options = {}) {
  return error_of([&] { io::pickle::Machine(pickled, "data.pkl", options).run(); });
}
std::string refused_file(const std::string& pickled) {
  const std::string bytes = checkpoint(pickled);
  return error_of([&] { io::index_torch_file<>(io::ByteSource(std::as_bytes(std::span(bytes)), "file")); });
}
void has(const std::string& message, std::string_view part) {
  INFO(message);
  CHECK(message.find(part) != std::string::npos);
}

TEST_CASE("nothing is executed, and what asks for it is named") {
  has(error_of([] { io::read_torch_file<>(kFixtures + "evil.pth"); }), "names posix.system at byte");
  const std::string os = refusal(pickle("cos\nsystem\n(" + words("exit 66") + "tR"));
  has(os, "names os.system");
  has(os, "it is not run. Hint: nothing of a file is ever executed");
  has(refusal("\x80\x04\x8c\x02os\x8c\x06system\x93."), "names os.system");
  has(refusal(pickle("cbuiltins\neval\n")), "names builtins.eval");
  has(refusal(pickle("c__builtin__\ngetattr\n")), "names __builtin__.getattr");
  has(refusal(pickle("ctorch\nload\n")), "names torch.load");
  has(refusal(pickle("ctorch.storage\n_load_from_bytes\n")), "names torch.storage._load_from_bytes");
  has(refusal(pickle("ca\x1b[31m\nb\n")), "names a?[31m.b");
  has(refusal(pickle("(ios\nsystem\n")), "uses the pickle opcode INST");
  has(refusal(pickle("(o")), "opcode OBJ");
  has(refusal(pickle("ccollections\nOrderedDict\n)\x81")), "opcode NEWOBJ at byte");
  has(refusal(pickle("\x82\x01")), "opcode EXT1");
  has(refusal(pickle("Pkey\n")), "opcode PERSID");
  has(refusal(pickle("\x97")), "opcode NEXT_BUFFER");
  has(refusal(pickle("\xff")), "opcode number 255");
}

TEST_CASE("what checkpoints hold beside weights is passed over") {
  const std::string dtype = "cnumpy\ndtype\n(" + words("f8") + "\x89\x88tR(K\x03NtbC\x01x";
  CHECK(refusal(pickle("cnumpy.core.multiarray\nscalar\n(" + dtype + "tR")).empty());
  CHECK(refusal(pickle("cnumpy._core.multiarray\nscalar\n(" + dtype + "tR")).empty());
  CHECK(refusal(pickle("cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\1tC\1btR(K\1(K\2tNtb")).empty());
  CHECK(refusal(pickle("ccollections\nCounter\n(}tR" + words("a") + "K\1s")).empty());
  CHECK(refusal("\x80\x05\x95" + std::string(8, '\0') + "\x8f(K\1K\2\x90.").empty());
  CHECK(refusal(pickle("\x8b" + number(9, 4) + "123456789")).empty());
}

TEST_CASE("each kind of damage has its error") {
  has(refusal("\x80\x02"), "ends 1 bytes too early");
  has(refusal("(dp0\n."), "does not begin as a pickle");
  has(refusal("\x80\x01N."), "is of protocol 1");
  has(refusal(pickle("")), "ends with 0 values");
  has(refusal(pickle("NN")), "ends with 2 values");
  has(refusal(pickle("N(")), "and 1 marks");
  has(refusal(pickle("(Na")), "takes a value that is not there");
  has(refusal(pickle("t")), "closes a container that was not opened");
  has(refusal(pickle("h\x05")), "asks for value 5 of its memo");
  has(refusal(pickle("}(Nu")), "adds to a value that does not take it");
  has(refusal(pickle("NNR")), "arguments that are no tuple");
  has(refusal(pickle("N)R")), "calls a value that cannot be called");
  has(refusal(pickle("ctorch\nFloatStorage\n)R")), "calls a value that cannot be called");
  has(refusal(pickle("ctorch._utils\n_rebuild_tensor_v2\n)R")), "not (storage, offset, shape, strides)");
  has(refusal(pickle("ctorch._utils\n_rebuild_parameter\n)R")), "of something that is no tensor");
  has(refusal(pickle("ctorch\nSize\n)R")), "of something that is no tuple");
  has(refusal(pickle("ccollections\nOrderedDict\n(]tR")), "fills an OrderedDict");
  has(refusal(pickle("NQ")), "persistent value");
  has(refusal(pickle("c" + std::string(300, 'a'))), "without a name that ends");
  has(refusal(pickle("NN\x93")), "by something that is no string");
  has(refusal(pickle("X\xff\xff\xff\xff")), "bytes too early");
}

TEST_CASE("bombs end early") {
  const auto start = std::chrono::steady_clock::now();
  std::string nested = "N", doubled = "]q" + std::string(1, '\0');
  for (int i = 0; i < 1'000'000; ++i) nested += '\x85';
  CHECK(refusal(pickle(nested)).empty());   // a million tuples inside each other: nothing recurses
  for (int i = 1; i < 60; ++i)
    doubled += "(h" + std::string(1, char(i - 1)) + "h" + std::string(1, char(i - 1)) + "tq" + std::string(1, char(i));
  CHECK(refusal(pickle("(" + doubled + "t")).empty());   // 2^60 lists, were it written out
  has(refusal(pickle(std::string(3'000'000, 'N'))), "builds more than 2000000 values");
  has(refusal(pickle(std::string(3'000'000, '('))), "opens more than 2000000 containers");
  std::string stacked = "Nq" + std::string(1, '\0');
  for (int i = 0; i < 2'000'001; ++i) stacked += std::string("h\0", 2);
  has(refusal(pickle(stacked)), "stacks more than 2000000 values");
  has(refusal(pickle("Nr\xff\xff\xff\xff")), "keeps value 4294967295 in its memo");
  has(refusal(pickle("(" + tensor() + tensor() + tensor() + "t"), {.max_tensors = 2}), "builds more than 2 tensors");
  const auto at = [](int place) { return "q" + std::string(1, char(place)); };
  std::string again = "}(" + words(std::string(1'000'000, 'n')) + at(0) + tensor() + at(1);
  for (int i = 0; i < 20'000; ++i) again += std::string("h\0h\1", 4);   // 20 GB of names
  has(refused_file(pickle(again + "u")), "two tensors named nnn");
  std::string long_one = "}(" + words("k") + at(0) + "}" + at(1) + "(";
  for (int i = 0; i < 100'000; ++i) long_one += std::string("h\0h\0", 4);
  long_one += "u";
  for (int i = 0; i < 100'000; ++i) long_one += std::string("h\0h\1", 4);   // named 100,000 times, looked at once
  has(refused_file(pickle(long_one + "u")), "has 0 dictionaries");
  std::string self = "]q" + std::string(1, '\0') + "h" + std::string(1, '\0') + "a";
  CHECK(refusal(pickle(self)).empty());   // a list that holds itself
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
}

TEST_CASE("2000 flips of each fixture and every truncation: the same tensors, or an error") {
  RandomStream random({.seed = 5});
  for (const char* name : {"basic_unet", "checkpoint", "half", "bfloat16", "batch_norm", "views", "nnunet", "evil"}) {
    const std::string good = slurp(kFixtures + name + ".pth");
    const auto parse = [](const std::string& bytes) {
      std::map<std::string, std::vector<std::byte>> all;
      const io::ByteSource source(std::as_bytes(std::span(bytes)), "file");
      for (auto& t : io::read_all(io::index_torch_file<>(source)).tensors) all[t.name] = t.bytes;
      return all;
    };
    const bool evil = std::string_view(name) == "evil";
    const auto expected = evil ? decltype(parse(good)){} : parse(good);
    int accepted = 0;
    for (int i = 0; i < 2000; ++i) {
      std::string bad = good;
      const auto at = static_cast<std::size_t>(random.below(static_cast<Index>(bad.size())));
      bad[at] = static_cast<char>(bad[at] ^ 1 << random.below(8));
      auto found = expected;
      accepted += error_of([&] { found = parse(bad); }).empty() ? 1 : 0;
      CHECK((found == expected));   // what was accepted is a byte that no tensor needs
    }
    INFO(std::string(name));
    CHECK(accepted < (evil ? 1 : 1000));
    std::size_t passed = 0;
    for (std::size_t length = 0; length < good.size(); ++length)
      passed += error_of([&] { parse(good.substr(0, length)); }).empty() ? 1 : 0;
    CHECK(passed == 0);
  }
}

}   // namespace
