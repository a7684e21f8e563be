// Division by a number that is known only at the launch, as one multiplication and one shift.
#pragma once

#include <cstdint>

#include "common/cuda_runtime.h"

namespace alexnet {

// Granlund and Montgomery, "Division by invariant integers using multiplication" (PLDI 1994): for 0 <= n < 2^31 and
// l = ceil(log2 d), floor(n / d) = (n * ceil(2^(31 + l) / d)) >> (31 + l).
struct FastDivmod {
  int32_t divisor;
  uint32_t multiplier;
  int32_t shift;

  FastDivmod() = default;
  explicit FastDivmod(int32_t divisor_) : divisor(divisor_), multiplier(0), shift(0) {
    if (divisor == 1) return;
    int log2 = 1;
    while ((int64_t{1} << log2) < divisor) ++log2;
    multiplier = static_cast<uint32_t>(((uint64_t{1} << (31 + log2)) + divisor - 1) / divisor);
    shift = log2 - 1;
  }

#ifndef ALEXNET_HOST_ONLY
  __device__ int32_t quotient(int32_t n) const {
    return divisor == 1 ? n : static_cast<int32_t>(__umulhi(static_cast<uint32_t>(n), multiplier) >> shift);
  }
  __device__ int32_t remainder(int32_t n, int32_t quotient_of_n) const { return n - quotient_of_n * divisor; }
#endif
};

// Divides every index to 0.
constexpr int32_t kOneSegment = 0x7FFFFFFF;

}  // namespace alexnet
