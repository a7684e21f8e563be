// Checks of the weights that a gradient moves, as validate.h: of sgd and of the layers whose wgrad does it.
#pragma once

#include <cstdint>
#include <string>

#include "bindings/validate.h"
#include "ops/sgd.h"

namespace alexnet::bindings {

// As Python passes it; the first four are addresses.
struct SgdArguments {
  uintptr_t weights, velocity, copy, learning_rate;
  double rate_factor, momentum, weight_decay, gradient_scale;
};

// The tensors span `count` elements, those of the copy of copy_bytes. The parameters' names begin with `prefix`.
inline Sgd check_sgd(const std::string& prefix, const SgdArguments& given, int64_t count, int copy_bytes) {
  const auto name = [&](const char* end) { return prefix + end; };
  Sgd sgd{};
  sgd.rate_factor = check_finite(name("rate_factor").c_str(), given.rate_factor);
  sgd.momentum = check_finite(name("momentum").c_str(), given.momentum, 0.0);
  sgd.weight_decay = check_finite(name("weight_decay").c_str(), given.weight_decay, 0.0);
  sgd.gradient_scale = check_finite(name("gradient_scale").c_str(), given.gradient_scale);
  sgd.weights = check_pointer<float>(name("weights").c_str(), given.weights, count, sizeof(float));
  sgd.velocity = check_pointer<float>(name("velocity").c_str(), given.velocity, count, sizeof(float));
  sgd.copy = check_optional<void>(name("copy").c_str(), given.copy, count, copy_bytes);
  sgd.learning_rate =
      check_pointer<const float>(name("learning_rate").c_str(), given.learning_rate, count > 0 ? 1 : 0, sizeof(float));
  return sgd;
}

}  // namespace alexnet::bindings
