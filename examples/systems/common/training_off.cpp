// In place of training_on.cpp where ctseg::cuda is not built: then no job has a card.
#include "training.hpp"

namespace systems {

cs::FitResult fit_on_card(Job&, cs::AnyModel&) { throw cs::Error(cs::Code::device, "train", cli::why_no_card()); }

}   // namespace systems
