// ctseg preview: one picture of a scan, with its mask if there is one.
#include <ctseg/io/preview.hpp>
#include <ctseg/io/reading.hpp>
#include <ctseg/report/run.hpp>

#include "commands.hpp"

namespace cli {

void preview(const PreviewArguments& a, Console& console) {
  if (!cs::io::ends_with(a.output, ".png"))
    throw cs::Error(cs::Code::bad_argument, a.output, "previews are PNG files; the name must end in .png.");
  for (const std::string& input : {a.input.path, a.mask, a.truth}) console.keep(input);
  expect_place_of(a.output, console);
  const Scan scan = read_scan(a.input, console);
  const auto mask_of = [&](const std::string& path) {
    return read_mask_on(scan.volume.grid(), {path, a.input.spacing_mm}, console);
  };
  const cs::Volume<std::uint8_t> mask = a.mask.empty() ? cs::Volume<std::uint8_t>(scan.volume.grid()) : mask_of(a.mask);
  std::optional<cs::Volume<std::uint8_t>> truth;
  if (!a.truth.empty()) truth = mask_of(a.truth);
  console.check_cancelled();
  const cs::io::RgbImage picture = cs::io::preview(scan.volume, mask,
                                                   {.window_hu = {a.window_hu[0], a.window_hu[1]},
                                                    .fill = a.fill,
                                                    .panel_pixels = a.panel_pixels,
                                                    .truth = truth ? &*truth : nullptr});
  console.check_cancelled();
  cs::io::write_png(a.output, picture);
  if (!console.common().json) return console.result(a.output + "\n");
  cs::report::JsonWriter json;
  json.open('{');
  json.field("output", a.output), json.field("width", picture.width), json.field("height", picture.height);
  json.close('}');
  console.result(json.take());
}

}   // namespace cli
