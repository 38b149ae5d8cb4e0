// Initial weights.
#pragma once
#include "parameter.hpp"

namespace ctseg {

/// PyTorch's default: convolution weights and biases uniform in +-1/sqrt(fan_in); norms and slopes keep their constants.
/// The same seed gives the same weights on every machine; values are drawn in the file order of PyTorch.
/// Source    He et al., arXiv:1502.01852, with a = sqrt(5).
template <class Model> void initialize_default(Model& model, std::uint64_t seed) {
  std::uint32_t stream = 0;
  double bound = 0;
  visit(model, [&](const std::string& name, auto& p) {
    const bool weight = p.layout() != WeightLayout::plain, bias = bound > 0 && (name == "bias" || name.ends_with(".bias"));
    if (weight) bound = 1 / std::sqrt(static_cast<double>(p.fan_in()));
    if (weight || bias) {
      RandomStream random({seed, ~std::uint64_t{0}, stream});   // a run number that no training reaches
      std::vector<double> file(static_cast<std::size_t>(p.size()));
      for (double& v : file) v = random.uniform(-bound, bound);
      const auto values = p.edit();
      for_file_order(p, [&](Index memory, Index at) {
        values[static_cast<std::size_t>(memory)] =
            static_cast<std::remove_cvref_t<decltype(values[0])>>(file[static_cast<std::size_t>(at)]);
      });
    }
    if (!weight) bound = 0;
    ++stream;
  });
}

}   // namespace ctseg
