// ctseg::prebuilt, first half: ops with their kernels, tapes, plans, runs and layers of float in 2-D and 3-D.
#define CTSEG_PREBUILT   // empty: what users declare `extern` is made here
#include <ctseg/nn/layers.hpp>
#include <ctseg/nn/run.hpp>
#include <ctseg/ops/cpu.hpp>
