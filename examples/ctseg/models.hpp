// Networks of files. All of them are compiled in models.cpp; who includes this uses what lies there.
#pragma once
#include <ctseg/recipe/model_file.hpp>

extern template ctseg::AnyModel ctseg::make_model<float, ctseg::Cpu>(const ctseg::NetworkConfig&);
