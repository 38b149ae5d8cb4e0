#include "model.hpp"

namespace ctseg::onnx {

template class Model<Spec<float, 3, Cpu>>;

namespace {
std::span<const Recorder<Spec<float, 3, Cpu>>::Operator> recorded() { return Recorder<Spec<float, 3, Cpu>>::operators(); }
}   // namespace

bool is_operator(std::string_view op) {
  return std::any_of(recorded().begin(), recorded().end(), [&](const auto& o) { return o.name == op; });
}

std::vector<std::string_view> operators() {
  std::vector<std::string_view> all(foldable().begin(), foldable().end());
  for (const auto& o : recorded()) all.push_back(o.name);
  for (const std::string_view passed : {"Dropout", "Erf"}) all.push_back(passed);
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

}   // namespace ctseg::onnx
