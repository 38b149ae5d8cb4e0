#include "routes.hpp"

#include <charconv>

#include "page.hpp"

namespace viewer {

namespace {

constexpr Index kMostJson = 64 * 1024, kGzipMore = 64 * 1024;

/// Takes as long whatever the difference is.
bool same_secret(std::string_view a, std::string_view b) {
  unsigned different = a.size() == b.size() ? 0 : 1;
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) different |= static_cast<unsigned char>(a[i] ^ b[i]);
  return different == 0;
}

std::string_view type_of(std::string_view name) {
  constexpr std::pair<std::string_view, std::string_view> kTypes[] = {{".html", "text/html; charset=utf-8"},
                                                                      {".js", "text/javascript; charset=utf-8"},
                                                                      {".css", "text/css; charset=utf-8"},
                                                                      {".svg", "image/svg+xml"},
                                                                      {".png", "image/png"},
                                                                      {".ico", "image/x-icon"}};
  for (const auto& [ending, type] : kTypes)
    if (name.ends_with(ending)) return type;
  return "application/octet-stream";
}

/// A file of the page by the path of a request; none: nullptr.
const PageFile* page_file(const Request& request) {
  if (request.method != "GET" || !request.path.starts_with('/')) return nullptr;
  const std::string_view name = request.path == "/" ? "index.html" : std::string_view(request.path).substr(1);
  for (const PageFile& file : page_files())
    if (file.name == name) return &file;
  return nullptr;
}

/// Whether a path is as a pattern says; its number goes to `id`.
bool matches(std::string_view path, std::string_view pattern, Index& id) {
  const std::size_t hash = pattern.find('#');
  if (hash == pattern.npos) return path == pattern;
  if (!path.starts_with(pattern.substr(0, hash))) return false;
  path.remove_prefix(hash), pattern.remove_prefix(hash + 1);
  const auto [end, error] = std::from_chars(path.data(), path.data() + path.size(), id);
  const auto digits = static_cast<std::size_t>(end - path.data());
  return error == std::errc() && path[0] >= '1' && path[0] <= '9' && digits <= 15 && path.substr(digits) == pattern;
}

Index length_of(const Request& request) {
  const std::string words = request.header("content-length");
  if (!request.header("transfer-encoding").empty() || words.empty())
    throw Refusal{411, "the length of the body must be stated (Content-Length)."};
  Index length = -1;
  const auto [end, error] = std::from_chars(words.data(), words.data() + words.size(), length);
  if (error != std::errc() || end != words.data() + words.size() || length < 0)
    throw Refusal{400, "Content-Length is not a length."};
  return length;
}

}   // namespace

std::span<const Routes::Route> Routes::table() {
  static constexpr Route kRoutes[] = {
      {"GET", "/info", Body::none, &Routes::info},
      {"GET", "/scans", Body::none, &Routes::list_scans},
      {"POST", "/scans", Body::scan, &Routes::add_scan},
      {"GET", "/scans/#", Body::none, &Routes::get_scan},
      {"DELETE", "/scans/#", Body::none, &Routes::delete_scan},
      {"GET", "/scans/#/voxels", Body::none, &Routes::get_voxels},
      {"GET", "/scans/#/slice", Body::none, &Routes::get_slice},
      {"POST", "/scans/#/masks", Body::array, &Routes::save_mask},
      {"POST", "/scans/#/measure", Body::array, &Routes::measure},
      {"POST", "/scans/#/interpolate", Body::slices, &Routes::interpolate_slices},
      {"GET", "/masks/#", Body::none, &Routes::get_mask},
      {"GET", "/masks/#/voxels", Body::none, &Routes::get_mask_voxels},
      {"GET", "/masks/#/mesh", Body::none, &Routes::get_mesh},
      {"GET", "/masks/#/file", Body::none, &Routes::get_file},
      {"GET", "/masks/#/overlay", Body::none, &Routes::get_overlay},
      {"GET", "/models", Body::none, &Routes::list_models},
      {"POST", "/models", Body::model, &Routes::add_model},
      {"GET", "/jobs", Body::none, &Routes::list_jobs},
      {"POST", "/jobs", Body::json, &Routes::add_job},
      {"GET", "/jobs/#", Body::none, &Routes::get_job},
      {"DELETE", "/jobs/#", Body::none, &Routes::cancel_job},
      {"GET", "/history", Body::none, &Routes::history},
  };
  return kRoutes;
}

