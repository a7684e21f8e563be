// Bias, activation and store: what is done with the sums of C, or with the partial sums of its splits.
//
// An epilogue is a class derived from OutputLayout with store<kCount>(sums, group, row, column), which takes kCount
// neighbouring sums of C and does the rest: ops/conv2d_epilogue.cuh. Its own kWidth is how many make 16 bytes of what
// it writes: more would be two stores, each of half a sector a thread.
#pragma once

#include <cstdint>

#include "common/cuda_runtime.h"
#include "common/dtype.h"
#include "common/elementwise.cuh"
#include "common/fast_divmod.h"

namespace alexnet {

// C's sizes, and where element (group, row, column) lies in each of the epilogue's tensors: at group * group_pitch +
// row * row_pitch + (column / segment) * segment_pitch + column % segment.
struct OutputLayout {
  int32_t rows, columns;  // of one group
  int64_t group_pitch, row_pitch, segment_pitch;
  FastDivmod segment;
  // 16-byte accesses: every pitch and segment a multiple of 16 / sizeof(T) elements, every pointer of 16 bytes.
  bool vector;

  __device__ int64_t offset(int group, int row, int column) const {
    const int high = segment.quotient(column);
    return group * group_pitch + row * row_pitch + high * segment_pitch + segment.remainder(column, high);
  }
};

// sums += terms
template <int kWidth>
__device__ inline void add_terms(Pack<float, kWidth>& sums, const float* terms) {
  const Pack<float, kWidth> pack = load_pack<kWidth>(terms);
#pragma unroll
  for (int i = 0; i < kWidth; ++i) sums.value[i] += pack.value[i];
}

// Writes to element `at` of out, which is of float where is_float, else of T.
template <typename T, int kWidth>
__device__ inline void store_values(void* out, bool is_float, int64_t at, const Pack<float, kWidth>& values) {
  if (is_float) {
    store_pack(static_cast<float*>(out) + at, values);
  } else {
    Pack<T, kWidth> rounded;
#pragma unroll
    for (int i = 0; i < kWidth; ++i) rounded.value[i] = from_float<T>(values.value[i]);
    store_pack(static_cast<T*>(out) + at, rounded);
  }
}

// epilogue(sum over the splits, first to last, of partial)
//
// partial: [splits, groups, rows, columns] float32. kVector > 1 needs epilogue.vector. Grid: (elementwise_config of
// rows * columns, groups); block 256; no shared memory. Floor: 4 * splits * groups * rows * columns bytes read, and
// what the epilogue moves; one addition a partial sum. The order of additions is fixed: deterministic.
template <class Epilogue, int kVector>
__global__ void __launch_bounds__(256, 2) gemm_reduce_kernel(const float* partial,  // [splits, groups, rows, columns]
                                                             int splits, Epilogue epilogue) {
  const int64_t group_size = static_cast<int64_t>(epilogue.rows) * epilogue.columns;
  const int64_t size = gridDim.y * group_size;
  const float* const from = partial + blockIdx.y * group_size;
  const int chunks = epilogue.columns / kVector;
  for (MatrixWalk walk(grid_thread(), grid_threads(), chunks); walk.row < epilogue.rows; walk.advance()) {
    const int64_t at = walk.row * epilogue.columns + walk.column * kVector;
    Pack<float, kVector> sums = load_pack<kVector>(from + at);
    for (int split = 1; split < splits; ++split) add_terms(sums, from + split * size + at);
    epilogue.template store<kVector>(sums, static_cast<int>(blockIdx.y), static_cast<int>(walk.row),
                                     static_cast<int>(walk.column) * kVector);
  }
}

}  // namespace alexnet
