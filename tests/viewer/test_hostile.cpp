// Requests that mean no good: from other sites, without the token, malformed, endless, too large. None may crash the server,
// get an answer it should not, or make it grow. 500 of them; CTSEG_HOSTILE=10000 sends that many.
#include <doctest/doctest.h>

#include <ctseg/core/random.hpp>

#include "viewer_client.hpp"

using namespace ctseg;

namespace {

struct Dice {
  std::uint64_t draws = 0;
  Index below(Index n) {
    return std::min<Index>(n - 1, static_cast<Index>(uniform(RandomKey{2026}, draws++) * static_cast<float>(n)));
  }
  template <class T> const T& one_of(const std::vector<T>& all) {
    return all[static_cast<std::size_t>(below(std::ssize(all)))];
  }
  std::string bytes(Index count) {
    std::string out;
    for (Index i = 0; i < count; ++i) out += static_cast<char>(below(256));
    return out;
  }
};

const std::vector<std::string> kTargets = {"/",
                                           "/info",
                                           "/scans",
                                           "/scans/1",
                                           "/scans/1/voxels",
                                           "/scans/1/voxels?step=16",
                                           "/scans/1/voxels?z0=-1&z1=99999999999999",
                                           "/scans/1/slice?plane=axial&index=1e9",
                                           "/scans/1/slice?plane=%00&index=",
                                           "/scans/1/masks",
                                           "/scans/1/masks?parent=18446744073709551615",
                                           "/scans/1/measure",
                                           "/scans/1/interpolate?plane=axial&slices=0,1",
                                           "/scans/1/interpolate?plane=axial&slices=1,,,",
                                           "/masks/1",
                                           "/masks/1/mesh?triangles=-1",
                                           "/masks/1/file?type=../../etc/passwd",
                                           "/masks/1/overlay?plane=axial&index=0&opacity=nan",
                                           "/models",
                                           "/jobs",
                                           "/jobs/1",
                                           "/history?scan=x",
                                           "/../../../../etc/passwd",
                                           "/..%2f..%2fetc%2fpasswd",
                                           "//etc/passwd",
                                           "/scans/../info",
                                           "/scans/0001",
                                           "/scans/99999999999999999999",
                                           "/scans/%31",
                                           "http://evil.example/info",
                                           "*",
                                           "/?" + std::string(3000, 'a'),
                                           "/%",
                                           "/%zz",
                                           "/\xff\xfe",
                                           "/index.html/../info",
                                           "/jobs/1'%20OR%201=1"};
const std::vector<std::string> kTakers = {
    "/scans?name=" + std::string(500, 'n'), "/models?name=%0a", "/jobs",
    "/scans/1/masks?parent=1&note=%00%ff",  "/scans/1/measure", "/scans/1/interpolate?plane=coronal&slices=0,19"};
const std::vector<std::string> kMethods = {"GET",   "POST",    "DELETE", "PUT",  "HEAD", "OPTIONS",
                                           "TRACE", "CONNECT", "get",    "G\tT", ""};

std::string body_of(Dice& dice) {
  switch (dice.below(9)) {
    case 0:
      return dice.bytes(dice.below(2000));
    case 1:
      return "{\"scan\": 1, \"scan\": 2}";
    case 2:
      return std::string(static_cast<std::size_t>(dice.below(60000)), '[');
    case 3:
      return "{\"scan\": 1e300, \"model\": -1, \"overlap\": \"x\"}";
    case 4:
      return deflated(std::string(static_cast<std::size_t>(1 + dice.below(3'000'000)), '\0'));   // a small bomb
    case 5: {   // an archive that lies, or is cut
      std::string zip = zip_of({{.name = "../../../x", .content = std::string(100'000, 'x'), .said_bytes = 10},
                                {.name = "/etc/passwd", .content = "x"}});
      return zip.substr(0, static_cast<std::size_t>(dice.below(std::ssize(zip) + 1)));
    }
    case 6: {
      std::string zip = zip_of({{.name = "a", .content = std::string(3000, 'x')}});
      zip[static_cast<std::size_t>(dice.below(std::ssize(zip)))] ^= static_cast<char>(1 + dice.below(255));
      return zip;
    }
    case 7: {   // a header that wants other files
      const std::string files = dice.one_of<std::string>(
          {"/etc/passwd", "../../../ctseg.sqlite", "x", "LIST\nx\nx\n/etc/passwd", "x%d 1 99999999 1"});
      return zip_of({{.name = "a.mhd",
                      .content = "NDims = 3\nDimSize = 9 9 3\nElementType = MET_UCHAR\nElementSpacing = 1 1 1\n"
                                 "ElementDataFile = " +
                                 files + "\n"},
                     {.name = dice.below(2) ? "/etc/passwd" : "x", .content = std::string(81, 'x')}});
    }
    default:
      return std::string(8000, '\1');   // right for a mask of this scan
  }
}

/// One request, and whether an answer to it may be a success.
struct Hostile {
  std::string bytes;
  bool allowed = false;
};
Hostile make(Dice& dice, const Viewer& viewer) {
  Ask ask{.method = dice.below(3) ? dice.one_of<std::string>({"GET", "POST", "DELETE"}) : dice.one_of(kMethods),
          .target = dice.one_of(kTargets)};
  if (ask.method == "DELETE" && (ask.target == "/scans/1" || ask.target == "/scans/%31"))
    ask.method = "GET";   // the scan is still needed
  if (ask.method == "POST" || dice.below(4) == 0) ask.body = body_of(dice);
  if (dice.below(3) == 0)   // the owner's own program gone mad: this reaches the readers
    return {viewer.bytes_of({.method = "POST",
                             .target = dice.one_of(kTakers),
                             .body = body_of(dice),
                             .headers = {dice.below(4) ? "X-None: 1" : "Content-Encoding: gzip"}}),
            true};
  bool honest = true;
  switch (dice.below(12)) {
    case 0:
      ask.token = false, honest = false;
      break;
    case 1:
      ask.token = false, honest = false, ask.headers.push_back("X-Ctseg-Token: " + dice.bytes(0) + std::string(32, 'a'));
      break;
    case 2:
      honest = false, ask.headers.push_back("Host: evil.example:" + std::to_string(viewer.port()));
      break;
    case 3:
      honest = false, ask.headers.push_back("Origin: http://evil.example");
      break;
    case 4:
      honest = false, ask.headers.push_back("Sec-Fetch-Site: cross-site");
      break;
    case 5:
      ask.headers.push_back("X-Long: " + std::string(static_cast<std::size_t>(dice.below(200'000)), 'a'));
      break;
    case 6:
      for (Index i = dice.below(3000); i > 0; --i) ask.headers.push_back("X-" + std::to_string(i) + ": b");
      break;
    case 7:
      ask.headers.push_back("Content-Length: " +
                            dice.one_of<std::string>({"-1", "99999999999999999999", "1e3", "5, 6", "0x10", "7000000000"}));
      break;
    case 8:
      ask.headers.push_back("Transfer-Encoding: chunked");
      break;
    case 9:
      ask.headers.push_back("Content-Encoding: " + dice.one_of<std::string>({"gzip", "br", "gzip, gzip"}));
      break;
    default:
      break;
  }
  std::string bytes = viewer.bytes_of(ask);
  if (const Index how = dice.below(10); how == 0)
    bytes.resize(static_cast<std::size_t>(dice.below(std::ssize(bytes) + 1)));
  else if (how == 1)
    bytes[static_cast<std::size_t>(dice.below(std::ssize(bytes)))] = static_cast<char>(dice.below(256)), honest = true;
  else if (how == 2)
    bytes = dice.bytes(dice.below(5000));
  return {bytes, honest || ask.target == "/" || ask.target.starts_with("/?")};   // the page is for everybody
}

}   // namespace

TEST_CASE("other sites, other names and other users get nothing") {
  TempFolder store;
  io::write_volume(store / "ct.nii.gz", scan_of(blocks()));
  const Viewer viewer({store / "ct.nii.gz", "--store", store / "s"});
  REQUIRE(viewer.running());
  CHECK(viewer.get("/info").status == 200);
  CHECK(viewer({.token = false}).status == 401);
  CHECK(viewer({.headers = {"Host: evil.example"}}).status == 403);
  CHECK(viewer({.headers = {"Host: 127.0.0.1"}}).status == 403);
  CHECK(viewer({.headers = {"Host: localhost:" + std::to_string(viewer.port())}}).status == 200);
  CHECK(viewer({.headers = {"Origin: http://evil.example"}}).status == 403);
  CHECK(viewer({.headers = {"Origin: null"}}).status == 403);
  CHECK(viewer({.headers = {"Origin: http://" + viewer.host()}}).status == 200);
  CHECK(viewer({.headers = {"Sec-Fetch-Site: cross-site"}}).status == 403);
  CHECK(viewer({.headers = {"X-Ctseg-Token: " + viewer.token()}}).status == 400);   // twice
  CHECK(viewer({.method = "POST", .headers = {"Transfer-Encoding: chunked", "Content-Length: 5"}}).status != 200);
  CHECK(viewer.post("/scans/1/masks", std::string(9000, '\0')).status == 400);
  CHECK(viewer.post("/scans/1/masks", std::string(80'000, '\0')).status == 413);
  CHECK(viewer.post("/scans/1/masks", deflated(std::string(50'000'000, '\0')), {"Content-Encoding: gzip"}).status == 400);
  CHECK(viewer({.method = "PUT"}).status == 405);
  const std::string head = viewer.get("/info").head;
  for (const char* part : {"Cache-Control: no-store", "default-src 'self'", "nosniff", "same-origin", "no-referrer"})
    CHECK(has(head, part));
  CHECK(!has(head, "Access-Control"));
  // Nobody but the owner reads the store, and only this machine reaches the server.
  CHECK((std::filesystem::status(store / "s").permissions() & std::filesystem::perms::others_all) ==
        std::filesystem::perms::none);
  char address[32];
  std::snprintf(address, sizeof address, " 0100007F:%04X ", static_cast<unsigned>(viewer.port()));
  CHECK(has(slurp("/proc/net/tcp"), address));
  const Ran second = run_ctseg({"view", "--store", store / "s"});
  CHECK(second.status == 3);
  CHECK(has(second.err, "is served by another ctseg view"));
}

TEST_CASE("hostile requests neither crash nor feed the server") {
  const char* wanted = std::getenv("CTSEG_HOSTILE");
  const int count = wanted ? std::max(1, std::atoi(wanted)) : 500;
  TempFolder store;
  const auto mask = blocks();
  io::write_volume(store / "ct.nii.gz", scan_of(mask)), io::write_volume(store / "mask.nii.gz", mask);
  Viewer viewer({store / "ct.nii.gz", "--mask", store / "mask.nii.gz", "--store", store / "s"});
  REQUIRE(viewer.running());
  const double before = viewer.memory_mb("VmHWM");
  Dice dice;
  std::map<int, int> answers;
  int wrong = 0;
  double slowest = 0;
  for (int i = 0; i < count; ++i) {
    const Hostile h = make(dice, viewer);
    const auto begin = std::chrono::steady_clock::now();
    const Answer a = viewer.say(h.bytes, true);   // what was cut would wait for more
    slowest = std::max(slowest, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    ++answers[a.status];
    const bool given = !h.allowed && a.status >= 200 && a.status < 300;
    if (given) MESSAGE(h.bytes.substr(0, 400));
    wrong += given;
    wrong += a.status == 500 || a.status == 507;
    wrong += has(a.body, "root:x:") || has(a.head, "root:x:");
    if (i % 50 == 0) REQUIRE(viewer.get("/info").status == 200);
  }
  std::string summary = text(count, " requests;");
  for (const auto& [status, times] : answers) summary += text(" ", status, ": ", times, ",");
  summary += text(" slowest ", slowest, " s, memory ", before, " MB before, ", viewer.memory_mb("VmHWM"), " MB at most");
  MESSAGE(summary);
  CHECK(wrong == 0);
  CHECK(slowest < 5);
  CHECK(viewer.memory_mb("VmHWM") < before + 100);
  CHECK(viewer.running());
  CHECK(viewer.get("/scans").status == 200);
  CHECK(names_in(store / "s/incoming").empty());
  CHECK(viewer.stop() == 0);
}
