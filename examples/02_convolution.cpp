// Lesson 2: a convolution and its gradient, checked by hand. A layer records what it does on a tape; the tape walks back and
// gives the derivative of one number, the loss, by every weight. Here both are worked out again with plain loops, and a third
// time by moving each weight a little. In double, because such differences lose half of the digits.
#include <cmath>
#include <cstdio>

#include <ctseg/core/tensor.hpp>
#include <ctseg/nn/layers.hpp>
#include <ctseg/ops/cpu.hpp>

namespace cs = ctseg;
using cs::Index;
using S = cs::Spec<double, 2, cs::Cpu>;   // <float, 3, cs::Cpu> for real networks: nothing else changes
using Image = cs::Tensor<double, 2>;

constexpr Index kSide = 6;

/// x(row, column), and 0 beyond the border: what padding means.
double at(const Image& x, Index row, Index column) {
  const bool inside = row >= 0 && row < kSide && column >= 0 && column < kSide;
  return inside ? x(0, 0, row, column) : 0;
}

/// y = w * x + b as the textbook has it. (Strictly a correlation: nobody in the field turns the kernel round.)
Image convolve(const Image& x, std::span<const double> w, double bias) {
  Image y(x.shape());
  for (Index row = 0; row < kSide; ++row)
    for (Index column = 0; column < kSide; ++column) {
      double sum = bias;
      for (Index i = 0; i < 3; ++i)
        for (Index j = 0; j < 3; ++j) sum += w[static_cast<std::size_t>(3 * i + j)] * at(x, row + i - 1, column + j - 1);
      y(0, 0, row, column) = sum;
    }
  return y;
}

/// The loss: the mean of y squared.
double loss_of(const Image& y) {
  double sum = 0;
  for (Index i = 0; i < kSide * kSide; ++i) sum += y.data()[i] * y.data()[i];
  return sum / (kSide * kSide);
}

/// Its derivative by weight (i, j), by the chain rule: each y counts 2 y / n, and moves with the x that the weight met.
double gradient_by_hand(const Image& x, const Image& y, Index i, Index j) {
  double sum = 0;
  for (Index row = 0; row < kSide; ++row)
    for (Index column = 0; column < kSide; ++column)
      sum += 2 * y(0, 0, row, column) / (kSide * kSide) * at(x, row + i - 1, column + j - 1);
  return sum;
}

int main() try {
  cs::Context<cs::Cpu> ctx({.threads = 1});
  cs::Conv<S> conv({.in_channels = 1, .out_channels = 1, .kernel = 3});
  cs::RandomStream random({.seed = 1});
  for (double& w : conv.weight.edit()) w = random.normal();
  conv.bias.edit()[0] = 0.5;
  Image x({1, 1, {kSide, kSide}});   // images, channels, rows, columns
  for (Index i = 0; i < kSide * kSide; ++i) x.data()[i] = random.normal();

  // Forward: every call runs at once and is remembered.
  cs::Tape<S> tape(cs::Mode::train, ctx);
  const auto y = conv(tape.input(x.view()));
  const auto loss = cs::adaptive_average_pool(cs::multiply(y, y), 1);   // the mean of y * y over the image
  // Backward: adds the derivatives of the loss to the gradients of the parameters that are given here.
  cs::Gradients<S> gradients({&conv.weight, &conv.bias});
  tape.backward(loss, gradients);

  const auto w = conv.weight.values();   // one channel in, one out: memory has PyTorch's order, row after row
  const Image mine = convolve(x, w, conv.bias.values()[0]);
  double worst = std::abs(loss.scalar() - loss_of(mine));
  for (Index i = 0; i < kSide * kSide; ++i) worst = std::max(worst, std::abs(y.value().data[i] - mine.data()[i]));
  std::printf("loss: %.9f by the tape, %.9f by hand\n\nweight    by the tape      by hand   by difference\n", loss.scalar(),
              loss_of(mine));

  for (Index k = 0; k < 9; ++k) {
    const double by_tape = gradients.of(conv.weight)[static_cast<std::size_t>(k)];
    const double by_hand = gradient_by_hand(x, mine, k / 3, k % 3);
    std::vector<double> moved(w.begin(), w.end());
    double& weight = moved[static_cast<std::size_t>(k)];
    const double step = 1e-5, start = weight;
    weight = start + step;
    const double above = loss_of(convolve(x, moved, conv.bias.values()[0]));
    weight = start - step;
    const double below = loss_of(convolve(x, moved, conv.bias.values()[0]));
    const double by_difference = (above - below) / (2 * step);
    std::printf("(%d, %d) %14.9f %14.9f %14.9f\n", int(k / 3), int(k % 3), by_tape, by_hand, by_difference);
    worst = std::max({worst, std::abs(by_tape - by_hand), std::abs(by_tape - by_difference)});
  }
  std::printf("\nlargest difference %.1e\n", worst);
  return worst < 1e-8 ? 0 : 1;
} catch (const cs::Error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
