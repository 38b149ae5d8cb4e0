// ctseg segment: a scan, a model, a mask on the scan's grid.
#include "commands.hpp"

namespace cli {

void segment(const SegmentArguments&, Console&) { throw cs::Error(cs::Code::unsupported, "segment", "is not there yet."); }

}   // namespace cli
