// Local response normalisation within a map (layer type `rnorm` of cuda-convnet and of the code of 2012):
//   y[h, w, c] = x[h, w, c] * s[h, w, c]^-beta
//   s[h, w, c] = k + alpha * sum of x[i, j, c]^2 over |i - h| <= size / 2, |j - w| <= size / 2 within the map
#pragma once

#include <cstdint>

#include "common/row_grid.h"
#include "common/vector.cuh"
#include "ops/lrn.cuh"
#include "ops/map_lrn.h"

namespace alexnet {

// MapLrnShape with the divisors that find a place in it.
struct MapLrnGrid {
  int height, width, half;
  float k, alpha, beta;
  FastDivmod channels, columns;     // C, W
  FastDivmod tiles_across, chunks;  // of the backward kernel
  FastDivmod middle, extent;

  explicit MapLrnGrid(const MapLrnShape& shape)
      : height(shape.height),
        width(shape.width),
        half(shape.half()),
        k(shape.k),
        alpha(shape.alpha),
        beta(shape.beta),
        channels(shape.channels),
        columns(shape.width),
        tiles_across((shape.width + kMapLrnTile - 1) / kMapLrnTile),
        chunks((shape.channels + kMapLrnChannels - 1) / kMapLrnChannels),
        middle(map_lrn_middle(shape.half())),
        extent(map_lrn_extent(shape.half())) {}

  // An element within its image, which is at most 2^30.
  __device__ int element(int row, int column, int channel) const {
    return (row * width + column) * channels.divisor + channel;
  }
};

// y = LRN within a map of x, above.
//
// x, y: [N, H, W, C] of T; y is overwritten and may not overlap x, whose neighbours other threads read. FP32 inside.
// kThreeQuarters as in lrn_fprop_kernel. A thread forms the sums of kMapLrnRun rows of kVector channels.
// Grid and block: map_lrn_fprop_config; no shared memory. kVector > 1 needs both on 16 bytes and C a multiple of it.
// Floor: 2 * sizeof(T) bytes an element, and size * (kMapLrnRun + size - 1) / kMapLrnRun + 1 reads of L1 an element;
// as many FMAs, and 2 reciprocal roots. Deterministic; both kVectors give the same bits.
template <typename T, int kVector, bool kThreeQuarters>
__global__ void __launch_bounds__(256, 2) map_lrn_fprop_kernel(const T* x,  // [N, H, W, C]
                                                               T* y,        // [N, H, W, C], not x
                                                               MapLrnGrid shape, RowGrid grid) {
  const RowPlace place = row_place(grid);
  if (!place.inside) return;
  const int first_element = place.pack * kVector, pixel = shape.channels.quotient(first_element);
  const int channel = shape.channels.remainder(first_element, pixel);
  const int run = shape.columns.quotient(pixel), column = shape.columns.remainder(pixel, run);
  const int64_t image = place.row * shape.element(shape.height, 0, 0);
  const int first = run * kMapLrnRun;
  const int left = max(column - shape.half, 0), right = min(column + shape.half, shape.width - 1);

  float sum[kMapLrnRun][kVector] = {};
  const int end = min(first + kMapLrnRun + shape.half, shape.height);
  for (int row = max(first - shape.half, 0); row < end; ++row) {
    float squares[kVector] = {};
    for (int j = left; j <= right; ++j) {
      const Pack<T, kVector> pack = load_vector<kVector>(x + image + shape.element(row, j, channel));
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        squares[i] = fmaf(to_float(pack.value[i]), to_float(pack.value[i]), squares[i]);
      }
    }
#pragma unroll
    for (int r = 0; r < kMapLrnRun; ++r) {
      if (abs(row - first - r) > shape.half) continue;
#pragma unroll
      for (int i = 0; i < kVector; ++i) sum[r][i] += squares[i];
    }
  }
#pragma unroll
  for (int r = 0; r < kMapLrnRun; ++r) {
    if (first + r >= shape.height) continue;
    const int64_t element = image + shape.element(first + r, column, channel);
    const Pack<T, kVector> pack = load_vector<kVector>(x + element);
    float result[kVector];
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      const float s = fmaf(shape.alpha, sum[r][i], shape.k);
      result[i] = to_float(pack.value[i]) * lrn_power<kThreeQuarters>(s, shape.beta).scale;
    }
    store_rounded(y + element, result);
  }
}

// sum[r] over rows r to r + size - 1 and `size` columns, of values or their squares, for the first `rows` of kMapLrnRun
// r; values: [rows, pitch, kMapLrnChannels] in shared memory.
template <bool kSquares>
__device__ inline void map_lrn_sums(const float* values, int pitch, int size, int rows, float (&sum)[kMapLrnRun]) {
  for (int row = 0; row < rows + size - 1; ++row) {
    float across = 0.0f;
    for (int j = 0; j < size; ++j) {
      const float value = values[(row * pitch + j) * kMapLrnChannels];
      across = kSquares ? fmaf(value, value, across) : across + value;
    }
#pragma unroll
    for (int r = 0; r < kMapLrnRun; ++r) {
      if (row >= r && row < r + size) sum[r] += across;
    }
  }
}

