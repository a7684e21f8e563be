// Max-pooling, overlapping where the stride is less than the size (section 3.4 of the AlexNet paper).
#pragma once

#include <cstdint>

#include "ops/pool.cuh"

namespace alexnet {

// The maxima of kVector channels over a window and the first tap that holds each; a NaN in the window is the maximum,
// at the first tap in the input. `first` is the pixel there, the strides are in elements.
template <int kVector, typename T>
__device__ inline void max_of_window(const T* first, const PoolWindow& window, int size, int64_t row_stride,
                                     int pixel_stride, T* y, uint8_t* argmax) {
  float best[kVector];
  int index[kVector];
  const Pack<T, kVector> start = load_vector<kVector>(first);
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    best[i] = to_float(start.value[i]);
    index[i] = window.tap;
  }
  const int skipped = size - window.columns;
  for (int tap = window.tap + 1, r = 0, s = 1; r < window.rows; ++r, s = 0, tap += skipped) {
    for (; s < window.columns; ++s, ++tap) {
      const Pack<T, kVector> pack = load_vector<kVector>(first + r * row_stride + s * pixel_stride);
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        const float value = to_float(pack.value[i]);
        if (value > best[i] || value != value) {
          best[i] = value;
          index[i] = tap;
        }
      }
    }
  }
  store_rounded(y, best);
  if (argmax == nullptr) return;
  Pack<uint8_t, kVector> taps;
#pragma unroll
  for (int i = 0; i < kVector; ++i) taps.value[i] = static_cast<uint8_t>(best[i] == best[i] ? index[i] : window.tap);
  store_vector(argmax, taps);
}

// y[n, p, q, c] = max of x[n, p * stride - padding_h + r, q * stride - padding_w + s, c] over the 0 <= r, s < size that
// lie in x
// argmax[n, p, q, c] = r * size + s of the first maximum, of the first that lies in x where the maximum is NaN
//
// x: [N, H, W, C] of T; y: [N, P, Q, C] of T; argmax: [N, P, Q, C] uint8, or null. y and argmax are overwritten.
// Grid and block: pool_fprop_config; no shared memory. kVector > 1 needs all on 16 bytes and C a multiple of kVector.
// kClipped as in PoolGrid::window.
// Floor: (H * W * sizeof(T) + P * Q * (sizeof(T) + 1)) * N * C bytes; size^2 comparisons an output. x comes from L1 and
// L2 where windows overlap. Deterministic.
template <typename T, int kVector, bool kClipped>
__global__ void __launch_bounds__(256, 4) max_pool_fprop_kernel(const T* x,       // [N, H, W, C]
                                                                T* y,             // [N, P, Q, C]
                                                                uint8_t* argmax,  // [N, P, Q, C], or null
                                                                PoolGrid pool, RowGrid grid) {
  const RowPlace place = row_place(grid);
  if (!place.inside) return;
  const PoolPixel pixel = pool.output_pixel(place.pack * kVector);
  const PoolWindow window = pool.window<kClipped>(pixel.row, pixel.column);
  const int channels = pool.channels.divisor;
  const int64_t input = pool.input_offset(place.row, window.row, window.column) + pixel.channel;
  const int64_t output = (place.row * grid.packs + place.pack) * kVector;
  max_of_window<kVector>(x + input, window, pool.size, static_cast<int64_t>(pool.width) * channels, channels,
                         y + output, argmax == nullptr ? nullptr : argmax + output);
}

// Adds to each sum what a window passes to one of its taps.
template <typename T, bool kRelu, int kVector, int kHalo>
struct PooledSum {
  const T* dy;            // [N, P, Q, C]
  const uint8_t* argmax;  // [N, P, Q, C]
  const T* y;             // [N, P, Q, C]
  bool left, right;
  float (&sum)[kVector + 2 * kHalo];

  template <int kCount>
  __device__ void add(int64_t offset, int tap, float* target) {
    const Pack<uint8_t, kCount> taps = load_vector<kCount>(argmax + offset);
    const Pack<T, kCount> gradient = load_vector<kCount>(dy + offset);
    // Not used, and so not read, without kRelu.
    const Pack<T, kCount> output = load_vector<kCount>((kRelu ? y : dy) + offset);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const bool passes = taps.value[i] == tap && (!kRelu || to_float(output.value[i]) > 0.0f);
      target[i] += passes ? to_float(gradient.value[i]) : 0.0f;
    }
  }
  __device__ void operator()(int64_t offset, int tap, int, int) {
    add<kVector>(offset, tap, sum + kHalo);
    if constexpr (kHalo > 0) {
      if (left) add<kHalo>(offset - kHalo, tap, sum);
      if (right) add<kHalo>(offset + kVector, tap, sum + kHalo + kVector);
    }
  }
};

// The gradient of a max-pool's input, gathered from what each window that covers it passes; as DirectGradient of
// lrn.cuh. kRelu: a window whose maximum is not positive passes nothing, for its gradient would end at the ReLU that
// the pool's input came from.
template <typename T, bool kRelu>
struct PooledGradient {
  const T* dy;            // [N, P, Q, C]
  const uint8_t* argmax;  // [N, P, Q, C]
  const T* y;             // [N, P, Q, C], read where kRelu
  PoolGrid pool;

  template <int kVector, int kHalo>
  __device__ void span(int64_t image, int element, bool left, bool right, float (&value)[kVector + 2 * kHalo]) const {
#pragma unroll
    for (int i = 0; i < kVector + 2 * kHalo; ++i) value[i] = 0.0f;
    PooledSum<T, kRelu, kVector, kHalo> sum{dy, argmax, y, left, right, value};
    for_each_window(pool, image, pool.input_pixel(element), sum);
  }
};

// dx[n, h, w, c] = sum of dy[n, p, q, c] over the windows (p, q) whose argmax is (h, w), and where kRelu only those
// with y[n, p, q, c] > 0
//
// dx: [N, H, W, C] of T, overwritten, 0 where no window reaches; `gradient` holds dy, argmax and y. FP32 inside.
// Grid and block: pool_bprop_config; no shared memory. kVector > 1 needs all on 16 bytes and C a multiple of kVector.
// Floor: (H * W * sizeof(T) + P * Q * (sizeof(T) + 1)) * N * C bytes, and y's where kRelu; (size / stride)^2
// comparisons and additions an input. A gather in the order of the taps, without atomics: runs repeat bit for bit.
// Where kRelu, two blocks a multiprocessor at least: float32 takes 96 registers a thread, which four would not have.
template <typename T, int kVector, bool kRelu>
__global__ void __launch_bounds__(256, kRelu ? 2 : 4) max_pool_bprop_kernel(PooledGradient<T, kRelu> gradient,
                                                                            T* dx,  // [N, H, W, C]
                                                                            RowGrid grid) {
  const RowPlace place = row_place(grid);
  if (!place.inside) return;
  float sum[kVector];
  gradient.template span<kVector, 0>(place.row, place.pack * kVector, false, false, sum);
  store_rounded(dx + (place.row * grid.packs + place.pack) * kVector, sum);
}

}  // namespace alexnet
