#include "masks.hpp"

#include <cmath>
#include <ctseg/image/distance.hpp>
#include <ctseg/io/preview.hpp>
#include <ctseg/io/volume.hpp>
#include <ctseg/report/measure.hpp>

namespace viewer {

namespace {

cs::io::previewing::Rgb rgb_of(const std::string& color) {
  const auto byte = [&](std::size_t at) {
    return static_cast<std::uint8_t>(std::strtol(color.substr(at, 2).c_str(), nullptr, 16));
  };
  return color.size() == 7 ? cs::io::previewing::Rgb{byte(1), byte(3), byte(5)} : cs::io::previewing::Rgb{};
}

std::string bytes_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}   // namespace

std::string color_of(Index label) {
  const auto c = cs::io::previewing::label_colour(static_cast<int>(std::max<Index>(label, 1)));
  char words[8];
  std::snprintf(words, sizeof words, "#%02x%02x%02x", c.r, c.g, c.b);
  return words;
}

std::vector<LabelName> Masks::names_of(Index mask) {
  std::vector<LabelName> out;
  if (mask == 0) return out;
  for (const Json& label : row(mask).facts.value("labels", Json::array()))
    out.push_back({label["id"].get<Index>(), label["name"].get<std::string>(), label["color"].get<std::string>()});
  return out;
}

MaskRow Masks::row(Index id) {
  auto found = store_.mask(id);
  if (!found) throw Refusal{404, text("there is no mask ", id, ".")};
  return std::move(*found);
}

std::shared_ptr<const std::vector<std::uint8_t>> Masks::voxels(const MaskRow& row, const OpenScan& scan) {
  const std::lock_guard lock(mutex_);
  for (const auto& [id, voxels] : kept_)   // ids are never used again, and masks never change
    if (id == row.id) return voxels;
  const auto stored = cs::io::read_volume<std::uint8_t>(store_ / row.file);
  if (!(stored.shape() == scan.stored.shape)) throw Refusal{409, "the mask's file was changed by somebody else."};
  kept_.emplace_front(row.id, std::make_shared<std::vector<std::uint8_t>>(std::move(
                                  to_display(scan, cs::Volume<std::uint8_t>(scan.stored, stored.voxels())).voxels())));
  if (kept_.size() > 2) kept_.pop_back();
  return kept_.front().second;
}

Json Masks::measure(const OpenScan& scan, const std::vector<std::uint8_t>& display, Index parent,
                    const std::vector<LabelName>& given) {
  std::vector<LabelName> names = given.empty() ? names_of(parent) : given;
  const cs::Volume<std::uint8_t> mask(scan.display.grid(), display);
  const auto measured = cs::measure_labels(mask, {.ct = &scan.display});
  for (const auto& m : measured)
    if (std::none_of(names.begin(), names.end(), [&](const LabelName& n) { return n.id == m.label; }))
      names.push_back({m.label, text("label ", int{m.label}), color_of(m.label)});
  std::sort(names.begin(), names.end(), [](const LabelName& a, const LabelName& b) { return a.id < b.id; });

  std::vector<cs::Overlap> overlaps;
  Json out = {{"labels", Json::array()}};
  double sum = 0, count = 0;
  if (parent != 0) {
    overlaps = cs::overlap_table(display, *voxels(row(parent), scan), 256);
    Index same = 0;
    for (const cs::Overlap& o : overlaps) same += o.tp;
    out["changed"] = std::ssize(display) - same;
  }
  for (const LabelName& name : names) {
    Json label = {{"id", name.id}, {"name", name.name}, {"color", name.color}, {"voxels", 0}, {"volume_ml", 0.0}};
    for (const auto& m : measured)
      if (m.label == name.id) {
        label["voxels"] = m.voxels, label["volume_ml"] = m.volume_ml, label["hu_mean"] = m.hu_mean, label["hu_sd"] = m.hu_sd;
        label["centroid"] = {m.centroid_voxel.x, m.centroid_voxel.y, m.centroid_voxel.z};
      }
    if (parent != 0 && name.id < 256) {
      const double dice = overlaps[static_cast<std::size_t>(name.id)].dice(cs::EmptyPolicy::nnunet);
      label["dice"] = dice;   // null where neither has the label
      if (!cs::is_nan(dice)) sum += dice, ++count;
    }
    out["labels"].push_back(std::move(label));
  }
  if (parent != 0) out["dice"] = count > 0 ? Json(sum / count) : Json(nullptr);
  return out;
}

MaskRow Masks::save(MaskRow m, const OpenScan& scan, std::vector<std::uint8_t> display, const std::vector<LabelName>& names) {
  m.facts = measure(scan, display, m.parent, names);
  const cs::Volume<std::uint8_t> stored = to_stored(scan, std::move(display));
  fs::path written = store_.incoming();
  written += ".nii.gz";
  try {
    cs::io::write_nifti(written, stored, {.gzip_level = 1});
    return store_.add(std::move(m), written);   // under a new name each time: nothing is written over
  } catch (...) {
    std::error_code ignored;
    fs::remove(written, ignored);
    throw;
  }
}

Json Masks::describe(const MaskRow& m) const {
  const auto id = [](Index i) { return i == 0 ? Json(nullptr) : Json(i); };
  Json out = {{"id", m.id},       {"scan", m.scan},   {"version", m.version}, {"kind", m.kind},   {"parent", id(m.parent)},
              {"job", id(m.job)}, {"added", m.added}, {"note", m.note},       {"model", m.model}, {"seconds", m.seconds}};
  out.update(m.facts);
  return out;
}

std::string Masks::montage_png(const MaskRow& m) {
  const auto scan = scans_.open(m.scan);
  const cs::Volume<std::uint8_t> mask(scan->display.grid(), *voxels(m, *scan));
  return bytes_of(cs::io::encode_png(cs::io::preview(scan->display, mask)));
}

std::string Masks::overlay_png(const MaskRow& m, const OverlayOptions& o) {
  const auto scan = scans_.open(m.scan);
  const auto held = voxels(m, *scan);
  const std::vector<std::uint8_t>& mask = *held;
  const auto n = scan->extent();
  const auto mm = scan->display.spacing_mm();
  const std::array<double, 3> spacing{mm.x, mm.y, mm.z};
  const auto right = static_cast<std::size_t>(o.plane.right), down = static_cast<std::size_t>(o.plane.down);
  std::array<cs::io::previewing::Rgb, 256> colors{};
  for (const LabelName& name : names_of(m.id)) colors[static_cast<std::size_t>(name.id & 255)] = rgb_of(name.color);

  const double pixel = std::min(spacing[right], spacing[down]);
  const auto pixels = [&](std::size_t axis) {
    return std::clamp(static_cast<int>(std::lround(static_cast<double>(n[axis]) * spacing[axis] / pixel)), 1, 4096);
  };
  const int width = pixels(right), height = pixels(down);
  cs::io::previewing::Canvas canvas(width, height);
  const auto byte = [](double v) { return static_cast<std::uint8_t>(std::lround(std::clamp(v, 0.0, 255.0))); };
  for (int j = 0; j < height; ++j)
    for (int i = 0; i < width; ++i) {
      const std::size_t at = scan->at(o.plane, o.slice, i * n[right] / width, j * n[down] / height);
      const double gray = 255 * std::clamp((scan->hu[at] - o.low) / (o.high - o.low), 0.0, 1.0);
      const auto c = colors[mask[at]];
      const double a = mask[at] ? o.opacity : 0;
      canvas.set(i, j, {byte(gray + a * (c.r - gray)), byte(gray + a * (c.g - gray)), byte(gray + a * (c.b - gray))});
    }
  return bytes_of(cs::io::encode_png(canvas.image));
}

std::vector<std::uint8_t> interpolate(const KeySlices& keys) {
  const auto area = static_cast<std::size_t>(keys.width * keys.height);
  const auto distances = [&](std::size_t k) {
    return cs::signed_distance(keys.pixels.data() + k * area, {keys.width, keys.height, 1},
                               {.spacing_mm = cs::Xyz<double>{keys.width_mm, keys.height_mm, 1}});
  };
  std::vector<std::uint8_t> out;
  std::vector<float> from = distances(0);
  for (std::size_t k = 0; k + 1 < keys.numbers.size(); ++k) {
    const std::vector<float> to = distances(k + 1);
    const Index steps = keys.numbers[k + 1] - keys.numbers[k];
    for (Index s = 0; s < steps; ++s) {
      const float t = static_cast<float>(s) / static_cast<float>(steps);
      for (std::size_t i = 0; i < area;
           ++i)   // at a key itself what was drawn; next to an empty one infinity, which is outside
        out.push_back(s == 0 ? keys.pixels[k * area + i] : (1 - t) * from[i] + t * to[i] < 0);
    }
    from = to;
  }
  out.insert(out.end(), keys.pixels.end() - static_cast<std::ptrdiff_t>(area), keys.pixels.end());
  return out;
}

}   // namespace viewer
