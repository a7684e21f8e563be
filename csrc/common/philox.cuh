// Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11): a counter-based
// generator, so a random bit depends on (seed, purpose, step, element) alone and never on who computes it.
#pragma once

#include <cstdint>

#include "common/cuda_runtime.h"

namespace alexnet {

struct PhiloxBlock {
  uint32_t word[4];

  // word[index % 4] by selection: an index known only at run time would put the block into local memory.
  __host__ __device__ uint32_t pick(int64_t index) const {
    const uint32_t low = index & 1 ? word[1] : word[0];
    const uint32_t high = index & 1 ? word[3] : word[2];
    return index & 2 ? high : low;
  }
};

__host__ __device__ inline PhiloxBlock philox4x32(PhiloxBlock counter, uint32_t key0, uint32_t key1) {
  constexpr int kRounds = 10;
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53u} * counter.word[0];
    const uint64_t product1 = uint64_t{0xCD9E8D57u} * counter.word[2];
    counter = {{static_cast<uint32_t>(product1 >> 32) ^ counter.word[1] ^ key0, static_cast<uint32_t>(product1),
                static_cast<uint32_t>(product0 >> 32) ^ counter.word[3] ^ key1, static_cast<uint32_t>(product0)}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

// What one stream of bits is keyed by; element e is word e % 4 of block e / 4, so a stream holds 2^34 elements.
struct PhiloxStream {
  uint64_t seed;
  uint64_t step;
  uint32_t purpose;

  __host__ __device__ PhiloxBlock block(uint32_t index) const {
    return philox4x32({{index, purpose, static_cast<uint32_t>(step), static_cast<uint32_t>(step >> 32)}},
                      static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
  }
};

}  // namespace alexnet
