// ReLU (Nair and Hinton 2010; section 3.1 of the AlexNet paper).
#pragma once

#include <cstdint>

#include "common/elementwise.cuh"

namespace alexnet {

struct ReluFprop {
  __device__ float operator()(float x) const { return x <= 0.0f ? 0.0f : x; }
};

struct ReluBprop {
  __device__ float operator()(float y, float dy) const { return y > 0.0f ? dy : 0.0f; }
};

// y = max(x, 0); a NaN stays a NaN, so that a training run that broke shows it.
//
// x, y: [count] of T; y is overwritten and may be x. FP32 inside.
// Grid and block: elementwise_config; no shared memory. kVector > 1 needs x and y on 16 bytes.
// Floor: 2 * count * sizeof(T) bytes, 1 comparison an element. Deterministic.
template <typename T, int kVector>
__global__ void __launch_bounds__(256) relu_fprop_kernel(const T* x,  // [count]
                                                         T* y,        // [count], may be x
                                                         int64_t count) {
  for_each_pack<kVector>(count, UnaryMap<T, ReluFprop>{x, y, {}});
}

// dx = dy where y > 0, else 0: from the output, so that the input need not be kept.
//
// y, dy, dx: [count] of T; dx is overwritten and may be y or dy. FP32 inside.
// Grid and block: elementwise_config; no shared memory. kVector > 1 needs y, dy and dx on 16 bytes.
// Floor: 3 * count * sizeof(T) bytes, 1 comparison an element. Deterministic.
template <typename T, int kVector>
__global__ void __launch_bounds__(256) relu_bprop_kernel(const T* y,   // [count]
                                                         const T* dy,  // [count]
                                                         T* dx,        // [count], may be y or dy
                                                         int64_t count) {
  for_each_pack<kVector>(count, BinaryMap<T, ReluBprop>{y, dy, dx, {}});
}

}  // namespace alexnet
