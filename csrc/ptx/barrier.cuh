// Named barriers: synchronisation among some warps of a block (PTX ISA, "barrier"). Number 0 is __syncthreads.
#pragma once

#include "common/cuda_runtime.h"

namespace alexnet::ptx {

#ifdef ALEXNET_CUDA_SIMT

inline void named_barrier_sync(int id, int count, ALEXNET_SITE) {
  simt::named_barrier(static_cast<unsigned>(id), static_cast<unsigned>(count), true, site);
}

inline void named_barrier_arrive(int id, int count, ALEXNET_SITE) {
  simt::named_barrier(static_cast<unsigned>(id), static_cast<unsigned>(count), false, site);
}

#else

// Waits at barrier `id` (1..15) until `count` threads, a multiple of 32, have come to it; all lanes of a warp call it.
__device__ __forceinline__ void named_barrier_sync(int id, int count) {
  asm volatile("bar.sync %0, %1;\n" ::"r"(id), "r"(count) : "memory");
}

// Counts as come to the barrier and goes on.
__device__ __forceinline__ void named_barrier_arrive(int id, int count) {
  asm volatile("bar.arrive %0, %1;\n" ::"r"(id), "r"(count) : "memory");
}

#endif

}  // namespace alexnet::ptx