std::pair<const Routes::Route*, Index> Routes::find(const Request& request) const {
  bool known = false;
  for (const Route& route : table()) {
    Index id = 0;
    if (!matches(request.path, route.pattern, id)) continue;
    if (request.method == route.method) return {&route, id};
    known = true;
  }
  if (known) throw Refusal{405, "this path does not know that method."};
  throw Refusal{404, "there is nothing here. Hint: docs/viewer_api.md."};
}

/// Other sites in the same browser, names that somebody's DNS leads here, and other users of this machine are kept out.
void Routes::check_sender(const Request& request) const {
  if (request.repeated) throw Refusal{400, "a header or a parameter came twice."};
  const std::string host = request.header("host"), origin = request.header("origin"), fetch = request.header("sec-fetch-site");
  const int port = port_;
  if (port == 0 || (host != text("127.0.0.1:", port) && host != text("localhost:", port)))
    throw Refusal{403, "the Host is not this server."};
  if (!origin.empty() && origin != "http://" + host) throw Refusal{403, "the Origin is not this server's page."};
  if (!fetch.empty() && fetch != "same-origin" && fetch != "none") throw Refusal{403, "another site may not ask this server."};
}

Index Routes::body_limit(const Request& request, const Route& route, Index id) {
  if (route.body == Body::json) return kMostJson;
  if (route.body == Body::scan || route.body == Body::model) return facts_.max_upload;
  const auto row = parts_.store.scan(id);
  if (!row) throw Refusal{404, text("there is no scan ", id, ".")};
  const auto scan = parts_.scans.open(id);
  if (route.body == Body::array) return std::ssize(scan->hu) + kGzipMore;
  const auto [plane, slices] = keys_of(request, *scan);
  const auto n = scan->extent();
  return std::ssize(slices) * n[static_cast<std::size_t>(plane.right)] * n[static_cast<std::size_t>(plane.down)] + kGzipMore;
}

Intake Routes::intake(const Request& request) {
  check_sender(request);
  if (page_file(request)) return {};
  if (!same_secret(request.header("x-ctseg-token"), facts_.token))
    throw Refusal{401, "the token is missing or wrong. Hint: open the address that ctseg view printed."};
  const auto [route, id] = find(request);
  if (route->body == Body::none) return {};
  const Index length = length_of(request), most = body_limit(request, *route, id);
  if (length > most) throw Refusal{413, text("a body of ", length, " bytes; the most here is ", most, ".")};
  Intake intake{.most = length};
  if (route->body == Body::scan || route->body == Body::model) {
    if (fs::space(parts_.store.folder()).available < static_cast<std::uintmax_t>(length) + (1u << 26))
      throw Refusal{507, text("there is no room for ", length, " bytes on the store's disk.")};
    intake.file = parts_.store.incoming();
  } else if (route->body != Body::json) {
    if (arrays_->fetch_add(1) >= kMostArrays) {
      arrays_->fetch_sub(1);
      throw Refusal{429, "too many arrays are on their way. Hint: wait for one to be answered."};
    }
    intake.held = std::shared_ptr<const void>(this, [arrays = arrays_](const void*) { arrays->fetch_sub(1); });
  }
  return intake;
}

Response Routes::answer(Request& request) try {
  if (const PageFile* file = page_file(request))
    return {.type = std::string(type_of(file->name)), .body = std::string(file->content)};
  const auto [route, id] = find(request);
  return (this->*route->handle)(request, id);
} catch (...) {   // where files lie is of no use to people who uploaded them
  Refusal refusal = refusal_of_exception();
  const std::string folder = parts_.store.folder().string() + "/";
  for (std::size_t at; (at = refusal.words.find(folder)) != std::string::npos;) refusal.words.erase(at, folder.size());
  throw refusal;
}

}   // namespace viewer
