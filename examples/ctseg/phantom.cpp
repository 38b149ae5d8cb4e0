// ctseg phantom: synthetic scans with their masks, one patient with everything or a data set to train on.
#include <ctseg/data/phantom.hpp>
#include <ctseg/report/run.hpp>

#include "commands.hpp"

namespace cli {

namespace {

constexpr std::pair<const char*, cs::Region> kKinds[] = {{"thorax_abdomen", cs::Region::thorax_abdomen},
                                                         {"thorax", cs::Region::thorax},
                                                         {"abdomen", cs::Region::abdomen},
                                                         {"whole_spine", cs::Region::whole_spine},
                                                         {"heart", cs::Region::heart}};
constexpr std::pair<const char*, cs::Organ> kOrgans[] = {
    {"lung", cs::Organ::lung},       {"liver", cs::Organ::liver},       {"spleen", cs::Organ::spleen},
    {"kidney", cs::Organ::kidney},   {"heart", cs::Organ::heart},       {"aorta", cs::Organ::aorta},
    {"bone", cs::Organ::bone},       {"vertebra", cs::Organ::vertebra}, {"airway", cs::Organ::airway},
    {"stomach", cs::Organ::stomach}, {"body", cs::Organ::body}};

/// The value beside a name in a table.
template <class T, std::size_t N> T looked_up(const std::pair<const char*, T> (&table)[N], const std::string& name) {
  std::string names;
  for (const auto& [word, value] : table) {
    if (name == word) return value;
    names += (names.empty() ? "" : ", ") + std::string(word);
  }
  throw cs::Error(cs::Code::bad_argument, name, text("is not known here; must be one of ", names, "."));
}

cs::PhantomOptions options_of(const PhantomArguments& a) {
  cs::PhantomOptions o{.seed = a.seed, .region = looked_up(kKinds, a.kind), .shape = {a.shape[0], a.shape[1], a.shape[2]}};
  if (!a.spacing_mm.empty()) o.spacing_mm = {a.spacing_mm[0], a.spacing_mm[1], a.spacing_mm[2]};
  o.oblique_degrees = a.oblique_degrees, o.noise_hu = a.noise_hu, o.blur_mm = a.blur_mm;
  return o;
}

cs::Volume<std::uint8_t> mask_named(const cs::Phantom& p, const std::string& name) {
  if (name == "organs") return p.organs;
  if (name == "vertebrae") return p.vertebrae;
  if (name == "lesions") return p.lesions;
  if (name == "nodules") return p.nodules;
  if (name == "coronaries") return p.coronaries;
  return cs::mask_of(p, looked_up(kOrgans, name));
}

/// In LUNA16's columns: world millimetres, LPS.
std::string nodule_table(const cs::Phantom& p, const std::string& name) {
  std::string out = "seriesuid,coordX,coordY,coordZ,diameter_mm\n";
  for (const cs::PhantomNodule& nodule : p.nodule_list) {
    const cs::Point<cs::Lps> at = to_lps(nodule.center);
    out += name;
    for (const double v : {at.x, at.y, at.z, nodule.diameter_mm}) {
      out += ',';
      cs::report::append_number(out, v);
    }
    out += '\n';
  }
  return out;
}

}   // namespace

void phantom(const PhantomArguments& a, Console& console) {
  cs::PhantomOptions options = options_of(a);
  cs::ThreadPool threads(console.common().threads);
  expect_folder_name(a.output, "scans and masks");
  Staging out(a.output, console);
  if (a.count == 0) {
    const cs::Phantom p = cs::make_phantom(options, &threads);
    console.check_cancelled();
    write_exactly(out / "ct.nii.gz", p.ct);
    for (const char* name : {"organs", "vertebrae", "lesions", "nodules", "coronaries"})
      write_mask(out / text(name, ".nii.gz"), mask_named(p, name));
    out.write("nodules.csv", nodule_table(p, "ct"));
  }
  Progress progress(console, "patients", std::max(a.count, 1));
  for (int k = 0; k < a.count; ++k) {   // the layout that train expects: ct_scans/NAME.nii.gz, masks/NAME.nii.gz
    console.check_cancelled();
    options.seed = a.seed + static_cast<std::uint64_t>(k);
    const std::string name = text("phantom_", std::size_t{options.seed}, ".nii.gz");
    const cs::Phantom p = cs::make_phantom(options, &threads);
    write_mask(out / (fs::path("masks") / name), mask_named(p, a.mask));
    write_exactly(out / (fs::path("ct_scans") / name), p.ct);
    progress.done(k + 1);
  }
  console.check_cancelled();
  out.commit();
  if (!console.common().json) {
    for (const std::string& path : out.outputs()) console.result(path + "\n");
    return;
  }
  cs::report::JsonWriter json;
  json.open('{');
  json.field("kind", a.kind), json.field("seed", a.seed);
  cs::report::write_strings(json, "outputs", out.outputs());
  json.close('}');
  console.result(json.take());
}

}   // namespace cli
