// The update rule of section 5 of the AlexNet paper.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/elementwise.cuh"

namespace alexnet {

struct SgdRates {
  float learning_rate;
  float momentum;
  float weight_decay;
  float gradient_scale;
};

// Where C is float there is no copy.
template <typename G, typename C>
struct SgdStep {
  float* weights;
  float* velocity;
  const G* gradient;
  C* copy;
  SgdRates rates;

  template <int kWidth>
  __device__ void at(int64_t element) const {
    Pack<float, kWidth> w = load_pack<kWidth>(weights + element);
    Pack<float, kWidth> v = load_pack<kWidth>(velocity + element);
    const Pack<G, kWidth> g = load_pack<kWidth>(gradient + element);
    Pack<C, kWidth> rounded;
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      // fmaf by name: vector and tail must round alike, whatever the compiler would contract in each.
      const float decayed = fmaf(rates.weight_decay, w.value[i], rates.gradient_scale * to_float(g.value[i]));
      v.value[i] = fmaf(rates.momentum, v.value[i], -rates.learning_rate * decayed);
      w.value[i] += v.value[i];
      rounded.value[i] = from_float<C>(w.value[i]);
    }
    store_pack(velocity + element, v);
    store_pack(weights + element, w);
    if constexpr (sizeof(C) < sizeof(float)) store_pack(copy + element, rounded);
  }
};

// v <- momentum * v - lr * (weight_decay * w + gradient_scale * g);  w <- w + v;  copy <- w rounded to C
// with lr = rates.learning_rate * *learning_rate
//
// weights, velocity: [count] float32, updated in place; gradient: [count] of G; copy: [count] of C, overwritten (C
// float: no copy). FP32 inside.
// Grid and block: elementwise_config; no shared memory. kVector > 1 needs all four on 16 bytes.
// Floor: count * (16 + sizeof(G) + sizeof(copy)) bytes, 7 FLOPs an element. Deterministic.
template <typename G, typename C, int kVector>
__global__ void __launch_bounds__(256) sgd_kernel(float* weights,              // [count]
                                                  float* velocity,             // [count]
                                                  const G* gradient,           // [count]
                                                  C* copy,                     // [count], or null
                                                  const float* learning_rate,  // [1]
                                                  SgdRates rates, int64_t count) {
  rates.learning_rate *= *learning_rate;
  for_each_pack<kVector>(count, SgdStep<G, C>{weights, velocity, gradient, copy, rates});
}

}  // namespace alexnet
