// The CPU float convolution engine: gather (convolution, data gradient, transposed convolution) and weight gradient.
#pragma once
#include "gather.hpp"
#include "weight_gradient.hpp"
