#include "http.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <ctseg/io/file.hpp>
#include <ctseg/recipe/json.hpp>

namespace viewer {

using Clock = std::chrono::steady_clock;

/// One request on its way.
struct Exchange {
  Request request;
  Intake intake;
  std::optional<cs::io::FileDescriptor> file;
  Index received = 0;
  std::optional<Refusal> refused;   // while the body came
  Clock::time_point begin = Clock::now();

  ~Exchange() {
    std::error_code ignored;
    if (!request.file.empty()) fs::remove(request.file, ignored);
  }

  static Site& site(HttpServer& s) { return s.site_; }
  static const HttpOptions& options(const HttpServer& s) { return s.options_; }
  static Patience& patience(HttpServer& s) { return s.patience_; }

  void open() {
    if (intake.file.empty()) return void(request.body.reserve(static_cast<std::size_t>(intake.most)));
    request.file = intake.file;
    file.emplace(::open(intake.file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (file->number() < 0) throw Refusal{507, "the upload cannot be written to the store's disk."};
  }
  void take(const char* data, std::size_t size) {
    received += static_cast<Index>(size);
    if (received > intake.most) throw Refusal{413, text("the body is longer than ", intake.most, " bytes.")};
    if (!file) return void(request.body.append(data, size));
    while (size > 0) {
      const ssize_t n = ::write(file->number(), data, size);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) throw Refusal{507, "the upload cannot be written: the store's disk is full."};
      data += n, size -= static_cast<std::size_t>(n);
    }
  }
  void close() {
    if (file && (::fsync(file->number()) != 0 || !file->close()))   // what is answered to survives a power cut
      throw Refusal{507, "the upload cannot be written to the store's disk."};
    file.reset();
  }
};

namespace {

std::string lower(std::string words) {
  for (char& c : words)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return words;
}

MHD_Result keep_header(void* user, MHD_ValueKind, const char* name, const char* value) {
  auto& r = *static_cast<Request*>(user);
  if (!r.headers.emplace(lower(name), value ? value : "").second) r.repeated = true;
  return MHD_YES;
}
MHD_Result keep_query(void* user, MHD_ValueKind, const char* name, const char* value) {
  auto& r = *static_cast<Request*>(user);
  if (!r.query.emplace(name, value ? value : "").second) r.repeated = true;
  return MHD_YES;
}

ssize_t read_body(void* user, std::uint64_t at, char* out, std::size_t most) {
  const auto& bytes = static_cast<const Response*>(user)->bytes;
  if (at >= bytes.size()) return MHD_CONTENT_READER_END_OF_STREAM;
  const std::size_t count = std::min(most, bytes.size() - static_cast<std::size_t>(at));
  std::memcpy(out, bytes.data() + at, count);
  return static_cast<ssize_t>(count);
}
void free_body(void* user) { delete static_cast<Response*>(user); }

/// Nothing of a patient stays in a browser's cache, no other site shows or reads the page, and it runs its own files only.
constexpr std::pair<const char*, const char*> kHeaders[] = {
    {"Cache-Control", "no-store"},
    {"Content-Security-Policy",
     "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
     "form-action 'none'"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Referrer-Policy", "no-referrer"},
    {"X-Content-Type-Options", "nosniff"}};

MHD_Result respond(MHD_Connection* connection, Response response) {
  auto held = std::make_unique<Response>(std::move(response));
  if (!held->owner) held->bytes = std::as_bytes(std::span(held->body));
  const auto status = static_cast<unsigned>(held->status);
  MHD_Response* out = held->bytes.empty()
                          ? MHD_create_response_from_buffer(0, nullptr, MHD_RESPMEM_PERSISTENT)
                          : MHD_create_response_from_callback(held->bytes.size(), 1 << 16, &read_body, held.get(), &free_body);
  if (!out) return MHD_NO;
  for (const auto& [name, value] : kHeaders) MHD_add_response_header(out, name, value);
  if (held->status != 204) MHD_add_response_header(out, "Content-Type", held->type.c_str());
  for (const auto& [name, value] : held->headers) MHD_add_response_header(out, name.c_str(), value.c_str());
  if (!held->bytes.empty()) held.release();   // free_body has it
  const MHD_Result queued = MHD_queue_response(connection, status, out);
  MHD_destroy_response(out);
  return queued;
}
MHD_Result respond(MHD_Connection* connection, const Refusal& r) {
  return respond(connection,
                 Response{.status = r.status,
                          .body = cs::Json{{"error", r.words}}.dump(-1, ' ', false, cs::Json::error_handler_t::replace)});
}

MHD_Result begin(HttpServer& server, MHD_Connection* connection, const char* url, const char* method, void** state) {
  auto exchange = std::make_unique<Exchange>();
  try {
    exchange->request.method = method, exchange->request.path = url;
    MHD_get_connection_values(connection, MHD_HEADER_KIND, &keep_header, &exchange->request);
    MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, &keep_query, &exchange->request);
    exchange->intake = Exchange::site(server).intake(exchange->request);
    exchange->open();
  } catch (...) {
    return respond(connection, refusal_of_exception());
  }
  *state = exchange.release();
  return MHD_YES;
}

/// Called once with the head, then with each piece of the body, then with none. Nothing may be thrown into C.
MHD_Result serve(void* user, MHD_Connection* connection, const char* url, const char* method, const char*, const char* data,
                 std::size_t* size, void** state) {
  auto& server = *static_cast<HttpServer*>(user);
  if (!*state) {
    Exchange::patience(server).give(connection, 2 * Exchange::options(server).most_seconds);
    return begin(server, connection, url, method, state);
  }
  auto& exchange = *static_cast<Exchange*>(*state);
  if (*size > 0) {
    if (std::chrono::duration<double>(Clock::now() - exchange.begin).count() > Exchange::options(server).most_seconds)
      return MHD_NO;
    try {
      if (!exchange.refused) exchange.take(data, *size);
    } catch (...) {
      exchange.refused = refusal_of_exception();
    }
    *size = 0;
    return MHD_YES;
  }
  try {
    if (exchange.refused) return respond(connection, *exchange.refused);
    exchange.close();
    return respond(connection, Exchange::site(server).answer(exchange.request));
  } catch (...) {
    return respond(connection, refusal_of_exception());
  }
}
void finish(void* user, MHD_Connection* connection, void** state, MHD_RequestTerminationCode) {
  auto& server = *static_cast<HttpServer*>(user);
  Exchange::patience(server).give(connection, Exchange::options(server).head_seconds);
  delete static_cast<Exchange*>(*state);
  *state = nullptr;
}
void meet(void* user, MHD_Connection* connection, void**, MHD_ConnectionNotificationCode what) {
  auto& server = *static_cast<HttpServer*>(user);
  if (what == MHD_CONNECTION_NOTIFY_STARTED)
    Exchange::patience(server).meet(connection, Exchange::options(server).head_seconds);
  else
    Exchange::patience(server).forget(connection);
}

}   // namespace

namespace {

Clock::time_point in_seconds(double seconds) {
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

}   // namespace

void Patience::meet(MHD_Connection* connection, double seconds) {
  const MHD_ConnectionInfo* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  if (!info) return;
  const std::lock_guard lock(mutex_);
  limits_[connection] = {info->connect_fd, in_seconds(seconds)};
}
void Patience::give(MHD_Connection* connection, double seconds) {
  const std::lock_guard lock(mutex_);
  if (const auto found = limits_.find(connection); found != limits_.end()) found->second.end = in_seconds(seconds);
}
void Patience::forget(MHD_Connection* connection) {
  const std::lock_guard lock(mutex_);
  limits_.erase(connection);
}
void Patience::watch(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    never_.wait_for(lock, stop, std::chrono::milliseconds(500), [] { return false; });
    const Clock::time_point now = Clock::now();
    std::erase_if(limits_, [&](const auto& entry) {
      const bool late = now > entry.second.end;
      if (late) ::shutdown(entry.second.socket, SHUT_RDWR);   // its own thread finds it at its end, and closes it
      return late;
    });
  }
}

HttpServer::HttpServer(Site site, const HttpOptions& options) : site_(std::move(site)), options_(options) {
  sockaddr_in loopback{};
  loopback.sin_family = AF_INET;
  loopback.sin_port = htons(static_cast<std::uint16_t>(options.port));
  loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  daemon_ = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL, 0, nullptr,
                             nullptr, &serve, this, MHD_OPTION_SOCK_ADDR, reinterpret_cast<sockaddr*>(&loopback),
                             MHD_OPTION_NOTIFY_COMPLETED, &finish, this, MHD_OPTION_NOTIFY_CONNECTION, &meet, this,
                             MHD_OPTION_CONNECTION_LIMIT, options.connections, MHD_OPTION_CONNECTION_TIMEOUT, options.silence_s,
                             MHD_OPTION_CONNECTION_MEMORY_LIMIT, std::size_t{32768}, MHD_OPTION_END);
  const MHD_DaemonInfo* info = daemon_ ? MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_BIND_PORT) : nullptr;
  if (!info) {
    if (daemon_) MHD_stop_daemon(daemon_);
    throw cs::Error(cs::Code::io, text("127.0.0.1:", options.port), "cannot be served on; is the port taken? Hint: --port 0.");
  }
  port_ = info->port;
}
HttpServer::~HttpServer() { MHD_stop_daemon(daemon_); }

