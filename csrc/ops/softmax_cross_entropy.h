// Softmax with cross-entropy: parameters, launch choice and launch. Kernel and its contract: softmax_cross_entropy.cuh.
#pragma once

#include <cstdint>

#include "common/cuda_runtime.h"
#include "common/dtype.h"

namespace alexnet {

struct SoftmaxCrossEntropyParams {
  const void* logits;     // [rows, classes]
  const int64_t* labels;  // [rows]
  float* loss;            // [rows]
  uint8_t* correct;       // [rows]
  void* dlogits;          // [rows, columns]; may be logits where it holds all columns in the same type; null: none
  int64_t rows;
  int64_t classes;
  int64_t first_column;  // dlogits holds `columns` columns of the gradient from this one on: a tower's own
  int64_t columns;
  float scale;  // of the gradient: 1 / batch for the mean loss, times the loss scale where there is one
  DType dtype;
  DType dlogits_dtype;
};

struct SoftmaxConfig {
  int block;      // threads, whole warps
  uint32_t grid;  // blocks, one a row
};

constexpr int kSoftmaxMaxThreads = 256;

inline SoftmaxConfig softmax_config(int64_t rows, int64_t classes) {
  // Four logits a thread at 1000 classes; a narrow classifier (10 classes) needs one warp and no barrier worth having.
  int block = 32;
  while (block < kSoftmaxMaxThreads && block * 4 < classes) block *= 2;
  return {block, static_cast<uint32_t>(rows)};
}

void launch_softmax_cross_entropy(const SoftmaxCrossEntropyParams& params, cudaStream_t stream);

}  // namespace alexnet
