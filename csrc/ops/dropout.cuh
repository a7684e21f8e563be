// Dropout (Hinton et al. 2012; section 4.2 of the AlexNet paper): what is kept is scaled.
#pragma once

#include <cstdint>

#include "common/elementwise.cuh"
#include "common/philox.cuh"
#include "ops/dropout.h"

namespace alexnet {

struct DropoutMask {
  const uint64_t* step;  // [1]
  uint64_t seed;
  uint64_t threshold;
  int64_t start;
  int64_t row_stride;
  uint32_t purpose;
  float scale;

  explicit DropoutMask(const Dropout& dropout)
      : step(dropout.step),
        seed(dropout.seed),
        threshold(dropout_threshold(dropout.rate)),
        start(dropout.start),
        row_stride(dropout.row_stride),
        purpose(dropout.purpose),
        scale(dropout.scale) {}

  // value[i] <- bits(start + row * row_stride + column + i) < threshold ? 0 : scale * value[i]; bits(e) is word e % 4
  // of Philox block e / 4. kWidth is 1, or a multiple of 4 whose first element is the first of a block.
  template <int kWidth>
  __device__ void apply(int64_t row, int64_t column, Pack<float, kWidth>& values) const {
    const PhiloxStream stream{seed, *step, purpose};
    const int64_t drawn = start + row * row_stride + column;
#pragma unroll
    for (int first = 0; first < kWidth; first += 4) {
      const PhiloxBlock bits = stream.block(static_cast<uint32_t>((drawn + first) >> 2));
#pragma unroll
      for (int i = 0; i < 4 && first + i < kWidth; ++i) {
        const uint32_t word = kWidth == 1 ? bits.pick(drawn) : bits.word[i];
        float& value = values.value[first + i];
        value = word < threshold ? 0.0f : scale * value;
      }
    }
  }
};

// y[m, k] = bits(start + m * row_stride + k) < threshold ? 0 : scale * x[m, k]
//
// x, y: [rows, columns] of T; y is overwritten and may be x. Forward and backward are this same map, so the mask is
// drawn again and never stored. FP32 inside.
// Grid and block: elementwise_config of rows * columns; no shared memory. kVector > 1 needs x and y on 16 bytes,
// columns a multiple of kVector, start and row_stride multiples of 4.
// Floor: 2 * rows * columns * sizeof(T) bytes; a Philox block, about 100 integer operations, for each 4 elements where
// kVector > 1 and for each element where it is 1. Deterministic.
template <typename T, int kVector>
__global__ void __launch_bounds__(256) dropout_apply_kernel(const T* x,  // [rows, columns]
                                                            T* y,        // [rows, columns], may be x
                                                            DropoutMask mask, int64_t rows, int64_t columns) {
  for (MatrixWalk walk(grid_thread() * kVector, grid_threads() * kVector, columns); walk.row < rows; walk.advance()) {
    const int64_t element = walk.row * columns + walk.column;
    Pack<T, kVector> pack = load_pack<kVector>(x + element);
    Pack<float, kVector> values;
#pragma unroll
    for (int i = 0; i < kVector; ++i) values.value[i] = to_float(pack.value[i]);
    mask.apply(walk.row, walk.column, values);
#pragma unroll
    for (int i = 0; i < kVector; ++i) pack.value[i] = from_float<T>(values.value[i]);
    store_pack(y + element, pack);
  }
}

}  // namespace alexnet
