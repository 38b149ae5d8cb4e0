// The viewer's HTTP server alone, with limits short enough to wait for: who is slow on purpose holds no connection. And disks that
// are full.
#include <doctest/doctest.h>

#include <thread>

#include "../../examples/viewer/http.hpp"
#include "viewer_client.hpp"

using namespace ctseg;
using ::viewer::HttpServer;

namespace {

using Clock = std::chrono::steady_clock;

/// Sends bytes one by one, `every` ms, until the server closes; the seconds that took, or `most`.
double trickle(int port, const std::string& bytes, int every, double most) {
  const int s = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET, to.sin_port = htons(static_cast<std::uint16_t>(port)), to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto begin = Clock::now();
  const auto seconds = [&] { return std::chrono::duration<double>(Clock::now() - begin).count(); };
  bool open = ::connect(s, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
  for (std::size_t i = 0; open && seconds() < most; ++i) {
    open = ::send(s, bytes.data() + std::min(i, bytes.size() - 1), 1, MSG_NOSIGNAL) == 1;
    pollfd ready{s, POLLIN, 0};
    char piece[4096];
    if (open && ::poll(&ready, 1, every) > 0) open = ::recv(s, piece, sizeof piece, 0) > 0;
  }
  ::close(s);
  return seconds();
}

/// A server that takes 1000 bytes and says how many came.
::viewer::Site counting() {
  return {[](const viewer::Request&) { return viewer::Intake{.most = 1000}; },
          [](viewer::Request& r) { return viewer::Response{.body = ctseg::text(std::ssize(r.body))}; }};
}

}   // namespace

TEST_CASE("a head that comes byte by byte ends with the connection, and so does a body") {
  const HttpServer server(counting(), {.connections = 8, .silence_s = 20, .head_seconds = 1, .most_seconds = 1});
  const std::string head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\nX-Long: ";
  std::vector<std::jthread> others;
  std::array<double, 8> took{};
  for (double& t : took) others.emplace_back([&] { t = trickle(server.port(), head, 50, 15); });   // every place there is
  others.clear();
  for (const double t : took) {
    CHECK(t > 0.5);
    CHECK(t < 8);
  }
  const HttpServer patient(counting(), {.silence_s = 20, .head_seconds = 60, .most_seconds = 1});
  CHECK(trickle(patient.port(), head + "1\r\n\r\n", 20, 30) < 20);   // in its body
}

TEST_CASE("a connection may ask as often as it likes, each time with its own limit") {
  const HttpServer server(counting(), {.silence_s = 20, .head_seconds = 1, .most_seconds = 5});
  const int s = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET, to.sin_port = htons(static_cast<std::uint16_t>(server.port()));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::connect(s, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
  const std::string ask = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
  for (int k = 0; k < 4; ++k) {   // 2 s in all
    REQUIRE(::send(s, ask.data(), ask.size(), MSG_NOSIGNAL) == std::ssize(ask));
    std::string got;
    for (char piece[4096]; !got.ends_with("\r\n\r\n3");) {
      const ssize_t n = ::recv(s, piece, sizeof piece, 0);
      REQUIRE(n > 0);
      got.append(piece, static_cast<std::size_t>(n));
    }
    CHECK(got.starts_with("HTTP/1.1 200"));
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
  ::close(s);
}

TEST_CASE("what a full disk or a limit of the system says becomes 507") {
  const auto status = [](const std::string& words) {
    try {
      throw ctseg::Error(ctseg::Code::io, "mask.nii.gz", words);
    } catch (...) {
      return viewer::refusal_of_exception().status;
    }
  };
  for (const int reason : {ENOSPC, EDQUOT, EFBIG})
    CHECK(status("cannot write: " + std::generic_category().message(reason) + ".") == 507);
  CHECK(status("cannot write: " + std::generic_category().message(EACCES) + ".") == 500);
  try {
    throw std::filesystem::filesystem_error("mkdir", std::make_error_code(std::errc::no_space_on_device));
  } catch (...) {
    CHECK(viewer::refusal_of_exception().status == 507);
  }
}

TEST_CASE("a full disk is said so, costs nothing that was there, and is over when there is room") {
  TempFolder store;
  const auto mask = blocks();
  io::write_volume(store / "ct.nii.gz", scan_of(mask));
  const std::string scan = slurp(store / "ct.nii.gz"), drawn(mask.voxels().begin(), mask.voxels().end());
  Viewer viewer({store / "ct.nii.gz", "--store", store / "s"});
  REQUIRE(viewer.running());
  CHECK(viewer.post("/scans/1/masks?parent=0", drawn).status == 400);
  REQUIRE(viewer.post("/scans/1/masks", drawn).status == 201);
  viewer.most_file_bytes(16);
  for (const auto& [where, body] :
       {std::pair{"/scans/1/masks?parent=1", drawn}, {"/scans?name=x", scan}, {"/models?name=m", scan}}) {
    const Answer full = viewer.post(where, body);
    INFO(where, full.body);
    CHECK(full.status == 507);
    CHECK(!has(full.body, store.path.string()));
  }
  CHECK(viewer.get("/masks/1/voxels").body == drawn);
  CHECK(viewer.get("/masks/1/file?type=stl").status == 507);
  CHECK(viewer.get("/scans/1").json()["masks"].size() == 1);
  viewer.most_file_bytes(-1);
  const Answer again = viewer.post("/scans/1/masks?parent=1", drawn);
  CHECK(again.status == 201);
  CHECK(again.json()["version"] == 2);
  CHECK(viewer.get("/masks/1/file?type=stl").status == 200);
  CHECK(names_in(store / "s/incoming").empty());
  CHECK(viewer.stop() == 0);
}
