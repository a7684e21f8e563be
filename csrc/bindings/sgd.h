// Checks of the weights that a gradient moves: of sgd and of the layers whose wgrad does it.
#pragma once

#include "bindings/options.h"
#include "bindings/tensor.h"
#include "ops/sgd.h"

namespace alexnet::bindings {

// The weights may have a pitch, which velocity and copy share; the copy is of a 16-bit type.
inline Sgd check_sgd(const SgdOptions& given, const Tensor& weights, const Tensor& velocity, const OptionalTensor& copy,
                     const Tensor& learning_rate) {
  Sgd sgd{};
  sgd.rate_factor = check_finite("rate_factor", given.rate_factor);
  sgd.momentum = check_finite("momentum", given.momentum, 0.0);
  sgd.weight_decay = check_finite("weight_decay", given.weight_decay, 0.0);
  sgd.gradient_scale = check_finite("gradient_scale", given.gradient_scale);
  sgd.weights = weights.strided<float>();
  sgd.velocity = velocity.of_shape(weights.shape).of_pitch(weights.pitch).strided<float>();
  sgd.learning_rate = learning_rate.of_count(1).data<const float>();
  if (copy) {
    if (copy->floating() == DType::kFloat32) {
      copy->fail("is of float32 as the master weights are", "bfloat16 or float16, or None for no copy");
    }
    sgd.copy = copy->of_shape(weights.shape).of_pitch(weights.pitch).strided<void>();
  }
  return sgd;
}

}  // namespace alexnet::bindings