// dx = dy s^-beta - 2 alpha beta x * sum of dy x s^(-beta - 1) over the window; s is computed again from x.
//
// dy, x, dx: [N, H, W, C] of T; dx is overwritten and overlaps neither. FP32 inside. kThreeQuarters as above. A block
// takes kMapLrnTile x kMapLrnTile positions of kMapLrnChannels channels: x of all that their windows' windows reach
// comes into shared memory, the sums' terms of all that their windows reach are computed there, then the sums.
// Grid: images * tiles * chunks of channels, kMapLrnThreads threads; map_lrn_bprop_config has the shared memory: x
// [extent, extent], the terms [middle, middle], and dy s^-beta [tile, tile], each of kMapLrnChannels. No alignment
// needed.
// Floor: 3 * sizeof(T) bytes an element; of L2, by size 5, 2.5 times x and 1.7 times dy; of shared memory 37 numbers.
// Deterministic.
template <typename T, bool kThreeQuarters>
__global__ void __launch_bounds__(kMapLrnThreads, 2) map_lrn_bprop_kernel(const T* dy,  // [N, H, W, C]
                                                                          const T* x,   // [N, H, W, C]
                                                                          T* dx,  // [N, H, W, C], neither x nor dy
                                                                          MapLrnGrid shape, RowGrid grid) {
  ALEXNET_DYNAMIC_SHARED(float, shared);
  constexpr int kTile = kMapLrnTile, kChannels = kMapLrnChannels;
  const int half = shape.half, size = 2 * half + 1;
  const int extent = shape.extent.divisor, middle = shape.middle.divisor;
  float* const value = shared;                               // [extent, extent, kChannels]
  float* const term = value + extent * extent * kChannels;   // [middle, middle, kChannels]
  float* const scaled = term + middle * middle * kChannels;  // [kTile, kTile, kChannels]

  const RowPlace place = row_place(grid);
  const int block = place.first / kMapLrnThreads, tile = shape.chunks.quotient(block);
  const int tile_row = shape.tiles_across.quotient(tile);
  const int top = tile_row * kTile, left = shape.tiles_across.remainder(tile, tile_row) * kTile;
  // Items are counted with the channels innermost and kMapLrnThreads is a multiple of them.
  const int lane = static_cast<int>(threadIdx.x) % kChannels;
  const int channel = shape.chunks.remainder(block, tile) * kChannels + lane;
  const int first_item = static_cast<int>(threadIdx.x) / kChannels;
  constexpr int kItems = kMapLrnThreads / kChannels;
  const int64_t image = place.row * shape.element(shape.height, 0, 0);
  const auto inside = [&](int row, int column) {
    return row >= 0 && row < shape.height && column >= 0 && column < shape.width && channel < shape.channels.divisor;
  };

  for (int item = first_item; item < extent * extent; item += kItems) {
    const int i = shape.extent.quotient(item), j = shape.extent.remainder(item, i);
    const int row = top - 2 * half + i, column = left - 2 * half + j;
    value[item * kChannels + lane] = inside(row, column) ? to_float(x[image + shape.element(row, column, channel)]) : 0;
  }
  __syncthreads();

  for (int item = first_item; item < middle * ((middle + kMapLrnRun - 1) / kMapLrnRun); item += kItems) {
    const int run = shape.middle.quotient(item), j = shape.middle.remainder(item, run);
    const int first = run * kMapLrnRun, rows = min(kMapLrnRun, middle - first);
    float sum[kMapLrnRun] = {};
    map_lrn_sums<true>(value + (first * extent + j) * kChannels + lane, extent, size, rows, sum);
#pragma unroll
    for (int r = 0; r < kMapLrnRun; ++r) {
      if (r >= rows) continue;
      const int i = first + r, row = top - half + i, column = left - half + j;
      float own = 0.0f, gradient = 0.0f;
      if (inside(row, column)) {
        const LrnPower power = lrn_power<kThreeQuarters>(fmaf(shape.alpha, sum[r], shape.k), shape.beta);
        gradient = to_float(dy[image + shape.element(row, column, channel)]) * power.scale;
        own = gradient * (value[((i + half) * extent + j + half) * kChannels + lane] * power.inverse);
      }
      term[(i * middle + j) * kChannels + lane] = own;
      const int in_row = i - half, in_column = j - half;
      if (in_row >= 0 && in_row < kTile && in_column >= 0 && in_column < kTile) {
        scaled[(in_row * kTile + in_column) * kChannels + lane] = gradient;
      }
    }
  }
  __syncthreads();

  const float factor = -2.0f * shape.alpha * shape.beta;
  for (int item = first_item; item < kTile * ((kTile + kMapLrnRun - 1) / kMapLrnRun); item += kItems) {
    const int first = item / kTile * kMapLrnRun, j = item % kTile, rows = min(kMapLrnRun, kTile - first);
    float sum[kMapLrnRun] = {};
    map_lrn_sums<false>(term + (first * middle + j) * kChannels + lane, middle, size, rows, sum);
#pragma unroll
    for (int r = 0; r < kMapLrnRun; ++r) {
      const int i = first + r, row = top + i, column = left + j;
      if (r >= rows || !inside(row, column)) continue;
      const float own = value[((i + 2 * half) * extent + j + 2 * half) * kChannels + lane];
      const float result = fmaf(factor * own, sum[r], scaled[(i * kTile + j) * kChannels + lane]);
      dx[image + shape.element(row, column, channel)] = from_float<T>(result);
    }
  }
}

}  // namespace alexnet
