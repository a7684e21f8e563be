// The gradient of a bias: parameters, launch choice and launches. Kernels and their contracts: bias.cuh.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/cuda_runtime.h"
#include "common/dtype.h"

namespace alexnet {

struct BiasBpropParams {
  const void* dy;    // [rows, columns], on 16 bytes
  float* dbias;      // [columns]
  float* workspace;  // on 16 bytes; column_sum_workspace_floats floats; may be null where that is 0
  int64_t rows;
  int64_t columns;
  DType dtype;
};

struct ColumnSumProblem {
  int64_t rows;
  int64_t columns;
  int element_bytes;
};

struct ColumnSumConfig {
  int vector;              // neighbouring columns a thread sums
  int block_columns;       // threads side by side; a power of two
  int block_rows;          // threads one above the other; block_columns * block_rows = 256
  uint32_t grid;           // blocks side by side
  uint32_t splits;         // blocks one above the other, each with its own partial sums
  int64_t rows_per_split;  // the last split may have fewer
};

constexpr int kColumnSumThreads = 256;

// `wanted_splits` 0: as many as fill the device. The choice depends on the shape alone, so the order of additions and
// with it every bit of the result is the same on every device.
inline ColumnSumConfig column_sum_config(const ColumnSumProblem& problem, uint32_t wanted_splits = 0) {
  // Two blocks for each of an H200's 132 SMs; more only lengthens the second stage.
  constexpr int64_t kBlocksWanted = 264;
  // A split of fewer rows than this a thread costs more in the second stage than it saves in the first.
  constexpr int64_t kMinRowsPerThread = 8;
  ColumnSumConfig config{};
  const int widest = 16 / problem.element_bytes;
  config.vector = problem.columns % widest == 0 ? widest : 1;
  const int64_t packs = problem.columns / config.vector;
  config.block_columns = 1;
  // A warp side by side reads 512 bytes of a row; for fewer columns the warp takes several rows, which are contiguous.
  while (config.block_columns < 32 && config.block_columns < packs) config.block_columns *= 2;
  config.block_rows = kColumnSumThreads / config.block_columns;
  config.grid = static_cast<uint32_t>(std::max<int64_t>((packs + config.block_columns - 1) / config.block_columns, 1));
  const int64_t worthwhile =
      (problem.rows + config.block_rows * kMinRowsPerThread - 1) / (config.block_rows * kMinRowsPerThread);
  const int64_t splits = wanted_splits > 0 ? int64_t{wanted_splits} : std::min(kBlocksWanted / config.grid, worthwhile);
  config.splits = static_cast<uint32_t>(std::max<int64_t>(splits, 1));
  config.rows_per_split = (problem.rows + config.splits - 1) / config.splits;
  return config;
}

// Partial sums, where there is more than one split.
inline int64_t column_sum_workspace_floats(const ColumnSumConfig& config, int64_t columns) {
  return config.splits > 1 ? config.splits * columns : 0;
}

void launch_bias_bprop(const BiasBpropParams& params, cudaStream_t stream);

}  // namespace alexnet
