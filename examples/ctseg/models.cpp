#include "models.hpp"

#ifndef CTSEG_PREBUILT_RECIPES   // with ctseg::prebuilt they lie there
template ctseg::AnyModel ctseg::make_model<float, ctseg::Cpu>(const ctseg::NetworkConfig&);
#endif
