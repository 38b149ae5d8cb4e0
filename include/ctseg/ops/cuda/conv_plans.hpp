// What a context keeps for convolutions: the library's handle and a plan for every shape it has met.
#pragma once
#include <memory>

namespace ctseg::cuda {

class ConvPlans;   // kernels/conv/pass.hpp

/// Loads nothing yet: the first convolution looks for cuDNN and throws where there is none.
std::shared_ptr<ConvPlans> make_conv_plans(int device);

}   // namespace ctseg::cuda
