// The three accuracies of float convolutions in a whole network: how far each is from double, the same bits for any number of
// threads.
#include <doctest/doctest.h>
#include <ctseg/core/tensor.hpp>
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/ops/cpu.hpp>

#include <cstring>

using namespace ctseg;

namespace {

constexpr BasicUNetOptions kOptions{.features = {16, 16, 32, 32, 48, 16}};

template <class T> std::vector<T> logits(Accuracy accuracy, int threads) {
  using S = Spec<T, 3, Cpu>;
  Context<Cpu> ctx({.threads = threads, .seed = 5, .accuracy = accuracy});
  BasicUNet<S> net(kOptions);
  net.initialize(ctx);
  Tensor<T, 3> x({.n = 1, .c = 1, .space = {32, 37, 35}});
  RandomStream random({3});
  for (Index i = 0; i < x.view().rows(); ++i) x.view().row(i)[0] = static_cast<T>(static_cast<float>(random.uniform()));
  Tape<S> tape(Mode::infer, ctx);
  const auto y = net.forward(tape.input(x.view())).value();
  return std::vector<T>(y.data, y.data + y.rows() * 2);
}

double apart(const std::vector<float>& a, const std::vector<double>& b) {
  double most = 0, largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    most = std::max(most, std::abs(double{a[i]} - b[i]));
    largest = std::max(largest, std::abs(b[i]));
  }
  return most / largest;
}

}   // namespace

TEST_CASE("Accuracies of a network: standard is as near to double as strict, fast within its limit, and they differ") {
  const auto exact = logits<double>(Accuracy::strict, 2);
  const auto strict = logits<float>(Accuracy::strict, 2), standard = logits<float>(Accuracy::standard, 2);
  const auto fast = logits<float>(Accuracy::fast, 2);
  const double of_strict = apart(strict, exact), of_standard = apart(standard, exact), of_fast = apart(fast, exact);
  INFO("strict " << of_strict << ", standard " << of_standard << ", fast " << of_fast);
  CHECK(of_strict < 1e-5);
  CHECK(of_standard < 2 * of_strict);
  CHECK(of_fast < 2e-4);
  CHECK(of_fast > of_standard);   // it did take the larger tiles
  CHECK(standard != strict);
}

TEST_CASE("Accuracies of a network: the same bits for 1, 2 and 4 threads") {
  for (const Accuracy accuracy : {Accuracy::strict, Accuracy::standard, Accuracy::fast}) {
    const auto one = logits<float>(accuracy, 1);
    for (const int threads : {2, 4}) CHECK(logits<float>(accuracy, threads) == one);
  }
}
