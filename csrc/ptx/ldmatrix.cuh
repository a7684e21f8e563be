// ldmatrix: a warp loads 8 x 8 matrices of 16-bit elements from shared memory into mma fragments (PTX ISA, "Warp-level
// matrix load instruction"). sm_75 and newer.
//
// Lane 8 i + r gives the address of row r of matrix i: 16 bytes, aligned to 16. registers[i] then holds elements 2t and
// 2t + 1 of row g of matrix i, with g = lane / 4 and t = lane % 4; in the transposed form, of column g.
#pragma once

#include <cstdint>

#include "common/cuda_runtime.h"

#ifdef ALEXNET_CUDA_SIMT
#include "simt/matrix.h"
#endif

namespace alexnet::ptx {

#ifdef ALEXNET_CUDA_SIMT

template <int kCount>
inline void ldmatrix(uint32_t (&registers)[kCount], const void* row, ALEXNET_SITE) {
  static_assert(kCount == 1 || kCount == 2 || kCount == 4, "ldmatrix loads 1, 2 or 4 matrices");
  simt::ldmatrix(registers, row, kCount, false, site);
}

template <int kCount>
inline void ldmatrix_transposed(uint32_t (&registers)[kCount], const void* row, ALEXNET_SITE) {
  static_assert(kCount == 1 || kCount == 2 || kCount == 4, "ldmatrix loads 1, 2 or 4 matrices");
  simt::ldmatrix(registers, row, kCount, true, site);
}

#else

#define ALEXNET_LDMATRIX(function, modifier)                                                        \
  template <int kCount>                                                                             \
  __device__ __forceinline__ void function(uint32_t (&registers)[kCount], const void* row) {        \
    static_assert(kCount == 1 || kCount == 2 || kCount == 4, "ldmatrix loads 1, 2 or 4 matrices");  \
    const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));                  \
    if constexpr (kCount == 1) {                                                                    \
      asm volatile("ldmatrix.sync.aligned.m8n8.x1" modifier ".shared.b16 {%0}, [%1];\n"             \
                   : "=r"(registers[0])                                                             \
                   : "r"(address)                                                                   \
                   : "memory");                                                                     \
    } else if constexpr (kCount == 2) {                                                             \
      asm volatile("ldmatrix.sync.aligned.m8n8.x2" modifier ".shared.b16 {%0, %1}, [%2];\n"         \
                   : "=r"(registers[0]), "=r"(registers[1])                                         \
                   : "r"(address)                                                                   \
                   : "memory");                                                                     \
    } else {                                                                                        \
      asm volatile("ldmatrix.sync.aligned.m8n8.x4" modifier ".shared.b16 {%0, %1, %2, %3}, [%4];\n" \
                   : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3]) \
                   : "r"(address)                                                                   \
                   : "memory");                                                                     \
    }                                                                                               \
  }
ALEXNET_LDMATRIX(ldmatrix, "")
ALEXNET_LDMATRIX(ldmatrix_transposed, ".trans")
#undef ALEXNET_LDMATRIX

#endif

}  // namespace alexnet::ptx
