// In place of training_on.cpp where ctseg::cuda is not built: then there is no card to train on.
#include "training.hpp"

namespace cli {

cs::FitResult fit_on_card(Training&, cs::AnyModel&) { throw cs::Error(cs::Code::device, "train", why_no_card()); }

}   // namespace cli
