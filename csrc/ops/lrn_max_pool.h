// LRN and the max-pool after it in one pass: parameters, launch choice and launches. Kernels and their contracts:
// lrn_max_pool.cuh, lrn.cuh.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

#include "common/machine.h"
#include "ops/lrn.h"
#include "ops/max_pool.h"

namespace alexnet {

struct LrnMaxPoolFpropParams {
  const void* x;    // [N, H, W, C]
  void* y;          // [N, P, Q, C]
  uint8_t* argmax;  // [N, P, Q, C]; null: not wanted
  PoolShape shape;
  LrnWindow window;
  DType dtype;
};

struct LrnMaxPoolBpropParams {
  const void* dy;         // [N, P, Q, C]
  const uint8_t* argmax;  // [N, P, Q, C]
  const void* x;          // [N, H, W, C]
  void* dx;               // [N, H, W, C], not x
  PoolShape shape;
  LrnWindow window;
  bool relu;  // as in LrnBpropParams
  DType dtype;
};

struct LrnMaxPoolProblem {
  PoolShape shape;
  LrnWindow window;
  int element_bytes;
  bool aligned;  // every pointer is a multiple of 16 bytes
};

// A block normalises the input of `rows` * `columns` outputs and `packs` * `vector` channels into shared memory.
struct LrnMaxPoolConfig {
  int vector;  // channels a thread takes
  int block;
  int rows, columns, packs;
  int row_tiles, column_tiles, pack_tiles;
  size_t shared_bytes;
  uint32_t grid;
};

constexpr int kLrnMaxPoolBlock = 256;

// Blocks that fill the multiprocessors twice; with fewer, the idle ones cost as much as the others take.
inline uint32_t lrn_max_pool_full_grid(const Machine& machine) {
  return 2 * static_cast<uint32_t>(machine.multiprocessors);
}

// Input pixels along one axis that `outputs` windows of a pool read.
inline int pool_extent(const PoolShape& shape, int outputs) {
  return (outputs - 1) * shape.stride + shape.size;
}

// The largest tile below `tile` that divides `total` into tiles of nearly equal size; 0 after 1.
inline int next_tile(int total, int tile) {
  if (tile == 1) return 0;
  const int tiles = (total + tile - 2) / (tile - 1);
  return (total + tiles - 1) / tiles;
}

// What a choice costs, in packs normalised; the lowest wins.
inline double lrn_max_pool_cost(const LrnMaxPoolProblem& problem, const LrnMaxPoolConfig& config,
                                const Machine& machine) {
  const int segment_packs = problem.window.length() / config.vector;
  // A tile that ends inside a segment reads a sector of its neighbours at either end of every pixel, from L2: half
  // price.
  const double halo = config.packs % segment_packs == 0 ? 0.0 : 16.0 * 2 / (config.vector * problem.element_bytes);
  const int64_t pixels = int64_t{pool_extent(problem.shape, config.rows)} * pool_extent(problem.shape, config.columns);
  const int64_t packs = pixels * config.packs;
  const int64_t passes = (packs + kLrnMaxPoolBlock - 1) / kLrnMaxPoolBlock;
  // One pass more for starting the block and its barrier.
  const double block = static_cast<double>((passes + 1) * kLrnMaxPoolBlock) + static_cast<double>(pixels) * halo;
  return block * static_cast<double>(std::max(config.grid, lrn_max_pool_full_grid(machine)));
}

inline LrnMaxPoolConfig lrn_max_pool_config(const LrnMaxPoolProblem& problem, const Machine& machine) {
  // Four blocks of 256 threads a multiprocessor, as many as 64 registers a thread allow, share its memory, which keeps
  // 1 KiB of each for itself; without asking for more a block has at most 48 KiB.
  const int64_t most_bytes = std::min(48 * 1024, machine.shared_bytes / 4 - 1024);
  const PoolShape& shape = problem.shape;
  const int widest = 16 / problem.element_bytes;
  const bool vectors =
      problem.window.size == kLrnVectorSize && problem.window.length() % widest == 0 && problem.aligned;
  const int vector = vectors ? widest : 1;
  const int all_packs = shape.channels / vector;
  const int64_t pack_bytes = int64_t{vector} * problem.element_bytes;
  const auto tiles = [](int total, int tile) { return (total + tile - 1) / tile; };
  LrnMaxPoolConfig best{};
  double least = 0.0;
  for (int packs = all_packs; packs > 0; packs = next_tile(all_packs, packs)) {
    for (int columns = shape.out_width; columns > 0; columns = next_tile(shape.out_width, columns)) {
      for (int rows = shape.out_height; rows > 0; rows = next_tile(shape.out_height, rows)) {
        const int64_t bytes = int64_t{pool_extent(shape, rows)} * pool_extent(shape, columns) * packs * pack_bytes;
        if (bytes > most_bytes) continue;
        LrnMaxPoolConfig config{vector,
                                kLrnMaxPoolBlock,
                                rows,
                                columns,
                                packs,
                                tiles(shape.out_height, rows),
                                tiles(shape.out_width, columns),
                                tiles(all_packs, packs),
                                static_cast<size_t>(bytes),
                                0};
        const int64_t blocks = shape.images * config.row_tiles * config.column_tiles * config.pack_tiles;
        if (blocks > std::numeric_limits<int32_t>::max()) continue;
        config.grid = static_cast<uint32_t>(blocks);
        const double cost = lrn_max_pool_cost(problem, config, machine);
        if (best.block == 0 || cost < least) {
          best = config;
          least = cost;
        }
        // Lower tiles read more twice and win only by filling the device; and the choice is made at every launch.
        if (config.grid >= lrn_max_pool_full_grid(machine)) break;
      }
    }
  }
  if (best.block == 0) {
    throw std::invalid_argument("images is " + std::to_string(shape.images) +
                                "; expected a batch of fewer than 2147483648 blocks of threads");
  }
  return best;
}

// The backward pass is the LRN's, lrn_bprop_config, with the gradient gathered through the pool.
void launch_lrn_max_pool_fprop(const LrnMaxPoolFpropParams& params, cudaStream_t stream);
void launch_lrn_max_pool_bprop(const LrnMaxPoolBpropParams& params, cudaStream_t stream);

}  // namespace alexnet
