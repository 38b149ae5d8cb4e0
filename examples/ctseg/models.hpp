// Networks of files. All of them are compiled in models.cpp or lie in ctseg::prebuilt; who includes this uses those.
#pragma once
#include <ctseg/recipe/model_file.hpp>

extern template ctseg::AnyModel ctseg::make_model<float, ctseg::Cpu>(const ctseg::NetworkConfig&);
