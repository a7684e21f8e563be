// Stores to global memory as one instruction each. Of an assignment nvcc makes stores of 4 bytes where it knows how the
// bytes came about, and each of those is a write of a part of a sector.
#pragma once

#include "common/cuda_runtime.h"

namespace alexnet::ptx {

__device__ __forceinline__ void store(uint4* target, const uint4& value) {
#ifdef ALEXNET_CUDA_SIMT
  *target = value;
#else
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};\n" ::"l"(target), "r"(value.x), "r"(value.y), "r"(value.z),
               "r"(value.w)
               : "memory");
#endif
}

__device__ __forceinline__ void store(uint2* target, const uint2& value) {
#ifdef ALEXNET_CUDA_SIMT
  *target = value;
#else
  asm volatile("st.global.v2.u32 [%0], {%1, %2};\n" ::"l"(target), "r"(value.x), "r"(value.y) : "memory");
#endif
}

}  // namespace alexnet::ptx