std::string gzipped(std::span<const std::byte> bytes) {
  z_stream stream{};
  if (deflateInit2(&stream, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) throw std::bad_alloc();
  const std::unique_ptr<z_stream, int (*)(z_stream*)> ended(&stream, &deflateEnd);
  std::string out;
  std::vector<char> piece(1 << 18);
  int state = Z_OK;
  while (state != Z_STREAM_END) {
    const std::size_t take = std::min<std::size_t>(bytes.size(), 1u << 30);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes.data()));
    stream.avail_in = static_cast<uInt>(take);
    do {
      stream.next_out = reinterpret_cast<Bytef*>(piece.data());
      stream.avail_out = static_cast<uInt>(piece.size());
      state = deflate(&stream, take == bytes.size() ? Z_FINISH : Z_NO_FLUSH);
      out.append(piece.data(), piece.size() - stream.avail_out);
    } while (stream.avail_out == 0);
    bytes = bytes.subspan(take);
  }
  return out;
}

std::string gunzipped(std::string_view bytes, Index size) {
  z_stream stream{};
  if (inflateInit2(&stream, 15 + 16) != Z_OK) throw std::bad_alloc();
  const std::unique_ptr<z_stream, int (*)(z_stream*)> ended(&stream, &inflateEnd);
  std::string out(static_cast<std::size_t>(size) + 1, '\0');   // one more, to see that there is no more
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int state = inflate(&stream, Z_FINISH);
  const bool whole = state == Z_STREAM_END && stream.avail_in == 0 && stream.total_out == static_cast<uLong>(size);
  if (!whole) throw Refusal{400, text("the body is not a gzip stream of exactly ", size, " bytes.")};
  out.resize(static_cast<std::size_t>(size));
  return out;
}

