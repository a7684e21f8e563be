// Dropout: parameters and launches. Kernel and its contract: dropout.cuh.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/cuda_runtime.h"
#include "common/dtype.h"

namespace alexnet {

// Which elements of a matrix are dropped. Element (row, column) is element start + row * row_stride + column of the
// stream of random bits, so a tower that holds some of the columns draws what the whole layer would.
struct Dropout {
  const uint64_t* step;  // [1] in device memory, so that a captured graph draws new masks when replayed
  uint64_t seed;
  uint32_t purpose;
  double rate;  // probability of dropping, in [0, 1)
  float scale;  // of what is kept
  int64_t start;
  int64_t row_stride;

  // A vector's elements are whole Philox blocks of four.
  bool vectors() const { return start % 4 == 0 && row_stride % 4 == 0; }
};

struct DropoutParams {
  const void* x;  // [rows, columns]
  void* y;        // [rows, columns], may be x
  int64_t rows;
  int64_t columns;
  Dropout dropout;
  DType dtype;
};

// An element is dropped when its 32 bits are below this; 64 bits wide because a rate just under 1 rounds to 2^32.
inline uint64_t dropout_threshold(double rate) {
  return static_cast<uint64_t>(std::nearbyint(std::ldexp(rate, 32)));
}

// Forward, and with dy for x backward.
void launch_dropout_apply(const DropoutParams& params, cudaStream_t stream);

}  // namespace alexnet
