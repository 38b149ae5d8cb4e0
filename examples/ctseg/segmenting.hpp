// Segmenting is compiled in segmenting.cpp; who includes this uses what lies there.
#pragma once
#include <ctseg/recipe/segment.hpp>

#include "models.hpp"

extern template ctseg::LoadedModel ctseg::load_model<void>(const std::filesystem::path&, const ctseg::LoadModelOptions&);
extern template ctseg::Segmentation ctseg::segment<void>(ctseg::Context<ctseg::Cpu>&,
                                                         const std::vector<const ctseg::LoadedModel*>&,
                                                         const ctseg::Volume<float>&, const ctseg::SegmentOptions&);
