// Rung 5: tensor cores. `mma.sync` makes 16 x 8 of y from 16 channels in one instruction of a warp, 4096 FLOPs.
//
// A block is 64 x 64 of y and four warps of 32 x 32 each: 2 x 4 products of 16 x 8. The operands stay bfloat16, and a
// lane reads pairs of channels as words straight in the order that the instruction wants (csrc/ptx/mma.cuh): row lane /
// 4, channels 2 (lane % 4) and the next. A row of 48 + 8 channels is 28 words; 28 times 0..7 plus 0..3 falls into 32
// different banks.
//
// Global memory is read 16 bytes at a time: 48 channels of a tap are 6 chunks. But the warps still wait at each tap,
// first for global memory, then for each other.
//
// Grid: (rows / 64, 256 / 64); block: 128; 14,336 bytes of shared memory. Deterministic; sums in the tensor cores'
// order.
#pragma once

#include "problem.cuh"
#include "ptx/mma.cuh"

namespace tensor_cores {

constexpr int kTile = 64, kWarpTile = 32, kThreads = 128;
constexpr int kPitch = kGroupC + 8, kChunks = kGroupC / 8;

// Channels `c` and `c + 1` of a row.
__device__ inline uint32_t word(const bf16* row, int c) {
  return *reinterpret_cast<const uint32_t*>(row + c);
}

__global__ void __launch_bounds__(kThreads) conv2_kernel(Operands a, Problem p) {
  __shared__ __align__(16) bf16 tile_x[kTile][kPitch];
  __shared__ __align__(16) bf16 tile_weight[kTile][kPitch];
  const int first_m = blockIdx.x * kTile, first_k = blockIdx.y * kTile;
  const int group = first_k / kGroupK;
  const int warp = threadIdx.x / 32, line = threadIdx.x % 32 / 4, pair = threadIdx.x % 4 * 2;
  const int warp_m = warp / 2 * kWarpTile, warp_k = warp % 2 * kWarpTile;
  float sums[2][4][4] = {};
  for (int tap = 0; tap < kTaps; ++tap) {
    for (int i = threadIdx.x; i < kTile * kChunks; i += kThreads) {
      const int row = i / kChunks, c = i % kChunks * 8;
      const bf16* const from = first_m + row < p.rows() ? patch(a, p, group, first_m + row, tap) : nullptr;
      const bf16* const weight = a.weight + ((first_k + row) * kTaps + tap) * kGroupC;
      const uint4 zero = {0, 0, 0, 0};
      *reinterpret_cast<uint4*>(&tile_x[row][c]) = from != nullptr ? *reinterpret_cast<const uint4*>(from + c) : zero;
      *reinterpret_cast<uint4*>(&tile_weight[row][c]) = *reinterpret_cast<const uint4*>(weight + c);
    }
    __syncthreads();
    for (int c = 0; c < kGroupC; c += 16) {
      uint32_t x[2][4], weight[4][2];
#pragma unroll
      for (int i = 0; i < 8; ++i)
        x[i / 4][i % 4] = word(tile_x[warp_m + i / 4 * 16 + i % 2 * 8 + line], c + i % 4 / 2 * 8 + pair);
#pragma unroll
      for (int i = 0; i < 8; ++i)
        weight[i / 2][i % 2] = word(tile_weight[warp_k + i / 2 * 8 + line], c + i % 2 * 8 + pair);
      alexnet::ptx::mma_tile<alexnet::ptx::MmaInput::kBFloat16>(sums, x, weight);
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 2 * 4 * 4; ++i) {
    const int m = first_m + warp_m + i / 16 * 16 + i % 4 / 2 * 8 + line;
    const int k = first_k + warp_k + i / 4 % 4 * 8 + pair + i % 2;
    if (m < p.rows()) a.y[m * kK + k] = from_float<bf16>(sums[i / 16][i / 4 % 4][i % 4]);
  }
}

inline void run(const Operands& a, Problem p) {
  conv2_kernel<<<dim3(blocks(p.rows(), kTile), kK / kTile), kThreads>>>(a, p);
}

}  // namespace tensor_cores
