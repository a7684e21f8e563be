// conv2 of AlexNet, forward, which every rung computes:
//   y[n, p, q, g 128 + k] = sum over r, s, c of x[n, p + r - 2, q + s - 2, g 48 + c] weight[g 128 + k, r, s, c]
// zero where x is outside the image. As a product of matrices, one a group: y[m, k] = sum over d of patch[m, d]
// weight[k, d] with m = (n, p, q) and d = (r, s, c). The patches are never written to memory: that is the "implicit" in
// implicit GEMM. FLOPs: 2 N H W 256 1200. Bytes that have to move: 2 (N H W 96 + N H W 256 + 256 1200).
#pragma once

#include <cuda_runtime.h>

#include "common/dtype.h"

using alexnet::bf16;
using alexnet::from_float;
using alexnet::to_float;

constexpr int kGroups = 2, kC = 96, kK = 256, kR = 5, kS = 5, kPadding = 2;
constexpr int kGroupC = kC / kGroups, kGroupK = kK / kGroups;
constexpr int kTaps = kR * kS, kDepth = kTaps * kGroupC;  // 25 and 1200

struct Problem {
  int n, h, w;
  __host__ __device__ int rows() const { return n * h * w; }  // of a group's product
};

// What a rung is given and has to write. Float `partial` and `bias` are there for those that want them.
struct Operands {
  const bf16* x;       // [N, H, W, 96]
  const bf16* weight;  // [256, 5, 5, 48]
  const float* bias;   // [256]
  bf16* y;             // [N, H, W, 256]
  float* partial;      // [kSplits, N H W, 256]
};

// Where row m of a group's patches has its 48 channels under a filter tap, or null outside the image.
__device__ inline const bf16* patch(const Operands& a, Problem p, int group, int m, int tap) {
  const int image = m / (p.h * p.w), position = m % (p.h * p.w);
  const int row = position / p.w + tap / kS - kPadding, column = position % p.w + tap % kS - kPadding;
  if (row < 0 || row >= p.h || column < 0 || column >= p.w) return nullptr;
  return a.x + ((image * p.h + row) * p.w + column) * kC + group * kGroupC;
}

inline int blocks(int count, int tile) {
  return (count + tile - 1) / tile;
}
