// Networks on NVIDIA GPUs: the one header that brings Spec<float, 3, Cuda> and its kernels. Programs that include it link
// ctseg::cuda; they need no CUDA header and no nvcc. docs/gpu.md says more.
#pragma once
#include "ops/cuda/context.hpp"
