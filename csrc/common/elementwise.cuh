// Device side of elementwise kernels: 16-byte accesses, grid-stride loops and their tails.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "common/cuda_runtime.h"
#include "common/dtype.h"
#include "ptx/store.cuh"

namespace alexnet {

template <typename T, int kVector>
struct Pack {
  T value[kVector];
};

// Reads kVector elements; in 16-byte accesses where they make up whole ones, which needs a 16-byte aligned address.
template <int kVector, typename T>
__device__ inline Pack<T, kVector> load_pack(const T* source) {
  constexpr int kBytes = kVector * sizeof(T);
  Pack<T, kVector> pack;
  if constexpr (kBytes % 16 == 0) {
    uint4 raw[kBytes / 16];
#pragma unroll
    for (int i = 0; i < kBytes / 16; ++i) raw[i] = reinterpret_cast<const uint4*>(source)[i];
    memcpy(&pack, raw, kBytes);
  } else {
#pragma unroll
    for (int i = 0; i < kVector; ++i) pack.value[i] = source[i];
  }
  return pack;
}

// Writes kVector elements of global memory, likewise; 8 bytes too are one access, which needs an address aligned to it.
template <int kVector, typename T>
__device__ inline void store_pack(T* target, const Pack<T, kVector>& pack) {
  constexpr int kBytes = kVector * sizeof(T);
  if constexpr (kBytes % 16 == 0) {
    uint4 raw[kBytes / 16];
    memcpy(raw, &pack, kBytes);
#pragma unroll
    for (int i = 0; i < kBytes / 16; ++i) ptx::store(reinterpret_cast<uint4*>(target) + i, raw[i]);
  } else if constexpr (kBytes == 8) {
    uint2 raw;
    memcpy(&raw, &pack, kBytes);
    ptx::store(reinterpret_cast<uint2*>(target), raw);
  } else {
#pragma unroll
    for (int i = 0; i < kVector; ++i) target[i] = pack.value[i];
  }
}

// This thread's index in the grid, and how many threads the grid has.
__device__ inline int64_t grid_thread() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline int64_t grid_threads() {
  return static_cast<int64_t>(gridDim.x) * blockDim.x;
}

// Calls visit(std::integral_constant<int, width>{}, element) so that every element in [0, count) is visited once: whole
// vectors of kVector in a grid-stride loop, the tail element by element.
template <int kVector, typename Visit>
__device__ inline void for_each_pack(int64_t count, const Visit& visit) {
  const int64_t packs = count / kVector;
  for (int64_t pack = grid_thread(); pack < packs; pack += grid_threads()) {
    visit(std::integral_constant<int, kVector>{}, pack * kVector);
  }
  if constexpr (kVector > 1) {
    const int64_t tail = packs * kVector + grid_thread();
    if (tail < count) visit(std::integral_constant<int, 1>{}, tail);
  }
}

// Walks a row-major matrix in steps of a constant number of elements without dividing at each step.
struct MatrixWalk {
  int64_t row, column;
  int64_t row_step, column_step, columns;

  __device__ MatrixWalk(int64_t element, int64_t step, int64_t columns_)
      : row(element / columns_),
        column(element % columns_),
        row_step(step / columns_),
        column_step(step % columns_),
        columns(columns_) {}

  __device__ void advance() {
    row += row_step;
    column += column_step;
    if (column >= columns) {
      column -= columns;
      ++row;
    }
  }
};

}  // namespace alexnet
