// Networks on NVIDIA GPUs: the one header that brings Spec<float, 3, Cuda> and its kernels. Programs that include it link
// ctseg::cuda; they need no CUDA header and no nvcc. docs/gpu.md says more.
#pragma once
#include "ops/cuda/context.hpp"

// In the order of the folders. (While they are being written, a file that is not there yet is left out.)
#if __has_include("ops/cuda/elementwise.hpp")
#include "ops/cuda/activation.hpp"
#include "ops/cuda/argmax.hpp"
#include "ops/cuda/dropout.hpp"
#include "ops/cuda/elementwise.hpp"
#include "ops/cuda/multiply.hpp"
#include "ops/cuda/softmax.hpp"
#endif
#if __has_include("ops/cuda/pool.hpp")
#include "ops/cuda/pool.hpp"
#endif
#if __has_include("ops/cuda/pixel_shuffle.hpp")
#include "ops/cuda/pixel_shuffle.hpp"
#endif
#if __has_include("ops/cuda/separable.hpp")
#include "ops/cuda/separable.hpp"
#endif
#if __has_include("ops/cuda/window.hpp")
#include "ops/cuda/window.hpp"
#endif
#if __has_include("ops/cuda/norm.hpp")
#include "ops/cuda/norm.hpp"
#endif
#if __has_include("ops/cuda/segmentation_loss.hpp")
#include "ops/cuda/segmentation_loss.hpp"
#endif
#if __has_include("ops/cuda/conv.hpp")
#include "ops/cuda/conv.hpp"
#endif

#include "nn/cuda/replay.hpp"
#include "optim/cuda/optimizer.hpp"
#include "optim/cuda/weight_average.hpp"
#include "train/cuda/step.hpp"
