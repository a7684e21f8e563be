// Average-pooling: parameters and launches; the launch choice is max-pooling's. Kernels and their contracts:
// avg_pool.cuh.
#pragma once

#include "ops/max_pool.h"

namespace alexnet {

struct AvgPoolFpropParams {
  const void* x;  // [N, H, W, C]
  void* y;        // [N, P, Q, C]
  PoolShape shape;
  DType dtype;
};

struct AvgPoolBpropParams {
  const void* dy;  // [N, P, Q, C]
  void* dx;        // [N, H, W, C]
  PoolShape shape;
  DType dtype;
};

void launch_avg_pool_fprop(const AvgPoolFpropParams& params, cudaStream_t stream);
void launch_avg_pool_bprop(const AvgPoolBpropParams& params, cudaStream_t stream);

}  // namespace alexnet
