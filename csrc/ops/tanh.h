// Tanh: parameters and launches. Kernels and their contracts: tanh.cuh.
#pragma once

#include <cstdint>

#include "common/cuda_runtime.h"
#include "common/dtype.h"

namespace alexnet {

struct TanhFpropParams {
  const void* x;  // [count]
  void* y;        // [count], may be x
  int64_t count;
  DType dtype;
};

struct TanhBpropParams {
  const void* y;   // [count], what fprop wrote
  const void* dy;  // [count]
  void* dx;        // [count], may be y or dy
  int64_t count;
  DType dtype;
};

void launch_tanh_fprop(const TanhFpropParams& params, cudaStream_t stream);
void launch_tanh_bprop(const TanhBpropParams& params, cudaStream_t stream);

}  // namespace alexnet
