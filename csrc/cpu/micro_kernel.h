// The innermost loop: a tile of C [rows, kColumns] is A times B, or C plus that, over segments of neighbouring
// products.
#pragma once

#include "cpu/simd.h"

namespace alexnet::cpu::ALEXNET_CPU_ISA {

// Product k of segment i multiplies A[i * segment + k * step + m * line] and B[i * segment + k * step + column].
struct OperandA {
  const float* data;
  ptrdiff_t segment, step, line;
};
struct OperandB {
  const float* data;
  ptrdiff_t segment, step;
  ptrdiff_t ahead[2] = {0, 0};  // what lies so far behind a line of B comes into the second-level cache meanwhile
};

// Where kDot, A's step is 1 (a row of A is contiguous: fprop, dgrad); else its line is 1 (a column is: wgrad). Of the
// columns kV vectors are computed.
template <int kM, int kV, bool kDot>
void micro_kernel(int segments, int products, OperandA a, OperandB b, float* c, bool add) {
  Vector sum[kM][kV];
#pragma GCC unroll 16
  for (int m = 0; m < kM; ++m) {
#pragma GCC unroll 4
    for (int v = 0; v < kV; ++v) sum[m][v] = Vector{};
  }
  constexpr int kBases = (kM + 2) / 3;
  const ptrdiff_t line = kDot ? a.line : 1, step_a = kDot ? 1 : a.step;
  for (int i = 0; i < segments; ++i) {
    const float* row[kBases];  // of rows 0, 3, 6, ...: the two behind are one addressing mode away
#pragma GCC unroll 8
    for (int j = 0; j < kBases; ++j) row[j] = a.data + i * a.segment + 3 * j * line;
    const float* line_b = b.data + i * b.segment;
#pragma GCC unroll 4
    for (int k = 0; k < products; ++k) {
      Vector right[kV];
#pragma GCC unroll 4
      for (int v = 0; v < kV; ++v) right[v] = load(line_b + v * kLanes);
#pragma GCC unroll 16
      for (int m = 0; m < kM; ++m) {
        const Vector left = broadcast(kDot ? row[m / 3][m % 3 * line] : row[0][m]);
#pragma GCC unroll 4
        for (int v = 0; v < kV; ++v) sum[m][v] += left * right[v];
      }
      if (kDot) {
        __builtin_prefetch(line_b + b.ahead[0], 0, 2);
        if (kColumns > 16) __builtin_prefetch(line_b + b.ahead[1], 0, 2);  // a line of B is two of the cache's
      }
      line_b += b.step;
#pragma GCC unroll 8
      for (int j = 0; j < (kDot ? kBases : 1); ++j) row[j] += step_a;
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < kM; ++m) {
#pragma GCC unroll 4
    for (int v = 0; v < kV; ++v) {
      float* to = c + m * kColumns + v * kLanes;
      store(to, add ? load(to) + sum[m][v] : sum[m][v]);
    }
  }
}

}  // namespace alexnet::cpu::ALEXNET_CPU_ISA
