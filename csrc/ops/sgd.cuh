// The update rule of section 5 of the AlexNet paper.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/elementwise.cuh"
#include "ops/sgd.h"

namespace alexnet {

// v <- momentum * v - lr * (weight_decay * w + gradient_scale * g);  w <- w + v;  copy <- w rounded to C
// with lr = rate_factor * *learning_rate, for kWidth neighbouring elements. FP32 inside. Where C is float there is no
// copy. The one place of this arithmetic: sgd_kernel and the wgrad kernels that update at once give the same bits.
template <typename C>
struct SgdStep {
  float* weights;  // of the gradient's shape and pitch, like velocity and copy
  float* velocity;
  C* copy;                     // may be null
  const float* learning_rate;  // [1]
  float rate_factor, momentum, weight_decay, gradient_scale;

  explicit SgdStep(const Sgd& sgd)
      : weights(sgd.weights),
        velocity(sgd.velocity),
        copy(static_cast<C*>(sgd.copy)),
        learning_rate(sgd.learning_rate),
        rate_factor(sgd.rate_factor),
        momentum(sgd.momentum),
        weight_decay(sgd.weight_decay),
        gradient_scale(sgd.gradient_scale) {}

  template <int kWidth>
  __device__ void update(int64_t element, const Pack<float, kWidth>& gradient) const {
    const float lr = rate_factor * *learning_rate;
    Pack<float, kWidth> w = load_pack<kWidth>(weights + element);
    Pack<float, kWidth> v = load_pack<kWidth>(velocity + element);
    Pack<C, kWidth> rounded;
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      // fmaf by name: vector and tail must round alike, whatever the compiler would contract in each.
      const float decayed = fmaf(weight_decay, w.value[i], gradient_scale * gradient.value[i]);
      v.value[i] = fmaf(momentum, v.value[i], -lr * decayed);
      w.value[i] += v.value[i];
      rounded.value[i] = from_float<C>(w.value[i]);
    }
    store_pack(velocity + element, v);
    store_pack(weights + element, w);
    if constexpr (sizeof(C) < sizeof(float)) {
      if (copy != nullptr) store_pack(copy + element, rounded);
    }
  }
};

// SgdStep for every element.
//
// gradient: [count] of G; the step's weights and velocity: [count] float32, updated in place; its copy: [count] of C,
// overwritten. Grid and block: elementwise_config; no shared memory. kVector > 1 needs all four on 16 bytes.
// Floor: count * (16 + sizeof(G) + sizeof(copy)) bytes, 7 FLOPs an element. Deterministic.
template <typename G, typename C, int kVector>
__global__ void __launch_bounds__(256) sgd_kernel(const G* gradient,  // [count]
                                                  SgdStep<C> step, int64_t count) {
  for_each_pack<kVector>(count, [&](auto width, int64_t element) {
    constexpr int kWidth = decltype(width)::value;
    const Pack<G, kWidth> pack = load_pack<kWidth>(gradient + element);
    Pack<float, kWidth> wide;
#pragma unroll
    for (int i = 0; i < kWidth; ++i) wide.value[i] = to_float(pack.value[i]);
    step.update(element, wide);
  });
}

}  // namespace alexnet
