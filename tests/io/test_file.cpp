// Files: exact reading, gzip in all its damage, writing whole or not at all.
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <ctseg/io/file.hpp>

#include <csignal>

#include "temp_folder.hpp"

using namespace ctseg;

namespace {

std::string words(std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += static_cast<char>('a' + (i * i / 7 + i) % 23);
  return out;
}
std::span<const std::byte> bytes(const std::string& s) { return std::as_bytes(std::span(s)); }
std::string read_back(const std::filesystem::path& path, const io::ReadFileOptions& options = {}) {
  const auto b = io::read_file(path, options);
  return {reinterpret_cast<const char*>(b.data()), b.size()};
}
std::size_t files_in(const TempFolder& folder) {
  std::size_t n = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder.path)) ++n;
  return n;
}

TEST_CASE("what is written comes back, plain and gzip") {
  const TempFolder folder;
  for (const std::size_t size : {0u, 1u, 1000u, 400'000u}) {
    const std::string content = words(size);
    io::write_file(folder / "plain", bytes(content));
    io::write_file(folder / "packed", bytes(content), {.gzip = true});
    CHECK(read_back(folder / "plain") == content);
    CHECK(read_back(folder / "packed", {.gzip = true}) == content);
  }
  CHECK(slurp(folder / "packed").size() < 400'000);
  CHECK(files_in(folder) == 2);
}

TEST_CASE("gzip files are the same bytes each time") {
  const TempFolder folder;
  io::write_file(folder / "a", bytes(words(5000)), {.gzip = true});
  io::write_file(folder / "b", bytes(words(5000)), {.gzip = true});
  CHECK(slurp(folder / "a") == slurp(folder / "b"));
  CHECK(slurp(folder / "a").substr(4, 4) == std::string(4, '\0'));   // no time
}

TEST_CASE("several gzip members are one content") {
  const TempFolder folder;
  io::write_file(folder / "a", bytes(words(300'000)), {.gzip = true});
  spill(folder / "twice", slurp(folder / "a") + slurp(folder / "a"));
  CHECK(read_back(folder / "twice", {.gzip = true}) == words(300'000) + words(300'000));
}

TEST_CASE("every truncation and every flip of gzip data is noticed") {
  const TempFolder folder;
  io::write_file(folder / "a", bytes(words(300)), {.gzip = true});
  const std::string good = slurp(folder / "a");
  for (std::size_t length = 1; length < good.size(); ++length) {
    spill(folder / "b", good.substr(0, length));
    CHECK_THROWS_AS(io::read_file(folder / "b", {.gzip = true}), Error);
  }
  for (std::size_t i = 10; i < good.size(); ++i) {   // behind the header, whose time and system are free
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x10);
    spill(folder / "b", bad);
    std::string content;
    const std::string error = error_of([&] { content = read_back(folder / "b", {.gzip = true}); });
    CHECK((!error.empty() || content == words(300)));   // deflate pads its last byte with bits that mean nothing
  }
  spill(folder / "b", good + "tail");
  CHECK(error_of([&] { io::read_file(folder / "b", {.gzip = true}); }).find("gzip data are damaged") != std::string::npos);
}

TEST_CASE("a limit holds, also for a gzip bomb") {
  const TempFolder folder;
  io::write_file(folder / "bomb", bytes(std::string(30'000'000, '\0')), {.gzip = true});
  CHECK(slurp(folder / "bomb").size() < 40'000);
  CHECK(error_of([&] { io::read_file(folder / "bomb", {.max_bytes = 1000, .gzip = true}); }).find("more than 1000") !=
        std::string::npos);
  io::write_file(folder / "plain", bytes(words(1001)));
  CHECK_THROWS_AS(io::read_file(folder / "plain", {.max_bytes = 1000}), Error);
  CHECK(io::read_file(folder / "plain", {.max_bytes = 1001}).size() == 1001);
}

TEST_CASE("what is no regular file is refused at once") {
  const TempFolder folder;
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  for (const std::filesystem::path& path : {folder / "pipe", std::filesystem::path("/dev/zero")})
    CHECK(error_of([&] { io::read_file(path); }).find("not a regular file") != std::string::npos);
  CHECK(error_of([&] { io::read_file(folder.path); }).find("is a folder; here a file is read") != std::string::npos);
  CHECK(error_of([&] { io::read_file(folder / "none"); }).find("cannot open: No such file") != std::string::npos);
}

TEST_CASE("an output that is not committed leaves nothing and keeps the old file") {
  const TempFolder folder;
  spill(folder / "f", "old");
  {
    io::OutputFile out(folder / "f", {.gzip = true});
    out.write(bytes(words(500'000)));
  }
  CHECK(slurp(folder / "f") == "old");
  CHECK(files_in(folder) == 1);
  CHECK_THROWS_AS(io::write_file(folder / "no folder/f", {}), Error);
  CHECK_THROWS_AS(io::write_file(folder / "f", {}, {.gzip = true, .gzip_level = 77}), Error);
  CHECK(files_in(folder) == 1);
  std::filesystem::create_directory(folder / "d");
  CHECK_THROWS_AS(io::write_file(folder / "d", {}), Error);   // a folder has the name
  CHECK(files_in(folder) == 2);
}

TEST_CASE("a full disk is an error and the old file stays") {
  const TempFolder folder;
  spill(folder / "f", "old");
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4096, before.rlim_max};
  int refused = 0;
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  for (const bool gzip : {false, true}) try {
      io::write_file(folder / "f", bytes(words(3'000'000)), {.gzip = gzip, .gzip_level = 0});
    } catch (const Error& error) {
      refused += error.code() == Code::io;
    }
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  CHECK(refused == 2);
  CHECK(slurp(folder / "f") == "old");
  CHECK(files_in(folder) == 1);
}

TEST_CASE("file mode follows the umask; odd names work") {
  const TempFolder folder;
  const mode_t old = ::umask(027);
  const std::filesystem::path path = folder / ("name with spaces \xD0\x9A\xD0\xA2 " + std::string(200, 'x'));
  io::write_file(path, bytes("x"));
  ::umask(old);
  struct stat facts {};
  REQUIRE(::stat(path.c_str(), &facts) == 0);
  CHECK((facts.st_mode & 0777) == 0640);
}

}   // namespace
