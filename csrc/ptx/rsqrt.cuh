// Reciprocal square root of normal numbers.
#pragma once

#include <cmath>

#include "common/cuda_runtime.h"

namespace alexnet::ptx {

// 1 / sqrt(x) for a normal x, relative error at most 2^-22.9. rsqrtf is the same instruction between two more that
// scale subnormal arguments, which doubles the cost of LRN's power.
__device__ inline float rsqrt_normal(float x) {
#ifdef ALEXNET_CUDA_SIMT
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(x)));
#else
  float result;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
#endif
}

}  // namespace alexnet::ptx
