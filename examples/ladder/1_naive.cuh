// Rung 1: one thread an element of y, straight from the formula.
//
// Each thread reads all 1200 pairs of operands from global memory: 4 bytes for 2 FLOPs, so memory or the caches in
// front of it set the time. And neighbouring threads read what lies far apart: threads along x have other output
// positions, 192 bytes from one to the next in x, so that a warp's load of one channel touches 32 sectors of 32 bytes
// to use 2 bytes of each.
//
// Grid: (rows / 16, 256 / 16); block: 16 x 16. Deterministic.
#pragma once

#include "problem.cuh"

namespace naive {

constexpr int kTile = 16;

__global__ void conv2_kernel(Operands a, Problem p) {
  const int m = blockIdx.x * kTile + threadIdx.x;
  const int k = blockIdx.y * kTile + threadIdx.y;
  if (m >= p.rows()) return;
  const int group = k / kGroupK;
  float sum = 0.0f;
  for (int tap = 0; tap < kTaps; ++tap) {
    const bf16* const from = patch(a, p, group, m, tap);
    if (from == nullptr) continue;
    const bf16* const weight = a.weight + (k * kTaps + tap) * kGroupC;
    for (int c = 0; c < kGroupC; ++c) sum += to_float(from[c]) * to_float(weight[c]);
  }
  a.y[m * kK + k] = from_float<bf16>(sum);
}

inline void run(const Operands& a, Problem p) {
  conv2_kernel<<<dim3(blocks(p.rows(), kTile), kK / kTile), dim3(kTile, kTile)>>>(a, p);
}

}  // namespace naive
