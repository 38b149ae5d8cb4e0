#include "training.hpp"

#include <ctseg/recipe/model_file.hpp>

namespace cli {

cs::FitResult fit_model(const TrainingTask& task, Device& device, Console& console, cs::AnyModel& model) {
  if (task.config.patience > 0 && task.config.validate_every == 0)
    throw cs::Error(cs::Code::bad_argument, "training.patience",
                    text("is ", task.config.patience,
                         ", and one validation at the end stops nothing early. Hint: training.validate_every."));
  model.check_window(cs::model_file::window_of(task.recipe));   // else found when the model is saved, after the training
  if (!task.config.patch.empty()) model.check_window({task.config.patch});
  fs::create_directories(task.output);
  Training training{task, device, console};
  try {
    if (device.card()) return fit_on_card(training, model);
  } catch (const cs::Error& refusal) {
    if (training.steps > 0 || training.reading) throw;
    device.leave_card(refusal);
  }
  return model.visit([&](auto& net) { return fit_network(training, device.host(), net); });
}

}   // namespace cli
