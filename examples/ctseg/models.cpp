#include "models.hpp"

template ctseg::AnyModel ctseg::make_model<float, ctseg::Cpu>(const ctseg::NetworkConfig&);
