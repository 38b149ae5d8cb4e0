// In place of view_on.cpp where a library was missing when the program was built.
#include "commands.hpp"

namespace cli {

void view(const ViewArguments&, Console&) {
  throw cs::Error(cs::Code::unsupported, "view",
                  "this program was built without " CTSEG_VIEW_MISSING
                  ". Hint: install that and build again; ./run ctseg does both.");
}

}   // namespace cli
