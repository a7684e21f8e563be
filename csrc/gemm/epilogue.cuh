// What becomes of the sums: partial sums for later, or bias, addend, activation, mask, and the store.
#pragma once

#include <cstdint>

#include "common/cuda_runtime.h"
#include "common/dtype.h"
#include "common/elementwise.cuh"
#include "gemm/activation.h"
#include "gemm/fast_divmod.h"

namespace alexnet {

// out[group, row, column] = mask > 0 ? activation(sum + addend + bias[group, column]) : 0
//
// out, addend and mask share a layout: element (group, row, column) is at group * group_pitch + row * row_pitch +
// (column / run) * run_pitch + column % run. Null bias, addend or mask: without it.
template <typename T>
struct Epilogue {
  void* out;            // of float where out_float, else of T
  const float* bias;    // [groups * columns]
  const float* addend;  // may be out
  const T* mask;
  int32_t rows, columns;  // of one group
  int64_t group_pitch, row_pitch, run_pitch;
  FastDivmod run;
  Activation activation;
  bool out_float;
  bool
      vector;  // 16-byte accesses: every pitch and run a multiple of 16 / sizeof(T) elements, every pointer of 16 bytes

  __device__ int64_t offset(int group, int row, int column) const {
    const int high = run.quotient(column);
    return group * group_pitch + row * row_pitch + high * run_pitch + run.remainder(column, high);
  }

  template <int kWidth>
  __device__ void store(Pack<float, kWidth> sums, int group, int row, int column) const {
    const int64_t at = offset(group, row, column);
    if (addend != nullptr) add(sums, addend + at);
    if (bias != nullptr) add(sums, bias + static_cast<int64_t>(group) * columns + column);
    if (activation != Activation::kNone) {
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        float& value = sums.value[i];
        // A NaN passes both, so that a training run that broke shows it.
        value = activation == Activation::kTanh ? tanhf(value) : value <= 0.0f ? 0.0f : value;
      }
    }
    if (mask != nullptr) {
      const Pack<T, kWidth> open = load_pack<kWidth>(mask + at);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) sums.value[i] = to_float(open.value[i]) > 0.0f ? sums.value[i] : 0.0f;
    }
    if (out_float) {
      store_pack(static_cast<float*>(out) + at, sums);
    } else {
      Pack<T, kWidth> rounded;
#pragma unroll
      for (int i = 0; i < kWidth; ++i) rounded.value[i] = from_float<T>(sums.value[i]);
      store_pack(static_cast<T*>(out) + at, rounded);
    }
  }

 private:
  template <int kWidth>
  __device__ static void add(Pack<float, kWidth>& sums, const float* terms) {
    const Pack<float, kWidth> pack = load_pack<kWidth>(terms);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) sums.value[i] += pack.value[i];
  }
};

// out = epilogue(sum over the splits, first to last, of partial)
//
// partial: [splits, groups, rows, columns] float32; out as Epilogue says, overwritten. kVector > 1 needs
// epilogue.vector. Grid: (elementwise_config of rows * columns, groups); block 256; no shared memory. Floor: 4 * splits
// * groups * rows * columns bytes read, the output written; one addition a partial sum. The order of additions is
// fixed: deterministic.
template <typename T, int kVector>
__global__ void __launch_bounds__(256, 2) gemm_reduce_kernel(const float* partial, int splits, Epilogue<T> epilogue) {
  const int64_t group_size = static_cast<int64_t>(epilogue.rows) * epilogue.columns;
  const int64_t size = gridDim.y * group_size;
  const float* const from = partial + blockIdx.y * group_size;
  const int chunks = epilogue.columns / kVector;
  for (MatrixWalk walk(grid_thread(), grid_threads(), chunks); walk.row < epilogue.rows; walk.advance()) {
    const int64_t at = walk.row * epilogue.columns + walk.column * kVector;
    Pack<float, kVector> sums = load_pack<kVector>(from + at);
    for (int split = 1; split < splits; ++split) {
      const Pack<float, kVector> next = load_pack<kVector>(from + split * size + at);
#pragma unroll
      for (int i = 0; i < kVector; ++i) sums.value[i] += next.value[i];
    }
    epilogue.template store<kVector>(sums, static_cast<int>(blockIdx.y), static_cast<int>(walk.row),
                                     static_cast<int>(walk.column) * kVector);
  }
}

}  // namespace alexnet
