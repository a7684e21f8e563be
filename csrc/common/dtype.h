// Element types of the tensors: names, sizes, conversions.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "common/cuda_runtime.h"
#if !defined(ALEXNET_CUDA_SIMT) && !defined(ALEXNET_HOST_ONLY)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace alexnet {

enum class DType : int { kFloat32, kBFloat16, kFloat16 };

inline int dtype_bytes(DType dtype) {
  return dtype == DType::kFloat32 ? 4 : 2;
}

inline DType parse_dtype(const std::string& name, const char* parameter = "dtype") {
  if (name == "float32") return DType::kFloat32;
  if (name == "bfloat16") return DType::kBFloat16;
  if (name == "float16") return DType::kFloat16;
  throw std::invalid_argument(std::string(parameter) + " is \"" + name + "\"; expected float32, bfloat16 or float16");
}

#ifndef ALEXNET_HOST_ONLY
using bf16 = __nv_bfloat16;
using fp16 = __half;

__host__ __device__ inline float to_float(float x) {
  return x;
}
__host__ __device__ inline float to_float(bf16 x) {
  return __bfloat162float(x);
}
__host__ __device__ inline float to_float(fp16 x) {
  return __half2float(x);
}

// Rounds to nearest, ties to even; a float32 beyond float16's range becomes infinity.
template <typename T>
__host__ __device__ inline T from_float(float x);
template <>
__host__ __device__ inline float from_float<float>(float x) {
  return x;
}
template <>
__host__ __device__ inline bf16 from_float<bf16>(float x) {
  return __float2bfloat16_rn(x);
}
template <>
__host__ __device__ inline fp16 from_float<fp16>(float x) {
  return __float2half_rn(x);
}

#endif  // ALEXNET_HOST_ONLY

}  // namespace alexnet
