// Average-pooling, overlapping where the stride is less than the size.
#pragma once

#include <cstdint>

#include "ops/pool.cuh"

namespace alexnet {

// y[n, p, q, c] = sum of x[n, p * stride + r, q * stride + s, c] over 0 <= r, s < size, times `share` = 1 / size^2
//
// x: [N, H, W, C] of T; y: [N, P, Q, C] of T, overwritten. FP32 inside.
// Grid and block: pool_fprop_config; no shared memory. kVector > 1 needs both on 16 bytes and C a multiple of kVector.
// Floor: (H * W + P * Q) * N * C * sizeof(T) bytes; size^2 additions an output. Added in the order of the taps, so runs
// repeat bit for bit.
template <typename T, int kVector>
__global__ void __launch_bounds__(256, 4) avg_pool_fprop_kernel(const T* x,  // [N, H, W, C]
                                                                T* y,        // [N, P, Q, C]
                                                                float share, PoolGrid pool, RowGrid grid) {
  const RowPlace place = row_place(grid);
  if (!place.inside) return;
  const PoolPixel pixel = pool.output_pixel(place.pack * kVector);
  const int stride = pool.stride.divisor, channels = pool.channels.divisor;
  const T* const first = x + pool.input_offset(place.row, pixel.row * stride, pixel.column * stride) + pixel.channel;
  float sum[kVector] = {};
  for (int r = 0; r < pool.size; ++r) {
    for (int s = 0; s < pool.size; ++s) {
      const Pack<T, kVector> pack = load_vector<kVector>(first + (static_cast<int64_t>(r) * pool.width + s) * channels);
#pragma unroll
      for (int i = 0; i < kVector; ++i) sum[i] += to_float(pack.value[i]);
    }
  }
#pragma unroll
  for (int i = 0; i < kVector; ++i) sum[i] *= share;
  store_rounded(y + (place.row * grid.packs + place.pack) * kVector, sum);
}

template <typename T, int kVector>
struct AverageSum {
  const T* dy;  // [N, P, Q, C]
  float share;
  float (&sum)[kVector];

  __device__ void operator()(int64_t offset, int) {
    const Pack<T, kVector> gradient = load_vector<kVector>(dy + offset);
#pragma unroll
    // Rounded before the addition, as in NumPy: a fused one would give other bits.
    for (int i = 0; i < kVector; ++i) sum[i] += __fmul_rn(to_float(gradient.value[i]), share);
  }
};

// dx[n, h, w, c] = sum of dy[n, p, q, c] * share over the windows (p, q) that cover (h, w)
//
// dy: [N, P, Q, C] of T; dx: [N, H, W, C] of T, overwritten, 0 where no window reaches. FP32 inside.
// Grid and block: pool_bprop_config; no shared memory. kVector > 1 needs both on 16 bytes and C a multiple of kVector.
// Floor: (H * W + P * Q) * N * C * sizeof(T) bytes; 2 (size / stride)^2 FLOPs an input. A gather in the order of the
// taps, without atomics: runs repeat bit for bit.
template <typename T, int kVector>
__global__ void __launch_bounds__(256, 4) avg_pool_bprop_kernel(const T* dy,  // [N, P, Q, C]
                                                                T* dx,        // [N, H, W, C]
                                                                float share, PoolGrid pool, RowGrid grid) {
  const RowPlace place = row_place(grid);
  if (!place.inside) return;
  float result[kVector] = {};
  AverageSum<T, kVector> sum{dy, share, result};
  for_each_window(pool, place.row, pool.input_pixel(place.pack * kVector), sum);
  store_rounded(dx + (place.row * grid.packs + place.pack) * kVector, result);
}

}  // namespace alexnet
