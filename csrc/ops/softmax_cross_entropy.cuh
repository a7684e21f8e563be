// Softmax with cross-entropy, forward and backward in one pass over the logits.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/cuda_runtime.h"
#include "common/dtype.h"
#include "ops/softmax_cross_entropy.h"

namespace alexnet {

struct Largest {
  float value;
  int index;

  // The larger value, of equal ones the first: associative and commutative, so the order of merging does not matter.
  __device__ void merge(float other_value, int other_index) {
    if (other_value > value || (other_value == value && other_index < index)) {
      value = other_value;
      index = other_index;
    }
  }
};

// The largest logit of the block's row, in every thread. `warps` is shared memory of one entry a warp.
__device__ inline Largest block_largest(Largest mine, Largest* warps) {
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const float value = __shfl_xor_sync(0xffffffffu, mine.value, lanes);
    const int index = __shfl_xor_sync(0xffffffffu, mine.index, lanes);
    mine.merge(value, index);
  }
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = mine;
  __syncthreads();
  Largest result = warps[0];
  for (unsigned warp = 1; warp < blockDim.x / 32; ++warp) result.merge(warps[warp].value, warps[warp].index);
  return result;
}

// The sum over the block, in every thread, added in the same order each time.
__device__ inline float block_sum(float mine, float* warps) {
  for (int lanes = 16; lanes > 0; lanes /= 2) mine += __shfl_xor_sync(0xffffffffu, mine, lanes);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = mine;
  __syncthreads();
  float result = warps[0];
  for (unsigned warp = 1; warp < blockDim.x / 32; ++warp) result += warps[warp];
  return result;
}

// p[m, k] = exp(x[m, k] - max_j x[m, j]) / sum_j exp(x[m, j] - max_j x[m, j])
// loss[m] = -log p[m, labels[m]];  correct[m] = 1 where labels[m] is the first largest logit, else 0
// dlogits[m, j] = scale * (p[m, k] - (k == labels[m])) with k = first_column + j
//
// logits: [rows, classes] of T; labels: [rows] int64; loss: [rows] float32; correct: [rows] uint8; dlogits: [rows,
// columns] of D. All outputs are overwritten; dlogits is left out where null, and may be logits where it has the same
// columns and type. FP32 inside; no overflow for any finite logits.
// A label outside [0, classes) or a NaN in the row gives loss NaN, correct 0 and a gradient of NaN.
// Grid: one block a row; block: softmax_config, at most 256 threads; 96 bytes of shared memory. No alignment needed.
// Floor: rows * (classes * sizeof(T) + columns * sizeof(D)) bytes, about 30 FLOPs a logit. Reduced in a fixed order, so
// runs repeat bit for bit.
template <typename T, typename D>
__global__ void __launch_bounds__(kSoftmaxMaxThreads)
    softmax_cross_entropy_kernel(const T* logits,        // [rows, classes]
                                 const int64_t* labels,  // [rows]
                                 float* loss,            // [rows]
                                 uint8_t* correct,       // [rows]
                                 D* dlogits,             // [rows, columns], may be logits, or null
                                 int64_t classes, int64_t first_column, int64_t columns, float scale) {
  ALEXNET_SHARED(Largest[kSoftmaxMaxThreads / 32], largest_of_warp);
  ALEXNET_SHARED(float[kSoftmaxMaxThreads / 32], sum_of_warp);
  const int64_t row = blockIdx.x;
  const T* const x = logits + row * classes;
  const int count = static_cast<int>(classes);
  const int stride = static_cast<int>(blockDim.x);
  const bool known = labels[row] >= 0 && labels[row] < classes;
  const int label = known ? static_cast<int>(labels[row]) : -1;
  // Read before the barriers: after them other threads may overwrite the row in place.
  const float logit_of_label = known ? to_float(x[label]) : nanf("");

  Largest mine{-INFINITY, INT32_MAX};
  for (int k = static_cast<int>(threadIdx.x); k < count; k += stride) mine.merge(to_float(x[k]), k);
  const Largest largest = block_largest(mine, largest_of_warp);

  float part = 0.0f;
  for (int k = static_cast<int>(threadIdx.x); k < count; k += stride) part += expf(to_float(x[k]) - largest.value);
  const float sum = block_sum(part, sum_of_warp);
  const float row_loss = logf(sum) - (logit_of_label - largest.value);

  if (threadIdx.x == 0) {
    loss[row] = row_loss;
    correct[row] = largest.index == label && row_loss == row_loss ? 1 : 0;  // 0 for a NaN
  }
  if (dlogits == nullptr) return;
  D* const dx = dlogits + row * columns;
  const float inverse = known ? 1.0f / sum : nanf("");
  for (int j = static_cast<int>(threadIdx.x); j < static_cast<int>(columns); j += stride) {
    const int k = static_cast<int>(first_column) + j;
    const float probability = expf(to_float(x[k]) - largest.value) * inverse;
    dx[j] = from_float<D>(scale * (probability - (k == label ? 1.0f : 0.0f)));
  }
}

}  // namespace alexnet
