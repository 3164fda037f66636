// StyleGAN 2 generators as NVIDIA's pickles hold them, in the names and shapes of rosinality's port, which
// models/ takes.
//
// stylegan2-ada-pytorch: synthesis.b{size}.conv0/conv1/torgb (4x4 has no conv0), each with weight, bias and
// affine.{weight,bias}, the first two with noise_strength and noise_const; mapping.fc{i}; mapping.w_avg.
// Weights are stored as rosinality's, upsampling ones too, and need their shapes alone changed.
//
// TensorFlow: synthesis/{r}x{r}/Conv0_up, Conv1, ToRGB (4x4: Conv, ToRGB), each with weight, bias,
// mod_weight, mod_bias, the first two with noise_strength; synthesis/noise{i}; mapping/Dense{i}; dlatent_avg.
// Convolutions HWIO -> OIHW, Conv0_up turned by 180 degrees; dense layers transposed; mod_bias gets + 1.
//
// What our generator does not do is refused by name: class labels, architectures other than `skip`, other
// activations, filters and mapping rates than the published ones.
#pragma once

#include "io/networks.h"

namespace om {

NetworkView stylegan2_ada_view(const Checkpoint& checkpoint, const std::string& prefix);
NetworkView stylegan2_tf_view(const Checkpoint& checkpoint, const std::string& prefix);

}  // namespace om
