// What NcclWorld asks of the driver beside ops/cuda/runtime.hpp.
#pragma once
#include "ctseg/ops/cuda/runtime.hpp"

namespace ctseg::cuda {

/// Whether all that its stream was given before it has ended: asked, not waited for.
bool event_done(Event);

}   // namespace ctseg::cuda
