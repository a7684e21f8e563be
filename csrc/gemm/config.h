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

enum class GemmTile : int { k128x128, k128x96, k64x64 };

struct GemmProblem {
  int64_t m, n, k;  // of one group: C is m x n, the reduction k long
  int groups;
  Precision precision;
  bool vector;  // both operands can be read in aligned 16-byte chunks
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
  // Shared memory reads a multiply-add: what a warp's 64 x 32 loads once, its 32 x 32 loads 1.33 times.
  const double efficiency = config.tile == GemmTile::k64x64 ? 0.7 : config.tile == GemmTile::k128x96 ? 0.95 : 1.0;
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
  config.tile_m = tile == GemmTile::k64x64 ? 64 : 128;
  config.tile_n = tile == GemmTile::k64x64 ? 64 : tile == GemmTile::k128x96 ? 96 : 128;
  config.tile_k = 128 / precision_bytes(problem.precision);
  config.vector = problem.vector;
  const int64_t tiles_k = (problem.k + config.tile_k - 1) / config.tile_k;
  config.tiles_k_per_split = static_cast<int>(std::max<int64_t>((tiles_k + splits - 1) / splits, 1));
  // Rounding up may leave the last splits without work.
  config.splits = static_cast<int>(
      std::max<int64_t>((tiles_k + config.tiles_k_per_split - 1) / config.tiles_k_per_split, 1));
  config.microseconds = gemm_microseconds(problem, config);
  return config;
}

// Pins of ALEXNET_CUDA_FORCE, "tile=64x64,splits=3" or one of both; empty: none.
struct GemmForce {
  bool has_tile = false;
  GemmTile tile{};
  int splits = 0;
};

inline GemmForce parse_gemm_force(const std::string& text) {
  GemmForce force;
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find(',', start), text.size());
    const std::string item = text.substr(start, end - start);
    start = end + 1;
    if (item == "tile=128x128" || item == "tile=128x96" || item == "tile=64x64") {
      force.has_tile = true;
      force.tile = item == "tile=128x128"  ? GemmTile::k128x128
                   : item == "tile=128x96" ? GemmTile::k128x96
                                           : GemmTile::k64x64;
    } else if (item.rfind("splits=", 0) == 0 && item.size() <= 10 && std::atoi(item.c_str() + 7) > 0) {
      force.splits = std::atoi(item.c_str() + 7);
    } else {
      throw std::invalid_argument("ALEXNET_CUDA_FORCE has \"" + item +
                                  "\"; expected tile=128x128, tile=128x96, tile=64x64 or splits=1 to 999");
    }
  }
  return force;
}

inline std::string gemm_reason(const GemmProblem& problem, const GemmConfig& config, const GemmForce& force) {
  const int64_t blocks = config.tiles_m(problem) * config.tiles_n(problem) * problem.groups * config.splits;
  std::string text = !problem.vector  ? "64x64 is the only tile whose operands need not be 16-byte chunks"
                     : force.has_tile ? "tile pinned by ALEXNET_CUDA_FORCE"
                                      : "least modelled time of the three tiles";
  char numbers[160];
  std::snprintf(numbers, sizeof(numbers), "; %lld blocks on 132 SMs, %d split%s%s: %.1f us modelled",
                static_cast<long long>(blocks), config.splits, config.splits == 1 ? "" : "s",
                force.splits > 0 ? " (pinned)" : "", config.microseconds);
  return text + numbers;
}

// The choice with the least modelled time; of equals the one with fewer splits, then the larger tile.
inline GemmConfig gemm_config(const GemmProblem& problem, const GemmForce& force = {}) {
  constexpr int kSplits[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64};
  constexpr GemmTile kTiles[] = {GemmTile::k128x128, GemmTile::k128x96, GemmTile::k64x64};
  GemmConfig best{};
  for (const int each : kSplits) {
    const int splits = force.splits > 0 ? force.splits : each;
    for (const GemmTile tile : kTiles) {
      // The path without vectors exists for one tile only: it serves shapes of no importance to speed.
      if (!problem.vector && tile != GemmTile::k64x64) continue;
      if (problem.vector && force.has_tile && tile != force.tile) continue;
      const GemmConfig candidate = gemm_candidate(problem, tile, splits);
      if (best.splits == 0 || candidate.microseconds < best.microseconds) best = candidate;
    }
  }
  best.reason = gemm_reason(problem, best, force);
  return best;
}

}  // namespace alexnet
