// Launch choice of the matrix product: a pure host function from the problem to tile and splits, with the reason.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "gemm/precision.h"

namespace alexnet {

// The shapes of blocks that exist; conv2d_gemm.cuh says why these.
enum class GemmTile : int { k128x128, k128x96, k192x48, k64x64, k16x128 };

struct GemmTileSize {
  const char* name;
  int m, n;
};

inline GemmTileSize tile_size(GemmTile tile) {
  constexpr GemmTileSize kSizes[] = {
      {"128x128", 128, 128}, {"128x96", 128, 96}, {"192x48", 192, 48}, {"64x64", 64, 64}, {"16x128", 16, 128}};
  return kSizes[static_cast<int>(tile)];
}

inline constexpr GemmTile kGemmTiles[] = {GemmTile::k128x128, GemmTile::k128x96, GemmTile::k192x48, GemmTile::k64x64,
                                          GemmTile::k16x128};

struct GemmProblem {
  int64_t m, n, k;  // of one group: C is m x n, the reduction k long
  int groups;
  Precision precision;
  bool vector;      // both operands can be read in aligned 16-byte chunks
  bool depth_rows;  // the reduction lies along the rows of the first operand (fprop, dgrad), not across them (wgrad)
};

struct GemmConfig {
  GemmTile tile;
  int tile_m, tile_n, tile_k;
  int splits;             // of the reduction
  int tiles_k_per_split;  // the last split may have fewer
  bool vector;
  double microseconds;  // as modelled
  std::string reason;

  int64_t tiles_m(const GemmProblem& problem) const { return (problem.m + tile_m - 1) / tile_m; }
  int64_t tiles_n(const GemmProblem& problem) const { return (problem.n + tile_n - 1) / tile_n; }
  int64_t partial_floats(const GemmProblem& problem) const {
    return splits > 1 ? splits * problem.groups * problem.m * problem.n : 0;
  }
};

// Time of a choice on an H200: rounds of blocks over its 132 SMs at the tensor cores' rate, then the partial sums' way
// through memory. The figures rank choices; they are no measurement. They do not depend on the device that is present,
// so neither do the order of additions and the bits of the result.
inline double gemm_microseconds(const GemmProblem& problem, const GemmConfig& config) {
  constexpr double kSms = 132;
  // FLOP an SM and microsecond: a tenth over half of 790 TFLOP/s, which mma.sync reaches on this chip; TF32 half of it;
  // 3xTF32 a third of that.
  const double rate = problem.precision == Precision::kFloat32 ? 0.55e6
                      : problem.precision == Precision::kTf32  ? 1.65e6
                                                               : 3.3e6;
  // Reads of shared memory bound the smaller ones: a warp's 64 x 32 products take 96 numbers a step, its 32 x 48 take
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
  const double blocks =
      static_cast<double>(config.tiles_m(problem) * config.tiles_n(problem)) * problem.groups * config.splits;
  const double depth = static_cast<double>(config.tiles_k_per_split) * config.tile_k;
  const double block = 2.0 * config.tile_m * config.tile_n * depth / (rate * efficiency) + kBlock;
  const double rounds = std::max(1.0, static_cast<double>(static_cast<int64_t>((blocks + kSms - 1) / kSms)));
  const double partial = static_cast<double>(config.partial_floats(problem));
  return rounds * block + (config.splits > 1 ? kSecondKernel + 8.0 * partial / kBytesPerMicrosecond : 0.0);
}

inline GemmConfig gemm_candidate(const GemmProblem& problem, GemmTile tile, int splits) {
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
  config.microseconds = gemm_microseconds(problem, config);
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

inline std::string gemm_reason(const GemmProblem& problem, const GemmConfig& config, bool tile_pinned,
                               bool splits_pinned) {
  const int64_t blocks = config.tiles_m(problem) * config.tiles_n(problem) * problem.groups * config.splits;
  std::string text = !problem.vector ? "the only tile whose operands need not be 16-byte chunks"
                     : tile_pinned   ? "tile pinned by ALEXNET_CUDA_FORCE"
                                     : "least modelled time of all tiles";
  char numbers[160];
  std::snprintf(numbers, sizeof(numbers), "; %lld blocks on 132 SMs, %d split%s%s: %.1f us modelled",
                static_cast<long long>(blocks), config.splits, config.splits == 1 ? "" : "s",
                splits_pinned ? " (pinned)" : "", config.microseconds);
  return text + numbers;
}

// Whether a tile can compute a problem. The path without vectors serves shapes of no importance to speed, and few rows
// or columns are a matter of small batches and of one group's channels, which are not what wgrad is long in: each has
// one kernel less to compile.
inline bool fits(GemmTile tile, const GemmProblem& problem) {
  if (!problem.vector) return tile == GemmTile::k64x64;
  return (tile != GemmTile::k16x128 && tile != GemmTile::k192x48) || problem.depth_rows;
}

// The choice with the least modelled time; of equals the one with fewer splits, then the larger tile. A pinned tile
// that does not fit is passed over.
inline GemmConfig gemm_config(const GemmProblem& problem, const GemmForce& force = {}) {
  constexpr int kSplits[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64};
  const bool pinned = force.has_tile && fits(force.tile, problem);
  GemmConfig best{};
  for (const int each : kSplits) {
    const int splits = force.splits > 0 ? force.splits : each;
    for (const GemmTile tile : kGemmTiles) {
      if (!fits(tile, problem) || (pinned && tile != force.tile)) continue;
      const GemmConfig candidate = gemm_candidate(problem, tile, splits);
      if (best.splits == 0 || candidate.microseconds < best.microseconds) best = candidate;
    }
  }
  best.reason = gemm_reason(problem, best, pinned, force.splits > 0);
  return best;
}

}  // namespace alexnet
