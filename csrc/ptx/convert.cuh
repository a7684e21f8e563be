// Conversions that CUDA C++ has no function for.
#pragma once

#include <cstdint>

#include "common/cuda_runtime.h"

namespace alexnet::ptx {

// Rounds to TF32 (10 bits of mantissa), ties away from zero; the lowest 13 bits of the result are zero. sm_80 and
// newer.
__device__ __forceinline__ uint32_t to_tf32(float value) {
#ifdef ALEXNET_CUDA_SIMT
  const uint32_t bits = simt::bit_cast<uint32_t>(value);
  if ((bits & 0x7F800000u) == 0x7F800000u) return (bits & 0x007FFFFFu) != 0 ? 0x7FFFE000u : bits;
  return (bits + 0x1000u) & 0xFFFFE000u;
#else
  uint32_t result;
  asm("cvt.rna.tf32.f32 %0, %1;\n" : "=r"(result) : "f"(value));
  // PTX leaves the lowest 13 bits unspecified.
  return result & 0xFFFFE000u;
#endif
}

}  // namespace alexnet::ptx
