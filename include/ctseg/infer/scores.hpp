// What the values of a voxel's channels are: a network's logits, or probabilities made of them.
#pragma once
#include <algorithm>
#include <cmath>
#include <span>

#include "../core/error.hpp"

namespace ctseg {

/// softmax: one class excludes the others; sigmoid: every channel for itself.
enum class Scores { logits, softmax, sigmoid };

inline std::string_view text(Scores s) { return s == Scores::logits ? "logits" : s == Scores::softmax ? "softmax" : "sigmoid"; }

/// The scores of one voxel in float; out may be where the logits are.
inline void to_scores(std::span<const float> logits, Scores kind, float* out) {
  if (kind == Scores::sigmoid) {
    std::transform(logits.begin(), logits.end(), out, [](float v) { return 1 / (1 + std::exp(-v)); });
  } else if (kind == Scores::softmax) {
    const float top = *std::max_element(logits.begin(), logits.end());
    float sum = 0;
    for (std::size_t c = 0; c < logits.size(); ++c) sum += out[c] = std::exp(logits[c] - top);
    for (std::size_t c = 0; c < logits.size(); ++c) out[c] /= sum;
  } else if (out != logits.data()) {
    std::copy(logits.begin(), logits.end(), out);
  }
}

}   // namespace ctseg
