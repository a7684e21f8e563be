// Launch choice of the matrix product: a pure host function from the problem to tile and splits, with the reason.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <stdexcept>
#include <string>

#include "common/machine.h"
#include "gemm/precision.h"

namespace alexnet {

// The shapes of blocks that exist; conv2d_gemm.cuh says why these.
enum class GemmTile : int { k128x128, k128x96, k192x48, k64x64, k16x128 };

inline constexpr GemmTile kGemmTiles[] = {GemmTile::k128x128, GemmTile::k128x96, GemmTile::k192x48, GemmTile::k64x64,
                                          GemmTile::k16x128};

struct GemmTileSize {
  const char* name;
  int m, n;
  int shared_bytes;  // of a block, in the direction and type that take most
};

constexpr GemmTileSize tile_size(GemmTile tile) {
  constexpr GemmTileSize kSizes[] = {{"128x128", 128, 128, 96 * 1024},
                                     {"128x96", 128, 96, 96 * 1024},
                                     {"192x48", 192, 48, 96 * 1024},
                                     {"64x64", 64, 64, 64 * 1024},
                                     {"16x128", 16, 128, 72 * 1024}};
  return kSizes[static_cast<int>(tile)];
}

// Blocks of a tile that a multiprocessor has registers for: the kernels' __launch_bounds__ hold every compiler and GPU
// to it, and tools/check_kernel_resources.py fails where the code for an H200 leaves room for more. 64 x 64 in float32
// would spill with three.
constexpr int blocks_by_registers(GemmTile tile, Precision precision) {
  if (tile == GemmTile::k64x64) return precision == Precision::kFloat32 ? 2 : 3;
  return tile == GemmTile::k16x128 ? 3 : 1;
}

// Blocks of `bytes` of shared memory that fit a multiprocessor, which keeps 1 KiB of each for itself.
constexpr int blocks_by_shared_memory(int bytes, const Machine& machine) {
  return machine.shared_bytes / (bytes + 1024);
}

// Whether counting with tile_size's shared memory gives the blocks that fit where a block of a tile of m x n takes
// `bytes`, on multiprocessors as large as there are.
constexpr bool is_known_shared_memory(int m, int n, int bytes) {
  for (const GemmTile tile : kGemmTiles) {
    const GemmTileSize size = tile_size(tile);
    if (size.m != m || size.n != n) continue;
    for (const int kibibytes : {100, 164, 228}) {
      const Machine machine{1, kibibytes * 1024};
      if (blocks_by_shared_memory(bytes, machine) != blocks_by_shared_memory(size.shared_bytes, machine)) return false;
    }
    return true;
  }
  return false;
}

// Blocks of a tile that a multiprocessor runs at once. One always fits: no GPU from sm_80 on has less than 100 KiB.
constexpr int resident_blocks(GemmTile tile, Precision precision, const Machine& machine) {
  const int shared = blocks_by_shared_memory(tile_size(tile).shared_bytes, machine);
  return std::max(1, std::min(blocks_by_registers(tile, precision), shared));
}

struct GemmProblem {
  int64_t m, n, k;  // of one group: C is m x n, the reduction k long
  int groups;
  Precision precision;
  bool vector;     // both operands can be read in aligned 16-byte chunks
  bool k_major_a;  // K lies along the first operand's rows (fprop, dgrad), not across them (wgrad)
};

struct GemmConfig {
  GemmTile tile;
  int tile_m, tile_n, tile_k;
  int splits;             // of the reduction
  int tiles_k_per_split;  // the last split may have fewer
  bool vector;
  int resident_blocks;  // at once on a multiprocessor
  double microseconds;  // as modelled

