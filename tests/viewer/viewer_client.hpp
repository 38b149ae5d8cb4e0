// `ctseg view` as a running program, and a client that says exactly what it is told, however wrong.
#pragma once
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <zlib.h>

#include "../cli/run_ctseg.hpp"

struct Answer {
  int status = 0;   // 0: the connection was closed without one
  std::string head{}, body{};

  nlohmann::json json() const { return nlohmann::json::parse(body, nullptr, false); }
};

struct Ask {
  std::string method = "GET", target = "/info", body{};
  std::vector<std::string> headers{};   // more of them, "Name: value"
  bool token = true;
};

class Viewer {
 public:
  explicit Viewer(const std::vector<std::string>& arguments, const std::string& name = "ctseg") {
    std::string program = ctseg_program(name).string();
    std::vector<std::string> copies{"view", "--json", "--quiet"};
    copies.insert(copies.end(), arguments.begin(), arguments.end());
    std::vector<char*> words{program.data()};
    for (std::string& word : copies) words.push_back(word.data());
    words.push_back(nullptr);
    int ends[2];
    if (::pipe(ends) != 0) return;
    child_ = ::fork();
    if (child_ == 0) {
      ::dup2(ends[1], 1), ::close(ends[0]), ::close(ends[1]);
      ::execv(program.c_str(), words.data());
      ::_exit(127);
    }
    ::close(ends[1]);
    std::string line;
    for (char c; ::read(ends[0], &c, 1) == 1 && c != '\n';) line += c;
    ::close(ends[0]);
    const auto said = nlohmann::json::parse(line, nullptr, false);
    if (!said.is_object()) return;
    const std::string url = said["url"];
    port_ = std::atoi(url.c_str() + url.rfind(':') + 1), token_ = url.substr(url.find('#') + 1);
  }
  Viewer(const Viewer&) = delete;
  ~Viewer() { stop(); }

  bool running() const { return port_ != 0 && ::kill(child_, 0) == 0 && ::waitpid(child_, nullptr, WNOHANG) == 0; }
  int port() const { return port_; }
  const std::string& token() const { return token_; }
  std::string host() const { return "127.0.0.1:" + std::to_string(port_); }
  /// Ends it as Ctrl-C does; its exit status.
  int stop() {
    if (child_ <= 0) return -1;
    int status = 0;
    ::kill(child_, SIGINT);
    ::waitpid(std::exchange(child_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  /// From now on its files end at so many bytes, as on a disk that is full; -1: no limit.
  void most_file_bytes(long bytes) const {
    const rlimit limit{bytes < 0 ? RLIM_INFINITY : static_cast<rlim_t>(bytes), RLIM_INFINITY};
    ::prlimit(child_, RLIMIT_FSIZE, &limit, nullptr);
  }
  /// A figure of /proc/PID/status in MB: VmRSS, VmHWM.
  double memory_mb(const std::string& key) const {
    const std::string status = slurp("/proc/" + std::to_string(child_) + "/status");
    const std::size_t at = status.find(key + ":");
    return at == status.npos ? 0 : std::atof(status.c_str() + at + key.size() + 1) / 1024;
  }

  /// Sends the bytes as they are, says that there are no more if asked to, and reads until the server closes.
  Answer say(const std::string& bytes, bool hang_up = false) const {
    const int s = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET, to.sin_port = htons(static_cast<std::uint16_t>(port_)),
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    std::string got;
    if (::connect(s, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0) {
      std::size_t sent = 0;
      while (sent < bytes.size()) {   // the server may answer and close before it has heard all
        const ssize_t n = ::send(s, bytes.data() + sent, std::min<std::size_t>(bytes.size() - sent, 1 << 16), MSG_NOSIGNAL);
        if (n <= 0) break;
        sent += static_cast<std::size_t>(n);
      }
      if (hang_up) ::shutdown(s, SHUT_WR);
      char piece[1 << 16];
      pollfd ready{s, POLLIN, 0};
      while (::poll(&ready, 1, 20'000) > 0) {
        const ssize_t n = ::recv(s, piece, sizeof piece, 0);
        if (n <= 0) break;
        got.append(piece, static_cast<std::size_t>(n));
      }
    }
    ::close(s);
    Answer a;
    const std::size_t end = got.find("\r\n\r\n");
    if (!got.starts_with("HTTP/1.") || end == got.npos) return a;
    a.status = std::atoi(got.c_str() + 9), a.head = got.substr(0, end + 2), a.body = got.substr(end + 4);
    return a;
  }
  std::string bytes_of(const Ask& ask) const {
    std::string out = ask.method + " " + ask.target + " HTTP/1.1\r\nConnection: close\r\n";
    const auto given = [&](const std::string& name) {
      return std::any_of(ask.headers.begin(), ask.headers.end(), [&](const std::string& h) { return h.starts_with(name); });
    };
    if (!given("Host:")) out += "Host: " + host() + "\r\n";
    if (ask.token) out += "X-Ctseg-Token: " + token_ + "\r\n";
    for (const std::string& header : ask.headers) out += header + "\r\n";
    if (!given("Content-Length:") && (ask.method == "POST" || !ask.body.empty()))
      out += "Content-Length: " + std::to_string(ask.body.size()) + "\r\n";
    return out + "\r\n" + ask.body;
  }
  Answer operator()(const Ask& ask) const { return say(bytes_of(ask)); }
  Answer get(const std::string& target) const { return (*this)({.target = target}); }
  Answer post(const std::string& target, const std::string& body, const std::vector<std::string>& headers = {}) const {
    return (*this)({.method = "POST", .target = target, .body = body, .headers = headers});
  }

 private:
  pid_t child_ = -1;
  int port_ = 0;
  std::string token_;
};

/// gzip, or (wrap = false) the bare stream that zip archives hold.
inline std::string deflated(const std::string& bytes, bool wrap = true) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, wrap ? 15 + 16 : -15, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, bytes.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data())), stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data()), stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

struct ZipMember {
  std::string name, content;
  bool packed = true;
  std::uint32_t said_bytes = 0;   // in the directory; 0: the truth
};
inline std::string zip_of(const std::vector<ZipMember>& members) {
  const auto number = [](std::uint64_t value, int bytes) {
    std::string out;
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
    return out;
  };
  std::string files, directory;
  for (const ZipMember& m : members) {
    const std::string data = m.packed ? deflated(m.content, false) : m.content;
    const std::uint64_t crc = crc32(0, reinterpret_cast<const Bytef*>(m.content.data()), static_cast<uInt>(m.content.size()));
    const std::string facts = number(20, 2) + number(0, 2) + number(m.packed ? 8 : 0, 2) + number(0, 4) + number(crc, 4) +
                              number(data.size(), 4) + number(m.said_bytes ? m.said_bytes : m.content.size(), 4) +
                              number(m.name.size(), 2) + number(0, 2);
    directory += "PK\1\2" + number(20, 2) + facts + number(0, 2) + number(0, 2) + number(0, 2) + number(0, 4) +
                 number(files.size(), 4) + m.name;
    files += "PK\3\4" + facts + m.name + data;
  }
  return files + directory + "PK\5\6" + number(0, 4) + number(members.size(), 2) + number(members.size(), 2) +
         number(directory.size(), 4) + number(files.size(), 4) + number(0, 2);
}
