// The update of the weights by a run of their gradient: csrc/ops/sgd.cuh's arithmetic.
#pragma once

#include "cpu/simd.h"
#include "ops/sgd.h"

namespace alexnet::cpu::ALEXNET_CPU_ISA {

// a * b + c, in one rounding where the instruction set has it.
inline float multiply_add(float a, float b, float c) {
#if defined(__FMA__) || defined(__aarch64__)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

// Of elements `at` to `at + count`; sgd.copy is not for float32.
inline void update_run(const Sgd& sgd, const float* __restrict gradient, ptrdiff_t at, ptrdiff_t count) {
  float* __restrict weights = sgd.weights + at;
  float* __restrict velocity = sgd.velocity + at;
  const float rate = sgd.rate_factor * *sgd.learning_rate;
  const float momentum = sgd.momentum, decay = sgd.weight_decay, scale = sgd.gradient_scale;
  for (ptrdiff_t i = 0; i < count; ++i) {
    const float decayed = multiply_add(decay, weights[i], scale * gradient[i]);
    velocity[i] = multiply_add(momentum, velocity[i], -rate * decayed);
    weights[i] += velocity[i];
  }
}

// Where a gradient goes: into `gradient`, or added to it, and into the weights. Null: not wanted.
struct GradientTarget {
  float* gradient;
  bool accumulate;
  Sgd sgd;

  void take(const float* values, ptrdiff_t at, ptrdiff_t count) const {
    if (gradient && accumulate) {
      for (ptrdiff_t i = 0; i < count; ++i) gradient[at + i] += values[i];
    } else if (gradient) {
      std::memcpy(gradient + at, values, static_cast<size_t>(count) * sizeof(float));
    }
    if (sgd.weights) update_run(sgd, values, at, count);
  }
};

}  // namespace alexnet::cpu::ALEXNET_CPU_ISA
