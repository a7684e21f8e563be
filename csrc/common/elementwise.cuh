// Device side of elementwise kernels: 16-byte accesses, grid-stride loops and their tails.
#pragma once

#include <cstdint>
#include <cstring>

#include "common/cuda_runtime.h"
#include "common/dtype.h"

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

template <int kVector, typename T>
__device__ inline void store_pack(T* target, const Pack<T, kVector>& pack) {
  constexpr int kBytes = kVector * sizeof(T);
  if constexpr (kBytes % 16 == 0) {
    uint4 raw[kBytes / 16];
    memcpy(raw, &pack, kBytes);
#pragma unroll
    for (int i = 0; i < kBytes / 16; ++i) reinterpret_cast<uint4*>(target)[i] = raw[i];
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

// Calls visit.template at<kWidth>(element) so that every element in [0, count) is visited once: whole vectors of
// kVector in a grid-stride loop, the tail element by element.
template <int kVector, typename Visitor>
__device__ inline void for_each_pack(int64_t count, const Visitor& visit) {
  const int64_t packs = count / kVector;
  for (int64_t pack = grid_thread(); pack < packs; pack += grid_threads()) {
    visit.template at<kVector>(pack * kVector);
  }
  if constexpr (kVector > 1) {
    const int64_t tail = packs * kVector + grid_thread();
    if (tail < count) visit.template at<1>(tail);
  }
}

// y[i] = function(x[i]); y may be x.
template <typename T, typename Function>
struct UnaryMap {
  const T* x;
  T* y;
  Function function;

  template <int kWidth>
  __device__ void at(int64_t element) const {
    Pack<T, kWidth> pack = load_pack<kWidth>(x + element);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) pack.value[i] = from_float<T>(function(to_float(pack.value[i])));
    store_pack(y + element, pack);
  }
};

// c[i] = function(a[i], b[i]); c may be a or b.
template <typename T, typename Function>
struct BinaryMap {
  const T* a;
  const T* b;
  T* c;
  Function function;

  template <int kWidth>
  __device__ void at(int64_t element) const {
    const Pack<T, kWidth> left = load_pack<kWidth>(a + element);
    Pack<T, kWidth> right = load_pack<kWidth>(b + element);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      right.value[i] = from_float<T>(function(to_float(left.value[i]), to_float(right.value[i])));
    }
    store_pack(c + element, right);
  }
};

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
