// What each request does.
#include <charconv>
#include <cmath>
#include <ctseg/version.hpp>

#include "routes.hpp"
#include "uploads.hpp"

namespace viewer {

namespace {

Response json(const Json& value, int status = 200) { return {.status = status, .body = dumped(value)}; }

std::string parameter(const Request& request, const std::string& name, const std::string& unset = {}) {
  const auto found = request.query.find(name);
  return found == request.query.end() ? unset : found->second;
}
/// A number of the query, within limits.
template <class T> T number(const Request& request, const std::string& name, T unset, std::pair<T, T> range) {
  const std::string words = parameter(request, name);
  if (words.empty()) return unset;
  T value{};
  const auto [end, error] = std::from_chars(words.data(), words.data() + words.size(), value);
  if (error != std::errc() || end != words.data() + words.size() || !(value >= range.first && value <= range.second))
    throw Refusal{400, text(name, " must be a number from ", range.first, " to ", range.second, ".")};
  return value;
}
/// The same for one that must be there.
Index needed(const Request& request, const std::string& name, std::pair<Index, Index> range) {
  if (parameter(request, name).empty()) throw Refusal{400, text(name, " is missing.")};
  return number<Index>(request, name, 0, range);
}

/// Bytes of something that lives on while they are sent.
template <class T> Response binary(std::shared_ptr<const void> owner, std::span<const T> values) {
  return {.type = "application/octet-stream", .body = {}, .owner = std::move(owner), .bytes = std::as_bytes(values)};
}
template <class T> Response binary(std::vector<T> values) {
  const auto owner = std::make_shared<const std::vector<T>>(std::move(values));
  return binary(owner, std::span(*owner));
}
Response attachment(std::string body, const std::string& type, const std::string& name) {
  return {.type = type, .body = std::move(body), .headers = {{"Content-Disposition", "attachment; filename=\"" + name + "\""}}};
}

}   // namespace

Json Routes::scan_with_masks(const ScanRow& row) {
  Json out = Scans::describe(row);
  out["masks"] = Json::array();
  for (const MaskRow& mask : parts_.store.masks_of(row.id)) out["masks"].push_back(parts_.masks.describe(mask));
  return out;
}

std::vector<std::uint8_t> Routes::array_of(Request& request, Index size) {
  const std::string coding = request.header("content-encoding");
  if (!coding.empty() && coding != "gzip" && coding != "identity")
    throw Refusal{400, "Content-Encoding must be gzip, or none."};
  std::string bytes = coding == "gzip" ? gunzipped(request.body, size) : std::move(request.body);
  if (std::ssize(bytes) != size)
    throw Refusal{400, text("the body has ", std::ssize(bytes), " bytes; it must have ", size, ".")};
  return {bytes.begin(), bytes.end()};
}

Index Routes::parent_of(const Request& request, Index scan) {
  const Index parent = number<Index>(request, "parent", 0, {1, 1'000'000'000});
  if (parent != 0 && parts_.masks.row(parent).scan != scan) throw Refusal{400, text("mask ", parent, " is of another scan.")};
  return parent;
}

Response Routes::info(Request&, Index) {
  return json({{"version", cs::kVersion},
               {"device", facts_.device},
               {"threads", facts_.threads},
               {"isa", text(cs::detect_isa())},
               {"max_upload", facts_.max_upload},
               {"scan", facts_.scan == 0 ? Json(nullptr) : Json(facts_.scan)},
               {"store", parts_.store.folder().string()}});
}

Response Routes::list_scans(Request&, Index) {
  Json out = Json::array();
  for (const ScanRow& row : parts_.store.scans()) out.push_back(scan_with_masks(row));
  return json(out);
}
Response Routes::add_scan(Request& request, Index) {
  const Index id = parts_.scans.add_upload(request.file, shown_name(parameter(request, "name")));
  return json(scan_with_masks(*parts_.store.scan(id)), 201);
}
Response Routes::get_scan(Request&, Index id) {
  const auto row = parts_.store.scan(id);
  if (!row) throw Refusal{404, text("there is no scan ", id, ".")};
  return json(scan_with_masks(*row));
}
Response Routes::delete_scan(Request&, Index id) {
  parts_.scans.remove(id);
  parts_.jobs.stop_of(id);
  return {.status = 204, .body = {}};
}

Response Routes::get_voxels(Request& request, Index id) {
  const auto scan = parts_.scans.open(id);
  const Index step = number<Index>(request, "step", 1, {1, 16}), slices = scan->extent()[2];
  if (step > 1) return binary(coarse_voxels(*scan, step));
  const Index first = number<Index>(request, "z0", 0, {0, slices - 1}),
              end = number<Index>(request, "z1", slices, {first + 1, slices});
  const Index area = scan->extent()[0] * scan->extent()[1];
  return binary(scan, std::span(scan->hu).subspan(static_cast<std::size_t>(first * area),
                                                  static_cast<std::size_t>((end - first) * area)));
}
Response Routes::get_slice(Request& request, Index id) {
  const auto scan = parts_.scans.open(id);
  const PlaneView plane = plane_named(parameter(request, "plane"));
  return binary(
      slice_of(*scan, plane, needed(request, "index", {0, scan->extent()[static_cast<std::size_t>(plane.through)] - 1})));
}

Response Routes::save_mask(Request& request, Index id) {
  const auto scan = parts_.scans.open(id);
  const Index parent = parent_of(request, id);
  MaskRow row{.scan = id, .parent = parent, .kind = "edited", .note = shown_text(parameter(request, "note"))};
  std::vector<std::uint8_t> drawn = array_of(request, std::ssize(scan->hu));
  std::vector<LabelName> names;   // of the labels it was drawn with, also of those that have no voxel; none: the parent's
  if (parent != 0)
    row.model = parts_.masks.row(parent).model;
  else if (const Index model = number<Index>(request, "model", 0, {1, 1'000'000'000}); model != 0)
    names = parts_.models.find(model).labels;
  else
    names = parts_.models.names_for(drawn);
  row = parts_.masks.save(std::move(row), *scan, std::move(drawn), names);
  return json(parts_.masks.describe(row), 201);
}
Response Routes::measure(Request& request, Index id) {
  const auto scan = parts_.scans.open(id);
  const Index parent = parent_of(request, id);
  return json(parts_.masks.measure(*scan, array_of(request, std::ssize(scan->hu)), parent));
}

/// The plane and the ascending numbers of an interpolation.
std::pair<PlaneView, std::vector<Index>> Routes::keys_of(const Request& request, const OpenScan& scan) {
  const PlaneView plane = plane_named(parameter(request, "plane"));
  const Index last = scan.extent()[static_cast<std::size_t>(plane.through)] - 1;
  const std::string words = parameter(request, "slices");
  std::vector<Index> numbers;
  for (const char *at = words.data(), *end = at + words.size(); at < end;) {
    Index n = -1;
    const auto [next, error] = std::from_chars(at, end, n);
    const bool ordered = numbers.empty() || n > numbers.back();
    if (error != std::errc() || n < 0 || n > last || !ordered || (next < end && *next != ','))
      throw Refusal{400, text("slices must be numbers from 0 to ", last, ", ascending, with commas between them.")};
    numbers.push_back(n);
    at = next + (next < end ? 1 : 0);
  }
  if (numbers.size() < 2) throw Refusal{400, "slices must name two or more."};
  return {plane, numbers};
}
Response Routes::interpolate_slices(Request& request, Index id) {
  const auto scan = parts_.scans.open(id);
  const auto [plane, numbers] = keys_of(request, *scan);
  const auto n = scan->extent();
  const auto mm = scan->display.spacing_mm();
  const std::array<double, 3> spacing{mm.x, mm.y, mm.z};
  const auto right = static_cast<std::size_t>(plane.right), down = static_cast<std::size_t>(plane.down);
  KeySlices keys{n[right], n[down], spacing[right], spacing[down], numbers, {}};
  if ((numbers.back() - numbers.front() + 1) * keys.width * keys.height > parts_.scans.most_voxels())
    throw Refusal{413, "that is too much at once."};
  keys.pixels = array_of(request, std::ssize(numbers) * keys.width * keys.height);
  for (std::uint8_t& pixel : keys.pixels) pixel = pixel != 0;
  return binary(interpolate(keys));
}

Response Routes::get_mask(Request&, Index id) { return json(parts_.masks.describe(parts_.masks.row(id))); }
Response Routes::get_mask_voxels(Request& request, Index id) {
  const MaskRow row = parts_.masks.row(id);
  const auto voxels = parts_.masks.voxels(row, *parts_.scans.open(row.scan));
  if (request.header("accept-encoding").find("gzip") == std::string::npos) return binary(voxels, std::span(*voxels));
  return {.type = "application/octet-stream",
          .body = gzipped(std::as_bytes(std::span(*voxels))),
          .headers = {{"Content-Encoding", "gzip"}}};
}
Response Routes::get_mesh(Request& request, Index id) {
  const Index label = number<Index>(request, "label", 0, {0, 255});
  CompactMesh mesh =
      parts_.masks.compact_mesh(parts_.masks.row(id), label, number<Index>(request, "triangles", 60'000, {100, 1'000'000}));
  Response out{.type = "application/octet-stream", .body = std::move(mesh.bytes)};
  if (mesh.simplified) out.headers.emplace_back("X-Ctseg-Simplified", "1");
  return out;
}
Response Routes::get_file(Request& request, Index id) {
  const MaskRow row = parts_.masks.row(id);
  const std::string type = parameter(request, "type"), name = text("scan_", row.scan, "_mask_", row.version);
  const auto content = [](const fs::path& path) {
    const auto bytes = cs::io::read_file(path);
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  if (type == "nii.gz") return attachment(content(parts_.store / row.file), "application/gzip", name + ".nii.gz");
  if (type == "json") return attachment(dumped(parts_.masks.describe(row)), "application/json", name + ".json");
  if (type == "png") return attachment(parts_.masks.montage_png(row), "image/png", name + ".png");
  if (type != "stl" && type != "ply" && type != "obj") throw Refusal{400, "type must be nii.gz, json, png, stl, ply or obj."};
  const Index label = number<Index>(request, "label", 0, {0, 255});
  return attachment(content(parts_.masks.surface_file(row, label, type)), "application/octet-stream",
                    name + (label == 0 ? std::string() : text("_label_", label)) + "." + type);
}
Response Routes::get_overlay(Request& request, Index id) {
  const MaskRow row = parts_.masks.row(id);
  const auto scan = parts_.scans.open(row.scan);
  OverlayOptions o{.plane = plane_named(parameter(request, "plane"))};
  o.slice = needed(request, "index", {0, scan->extent()[static_cast<std::size_t>(o.plane.through)] - 1});
  o.low = number<double>(request, "low", -160, {-32768, 32767}), o.high = number<double>(request, "high", 240, {-32768, 32767});
  o.opacity = number<double>(request, "opacity", 0.4, {0, 1});
  if (!(o.low < o.high)) throw Refusal{400, "low must be less than high."};
  return {.type = "image/png", .body = parts_.masks.overlay_png(row, o)};
}

Response Routes::list_models(Request&, Index) {
  Json out = Json::array();
  for (const ModelEntry& entry : parts_.models.list()) out.push_back(Models::describe(entry));
  return json(out);
}
Response Routes::add_model(Request& request, Index) {
  return json(Models::describe(parts_.models.add_upload(request.file, parameter(request, "name", "model"))), 201);
}

Response Routes::list_jobs(Request&, Index) { return json(parts_.jobs.list()); }
Response Routes::add_job(Request& request, Index) {
  JobOptions options;
  std::string accuracy;
  try {
    const Json job = cs::json::parse(request.body, "the job");
    cs::json::Reader members(job, {"the job"});
    members.required("scan", options.scan, {1, 1e9});
    members("model", options.model, {0, 1e9});
    members("overlap", options.overlap, {0, 0.9});
    members("accuracy", accuracy);
    members.finish();
  } catch (const cs::Error& error) {
    throw Refusal{400, error.what()};
  }
  for (const cs::Accuracy a : {cs::Accuracy::strict, cs::Accuracy::standard, cs::Accuracy::fast})
    if (text(a) == accuracy) options.accuracy = a;
  if (!accuracy.empty() && !options.accuracy) throw Refusal{400, "accuracy must be strict, standard or fast."};
  return json(parts_.jobs.add(options), 202);
}
Response Routes::get_job(Request&, Index id) { return json(parts_.jobs.describe(id)); }
Response Routes::cancel_job(Request&, Index id) {
  parts_.jobs.cancel(id);
  return json(parts_.jobs.describe(id), 202);
}
Response Routes::history(Request& request, Index) {
  const Index scan = number<Index>(request, "scan", 0, {1, 1'000'000'000});
  return json(parts_.store.history(scan == 0 ? std::nullopt : std::optional(scan)));
}

}   // namespace viewer
