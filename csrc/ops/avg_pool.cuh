// Average-pooling, overlapping where the stride is less than the size.
#pragma once

#include <cstdint>

#include "ops/avg_pool.h"
#include "ops/pool.cuh"

namespace alexnet {

// What each input of a window counts: 1 over the pixels of the window that lie in the input or in counted padding.
struct PoolShare {
  int top, bottom, left, right;  // of what counts
  float whole;                   // of a window of which all counts

  PoolShare(const PoolShape& shape, const CountedPadding& counted)
      : top(-counted.top),
        bottom(shape.height + counted.bottom),
        left(-counted.left),
        right(shape.width + counted.right),
        whole(1.0f / static_cast<float>(shape.size * shape.size)) {}

  template <bool kClipped>  // as in PoolGrid::window
  __device__ float of(const PoolGrid& pool, int p, int q) const {
    if constexpr (!kClipped) return whole;
    const int row = p * pool.stride.divisor - pool.padding_h, column = q * pool.stride.divisor - pool.padding_w;
    const int rows = min(row + pool.size, bottom) - max(row, top);
    const int columns = min(column + pool.size, right) - max(column, left);
    const int count = rows * columns;
    return count == pool.size * pool.size ? whole : 1.0f / static_cast<float>(count);
  }
};

// y[n, p, q, c] = share(p, q) * sum of x[n, p * stride - padding_h + r, q * stride - padding_w + s, c] over the 0 <= r,
// s < size that lie in x
//
// x: [N, H, W, C] of T; y: [N, P, Q, C] of T, overwritten. FP32 inside.
// Grid and block: pool_fprop_config; no shared memory. kVector > 1 needs both on 16 bytes and C a multiple of kVector.
// kClipped as in PoolGrid::window.
// Floor: (H * W + P * Q) * N * C * sizeof(T) bytes; size^2 additions an output. Added in the order of the taps, so runs
// repeat bit for bit.
template <typename T, int kVector, bool kClipped>
__global__ void __launch_bounds__(256, 4) avg_pool_fprop_kernel(const T* x,  // [N, H, W, C]
                                                                T* y,        // [N, P, Q, C]
                                                                PoolShare share, PoolGrid pool, RowGrid grid) {
  const RowPlace place = row_place(grid);
  if (!place.inside) return;
  const PoolPixel pixel = pool.output_pixel(place.pack * kVector);
  const PoolWindow window = pool.window<kClipped>(pixel.row, pixel.column);
  const int channels = pool.channels.divisor;
  const T* const first = x + pool.input_offset(place.row, window.row, window.column) + pixel.channel;
  float sum[kVector] = {};
  for (int r = 0; r < window.rows; ++r) {
    for (int s = 0; s < window.columns; ++s) {
      const Pack<T, kVector> pack = load_vector<kVector>(first + (static_cast<int64_t>(r) * pool.width + s) * channels);
#pragma unroll
      for (int i = 0; i < kVector; ++i) sum[i] += to_float(pack.value[i]);
    }
  }
  const float factor = share.of<kClipped>(pool, pixel.row, pixel.column);
#pragma unroll
  for (int i = 0; i < kVector; ++i) sum[i] *= factor;
  store_rounded(y + (place.row * grid.packs + place.pack) * kVector, sum);
}

template <typename T, int kVector, bool kClipped>
struct AverageSum {
  const T* dy;  // [N, P, Q, C]
  const PoolShare& share;
  const PoolGrid& pool;
  float (&sum)[kVector];

  __device__ void operator()(int64_t offset, int, int p, int q) {
    const float factor = share.of<kClipped>(pool, p, q);
    const Pack<T, kVector> gradient = load_vector<kVector>(dy + offset);
#pragma unroll
    // Rounded before the addition, as in NumPy: a fused one would give other bits.
    for (int i = 0; i < kVector; ++i) sum[i] += __fmul_rn(to_float(gradient.value[i]), factor);
  }
};

// dx[n, h, w, c] = sum of dy[n, p, q, c] * share(p, q) over the windows (p, q) that cover (h, w)
//
// dy: [N, P, Q, C] of T; dx: [N, H, W, C] of T, overwritten, 0 where no window reaches. FP32 inside.
// Grid and block: pool_bprop_config; no shared memory. kVector > 1 needs both on 16 bytes and C a multiple of kVector.
// kClipped as in PoolGrid::window.
// Floor: (H * W + P * Q) * N * C * sizeof(T) bytes; 2 (size / stride)^2 FLOPs an input. A gather in the order of the
// taps, without atomics: runs repeat bit for bit.
template <typename T, int kVector, bool kClipped>
__global__ void __launch_bounds__(256, 4) avg_pool_bprop_kernel(const T* dy,  // [N, P, Q, C]
                                                                T* dx,        // [N, H, W, C]
                                                                PoolShare share, PoolGrid pool, RowGrid grid) {
  const RowPlace place = row_place(grid);
  if (!place.inside) return;
  float result[kVector] = {};
  AverageSum<T, kVector, kClipped> sum{dy, share, pool, result};
  for_each_window(pool, place.row, pool.input_pixel(place.pack * kVector), sum);
  store_rounded(dx + (place.row * grid.packs + place.pack) * kVector, result);
}

}  // namespace alexnet
