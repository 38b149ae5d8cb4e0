// Initial weights.
#pragma once
#include "parameter.hpp"

namespace ctseg {

/// Fills weights and biases of all convolutions with draw(random, fan_in, is_bias), value by value in the file order of
/// PyTorch. Everything else keeps its constants. The same seed gives the same weights on every machine.
template <class Model, class F> void initialize_with(Model& model, std::uint64_t seed, F draw) {
  std::uint32_t stream = 0;
  double fan_in = 0;   // of the convolution whose bias comes next
  visit(model, [&](const std::string& name, auto& p) {
    const bool weight = p.layout() != WeightLayout::plain, bias = fan_in > 0 && (name == "bias" || name.ends_with(".bias"));
    if (weight) fan_in = static_cast<double>(p.fan_in());
    if (weight || bias) {
      RandomStream random({seed, ~std::uint64_t{0}, stream});   // a run number that no training reaches
      std::vector<double> file(static_cast<std::size_t>(p.size()));
      for (double& v : file) v = draw(random, fan_in, bias);
      const auto values = p.edit();
      for_file_order(p, [&](Index memory, Index at) {
        values[static_cast<std::size_t>(memory)] =
            static_cast<std::remove_cvref_t<decltype(values[0])>>(file[static_cast<std::size_t>(at)]);
      });
    }
    if (!weight) fan_in = 0;
    ++stream;
  });
}

/// PyTorch's default: convolution weights and biases uniform in +-1/sqrt(fan_in); norms and slopes keep their constants.
/// Source    He et al., arXiv:1502.01852, with a = sqrt(5).
template <class Model> void initialize_default(Model& model, std::uint64_t seed) {
  initialize_with(model, seed, [](RandomStream& random, double fan_in, bool) {
    const double bound = 1 / std::sqrt(fan_in);
    return random.uniform(-bound, bound);
  });
}

/// nnU-Net's: convolution weights normal with variance 2 / ((1 + slope^2) fan_in), so that values keep their spread behind a
/// leaky ReLU of that slope; biases 0; norms keep their constants.
/// PyTorch   nn.init.kaiming_normal_(weight, a=slope) for every convolution and transposed convolution, bias 0
/// Source    He et al., arXiv:1502.01852.
template <class Model> void initialize_he(Model& model, std::uint64_t seed, double slope = 0.01) {
  initialize_with(model, seed, [slope](RandomStream& random, double fan_in, bool bias) {
    return bias ? 0.0 : std::sqrt(2 / ((1 + slope * slope) * fan_in)) * random.normal();
  });
}

}   // namespace ctseg
