// Dropout (Hinton et al. 2012; section 4.2 of the AlexNet paper), inverted: scaled in training, nothing at test.
#pragma once

#include <cstdint>

#include "common/elementwise.cuh"
#include "common/philox.cuh"

namespace alexnet {

struct DropoutMask {
  uint64_t seed;
  uint32_t purpose;
  uint64_t threshold;
  float scale;  // 1 / (1 - rate)
  int64_t start;
  int64_t row_stride;
};

// y[m, k] = bits(start + m * row_stride + k) < threshold ? 0 : scale * x[m, k]
//
// x, y: [rows, columns] of T; y is overwritten and may be x. bits(e) is word e % 4 of Philox block e / 4. Forward and
// backward are this same map, so the mask is drawn again and never stored. FP32 inside.
// Grid and block: elementwise_config of rows * columns; no shared memory. kVector > 1 needs x and y on 16 bytes,
// columns a multiple of kVector, start and row_stride multiples of 4.
// Floor: 2 * rows * columns * sizeof(T) bytes; a Philox block, about 100 integer operations, for each 4 elements where
// kVector > 1 and for each element where it is 1. Deterministic.
template <typename T, int kVector>
__global__ void __launch_bounds__(256) dropout_apply_kernel(const T* x,            // [rows, columns]
                                                            T* y,                  // [rows, columns], may be x
                                                            const uint64_t* step,  // [1]
                                                            DropoutMask mask, int64_t rows, int64_t columns) {
  const PhiloxStream stream{mask.seed, *step, mask.purpose};
  for (MatrixWalk walk(grid_thread() * kVector, grid_threads() * kVector, columns); walk.row < rows; walk.advance()) {
    const int64_t element = walk.row * columns + walk.column;
    const int64_t drawn = mask.start + walk.row * mask.row_stride + walk.column;
    Pack<T, kVector> pack = load_pack<kVector>(x + element);
#pragma unroll
    for (int first = 0; first < kVector; first += 4) {
      const PhiloxBlock bits = stream.block(static_cast<uint32_t>((drawn + first) >> 2));
#pragma unroll
      for (int i = 0; i < 4 && first + i < kVector; ++i) {
        const uint32_t word = kVector == 1 ? bits.pick(drawn) : bits.word[i];
        T& value = pack.value[first + i];
        value = from_float<T>(word < mask.threshold ? 0.0f : mask.scale * to_float(value));
      }
    }
    store_pack(y + element, pack);
  }
}

}  // namespace alexnet
