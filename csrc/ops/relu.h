// Relu: parameters and launches. Kernels and their contracts: relu.cuh.
#pragma once

#include <cstdint>

#include "common/cuda_runtime.h"
#include "common/dtype.h"

namespace alexnet {

struct ReluFpropParams {
  const void* x;  // [count]
  void* y;        // [count], may be x
  int64_t count;
  DType dtype;
};

struct ReluBpropParams {
  const void* y;   // [count], what fprop wrote
  const void* dy;  // [count]
  void* dx;        // [count], may be y or dy
  int64_t count;
  DType dtype;
};

void launch_relu_fprop(const ReluFpropParams& params, cudaStream_t stream);
void launch_relu_bprop(const ReluBpropParams& params, cudaStream_t stream);

}  // namespace alexnet
