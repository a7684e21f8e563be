// Rung 4: a tile in registers. Each thread computes 8 x 8 of the block's 128 x 128 of y.
//
// For a channel a thread reads 8 + 8 numbers from shared memory and makes 64 multiply-adds of them: a quarter of a load
// each, where rung 3 needed more than one. Now the FP32 units are what limits. The operands lie in shared memory as
// float32, depth first, so that a thread's 8 neighbours are two loads of 16 bytes and are converted once, not once a
// use.
//
// A quarter of a tap at a time, 12 channels: 128 x 12 floats an operand. Rows of 128 + 4 floats keep the writes, which
// go down the columns, from meeting in a bank more than twice.
//
// Grid: (rows / 128, 256 / 128), a group a block; block: 256; 12,672 bytes of shared memory. Deterministic.
#pragma once

#include "problem.cuh"

namespace register_tile {

constexpr int kTile = 128, kEach = 8, kThreads = 256, kStep = 12;
constexpr int kPitch = kTile + 4;
static_assert(kTile == kGroupK, "a block's columns are one group's");

__device__ inline void load_eight(float (&to)[kEach], const float* from) {
  for (int i = 0; i < kEach; i += 4) {
    const float4 four = *reinterpret_cast<const float4*>(from + i);
    to[i] = four.x, to[i + 1] = four.y, to[i + 2] = four.z, to[i + 3] = four.w;
  }
}

__global__ void __launch_bounds__(kThreads) conv2_kernel(Operands a, Problem p) {
  __shared__ __align__(16) float tile_x[kStep][kPitch];
  __shared__ __align__(16) float tile_weight[kStep][kPitch];
  const int first_m = blockIdx.x * kTile, group = blockIdx.y;
  const int thread_m = threadIdx.x / 16 * kEach, thread_k = threadIdx.x % 16 * kEach;
  float sums[kEach][kEach] = {};
  for (int step = 0; step < kDepth / kStep; ++step) {
    const int tap = step * kStep / kGroupC, first_c = step * kStep % kGroupC;
    for (int i = threadIdx.x; i < kTile * kStep; i += kThreads) {
      const int line = i / kStep, c = i % kStep;
      const bf16* const from = first_m + line < p.rows() ? patch(a, p, group, first_m + line, tap) : nullptr;
      tile_x[c][line] = from != nullptr ? to_float(from[first_c + c]) : 0.0f;
      tile_weight[c][line] = to_float(a.weight[((group * kGroupK + line) * kTaps + tap) * kGroupC + first_c + c]);
    }
    __syncthreads();
    for (int c = 0; c < kStep; ++c) {
      float x[kEach], weight[kEach];
      load_eight(x, &tile_x[c][thread_m]);
      load_eight(weight, &tile_weight[c][thread_k]);
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
#pragma unroll
        for (int j = 0; j < kEach; ++j) sums[i][j] += x[i] * weight[j];
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int m = first_m + thread_m + i;
    if (m >= p.rows()) break;
#pragma unroll
    for (int j = 0; j < kEach; ++j) a.y[m * kK + group * kGroupK + thread_k + j] = from_float<bf16>(sums[i][j]);
  }
}

inline void run(const Operands& a, Problem p) {
  conv2_kernel<<<dim3(blocks(p.rows(), kTile), kGroups), kThreads>>>(a, p);
}

}  // namespace register_tile
