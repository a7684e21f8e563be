// Rung 6: a pipeline of `cp.async` into swizzled tiles, read by `ldmatrix`.
//
// Three stages of shared memory: while the tensor cores work on one, the copies of the next two are under way, and no
// thread waits for global memory nor holds it in registers. A block is now 128 x 128 of y, four warps of 64 x 64: each
// number that comes to shared memory is used 128 times, each that a warp reads from there 64 times.
//
// A step is 64 of the depth, 128 bytes a row; the 8 chunks of row r lie in the order chunk ^ (r % 8). So neither the
// copies, which write a row, nor ldmatrix, which reads one chunk of 8 rows, meet in a bank, and no byte is padding. 48
// channels are 6 chunks, so a chunk never straddles two taps; chunk 150 and on, beyond the depth of 1200, are zeros.
//
// Grid: (rows / 128, groups, splits); block: 128; 98,304 bytes of shared memory. Deterministic.
#pragma once

#include "problem.cuh"
#include "ptx/cp_async.cuh"
#include "ptx/ldmatrix.cuh"
#include "ptx/mma.cuh"

namespace pipeline {

constexpr int kTile = 128, kWarpTile = 64, kThreads = 128, kStages = 3;
constexpr int kChunks = 8, kTapChunks = kGroupC / 8, kDepthChunks = kDepth / 8;
constexpr int kSteps = (kDepthChunks + kChunks - 1) / kChunks;
constexpr int kOperandBytes = kTile * 128, kStageBytes = 2 * kOperandBytes;
constexpr size_t kSharedBytes = kStages * kStageBytes;
static_assert(kTile == kGroupK, "a block's columns are one group's");

__device__ inline char* chunk_at(char* tile, int row, int chunk) {
  return tile + row * 128 + (chunk ^ row % 8) * 16;
}

// Starts the copies of a step: each thread keeps its chunk, and takes every 16th row.
__device__ inline void fill(const Operands& a, Problem p, int group, int first_m, int step, char* stage) {
  const int chunk = threadIdx.x % kChunks, at = step * kChunks + chunk;
  const int tap = at / kTapChunks, c = at % kTapChunks * 8;
  for (int row = threadIdx.x / kChunks; row < kTile; row += kThreads / kChunks) {
    const bool inside = at < kDepthChunks && first_m + row < p.rows();
    const bf16* const from = inside ? patch(a, p, group, first_m + row, tap) : nullptr;
    const bf16* const weight = a.weight + (group * kGroupK + row) * kDepth;
    alexnet::ptx::cp_async<16>(chunk_at(stage, row, chunk), from != nullptr ? from + c : a.x, from != nullptr ? 16 : 0);
    alexnet::ptx::cp_async<16>(chunk_at(stage + kOperandBytes, row, chunk),
                               at < kDepthChunks ? weight + at * 8 : weight, at < kDepthChunks ? 16 : 0);
  }
}

// A warp's 64 x 64 sums over the steps from `begin` to `end`; all threads of the block call it.
__device__ inline void multiply(float (&sums)[4][8][4], const Operands& a, Problem p, int group, int first_m, int begin,
                                int end, char* shared) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int warp_m = warp / 2 * kWarpTile, warp_k = warp % 2 * kWarpTile;
  for (int step = begin; step < begin + kStages - 1; ++step) {
    if (step < end) fill(a, p, group, first_m, step, shared + (step - begin) * kStageBytes);
    alexnet::ptx::cp_async_commit();
  }
  for (int step = begin; step < end; ++step) {
    alexnet::ptx::cp_async_wait<kStages - 2>();
    __syncthreads();  // makes this stage's copies visible, and frees the stage before it
    const int next = step + kStages - 1;
    if (next < end) fill(a, p, group, first_m, next, shared + (next - begin) % kStages * kStageBytes);
    alexnet::ptx::cp_async_commit();
    char* const tile = shared + (step - begin) % kStages * kStageBytes;
#pragma unroll
    for (int k16 = 0; k16 < 4; ++k16) {
      uint32_t x[4][4], weight[8][2], four[4];
#pragma unroll
      for (int i = 0; i < 4; ++i)
        alexnet::ptx::ldmatrix(x[i], chunk_at(tile, warp_m + 16 * i + lane % 16, 2 * k16 + lane / 16));
#pragma unroll
      for (int j = 0; j < 8; j += 2) {
        const int row = warp_k + 8 * j + lane / 16 * 8 + lane % 8;
        alexnet::ptx::ldmatrix(four, chunk_at(tile + kOperandBytes, row, 2 * k16 + lane / 8 % 2));
        weight[j][0] = four[0], weight[j][1] = four[1], weight[j + 1][0] = four[2], weight[j + 1][1] = four[3];
      }
      alexnet::ptx::mma_tile<alexnet::ptx::MmaInput::kBFloat16>(sums, x, weight);
    }
  }
  alexnet::ptx::cp_async_wait<0>();
  __syncthreads();  // shared memory is free
}

// Calls store(m, k, first, second) for each pair of neighbouring sums of this lane.
template <class Store>
__device__ inline void each_pair(const float (&sums)[4][8][4], Store store) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
  for (int i = 0; i < 4 * 8 * 2; ++i) {
    const float (&four)[4] = sums[i / 16][i / 2 % 8];
    store(warp / 2 * kWarpTile + i / 16 * 16 + i % 2 * 8 + lane / 4,
          warp % 2 * kWarpTile + i / 2 % 8 * 8 + lane % 4 * 2, four[i % 2 * 2], four[i % 2 * 2 + 1]);
  }
}

__global__ void __launch_bounds__(kThreads) conv2_kernel(Operands a, Problem p) {
  extern __shared__ __align__(128) char shared[];
  const int first_m = blockIdx.x * kTile, group = blockIdx.y;
  float sums[4][8][4] = {};
  multiply(sums, a, p, group, first_m, 0, kSteps, shared);
  each_pair(sums, [&](int m, int k, float first, float second) {
    if (first_m + m >= p.rows()) return;
    bf16* const to = a.y + (first_m + m) * kK + group * kGroupK + k;
    to[0] = from_float<bf16>(first), to[1] = from_float<bf16>(second);
  });
}

inline void run(const Operands& a, Problem p) {
  cudaFuncSetAttribute(conv2_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes);
  conv2_kernel<<<dim3(blocks(p.rows(), kTile), kGroups), kThreads, kSharedBytes>>>(a, p);
}

}  // namespace pipeline
