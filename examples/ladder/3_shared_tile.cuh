// Rung 3: a tile in shared memory. A block computes 32 x 32 of y and reads each of its operands once for all of them.
//
// For a tap, 32 rows of patches and 32 filters of 48 channels are brought to shared memory, coalesced, and each of
// these numbers is then used 32 times. From global memory come 4 bytes for 64 FLOPs instead of for 2. Now shared memory
// is what limits: two loads of it for one multiply-add.
//
// A row is 48 channels and one word of padding: without it, the 32 rows that a warp reads at once would begin in 4
// banks (48 bf16 are 24 words, and 4 rows of 24 words are 3 times 32 banks).
//
// Grid: (rows / 32, 256 / 32); block: 32 x 8, four elements of y a thread; 6400 bytes of shared memory. Deterministic.
#pragma once

#include "problem.cuh"

namespace shared_tile {

constexpr int kTile = 32, kThreadsY = 8, kEach = kTile / kThreadsY;
constexpr int kPitch = kGroupC + 2;

__global__ void conv2_kernel(Operands a, Problem p) {
  __shared__ bf16 tile_x[kTile][kPitch];
  __shared__ bf16 tile_weight[kTile][kPitch];
  const int first_m = blockIdx.x * kTile, first_k = blockIdx.y * kTile;
  const int group = first_k / kGroupK;
  const int thread = threadIdx.y * kTile + threadIdx.x;
  float sums[kEach] = {};
  for (int tap = 0; tap < kTaps; ++tap) {
    for (int i = thread; i < kTile * kGroupC; i += kTile * kThreadsY) {
      const int line = i / kGroupC, c = i % kGroupC;
      const bf16* const from = first_m + line < p.rows() ? patch(a, p, group, first_m + line, tap) : nullptr;
      tile_x[line][c] = from != nullptr ? from[c] : from_float<bf16>(0.0f);
      tile_weight[line][c] = a.weight[((first_k + line) * kTaps + tap) * kGroupC + c];
    }
    __syncthreads();
    for (int c = 0; c < kGroupC; ++c) {
      const float weight = to_float(tile_weight[threadIdx.x][c]);
      for (int i = 0; i < kEach; ++i) sums[i] += to_float(tile_x[threadIdx.y + i * kThreadsY][c]) * weight;
    }
    __syncthreads();
  }
  for (int i = 0; i < kEach; ++i) {
    const int m = first_m + threadIdx.y + i * kThreadsY;
    if (m < p.rows()) a.y[m * kK + first_k + threadIdx.x] = from_float<bf16>(sums[i]);
  }
}

inline void run(const Operands& a, Problem p) {
  conv2_kernel<<<dim3(blocks(p.rows(), kTile), kK / kTile), dim3(kTile, kThreadsY)>>>(a, p);
}

}  // namespace shared_tile
