// tanh, the saturating unit that the AlexNet paper compares ReLU with (section 3.1).
#pragma once

#include <cstdint>

#include "common/elementwise.cuh"

namespace alexnet {

struct TanhFprop {
  __device__ float operator()(float x) const { return tanhf(x); }
};

struct TanhBprop {
  __device__ float operator()(float y, float dy) const { return dy * (1.0f - y * y); }
};

// y = tanh(x).
//
// x, y: [count] of T; y is overwritten and may be x. FP32 inside.
// Grid and block: elementwise_config; no shared memory. kVector > 1 needs x and y on 16 bytes.
// Floor: 2 * count * sizeof(T) bytes, about 20 FLOPs an element. Deterministic.
template <typename T, int kVector>
__global__ void __launch_bounds__(256) tanh_fprop_kernel(const T* x,  // [count]
                                                         T* y,        // [count], may be x
                                                         int64_t count) {
  for_each_pack<kVector>(count, UnaryMap<T, TanhFprop>{x, y, {}});
}

// dx = dy * (1 - y^2): from the output, so that the input need not be kept.
//
// y, dy, dx: [count] of T; dx is overwritten and may be y or dy. FP32 inside.
// Grid and block: elementwise_config; no shared memory. kVector > 1 needs y, dy and dx on 16 bytes.
// Floor: 3 * count * sizeof(T) bytes, 3 FLOPs an element. Deterministic.
template <typename T, int kVector>
__global__ void __launch_bounds__(256) tanh_bprop_kernel(const T* y,   // [count]
                                                         const T* dy,  // [count]
                                                         T* dx,        // [count], may be y or dy
                                                         int64_t count) {
  for_each_pack<kVector>(count, BinaryMap<T, TanhBprop>{y, dy, dx, {}});
}

}  // namespace alexnet
