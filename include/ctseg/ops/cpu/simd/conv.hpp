// The CPU float convolution engine: gather (convolution, data gradient, transposed convolution), Winograd's way of the same
// where the stride is 1, and the weight gradient in both ways.
#pragma once
#include "gather.hpp"
#include "overlap.hpp"
#include "weight_gradient.hpp"
#include "winograd.hpp"
#include "winograd_weights.hpp"
