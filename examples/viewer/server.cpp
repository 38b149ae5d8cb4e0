#include "server.hpp"

#include <sys/random.h>
#include <sys/stat.h>

#include <condition_variable>
#include <cstdlib>

namespace viewer {

namespace {

struct Kept {
  Store& store;
  Scans& scans;
  Masks& masks;
  Models& models;
};

/// 128 bits that nobody guesses, in hexadecimal.
std::string new_token() {
  unsigned char bytes[16];
  if (::getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
    throw cs::Error(cs::Code::io, "token", "the system has no random bytes.");
  std::string out;
  for (const unsigned char b : bytes) out += "0123456789abcdef"[b >> 4], out += "0123456789abcdef"[b & 15];
  return out;
}

/// A mask that was given with the CASE becomes its first version, once.
void add_given_mask(const ViewerOptions& options, Index id, const Kept& kept, cli::Console& console) {
  auto& [store, scans, masks, models] = kept;
  const auto scan = scans.open(id);
  const auto mask = cli::read_mask_on(scan->stored, {.path = options.mask}, console);
  const std::vector<std::uint8_t> display = to_display(*scan, mask).voxels();
  for (const MaskRow& row : store.masks_of(id))
    if (row.kind == "given" && *masks.voxels(row, *scan) == display) return;
  masks.save({.scan = id, .kind = "given", .note = fs::path(options.mask).filename().string()}, *scan, display,
             models.names_for(display));
}

/// The address with its token goes over no input, over no slice of a CASE that is a folder, and over nothing of the store.
void expect_place_of_token(const fs::path& file, const fs::path& store, const fs::path& input, const cli::Console& console) {
  if (file.empty()) return;
  const auto place = [](const fs::path& p) { return fs::weakly_canonical(fs::absolute(p)); };
  const auto inside = [&](const fs::path& folder) {
    const fs::path way = place(file).lexically_relative(place(folder));
    return !way.empty() && *way.begin() != "..";
  };
  if (inside(store))
    throw cs::Error(cs::Code::bad_argument, file.string(),
                    text("lies in the store ", store.string(), ", whose files are its own. Hint: another place."));
  if (fs::exists(file) && fs::is_directory(input) && inside(input))
    throw cs::Error(cs::Code::bad_argument, file.string(),
                    "is a file in the folder of the CASE; nothing there is written over.");
  cli::expect_place_of(file, console);
}

void say_where(const std::string& url, const ViewerOptions& options, const cli::Console& console) {
  const std::string line = console.common().json ? dumped({{"url", url}}) : url;
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
  console.note("Open this address in a browser. Nothing leaves this machine. Ctrl-C ends the server.");
  if (options.token_file.empty()) return;
  cs::io::write_file(options.token_file, std::as_bytes(std::span(url)));
}

}   // namespace

fs::path default_store() {
  if (const char* data = std::getenv("XDG_DATA_HOME"); data && *data) return fs::path(data) / "ctseg";
  if (const char* home = std::getenv("HOME"); home && *home) return fs::path(home) / ".local/share/ctseg";
  throw cs::Error(cs::Code::bad_argument, "view", "neither XDG_DATA_HOME nor HOME is set. Hint: --store FOLDER.");
}

void serve(const ViewerOptions& options, cli::Console& console) try {
  ::umask(077);   // scans are nobody else's business
  console.keep(options.input.path), console.keep(options.mask);
  for (const std::string& model : options.models) console.keep(model);
  if (const char* model = std::getenv("CTSEG_MODEL")) console.keep(model);
  const fs::path folder = options.store.empty() ? default_store() : options.store;
  expect_place_of_token(options.token_file, folder, options.input.path, console);   // before the work
  const int processors = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  const int threads = console.common().threads > 0 ? console.common().threads : processors;
  Store store(folder);
  Models models(store, options.models, console);
  Scans scans(store, threads);
  Masks masks(store, scans);
  Index scan = 0;
  if (!options.input.path.empty()) scan = scans.add_case(options.input, console);
  if (!options.mask.empty()) add_given_mask(options, scan, {store, scans, masks, models}, console);
  console.check_cancelled();

  cli::Device device(options.device, {.threads = threads});   // for all jobs; one that must be there and is not, is missed now
  const std::string name = device.name();
  Jobs jobs({store, scans, masks, models, device});
  const std::string token = new_token();
  Routes routes({store, scans, masks, models, jobs},
                {.token = token, .threads = threads, .max_upload = options.max_upload, .scan = scan, .device = name});
  const HttpServer server({[&](const Request& r) { return routes.intake(r); }, [&](Request& r) { return routes.answer(r); }},
                          {.port = options.port});
  routes.serve_at(server.port());
  say_where(text("http://127.0.0.1:", server.port(), "/#", token), options, console);

  std::mutex mutex;
  std::condition_variable_any stopped;
  std::unique_lock lock(mutex);
  stopped.wait(lock, console.cancel(), [] { return false; });
} catch (const Refusal& refusal) {   // nobody asked: the disk is full already when the CASE is put into the store
  throw cs::Error(cs::Code::io, "--store", refusal.words);
}

}   // namespace viewer
