// Rung 8: fused, as the package does it: bias and ReLU where the sums are, and stores of 16 bytes.
//
// ReLU and bias as kernels of their own would read and write y once more, 4 bytes an element where the product itself
// has to move 3. And rung 6 stores 2 bytes at a time: here the sums go through shared memory, which the pipeline no
// longer needs, and leave it as rows, 16 bytes a thread and 256 a row, so that no sector of y is written in parts.
//
// Rows of 128 + 8 floats keep the four rows that half a warp writes apart. csrc/gemm/block.cuh is this kernel for every
// type, tile, operand and epilogue: dropout, addends, gradients with ReLU undone, and SGD in the epilogue of the weight
// gradient.
//
// Computes ReLU(y + bias). Grid, block and shared memory of rung 6. Deterministic.
#pragma once

#include "6_pipeline.cuh"

namespace fused {

constexpr int kPitch = pipeline::kTile + 8, kVector = 8;
static_assert(pipeline::kTile * kPitch * sizeof(float) <= pipeline::kSharedBytes, "the sums fit where the stages were");

__global__ void __launch_bounds__(pipeline::kThreads) conv2_kernel(Operands a, Problem p) {
  extern __shared__ __align__(128) char shared[];
  const int first_m = blockIdx.x * pipeline::kTile, group = blockIdx.y;
  float sums[4][8][4] = {};
  pipeline::multiply(sums, a, p, group, first_m, 0, pipeline::kSteps, shared);
  float* const staged = reinterpret_cast<float*>(shared);
  pipeline::each_pair(sums, [&](int m, int k, float first, float second) {
    *reinterpret_cast<float2*>(staged + m * kPitch + k) = {first, second};
  });
  __syncthreads();
  constexpr int kPerRow = pipeline::kTile / kVector;
  for (int i = threadIdx.x; i < pipeline::kTile * kPerRow; i += pipeline::kThreads) {
    const int m = i / kPerRow, k = i % kPerRow * kVector;
    if (first_m + m >= p.rows()) break;
    __align__(16) bf16 eight[kVector];
#pragma unroll
    for (int j = 0; j < kVector; ++j) {
      const float sum = staged[m * kPitch + k + j] + a.bias[group * kGroupK + k + j];
      eight[j] = from_float<bf16>(sum <= 0.0f ? 0.0f : sum);
    }
    bf16* const to = a.y + (first_m + m) * kK + group * kGroupK + k;
    *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(eight);
  }
}

inline void run(const Operands& a, Problem p) {
  cudaFuncSetAttribute(conv2_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, pipeline::kSharedBytes);
  conv2_kernel<<<dim3(blocks(p.rows(), pipeline::kTile), kGroups), pipeline::kThreads, pipeline::kSharedBytes>>>(a, p);
}

}  // namespace fused
