// Rung 7: split-K. Several blocks share a tile's depth, so that a small batch fills the GPU.
//
// At batch 1 there are 729 rows: 6 x 2 tiles of 128 x 128 for a GPU of a hundred multiprocessors and more. Here kSplits
// blocks take a part of the 19 steps each and leave float32 sums, and a second kernel adds those up, always in the same
// order: float atomics would need no second pass, but their sums differ from run to run.
//
// It costs 4 bytes written and read for each element and split, so it pays where tiles are few and depth is large: at
// batch 128 rung 6 has 1458 blocks and is better alone. The package's plan weighs that (csrc/ops/conv2d_plan.h).
//
// Grid: (rows / 128, groups, splits), then (rows 256 / 256). Deterministic.
#pragma once

#include "6_pipeline.cuh"

namespace split_k {

constexpr int kSplits = 5, kStepsEach = (pipeline::kSteps + kSplits - 1) / kSplits;
constexpr int kReduceThreads = 256;

__global__ void __launch_bounds__(pipeline::kThreads) conv2_kernel(Operands a, Problem p) {
  extern __shared__ __align__(128) char shared[];
  const int first_m = blockIdx.x * pipeline::kTile, group = blockIdx.y, split = blockIdx.z;
  const int begin = split * kStepsEach, end = min(begin + kStepsEach, pipeline::kSteps);
  float sums[4][8][4] = {};
  pipeline::multiply(sums, a, p, group, first_m, begin, end, shared);
  pipeline::each_pair(sums, [&](int m, int k, float first, float second) {
    if (first_m + m >= p.rows()) return;
    float* const to = a.partial + (split * p.rows() + first_m + m) * kK + group * kGroupK + k;
    *reinterpret_cast<float2*>(to) = {first, second};
  });
}

__global__ void reduce_kernel(Operands a, Problem p) {
  const int i = blockIdx.x * kReduceThreads + threadIdx.x;
  float sum = 0.0f;
  for (int split = 0; split < kSplits; ++split) sum += a.partial[split * p.rows() * kK + i];
  a.y[i] = from_float<bf16>(sum);
}

inline void run(const Operands& a, Problem p) {
  cudaFuncSetAttribute(conv2_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, pipeline::kSharedBytes);
  const dim3 grid(blocks(p.rows(), pipeline::kTile), kGroups, kSplits);
  conv2_kernel<<<grid, pipeline::kThreads, pipeline::kSharedBytes>>>(a, p);
  reduce_kernel<<<p.rows() * kK / kReduceThreads, kReduceThreads>>>(a, p);
}

}  // namespace split_k
