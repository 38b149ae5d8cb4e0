// ctseg info: what a scan is, and what is odd about it.
#include <ctseg/report/case_info.hpp>

#include "commands.hpp"

namespace cli {

void info(const InfoArguments& arguments, Console& console) {
  Scan scan = read_scan(arguments.input, console);
  cs::CaseInfo info = cs::describe(scan.volume);
  info.path = arguments.input.path, info.format = scan.format, info.dtype = scan.dtype;
  info.warnings.insert(info.warnings.begin(), scan.warnings.begin(), scan.warnings.end());
  console.result(console.common().json ? to_json(info) : to_text(info));
}

}   // namespace cli
