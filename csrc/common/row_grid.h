// Launch choice for kernels that take a tensor image by image, so that places within one fit 32 bits: a pure host
// function, tested without a GPU.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

#include "common/fast_divmod.h"

namespace alexnet {

struct RowProblem {
  int64_t rows;   // images
  int64_t packs;  // of a row, one a thread
};

struct RowConfig {
  int block;                // threads, whole warps
  uint32_t blocks_per_row;  // a block never straddles two rows
  uint32_t grid;
};

inline RowConfig row_config(const RowProblem& problem, int block) {
  RowConfig config{};
  config.block = block;
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  if (problem.packs > kMost - block) {  // they are counted in 32 bits, those of the last block too
    throw std::invalid_argument("an image needs " + std::to_string(problem.packs) + " threads; expected at most " +
                                std::to_string(kMost - block) + ": smaller images");
  }
  config.blocks_per_row = static_cast<uint32_t>(std::max<int64_t>((problem.packs + block - 1) / block, 1));
  const int64_t grid = problem.rows * config.blocks_per_row;
  if (grid > kMost) {
    throw std::invalid_argument("the tensor needs " + std::to_string(grid) +
                                " blocks of threads; expected at most 2147483647: a smaller batch");
  }
  config.grid = static_cast<uint32_t>(grid);
  return config;
}

inline RowConfig row_config(const RowProblem& problem) {
  // At most 256 threads, so that a kernel of up to 64 registers runs four blocks a multiprocessor; at least 128, below
  // which there are too many blocks to start. Between them the size that leaves the fewest idle in a row's last block.
  constexpr int kLargest = 256, kSmallest = 128;
  if (problem.packs <= kSmallest) {
    return row_config(problem, static_cast<int>(std::max<int64_t>((problem.packs + 31) / 32, 1) * 32));
  }
  int best = kLargest;
  const auto threads = [&](int block) { return (problem.packs + block - 1) / block * block; };
  for (int block = kLargest; block >= kSmallest; block -= 32) {
    if (threads(block) < threads(best)) best = block;
  }
  return row_config(problem, best);
}

// What the kernel needs of it.
struct RowGrid {
  int packs;
  FastDivmod blocks_per_row;

  RowGrid() = default;
  RowGrid(int64_t packs_, const RowConfig& config)
      : packs(static_cast<int>(packs_)), blocks_per_row(static_cast<int32_t>(config.blocks_per_row)) {}
};

#ifndef ALEXNET_HOST_ONLY
struct RowPlace {
  int64_t row;
  int first;  // pack of the block's first thread
  int pack;   // of this thread
  bool inside;
};

__device__ inline RowPlace row_place(const RowGrid& grid) {
  const int block = static_cast<int>(blockIdx.x);
  const int row = grid.blocks_per_row.quotient(block);
  const int first = grid.blocks_per_row.remainder(block, row) * static_cast<int>(blockDim.x);
  const int pack = first + static_cast<int>(threadIdx.x);
  return {row, first, pack, pack < grid.packs};
}
#endif  // ALEXNET_HOST_ONLY

}  // namespace alexnet
