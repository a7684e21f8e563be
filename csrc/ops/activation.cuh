// Activations, forward and backward, for each entry of ActivationTable.
#pragma once

#include <cstdint>

#include "common/elementwise.cuh"

namespace alexnet {

// y = F::fprop(x).
//
// x, y: [count] of T; y is overwritten and may be x. FP32 inside.
// Grid and block: elementwise_config; no shared memory. kVector > 1 needs x and y on 16 bytes.
// Floor: 2 * count * sizeof(T) bytes; FLOPs an element: 1 comparison (Relu), about 20 (Tanh). Deterministic.
template <typename T, int kVector, typename F>
__global__ void __launch_bounds__(256) activation_fprop_kernel(const T* x,  // [count]
                                                               T* y,        // [count], may be x
                                                               int64_t count) {
  for_each_pack<kVector>(count, [=](auto width, int64_t element) {
    constexpr int kWidth = decltype(width)::value;
    Pack<T, kWidth> pack = load_pack<kWidth>(x + element);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) pack.value[i] = from_float<T>(F::fprop(to_float(pack.value[i])));
    store_pack(y + element, pack);
  });
}

// dx = F::bprop(y, dy): from the output, so that the input need not be kept.
//
// y, dy, dx: [count] of T; dx is overwritten and may be y or dy. FP32 inside.
// Grid and block: elementwise_config; no shared memory. kVector > 1 needs y, dy and dx on 16 bytes.
// Floor: 3 * count * sizeof(T) bytes; FLOPs an element: 1 comparison (Relu), 3 (Tanh). Deterministic.
template <typename T, int kVector, typename F>
__global__ void __launch_bounds__(256) activation_bprop_kernel(const T* y,   // [count]
                                                               const T* dy,  // [count]
                                                               T* dx,        // [count], may be y or dy
                                                               int64_t count) {
  for_each_pack<kVector>(count, [=](auto width, int64_t element) {
    constexpr int kWidth = decltype(width)::value;
    const Pack<T, kWidth> output = load_pack<kWidth>(y + element);
    Pack<T, kWidth> gradient = load_pack<kWidth>(dy + element);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      gradient.value[i] = from_float<T>(F::bprop(to_float(output.value[i]), to_float(gradient.value[i])));
    }
    store_pack(dx + element, gradient);
  });
}

}  // namespace alexnet