  int64_t tiles_m(const GemmProblem& problem) const { return (problem.m + tile_m - 1) / tile_m; }
  int64_t tiles_n(const GemmProblem& problem) const { return (problem.n + tile_n - 1) / tile_n; }
  int64_t blocks(const GemmProblem& problem) const {
    return tiles_m(problem) * tiles_n(problem) * problem.groups * splits;
  }
  int64_t partial_floats(const GemmProblem& problem) const {
    return splits > 1 ? splits * problem.groups * problem.m * problem.n : 0;
  }
};

// Time of a choice: the products of the multiprocessor with the most blocks, at the tensor cores' rate, which the
// blocks that run at once share; a start for as many blocks as run at once; then the partial sums' way through memory.
// Rates are an H200's. The figures rank choices; they are no measurement.
inline double gemm_microseconds(const GemmProblem& problem, const GemmConfig& config, const Machine& machine) {
  // FLOP an SM and microsecond: a tenth over half of 790 TFLOP/s, which mma.sync reaches on this chip; TF32 half of it;
  // 3xTF32 a third of that.
  const double rate = problem.precision == Precision::kFloat32 ? 0.55e6
                      : problem.precision == Precision::kTf32  ? 1.65e6
                                                               : 3.3e6;
  // Reads of shared memory bound the smaller ones: a warp's 64 x 32 products take 96 elements a step, its 32 x 48 take
  // 80 for three quarters of the products, its 32 x 32 take 64 for half, its 16 x 32 take 48 for a quarter.
  const double efficiency = config.tile == GemmTile::k16x128   ? 0.4
                            : config.tile == GemmTile::k64x64  ? 0.7
                            : config.tile == GemmTile::k192x48 ? 0.8
                            : config.tile == GemmTile::k128x96 ? 0.95
                                                               : 1.0;
  // Pipeline fill, epilogue and the start of a block.
  constexpr double kBlock = 1.5;
  constexpr double kSecondKernel = 2.5;
  constexpr double kBytesPerMicrosecond = 4.3e6;
  const auto rounds = [](int64_t count, int64_t at_once) {
    return std::max<int64_t>((count + at_once - 1) / at_once, 1);
  };
  const int64_t blocks = rounds(config.blocks(problem), machine.multiprocessors);
  const int64_t starts = rounds(blocks, config.resident_blocks);
  const double k = static_cast<double>(config.tiles_k_per_split) * config.tile_k;
  const double products = 2.0 * config.tile_m * config.tile_n * k / (rate * efficiency);
  const double partial = static_cast<double>(config.partial_floats(problem));
  return static_cast<double>(blocks) * products + static_cast<double>(starts) * kBlock +
         (config.splits > 1 ? kSecondKernel + 8.0 * partial / kBytesPerMicrosecond : 0.0);
}

inline GemmConfig gemm_candidate(const GemmProblem& problem, GemmTile tile, int splits, const Machine& machine) {
  GemmConfig config{};
  config.tile = tile;
  config.tile_m = tile_size(tile).m;
  config.tile_n = tile_size(tile).n;
  config.tile_k = 128 / precision_bytes(problem.precision);
  config.vector = problem.vector;
  const int64_t tiles_k = (problem.k + config.tile_k - 1) / config.tile_k;
  config.tiles_k_per_split = static_cast<int>(std::max<int64_t>((tiles_k + splits - 1) / splits, 1));
  // Rounding up may leave the last splits without work.
  config.splits =
      static_cast<int>(std::max<int64_t>((tiles_k + config.tiles_k_per_split - 1) / config.tiles_k_per_split, 1));
  config.resident_blocks = resident_blocks(tile, problem.precision, machine);
  config.microseconds = gemm_microseconds(problem, config, machine);
  return config;
}

// Pins of ALEXNET_CUDA_FORCE, "tile=64x64,splits=3" or one of both; empty: none.
struct GemmForce {
  bool has_tile = false;
  GemmTile tile{};
  int splits = 0;
};

[[noreturn]] inline void throw_bad_force(const std::string& item) {
  std::string tiles;
  for (const GemmTile tile : kGemmTiles) tiles += std::string("tile=") + tile_size(tile).name + ", ";
  throw std::invalid_argument("ALEXNET_CUDA_FORCE has \"" + item + "\"; expected " + tiles + "or splits=1 to 999");
}

inline GemmForce parse_gemm_force(const std::string& text) {
  GemmForce force;
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find(',', start), text.size());
    const std::string item = text.substr(start, end - start);
    start = end + 1;
    if (item.rfind("tile=", 0) == 0) {
      force.has_tile = false;
      for (const GemmTile tile : kGemmTiles) {
        if (item.substr(5) != tile_size(tile).name) continue;
        force.has_tile = true;
        force.tile = tile;
      }
      if (!force.has_tile) throw_bad_force(item);
    } else if (item.rfind("splits=", 0) == 0 && item.size() <= 10 && std::atoi(item.c_str() + 7) > 0) {
      force.splits = std::atoi(item.c_str() + 7);
    } else {
      throw_bad_force(item);
    }
  }
  return force;
}

