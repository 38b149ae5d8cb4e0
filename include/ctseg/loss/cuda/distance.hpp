// Distance losses have no kernel on the card: their exact distance transforms run on the host's threads.
#pragma once
#include "../../ops/cuda/context.hpp"

namespace ctseg {

struct DistanceLosses;

template <class T, int Dim> struct Kernel<DistanceLosses, Spec<T, Dim, Cuda>> {
  struct LossMemory {
    Index saved = 0, scratch = 0;
  };
  static LossMemory memory(const Shape<Dim>&) {
    throw Error(
        Code::unsupported, "distance_loss",
        "boundary and Hausdorff losses have no distance transform on the card. Hint: train with them on the CPU, or take "
        "dice_cldice or dice_focal.");
  }
  static void forward(const auto&...) {}
  static void backward(const auto&...) {}
};

}   // namespace ctseg
