// In place of device_on.cpp where ctseg::cuda is not built.
#include "device.hpp"

namespace cli {

std::string why_no_card() { return "this program was built without ctseg::cuda (CTSEG_CUDA needs nvcc)."; }
std::unique_ptr<Card> make_card(const cs::ContextOptions&) {
  throw cs::Error(cs::Code::device, "--device", why_no_card());
}

}   // namespace cli
