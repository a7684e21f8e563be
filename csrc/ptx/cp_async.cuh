// cp.async: copies of 4, 8 or 16 bytes from global to shared memory that the thread does not wait for (PTX ISA, "Data
// movement and conversion instructions: non-bulk copy"). sm_80 and newer.
//
// Both addresses are multiples of the size. Of the source, source_bytes are read and the rest of the target is zeros;
// with source_bytes 0 the source may be any aligned address. A thread sees its own copies after a wait, those of other
// threads after a wait of theirs and then a barrier.
#pragma once

#include <cstdint>

#include "common/cuda_runtime.h"

#ifdef ALEXNET_CUDA_SIMT
#include "simt/async_copy.h"
#endif

namespace alexnet::ptx {

#ifdef ALEXNET_CUDA_SIMT

template <int kBytes>
inline void cp_async(void* target, const void* source, int source_bytes = kBytes, ALEXNET_SITE) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16, "cp.async copies 4, 8 or 16 bytes");
  simt::async_copy(target, source, kBytes, source_bytes, site);
}

inline void cp_async_commit() {
  simt::async_commit();
}

template <int kPending>
inline void cp_async_wait(ALEXNET_SITE) {
  simt::async_wait(kPending, site);
}

inline void cp_async_wait_all(ALEXNET_SITE) {
  simt::async_wait_all(site);
}

#else

// 16 bytes pass the L1 cache by (.cg), which has no other size.
template <int kBytes>
__device__ __forceinline__ void cp_async(void* target, const void* source, int source_bytes = kBytes) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16, "cp.async copies 4, 8 or 16 bytes");
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(target));
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(address), "l"(source), "r"(source_bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;\n" ::"r"(address), "l"(source), "n"(kBytes),
                 "r"(source_bytes)
                 : "memory");
  }
}

// Closes the group of the copies made since the last commit.
__device__ __forceinline__ void cp_async_commit() {
  asm volatile("cp.async.commit_group;\n" ::: "memory");
}

// Waits for all groups of this thread but the kPending last committed.
template <int kPending>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kPending) : "memory");
}

// Waits for all copies of this thread, committed or not.
__device__ __forceinline__ void cp_async_wait_all() {
  asm volatile("cp.async.wait_all;\n" ::: "memory");
}

#endif

}  // namespace alexnet::ptx
