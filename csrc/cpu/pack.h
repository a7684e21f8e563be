// Panels of B: kColumns columns wide, a line of them for each product, zeros beyond the last column.
#pragma once

#include "cpu/simd.h"

namespace alexnet::cpu::ALEXNET_CPU_ISA {

// Of the lanes of `a` and behind them `b` those that `from` names.
inline Vector shuffle(Vector a, Vector b, Mask from) {
#if defined(__clang__)  // makes one instruction of it, as of GCC's function, which it lacks
  Vector v{};
#pragma GCC unroll 16
  for (int l = 0; l < kLanes; ++l) v[l] = from[l] < kLanes ? a[from[l]] : b[from[l] - kLanes];
  return v;
#else
  return __builtin_shuffle(a, b, from);
#endif
}

// Transposes kLanes vectors in place: in each step blocks of `half` x `half` change places across the diagonal.
inline void transpose(Vector* v) {
#pragma GCC unroll 4
  for (int half = 1; half < kLanes; half *= 2) {
    Mask low{}, high{};
#pragma GCC unroll 16
    for (int l = 0; l < kLanes; ++l) {
      low[l] = l & half ? kLanes + l - half : l;
      high[l] = l & half ? kLanes + l : l + half;
    }
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
      if (i & half) continue;
      const Vector a = v[i], b = v[i + half];
      v[i] = shuffle(a, b, low);
      v[i + half] = shuffle(a, b, high);
    }
  }
}

// panel[k * kColumns + j] = source[j * pitch + k]: rows of weights become columns.
inline void pack_rows(const float* source, ptrdiff_t pitch, int rows, int products, float* panel) {
  for (int j0 = 0; j0 < kColumns; j0 += kLanes) {
    int k = 0;
    if (j0 + kLanes <= rows) {
      for (; k + kLanes <= products; k += kLanes) {
        Vector block[kLanes];
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) block[i] = load(source + (j0 + i) * pitch + k);
        transpose(block);
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) store(panel + (k + i) * kColumns + j0, block[i]);
      }
    }
    for (; k < products; ++k) {
      for (int j = j0; j < j0 + kLanes; ++j) panel[k * kColumns + j] = j < rows ? source[j * pitch + k] : 0.f;
    }
  }
}

// rows[j * pitch + k] = panel[k * kColumns + j], for all columns j.
inline void unpack_rows(const float* panel, int products, float* rows, ptrdiff_t pitch) {
  for (int j0 = 0; j0 < kColumns; j0 += kLanes) {
    int k = 0;
    for (; k + kLanes <= products; k += kLanes) {
      Vector block[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) block[i] = load(panel + (k + i) * kColumns + j0);
      transpose(block);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) store(rows + (j0 + i) * pitch + k, block[i]);
    }
    for (; k < products; ++k) {
      for (int j = j0; j < j0 + kLanes; ++j) rows[j * pitch + k] = panel[k * kColumns + j];
    }
  }
}

// panel[k * kColumns + j] = source[k * pitch + j].
inline void pack_columns(const float* source, ptrdiff_t pitch, int columns, int products, float* panel) {
  for (int k = 0; k < products; ++k, source += pitch, panel += kColumns) {
    if (columns >= kColumns) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) store(panel + v * kLanes, load(source + v * kLanes));
    } else {
      for (int j = 0; j < kColumns; ++j) panel[j] = j < columns ? source[j] : 0.f;
    }
  }
}

}  // namespace alexnet::cpu::ALEXNET_CPU_ISA