/// Whether a line has the system's words for a disk, a quota or a file that is full: errors keep the words, not the number.
static bool says_full(std::string_view line) {
  for (const std::errc reason : {std::errc::no_space_on_device, std::errc::file_too_large, std::errc(EDQUOT)})
    if (line.find(std::generic_category().message(static_cast<int>(reason))) != line.npos) return true;
  return false;
}

Refusal refusal_of_exception() try { throw; } catch (const Refusal& r) {
  return r;
} catch (const cs::Error& e) {
  switch (e.code()) {
    case cs::Code::bad_argument:
      return {400, e.what()};
    case cs::Code::bad_input:
    case cs::Code::unsupported:
    case cs::Code::shape_mismatch:
      return {422, e.what()};
    case cs::Code::out_of_memory:
      return {507, e.what()};
    case cs::Code::cancelled:
      return {409, e.what()};
    case cs::Code::device:
      return {503, e.what()};
    case cs::Code::io:
      return {says_full(e.what()) ? 507 : 500, e.what()};
  }
  return {500, e.what()};
} catch (const std::system_error& e) {   // also of std::filesystem
  return {says_full(e.what()) ? 507 : 500, e.what()};
} catch (const std::bad_alloc&) {
  return {507, "there is not enough memory for this."};
} catch (const std::exception& e) {
  return {500, e.what()};
}

}   // namespace viewer
