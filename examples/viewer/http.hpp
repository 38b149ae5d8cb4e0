// As much of HTTP as the viewer needs, on libmicrohttpd: requests as values, bodies into memory or a file, all within limits.
// That library keeps each connection in a fixed piece of memory and hands bodies on as they come; nothing of it is seen here.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <ctseg/core/error.hpp>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <utility>
#include <vector>

struct MHD_Connection;
struct MHD_Daemon;

namespace viewer {

namespace cs = ctseg;
namespace fs = std::filesystem;
using cs::Index, cs::text;

/// An answer that is no success, with words for people.
struct Refusal {
  int status = 400;
  std::string words;
};

struct Request {
  std::string method, path;                            // without the query, percent-decoded
  std::map<std::string, std::string> query, headers;   // names of headers in lower case
  bool repeated = false;                               // a header came twice
  std::string body;                                    // or where the body lies:
  fs::path file;                                       // removed after the answer, if it is still there

  std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? std::string() : found->second;
  }
};

struct Response {
  int status = 200;
  std::string type = "application/json";
  std::string body;
  std::shared_ptr<const void> owner{};   // instead of a body: bytes that live elsewhere, and who keeps them alive
  std::span<const std::byte> bytes{};
  std::vector<std::pair<std::string, std::string>> headers{};
};

/// What may come as the body of a request, said when only its head is known.
struct Intake {
  Index most = 0;                       // bytes
  fs::path file{};                      // where to; empty: into memory
  std::shared_ptr<const void> held{};   // let go after the answer: one of few places, for instance
};

/// Who answers. Both are called by many threads at once, and both may throw a Refusal.
struct Site {
  std::function<Intake(const Request&)> intake;
  std::function<Response(Request&)> answer;
};

struct HttpOptions {
  int port = 0;                // 0: any that is free
  unsigned connections = 64;   // at once, a thread each
  unsigned silence_s = 30;     // then a connection is closed
  double head_seconds = 30;    // for a request's head, from the connection or the answer before: who sends a byte now and then
                               // is never silent
  double most_seconds = 600;   // for one body; twice that from a head to the end of its answer
};

/// Ends connections that are not where they should be in time, however busy they look.
class Patience {
 public:
  Patience() : watch_([this](const std::stop_token& stop) { watch(stop); }) {}
  /// A new connection has so many seconds.
  void meet(MHD_Connection* connection, double seconds);
  /// One that goes on has so many more, from now.
  void give(MHD_Connection* connection, double seconds);
  /// It is closed, and its socket's number may be another's soon.
  void forget(MHD_Connection* connection);

 private:
  struct Limit {
    int socket = -1;
    std::chrono::steady_clock::time_point end{};
  };
  void watch(const std::stop_token& stop);

  std::mutex mutex_;
  std::condition_variable_any never_;
  std::map<MHD_Connection*, Limit> limits_;
  std::jthread watch_;   // last: it uses the others
};

/// Serves on 127.0.0.1 from construction to destruction.
/// Errors    io if the port is taken.
class HttpServer {
 public:
  HttpServer(Site site, const HttpOptions& options);
  HttpServer(const HttpServer&) = delete;
  ~HttpServer();
  int port() const { return port_; }

 private:
  friend struct Exchange;
  Site site_;
  HttpOptions options_;
  MHD_Daemon* daemon_ = nullptr;
  int port_ = 0;
  Patience patience_;   // outlives the daemon, which the destructor stops
};

/// The same bytes through gzip, fast.
std::string gzipped(std::span<const std::byte> bytes);
/// What a gzip stream holds, if that is exactly `size` bytes.
/// Errors    Refusal.
std::string gunzipped(std::string_view bytes, Index size);

/// The Refusal that stands for what was thrown; called inside a catch block. Errors of the library keep their words.
Refusal refusal_of_exception();

}   // namespace viewer
