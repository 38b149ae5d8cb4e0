// Training on a card, through ctseg::cuda. The weights begin as on the CPU, and end there.
#include <ctseg/cuda.hpp>
#include <ctseg/recipe/cuda/segment.hpp>

#include "training.hpp"

extern template ctseg::AnyModelOf<float, ctseg::Cuda> ctseg::make_model<float, ctseg::Cuda>(const ctseg::NetworkConfig&);

namespace cli {

cs::FitResult fit_on_card(Training& training, cs::AnyModel& model) {
  auto on_card = cs::make_model<float, cs::Cuda>(model.config());   // device_on.cpp compiles the networks
  cs::copy_weights(model, on_card);
  const cs::FitResult fitted = on_card.visit([&](auto& net) { return fit_network(training, *training.device.card(), net); });
  cs::copy_weights(on_card, model);
  return fitted;
}

}   // namespace cli
