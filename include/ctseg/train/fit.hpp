// The training loop: plan once, then numbered steps. It knows no model.
#pragma once
#include "../optim/adam.hpp"
#include "training.hpp"

namespace ctseg {

/// Trains net on patches, to step number FitOptions::steps. Where a training is cancelled or fails between two changes of the
/// weights it saves what it has, if it has a folder, and throws; called again with the same options it goes on from there.
/// Numerics  the same bits for any number of threads and workers, and after any interruption, given one seed. Parameters,
///           gradients and moments are float whatever the storage; half storage trains with a loss scaler (loss_scaler.hpp).
/// Errors    before any work: bad_argument if the optimizer holds nothing of this network, if the folder is in use or its
///           checkpoints were made with other options; bad_input for labels beyond the classes; out_of_memory if max_memory
///           cannot be kept. Later: bad_input after ten steps in a row whose loss or gradients are not finite (each is skipped
///           and logged with its cases; where only scaled gradients overflow the scale falls, and the step does not count);
///           cancelled between two ops; io if a checkpoint cannot be written.
template <class Net, class Optimizer, class Sampler>
FitResult fit(Context<typename Net::Spec::Device>& ctx, Net& net, Optimizer& optimizer, const Sampler& sampler,
              const std::type_identity_t<FitOptions<typename Net::Spec>>& o) {
  return detail::Training<Net, Optimizer, Sampler>(ctx, {net, optimizer, o.average}, sampler, o).run();
}

}   // namespace ctseg
