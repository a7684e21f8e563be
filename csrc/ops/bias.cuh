// Bias over the last dimension, and its gradient.
#pragma once

#include <cstdint>

#include "common/elementwise.cuh"
#include "ops/bias.h"

namespace alexnet {

// y[m, k] = x[m, k] + bias[k]
//
// x, y: [rows, columns] of T; bias: [columns] float32; y is overwritten and may be x. FP32 inside.
// Grid and block: elementwise_config of rows * columns; no shared memory.
// kVector > 1 needs x, y and bias on 16 bytes and columns a multiple of kVector.
// Floor: 2 * rows * columns * sizeof(T) + 4 * columns bytes, rows * columns FLOPs. Deterministic.
template <typename T, int kVector>
__global__ void __launch_bounds__(256) bias_fprop_kernel(const T* x,         // [rows, columns]
                                                         const float* bias,  // [columns]
                                                         T* y,               // [rows, columns], may be x
                                                         int64_t rows, int64_t columns) {
  const int64_t step = grid_threads() * kVector;
  for (MatrixWalk walk(grid_thread() * kVector, step, columns); walk.row < rows; walk.advance()) {
    const int64_t element = walk.row * columns + walk.column;
    Pack<T, kVector> pack = load_pack<kVector>(x + element);
    const Pack<float, kVector> added = load_pack<kVector>(bias + walk.column);
#pragma unroll
    for (int i = 0; i < kVector; ++i) pack.value[i] = from_float<T>(to_float(pack.value[i]) + added.value[i]);
    store_pack(y + element, pack);
  }
}

// sums[s, k] = sum of x[m, k] over the rows m of split s
//
// x: [rows, columns] of T; sums: [splits, columns] float32, overwritten.
// Grid: (config.grid, config.splits); block: (block_columns, block_rows), 256 threads; 256 * kVector floats of shared
// memory. kVector > 1 needs x on 16 bytes and columns a multiple of kVector.
// A thread adds its rows from the first to the last, then the block halves its rows of threads: a fixed order, so runs
// repeat bit for bit. Floor: rows * columns * sizeof(T) bytes, rows * columns FLOPs.
template <typename T, int kVector>
__global__ void __launch_bounds__(kColumnSumThreads)
    column_sum_kernel(const T* x,   // [rows, columns]
                      float* sums,  // [splits, columns]
                      int64_t rows, int64_t columns, int64_t rows_per_split) {
  ALEXNET_SHARED(float[kColumnSumThreads * kVector], partial);
  const int64_t column = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * kVector;
  const int64_t first = blockIdx.y * rows_per_split;
  const int64_t last = first + rows_per_split < rows ? first + rows_per_split : rows;
  float* const mine = partial + (threadIdx.y * blockDim.x + threadIdx.x) * kVector;

  float sum[kVector] = {};
  if (column < columns) {
    for (int64_t row = first + threadIdx.y; row < last; row += blockDim.y) {
      const Pack<T, kVector> pack = load_pack<kVector>(x + row * columns + column);
#pragma unroll
      for (int i = 0; i < kVector; ++i) sum[i] += to_float(pack.value[i]);
    }
  }
#pragma unroll
  for (int i = 0; i < kVector; ++i) mine[i] = sum[i];
  for (unsigned half = blockDim.y / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.y < half) {
#pragma unroll
      for (int i = 0; i < kVector; ++i) mine[i] += mine[half * blockDim.x * kVector + i];
    }
  }
  if (threadIdx.y == 0 && column < columns) {
#pragma unroll
    for (int i = 0; i < kVector; ++i) sums[blockIdx.y * columns + column + i] = mine[i];
  }
}

}  // namespace alexnet
