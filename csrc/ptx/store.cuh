// Stores as one instruction.
#pragma once

#include "common/cuda_runtime.h"

namespace alexnet::ptx {

// Writes 16 bytes of global memory, whose address is a multiple of 16. Of an assignment nvcc makes four stores of 4
// bytes where it knows how the bytes came about, and each of those is a write of a part of a sector.
__device__ __forceinline__ void store_16_bytes(void* target, const uint4& value) {
#ifdef ALEXNET_CUDA_SIMT
  *static_cast<uint4*>(target) = value;
#else
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};\n" ::"l"(target), "r"(value.x), "r"(value.y), "r"(value.z),
               "r"(value.w)
               : "memory");
#endif
}

}  // namespace alexnet::ptx
