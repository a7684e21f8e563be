// Rung 2: coalesced. A warp computes an element of y: its lanes lie along the channels, which are neighbours in memory.
//
// In NHWC the reduction is what lies together, in x and in the weights alike. So the lanes of a warp take 24 pairs of
// channels of one tap: 96 bytes side by side, three whole sectors, instead of 32 sectors of which 2 bytes are used.
// Lanes 24 to 31 have nothing to do, and at the end the 32 sums become one by five shuffles.
//
// The bytes that the threads ask for are those of rung 1, 4 for 2 FLOPs; what is gone is the waste around them.
//
// Grid: (rows, 256 / 8); block: 32 x 8, a warp an output channel. Deterministic: the shuffles add in one order.
#pragma once

#include "problem.cuh"

namespace coalesced {

constexpr int kWarps = 8;

// Two neighbours of bfloat16, read in one access of 4 bytes.
__device__ inline float2 load_pair(const bf16* from) {
  const unsigned bits = *reinterpret_cast<const unsigned*>(from);
  return {__uint_as_float(bits << 16), __uint_as_float(bits & 0xFFFF0000u)};
}

__global__ void conv2_kernel(Operands a, Problem p) {
  const int lane = threadIdx.x, m = blockIdx.x;
  const int k = blockIdx.y * kWarps + threadIdx.y;
  const int group = k / kGroupK;
  float sum = 0.0f;
  for (int tap = 0; tap < kTaps; ++tap) {
    const bf16* const from = patch(a, p, group, m, tap);
    if (from == nullptr || lane >= kGroupC / 2) continue;
    const float2 x = load_pair(from + 2 * lane);
    const float2 weight = load_pair(a.weight + (k * kTaps + tap) * kGroupC + 2 * lane);
    sum += x.x * weight.x + x.y * weight.y;
  }
  for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, distance);
  if (lane == 0) a.y[m * kK + k] = from_float<bf16>(sum);
}

inline void run(const Operands& a, Problem p) {
  conv2_kernel<<<dim3(p.rows(), kK / kWarps), dim3(32, kWarps)>>>(a, p);
}

}  // namespace coalesced
