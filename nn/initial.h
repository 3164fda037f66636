// Initial values of fresh networks.
#pragma once

#include "autograd/random.h"
#include "nn/module.h"

namespace om {

/// PyTorch's defaults for what an encoder holds: weight and bias of every convolution and linear layer
/// uniform in +-1/sqrt(fan_in), fan_in being that of the weight beside the bias; batch norms (recognised by
/// their running_mean) keep 1 and 0. One draw per tensor in entry order.
void initialize(const Module& module, RandomSource& random);

/// Standard normal values times `scale` in every parameter, for tests and untrained generators.
void randomize(const Module& module, RandomSource& random, double scale = 1);

}  // namespace om
