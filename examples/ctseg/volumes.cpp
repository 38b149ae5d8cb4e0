#include "volumes.hpp"

#include <ctseg/image/orientation.hpp>
#include <ctseg/io/volume.hpp>
#include <ctseg/report/case_info.hpp>

namespace cli {

namespace {

/// Collects what a reader says, without the path that it puts first.
struct Collector {
  std::string prefix;
  std::vector<std::string> lines{};
  Console& console;

  cs::LogSink sink() {
    return {[](void* user, std::string_view line) {
              auto& self = *static_cast<Collector*>(user);
              self.console.warn(line);
              if (line.starts_with(self.prefix)) line.remove_prefix(self.prefix.size());
              self.lines.emplace_back(line);
            },
            this};
  }
};

cs::io::ReadOptions read_options(const CaseOptions& which) {
  cs::io::ReadOptions options{.max_bytes = which.max_bytes};
  const bool npy = cs::io::ends_with(which.path, ".npy");
  if (which.spacing_mm.empty() && npy)
    throw cs::Error(cs::Code::bad_argument, which.path,
                    "a .npy file says nothing of its voxels' size. Hint: --spacing X,Y,Z in mm.");
  if (which.spacing_mm.empty() || !npy) return options;
  options.affine = cs::io::affine_of_spacing({which.spacing_mm[0], which.spacing_mm[1], which.spacing_mm[2]});
  return options;
}

/// The type that holds all voxels exactly, in NumPy's words.
std::string exact_type(const cs::Volume<float>& volume) {
  double low = 0, high = 0;
  for (const float v : volume.voxels()) {
    if (!cs::is_finite(v) || v != std::nearbyint(v) || std::abs(v) > 2147483520.0f) return "float32";
    low = std::min(low, double{v}), high = std::max(high, double{v});
  }
  return low >= 0 && high <= 255 ? "uint8" : low >= -32768 && high <= 32767 ? "int16" : "int32";
}

template <class T> void write_any(const fs::path& path, const cs::Volume<T>& volume) {
  cs::io::ends_with(path, ".npy") ? cs::io::write_npy_volume(path, volume) : cs::io::write_volume(path, volume);
}
template <class T> void write_as(const fs::path& path, const cs::Volume<float>& volume) {
  cs::Volume<T> out(volume.grid());
  for (std::size_t i = 0; i < out.voxels().size(); ++i) out.voxels()[i] = static_cast<T>(volume.voxels()[i]);
  write_any(path, out);
}

}   // namespace

Scan read_scan(const CaseOptions& which, Console& console) {
  console.reading(which.path);
  const bool is_dicom = dicom::is_dicom(which.path);
  if (!which.series.empty() && !is_dicom) console.note(text(which.path, ": is not DICOM; --series is not used."));
  if (!which.spacing_mm.empty() && !cs::io::ends_with(which.path, ".npy"))
    console.note(text(which.path, ": says the size of its voxels itself; --spacing, for .npy files, is not used."));
  if (is_dicom) {
    auto read = dicom::read(which, console);
    const std::string type = exact_type(read.volume) == "float32" ? "float32" : "int16";
    return {std::move(read.volume), "DICOM", type, std::move(read.series), std::move(read.warnings)};
  }
  cs::io::ReadOptions options = read_options(which);
  const cs::io::VolumeInfo info = cs::io::inspect_volume(which.path, options);
  Collector collector{.prefix = which.path + ": warning: ", .console = console};
  options.log = collector.sink();
  cs::Volume<float> volume = cs::io::read_volume<float>(which.path, options);
  return {std::move(volume), name_of(info.format), cs::numpy_name(info.stored), {}, std::move(collector.lines)};
}

cs::Volume<std::uint8_t> read_mask(const CaseOptions& which, Console& console, const cs::Grid* reference) {
  console.reading(which.path);
  if (std::error_code ignored; fs::is_directory(which.path, ignored))
    throw cs::Error(cs::Code::io, which.path, "is a folder; a mask is one file, such as a .nii.gz or a DICOM SEG.");
  if (dicom::is_dicom(which.path)) {
    if (!reference)
      throw cs::Error(cs::Code::bad_argument, which.path,
                      "is DICOM: a DICOM segmentation is read onto a scan's grid, and none is given here.");
    return dicom::read_segmentation(which.path, *reference);
  }
  cs::io::ReadOptions options = read_options(which);
  options.log = console.log();
  return cs::io::read_volume<std::uint8_t>(which.path, options);
}

cs::Volume<std::uint8_t> read_mask_on(const cs::Grid& grid, const CaseOptions& which, Console& console) {
  cs::Volume<std::uint8_t> mask = read_mask(which, console, &grid);
  if (same_grid(mask.grid(), grid)) return mask;
  const auto place = [](const cs::Grid& g) {
    const cs::Point<cs::Ras> first = g.affine(0, 0, 0);
    return text(g.shape, " voxels of ", g.spacing_mm(), " mm, ", cs::axis_codes(g), ", the first at (", first.x, ", ", first.y,
                ", ", first.z, ") mm RAS");
  };
  try {
    cs::Volume<std::uint8_t> turned = cs::reorient_like(mask, grid);
    console.note(
        text(which.path, ": is stored ", cs::axis_codes(mask.grid()), ", the scan ", cs::axis_codes(grid), "; turned."));
    return turned;
  } catch (const cs::Error& error) {
    if (error.code() != cs::Code::shape_mismatch) throw;
    throw cs::Error(cs::Code::shape_mismatch, which.path,
                    text("is on another grid than the scan: ", place(mask.grid()), "; the scan has ", place(grid), "."));
  }
}

void write_mask(const fs::path& path, const cs::Volume<std::uint8_t>& mask) { write_any(path, mask); }

std::string write_exactly(const fs::path& path, const cs::Volume<float>& volume) {
  const std::string type = exact_type(volume);
  if (type == "uint8")
    write_as<std::uint8_t>(path, volume);
  else if (type == "int16")
    write_as<std::int16_t>(path, volume);
  else if (type == "int32")
    write_as<std::int32_t>(path, volume);
  else
    write_any(path, volume);
  return type;
}

}   // namespace cli
