// ctseg train: a model from a configuration file.
#include "commands.hpp"

namespace cli {

void train(const TrainArguments&, Console&) { throw cs::Error(cs::Code::unsupported, "train", "is not there yet."); }

}   // namespace cli
