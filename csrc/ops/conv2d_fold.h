// Space to depth: how a tensor lies folded, for convolutions whose channels are not a multiple of 16 bytes
// (fold_problem).
#pragma once

#include <cstdint>

#include "common/cuda_runtime.h"

namespace alexnet {

// A tensor [N, H, W, C] and its folded form [N, folded_h, folded_w, folded_c]: cell (y, x) holds the elements of the
// positions y stride_h + i - padding_h, x stride_w + j - padding_w in the order (i, j, c), 0 for those outside of the
// tensor and for what (i, j, c) leaves of it. Weights [K, R, S, C] fold the same way, with K for N and no padding.
struct FoldShape {
  int32_t n, h, w, c;
  int32_t stride_h, stride_w, padding_h, padding_w;
  int32_t folded_h, folded_w, folded_c;

  __host__ __device__ int64_t folded_count() const { return int64_t{n} * folded_h * folded_w * folded_c; }
};

}  // namespace alexnet
