// Copies between ranges of columns and between element types.
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/elementwise.cuh"

namespace alexnet {

struct CopyPitches {
  int64_t x, addend, y;  // elements from one row to the next
};

// y[r, c] = x[r, c] (+ addend[r, c]), rounded to Y
//
// x, addend: [rows, columns] of X, addend null: none; y: [rows, columns] of Y, overwritten; it may be x or addend where
// type and pitch are the same. FP32 inside; without an addend and a change of type the bits are copied, NaNs too.
// Grid and block: copy_config; no shared memory. kVector > 1 needs every pointer on 16 bytes, and columns and pitches
// that are multiples of kVector.
// Floor: rows * columns * (sizeof(X) + sizeof(Y)) bytes, with an addend sizeof(X) more and 1 FLOP an element.
// Deterministic.
template <typename X, typename Y, int kVector>
__global__ void __launch_bounds__(256) copy_columns_kernel(const X* x,       // [rows, columns]
                                                           const X* addend,  // [rows, columns], or null
                                                           Y* y,             // [rows, columns]
                                                           CopyPitches pitch, int64_t rows, int64_t columns) {
  for (MatrixWalk walk(grid_thread() * kVector, grid_threads() * kVector, columns); walk.row < rows; walk.advance()) {
    const Pack<X, kVector> own = load_pack<kVector>(x + walk.row * pitch.x + walk.column);
    Y* const to = y + walk.row * pitch.y + walk.column;
    if constexpr (std::is_same_v<X, Y>) {
      if (addend == nullptr) {
        store_pack(to, own);
        continue;
      }
    }
    Pack<float, kVector> sums;
#pragma unroll
    for (int i = 0; i < kVector; ++i) sums.value[i] = to_float(own.value[i]);
    if (addend != nullptr) {
      const Pack<X, kVector> other = load_pack<kVector>(addend + walk.row * pitch.addend + walk.column);
#pragma unroll
      for (int i = 0; i < kVector; ++i) sums.value[i] += to_float(other.value[i]);
    }
    Pack<Y, kVector> rounded;
#pragma unroll
    for (int i = 0; i < kVector; ++i) rounded.value[i] = from_float<Y>(sums.value[i]);
    store_pack(to, rounded);
  }
}

}  // namespace alexnet
