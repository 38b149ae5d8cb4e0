#include "segmenting.hpp"

template ctseg::LoadedModel ctseg::load_model<void>(const std::filesystem::path&, const ctseg::LoadModelOptions&);
template ctseg::Segmentation ctseg::segment<void>(ctseg::Context<ctseg::Cpu>&, const std::vector<const ctseg::LoadedModel*>&,
                                                  const ctseg::Volume<float>&, const ctseg::SegmentOptions&);
