// Average-pooling: parameters and launches; the launch choice is max-pooling's. Kernels and their contracts:
// avg_pool.cuh.
#pragma once

#include "ops/max_pool.h"

namespace alexnet {

// Rows above and below the input and columns left and right of it that a window's mean counts, as zeros.
struct CountedPadding {
  int top, bottom, left, right;
};

struct AvgPoolFpropParams {
  const void* x;  // [N, H, W, C]
  void* y;        // [N, P, Q, C]
  PoolShape shape;
  CountedPadding counted;
  DType dtype;
};

struct AvgPoolBpropParams {
  const void* dy;  // [N, P, Q, C]
  void* dx;        // [N, H, W, C]
  PoolShape shape;
  CountedPadding counted;
  DType dtype;
};

void launch_avg_pool_fprop(const AvgPoolFpropParams& params, cudaStream_t stream);
void launch_avg_pool_bprop(const AvgPoolBpropParams& params, cudaStream_t stream);

}  // namespace alexnet
