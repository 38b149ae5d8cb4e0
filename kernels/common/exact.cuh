// Products that are rounded before anything is added to them. nvcc makes one multiply-add of a * b + c unless told otherwise,
// and the CPU's inner loops are compiled without; where both must give the same bits, kernels write sum + product(a, b).
#pragma once
#include "block.cuh"

namespace ctseg::cuda {

#if defined(__CUDACC__)
CTSEG_DEVICE float product(float a, float b) { return __fmul_rn(a, b); }
CTSEG_DEVICE double product(double a, double b) { return __dmul_rn(a, b); }
#else
CTSEG_DEVICE float product(float a, float b) { return a * b; }
CTSEG_DEVICE double product(double a, double b) { return a * b; }
#endif

}   // namespace ctseg::cuda
