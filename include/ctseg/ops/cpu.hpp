// All CPU kernels.
#pragma once
#include "cpu/activation.hpp"
#include "cpu/conv.hpp"
#include "cpu/conv_float.hpp"
#include "cpu/dropout.hpp"
#include "cpu/elementwise.hpp"
#include "cpu/multiply.hpp"
#include "cpu/norm.hpp"
#include "cpu/pixel_shuffle.hpp"
#include "cpu/pool.hpp"
#include "cpu/segmentation_loss.hpp"
#include "cpu/separable.hpp"
#include "cpu/softmax.hpp"