// Whether a tile can compute a problem. The path without vectors serves shapes of no importance to speed, and few rows
// or columns are a matter of small batches and of one group's channels, which are not what wgrad is long in: each has
// one kernel less to compile.
inline bool fits(GemmTile tile, const GemmProblem& problem) {
  if (!problem.vector) return tile == GemmTile::k64x64;
  return (tile != GemmTile::k16x128 && tile != GemmTile::k192x48) || problem.k_major_a;
}

// A grid has at most 2^31 - 1 blocks along x, where the tiles are, and 65535 along y, where groups and splits are.
inline bool fits_grid(const GemmProblem& problem, const GemmConfig& config) {
  return config.tiles_m(problem) <= std::numeric_limits<int32_t>::max() / config.tiles_n(problem) &&
         int64_t{problem.groups} * config.splits <= 65535;
}

// The tile with the least modelled time on a machine; of equals the larger one. Without splits where none fits a grid.
inline GemmConfig best_tile(const GemmProblem& problem, int splits, const Machine& machine, const GemmForce& force) {
  const bool pinned = force.has_tile && fits(force.tile, problem);
  GemmConfig best{};
  for (const GemmTile tile : kGemmTiles) {
    if (!fits(tile, problem) || (pinned && tile != force.tile)) continue;
    const GemmConfig candidate = gemm_candidate(problem, tile, splits, machine);
    if (!fits_grid(problem, candidate)) continue;
    if (best.splits == 0 || candidate.microseconds < best.microseconds) best = candidate;
  }
  return best;
}

// Why gemm_config made a choice, for people.
inline std::string gemm_reason(const GemmProblem& problem, const GemmConfig& config, const Machine& machine,
                               const GemmForce& force) {
  const std::string text = !problem.vector ? "the only tile whose operands need not be 16-byte chunks"
                           : force.has_tile && fits(force.tile, problem) ? "tile pinned by ALEXNET_CUDA_FORCE"
                                                                         : "least modelled time of all tiles";
  const std::string pinned = force.splits > 0 ? " (" + std::to_string(force.splits) + " pinned)" : "";
  char numbers[160];
  std::snprintf(numbers, sizeof(numbers), "; %lld blocks on %d SMs, %d at once on each, %d split%s%s: %.1f us modelled",
                static_cast<long long>(config.blocks(problem)), machine.multiprocessors, config.resident_blocks,
                config.splits, config.splits == 1 ? "" : "s", pinned.c_str(), config.microseconds);
  return text + numbers;
}

// The choice with the least modelled time; of equals the one with fewer splits, then the larger tile. The splits, which
// decide the order of additions, are those that are best on an H200: the same bits on every machine. All tiles add up
// in the same order, so the tile is the machine's best for these splits.
//
// Pins hold for all layers of a network: a tile that does not fit is passed over, and there are no more splits than the
// reduction has tiles. Throws std::invalid_argument where no grid is large enough.
inline GemmConfig gemm_config(const GemmProblem& problem, const Machine& machine, const GemmForce& force = {}) {
  constexpr int kSplits[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64};
  GemmConfig reference{};
  for (const int each : kSplits) {
    const GemmConfig candidate = best_tile(problem, force.splits > 0 ? force.splits : each, kReferenceMachine, force);
    if (candidate.splits == 0) continue;
    if (reference.splits == 0 || candidate.microseconds < reference.microseconds) reference = candidate;
  }
  if (reference.splits == 0) {
    throw std::invalid_argument(
        "a matrix product of " + std::to_string(problem.groups) + " times " + std::to_string(problem.m) + " x " +
        std::to_string(problem.n) + " x " + std::to_string(problem.k) +
        (force.splits > 0 ? " in " + std::to_string(force.splits) + " splits (ALEXNET_CUDA_FORCE)" : "") +
        " needs too many blocks; expected at most 2147483647 tiles, and 65535 groups times splits");
  }
  return best_tile(problem, reference.splits, machine, force);
}

}  // namespace alexnet
