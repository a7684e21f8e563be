// mma.sync: D += A B on tensor cores, FP32 accumulation (PTX ISA, "Matrix multiply-accumulate operation using mma
// instruction"). sm_80 and newer.
//
// A lane's registers, with g = lane / 4 and t = lane % 4:
//   m16n8k16, bf16 and fp16, two elements a register, the lower k in the lower half:
//     a[0] = A[g][2t..]   a[1] = A[g + 8][2t..]   a[2] = A[g][2t + 8..]   a[3] = A[g + 8][2t + 8..]
//     b[0] = B[2t..][g]   b[1] = B[2t + 8..][g]
//   m16n8k8, tf32, one element a register; the instruction ignores the lowest 13 bits:
//     a[0] = A[g][t]      a[1] = A[g + 8][t]      a[2] = A[g][t + 4]      a[3] = A[g + 8][t + 4]
//     b[0] = B[t][g]      b[1] = B[t + 4][g]
//   d[0], d[1] = D[g][2t], D[g][2t + 1]   d[2], d[3] = D[g + 8][2t], D[g + 8][2t + 1]
#pragma once

#include <cstdint>

#include "common/cuda_runtime.h"

#ifdef ALEXNET_CUDA_SIMT
#include "simt/matrix.h"
#endif

namespace alexnet::ptx {

enum class MmaInput { kTf32, kBFloat16, kFloat16 };

inline constexpr int kMmaM = 16;
inline constexpr int kMmaN = 8;
template <MmaInput kInput>
inline constexpr int kMmaK = kInput == MmaInput::kTf32 ? 8 : 16;

#ifdef ALEXNET_CUDA_SIMT

// One meeting of the 32 lanes for the whole tile: four to eight times as fast as one for each instruction.
template <MmaInput kInput, int kTilesM, int kTilesN>
inline void mma_tile(float (&d)[kTilesM][kTilesN][4], const uint32_t (&a)[kTilesM][4], const uint32_t (&b)[kTilesN][2],
                     ALEXNET_SITE) {
  static_assert(kTilesN <= 32, "more columns than the executor has room for");
  constexpr auto kSimtInput = kInput == MmaInput::kTf32       ? simt::MmaInput::kTf32
                              : kInput == MmaInput::kBFloat16 ? simt::MmaInput::kBFloat16
                                                              : simt::MmaInput::kFloat16;
  simt::mma(kSimtInput, {&d[0][0][0], &a[0][0], &b[0][0], kTilesM, kTilesN}, site);
}

template <MmaInput kInput>
inline void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], ALEXNET_SITE) {
  mma_tile<kInput, 1, 1>(reinterpret_cast<float (&)[1][1][4]>(d), reinterpret_cast<const uint32_t (&)[1][4]>(a),
                         reinterpret_cast<const uint32_t (&)[1][2]>(b), site);
}

#else

template <MmaInput kInput>
__device__ __forceinline__ void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#define ALEXNET_MMA(instruction)                                                                \
  asm volatile(instruction " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n" \
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                 \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
  if constexpr (kInput == MmaInput::kTf32) {
    ALEXNET_MMA("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32");
  } else if constexpr (kInput == MmaInput::kBFloat16) {
    ALEXNET_MMA("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32");
  } else {
    ALEXNET_MMA("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32");
  }
#undef ALEXNET_MMA
}

// d[m][n] += a[m] b[n] for a warp's whole tile.
template <MmaInput kInput, int kTilesM, int kTilesN>
__device__ __forceinline__ void mma_tile(float (&d)[kTilesM][kTilesN][4], const uint32_t (&a)[kTilesM][4],
                                         const uint32_t (&b)[kTilesN][2]) {
#pragma unroll
  for (int m = 0; m < kTilesM; ++m) {
#pragma unroll
    for (int n = 0; n < kTilesN; ++n) mma<kInput>(d[m][n], a[m], b[n]);
  }
}

#endif

}  // namespace alexnet::ptx
