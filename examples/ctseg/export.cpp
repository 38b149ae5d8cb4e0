// ctseg export: a mask as surfaces for viewers and printers, as DICOM for archives, or in another format of volumes.
#include <ctseg/io/mesh.hpp>
#include <ctseg/io/preview.hpp>
#include <ctseg/post/decimate.hpp>
#include <ctseg/post/surface.hpp>
#include <ctseg/report/run.hpp>

#include "commands.hpp"

namespace cli {

namespace {

constexpr const char* kMeshes[] = {"stl", "obj", "ply"};
constexpr const char* kVolumes[] = {"nii.gz", "nii", "mha", "mhd", "npy"};

/// What is to be made: --format, or what the output's name says.
std::string format_of(const ExportArguments& a) {
  if (!a.format.empty()) return a.format;
  for (const auto* names : {kMeshes, kVolumes})
    for (int i = 0; i < (names == kMeshes ? 3 : 5); ++i)
      if (cs::io::ends_with(a.output, text(".", names[i]))) return names[i];
  if (cs::io::ends_with(a.output, ".dcm")) return "seg";
  throw cs::Error(cs::Code::bad_argument, a.output,
                  "the name tells no format; it must end in .stl, .obj, .ply, .nii.gz, .nii, .mha, .mhd, .npy or .dcm, or "
                  "--format says it.");
}
bool is_mesh(const std::string& format) {
  return std::find(std::begin(kMeshes), std::end(kMeshes), format) != std::end(kMeshes);
}

std::vector<int> labels_in(const cs::Volume<std::uint8_t>& mask, const ExportArguments& a) {
  std::vector<int> out;
  for (const cs::LabelMeasure& m : cs::measure_labels(mask))
    if (a.labels.empty() || std::find(a.labels.begin(), a.labels.end(), m.label) != a.labels.end()) out.push_back(m.label);
  for (const int label : a.labels)
    if (std::find(out.begin(), out.end(), label) == out.end())
      throw cs::Error(cs::Code::bad_input, a.input.path, text("has no voxel of label ", label, "."));
  if (out.empty()) throw cs::Error(cs::Code::bad_input, a.input.path, "is empty: no voxel has a label above 0.");
  return out;
}

std::string name_of_label(int label, const ExportArguments& a) {
  const auto i = static_cast<std::size_t>(label);
  return i < a.names.size() && !a.names[i].empty() ? a.names[i] : text("label_", label);
}

/// Errors    bad_argument for names that are no file's of its own.
void check_names(const std::vector<int>& labels, const ExportArguments& a) {
  std::vector<std::string> names;
  for (const int label : labels) {
    const std::string& name = names.emplace_back(name_of_label(label, a));
    if (name[0] == '.' || name.find('/') != name.npos || std::find(names.begin(), names.end() - 1, name) != names.end() - 1)
      throw cs::Error(cs::Code::bad_argument, "--names",
                      text("label ", label, " is \"", name, "\"; each label needs a name that its file can have alone."));
  }
}

struct Made {
  std::string path;
  int label = 0;
  std::size_t triangles = 0;
  double volume_ml = 0;
};

Made write_surface(const fs::path& path, const cs::Volume<std::uint8_t>& mask, int label, const ExportArguments& a) {
  cs::Mesh<cs::Ras> mesh = cs::surface_of(mask, {.label = label, .smooth = a.smooth});
  if (a.keep < 1) mesh = cs::decimate(mesh, {.keep = a.keep});
  cs::io::write_mesh(path, mesh, {.frame = a.ras ? cs::io::WorldFrame::ras : cs::io::WorldFrame::lps});
  return {path.string(), label, mesh.triangles.size(), cs::volume_mm3(mesh) / 1000};
}

/// One label into the named file, or every label into a file of its own in the named folder.
std::vector<Made> export_surfaces(const ExportArguments& a, const std::string& format, Console& console) {
  const cs::Volume<std::uint8_t> mask = read_mask(a.input, console);
  const std::vector<int> labels = labels_in(mask, a);
  if (cs::io::ends_with(a.output, "." + format)) {
    if (labels.size() > 1)
      throw cs::Error(cs::Code::bad_argument, a.output,
                      text("is one file, and the mask has ", labels.size(),
                           " labels. Hint: --labels N chooses one, a folder as output takes all."));
    expect_place_of(a.output, console);
    return {write_surface(a.output, mask, labels[0], a)};
  }
  expect_folder_name(a.output, "a surface of each label");
  check_names(labels, a);
  Staging out(a.output, console);
  std::vector<Made> made;
  Progress progress(console, "labels", std::ssize(labels));
  for (const int label : labels) {
    console.check_cancelled();
    made.push_back(write_surface(out / (name_of_label(label, a) + "." + format), mask, label, a));
    progress.done(std::ssize(made));
  }
  out.commit();
  const auto paths = out.outputs();
  for (std::size_t i = 0; i < made.size(); ++i) made[i].path = paths[i];
  return made;
}

std::vector<Made> export_dicom(const ExportArguments& a, const std::string& format, Console& console) {
  if (a.dicom.empty())
    throw cs::Error(cs::Code::bad_argument, a.output,
                    "a DICOM mask belongs to a series. Hint: --dicom FOLDER names the series that was segmented.");
  if (!fs::exists(a.dicom))
    throw cs::Error(cs::Code::io, a.dicom, "is neither a file nor a folder; --dicom names the series of the mask.");
  expect_place_of(a.output, console);
  const fs::path series = fs::is_directory(a.dicom) ? fs::path(a.dicom) : fs::path(a.dicom).parent_path();
  if (fs::exists(a.output) && !fs::proximate(a.output, series.empty() ? "." : series).string().starts_with(".."))
    throw cs::Error(cs::Code::bad_argument, a.output, "is a file in the folder of the series; nothing there is written over.");
  cs::io::DicomVolume<float> scan = dicom::read({a.dicom, {}, a.input.series}, console);
  const cs::Volume<std::uint8_t> mask = read_mask_on(scan.volume.grid(), a.input, console);
  cs::io::DicomWriteOptions options;
  options.source = std::move(scan.series);
  std::vector<Made> made;
  for (const int label : labels_in(mask, a)) {
    const auto colour = cs::io::previewing::label_colour(label);
    options.segments.push_back({.label = label, .name = name_of_label(label, a), .rgb = {colour.r, colour.g, colour.b}});
    made.push_back({a.output, label});
  }
  console.check_cancelled();
  dicom::write(a.output, mask, options, format == "seg" ? dicom::MaskFormat::seg : dicom::MaskFormat::rtstruct);
  return made;
}

std::vector<Made> export_volume(const ExportArguments& a, const std::string& format, Console& console) {
  if (!cs::io::ends_with(a.output, "." + format))
    throw cs::Error(cs::Code::bad_argument, a.output, text("the name must end in .", format, "."));
  if (!a.labels.empty())
    throw cs::Error(cs::Code::bad_argument, "--labels", "chooses surfaces and DICOM segments; a volume is converted whole.");
  expect_place_of(a.output, console);
  const Scan scan = read_scan(a.input, console);
  console.check_cancelled();
  const std::string type = write_exactly(a.output, scan.volume);
  if (format == "npy") console.note(text(a.output, ": ", type, ", axes z, y, x; the place of the voxels is not in it."));
  return {{a.output}};
}

}   // namespace

void export_mask(const ExportArguments& a, Console& console) {
  const std::string format = format_of(a);
  if (const ExportArguments unset; !is_mesh(format) && (a.smooth != unset.smooth || a.keep != unset.keep || a.ras))
    throw cs::Error(cs::Code::bad_argument, a.output, text("is ", format, "; --smooth, --keep and --ras are for surfaces."));
  console.keep(a.input.path);
  const std::vector<Made> made = is_mesh(format)                           ? export_surfaces(a, format, console)
                                 : format == "seg" || format == "rtstruct" ? export_dicom(a, format, console)
                                                                           : export_volume(a, format, console);
  if (!console.common().json) {
    for (const Made& m : made)
      console.result(m.triangles > 0  ? text(m.path, "  ", m.triangles, " triangles, ", m.volume_ml, " ml\n")
                     : &m == &made[0] ? m.path + "\n"
                                      : "");
    return;
  }
  cs::report::JsonWriter json;
  json.open('{');
  json.field("format", format);
  json.key("outputs"), json.open('[');
  for (const Made& m : made) {
    json.item(), json.open('{');
    json.field("path", m.path);
    if (m.label > 0) json.field("label", m.label), json.field("name", name_of_label(m.label, a));
    if (m.triangles > 0) json.field("triangles", static_cast<Index>(m.triangles)), json.field("volume_ml", m.volume_ml);
    json.close('}');
  }
  json.close(']'), json.close('}');
  console.result(json.take());
}

}   // namespace cli
