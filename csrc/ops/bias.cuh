// The gradient of a bias over the last dimension.
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/elementwise.cuh"
#include "ops/bias.h"

namespace alexnet {

// sums[s, k] = sum of x[m, k] over the rows m of split s
//
// x: [rows, columns] of T; sums: [splits, columns] float32, overwritten.
// Grid: (config.grid, config.splits); block: (block_columns, block_rows), 256 threads; 256 * kVector floats of shared
// memory. kVector > 1 needs x on 16 bytes and columns a multiple of kVector.
// A thread adds its rows from the first to the last, then the block halves its rows of threads: a fixed order, so runs
// repeat bit for bit. Floor: rows * columns * sizeof(T) bytes, rows * columns FLOPs.
template <typename T, int kVector>
__global__ void __launch_bounds__(kColumnSumThreads, 4)
    column_sum_kernel(const T* x,   // [rows, columns]
                      float* sums,  // [splits, columns]
                      int64_t rows, int64_t columns, int64_t rows_per_split) {
  // In flight at once, for which the launch bounds leave registers; with one, latency would be the bound, not DRAM.
  constexpr int kLoads = 4;
  ALEXNET_SHARED(float[kColumnSumThreads * kVector], partial);
  const int64_t column = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * kVector;
  const int64_t first = blockIdx.y * rows_per_split;
  const int64_t last = first + rows_per_split < rows ? first + rows_per_split : rows;
  float* const mine = partial + (threadIdx.y * blockDim.x + threadIdx.x) * kVector;

  float sum[kVector] = {};
  if (column < columns) {
    const auto add_rows = [&](auto loads, int64_t row) {
      constexpr int kRows = decltype(loads)::value;
      Pack<T, kVector> packs[kRows];
#pragma unroll
      for (int i = 0; i < kRows; ++i) packs[i] = load_pack<kVector>(x + (row + i * blockDim.y) * columns + column);
#pragma unroll
      for (const Pack<T, kVector>& pack : packs) {
#pragma unroll
        for (int i = 0; i < kVector; ++i) sum[i] += to_float(pack.value[i]);
      }
    };
    int64_t row = first + threadIdx.y;
    for (; row + (kLoads - 1) * blockDim.y < last; row += kLoads * blockDim.y) {
      add_rows(std::integral_constant<int, kLoads>{}, row);
    }
    for (; row < last; row += blockDim.y) add_rows(std::integral_constant<int, 1>{}, row);
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
