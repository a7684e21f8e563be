// What a kernel sees of the executor: qualifiers, its place in the grid, shared memory, barriers, shuffles and votes.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "simt/vector_types.h"

#define __host__
#define __device__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
// Storage that the executor does not hand out can neither be poisoned nor guarded.
#define __shared__ static_assert(false, "declare static shared memory with ALEXNET_SHARED(type, name)");

// Fused multiply-add and wide vectors where the processor has them, in a binary that runs on every x86-64. Not where
// another runner looks for kernels by name: of two versions neither has the kernel's own.
#if !defined(ALEXNET_SIMT_RUNNER) && defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__FMA__) && defined(__OPTIMIZE__)
#define ALEXNET_SIMT_CLONES __attribute__((target_clones("arch=x86-64-v3", "default")))
#define ALEXNET_SIMT_AVX512 __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,fma")))
#else
#define ALEXNET_SIMT_CLONES
#endif
#define __global__ ALEXNET_SIMT_CLONES

namespace alexnet::simt {

// Where in the sources a thread waits, for messages and to tell one barrier from another.
struct Site {
  const char* file;
  int line;
};
#define ALEXNET_SITE ::alexnet::simt::Site site = {__builtin_FILE(), __builtin_LINE()}

struct Place {
  uint3 block_idx;
  dim3 block_dim;
  dim3 grid_dim;
  uint64_t block_run;  // never the same for two blocks that were run
};

struct Thread {
  uint3 thread_idx;
  unsigned lane;
  const Place* place;
};

// Inside a kernel the running thread. Initial-exec: an access is one instruction, and threadIdx is read often.
extern __thread Thread* running_thread __attribute__((tls_model("initial-exec"), visibility("hidden")));

// Every byte of it set makes a NaN in float32, bfloat16 and float16, and -1 in integers.
inline constexpr unsigned char kPoison = 0xFF;

struct SharedSlot {
  uint64_t block_run;
  void* address;
};

// Storage for one static shared array in the running block, poisoned, the same for all threads that pass the same slot.
void* new_static_shared(SharedSlot& slot, size_t bytes, size_t alignment, const char* name, Site site);
void* dynamic_shared();

template <typename T>
inline T& static_shared(SharedSlot& slot, const char* name, Site site) {
  static_assert(std::is_trivially_default_constructible_v<T>, "shared memory is not constructed");
  if (slot.block_run != running_thread->place->block_run) new_static_shared(slot, sizeof(T), alignof(T), name, site);
  return *static_cast<T*>(slot.address);
}

enum class BlockSync { kSync, kCount, kAnd, kOr };
int block_barrier(BlockSync kind, bool predicate, Site site);

// Threads arrive at barrier `id` of 1..15 until `count` have; with wait, the caller stays until then.
void named_barrier(unsigned id, unsigned count, bool wait, Site site);

enum class WarpOp { kSync, kShuffle, kShuffleUp, kShuffleDown, kShuffleXor, kBallot, kAll, kAny, kLdmatrix, kMma };

// Waits for all lanes of `mask` to bring their argument to the same operation; the last of them calls perform on the
// arguments, indexed by lane.
using PerformWarpOp = void (*)(void* const* arguments, uint32_t mask);
void warp_rendezvous(WarpOp op, uint32_t mask, void* argument, PerformWarpOp perform, Site site);

struct ShuffleArgument {
  uint64_t value;
  uint64_t result;
  int operand;
  int width;
};
void warp_shuffle(WarpOp op, uint32_t mask, ShuffleArgument& argument, Site site);
uint32_t warp_vote(WarpOp op, uint32_t mask, bool predicate, Site site);

// Ends the launch with an error that names the running block and thread.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

template <typename T>
inline T shuffle(WarpOp op, uint32_t mask, T value, int operand, int width, Site site) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(uint64_t), "a shuffle moves up to 8 bytes");
  ShuffleArgument argument = {0, 0, operand, width};
  memcpy(&argument.value, &value, sizeof(T));
  warp_shuffle(op, mask, argument, site);
  memcpy(&value, &argument.result, sizeof(T));
  return value;
}

}  // namespace alexnet::simt

#define threadIdx (::alexnet::simt::running_thread->thread_idx)
#define blockIdx (::alexnet::simt::running_thread->place->block_idx)
#define blockDim (::alexnet::simt::running_thread->place->block_dim)
#define gridDim (::alexnet::simt::running_thread->place->grid_dim)
inline constexpr int warpSize = 32;

#define ALEXNET_DYNAMIC_SHARED(type, name) type* const name = static_cast<type*>(::alexnet::simt::dynamic_shared())
#define ALEXNET_SHARED(type, name)                             \
  static thread_local ::alexnet::simt::SharedSlot name##_slot; \
  auto& name = ::alexnet::simt::static_shared<type>(name##_slot, #name, {__FILE__, __LINE__})

inline void __syncthreads(ALEXNET_SITE) {
  alexnet::simt::block_barrier(alexnet::simt::BlockSync::kSync, false, site);
}
inline int __syncthreads_count(int predicate, ALEXNET_SITE) {
  return alexnet::simt::block_barrier(alexnet::simt::BlockSync::kCount, predicate != 0, site);
}
inline int __syncthreads_and(int predicate, ALEXNET_SITE) {
  return alexnet::simt::block_barrier(alexnet::simt::BlockSync::kAnd, predicate != 0, site);
}
inline int __syncthreads_or(int predicate, ALEXNET_SITE) {
  return alexnet::simt::block_barrier(alexnet::simt::BlockSync::kOr, predicate != 0, site);
}

inline void __syncwarp(unsigned mask = 0xFFFFFFFFu, ALEXNET_SITE) {
  alexnet::simt::warp_rendezvous(alexnet::simt::WarpOp::kSync, mask, nullptr, nullptr, site);
}
template <typename T>
inline T __shfl_sync(unsigned mask, T value, int source_lane, int width = warpSize, ALEXNET_SITE) {
  return alexnet::simt::shuffle(alexnet::simt::WarpOp::kShuffle, mask, value, source_lane, width, site);
}
template <typename T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize, ALEXNET_SITE) {
  const int operand = static_cast<int>(delta);
  return alexnet::simt::shuffle(alexnet::simt::WarpOp::kShuffleUp, mask, value, operand, width, site);
}
template <typename T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize, ALEXNET_SITE) {
  const int operand = static_cast<int>(delta);
  return alexnet::simt::shuffle(alexnet::simt::WarpOp::kShuffleDown, mask, value, operand, width, site);
}
template <typename T>
inline T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = warpSize, ALEXNET_SITE) {
  return alexnet::simt::shuffle(alexnet::simt::WarpOp::kShuffleXor, mask, value, lane_mask, width, site);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, ALEXNET_SITE) {
  return alexnet::simt::warp_vote(alexnet::simt::WarpOp::kBallot, mask, predicate != 0, site);
}
inline int __all_sync(unsigned mask, int predicate, ALEXNET_SITE) {
  return static_cast<int>(alexnet::simt::warp_vote(alexnet::simt::WarpOp::kAll, mask, predicate != 0, site));
}
inline int __any_sync(unsigned mask, int predicate, ALEXNET_SITE) {
  return static_cast<int>(alexnet::simt::warp_vote(alexnet::simt::WarpOp::kAny, mask, predicate != 0, site));
}
// CUDA promises no more than the calling lane itself.
inline unsigned __activemask() {
  return 1u << alexnet::simt::running_thread->lane;
}
inline void __trap(ALEXNET_SITE) {
  alexnet::simt::fail("__trap() at %s:%d", site.file, site.line);
}
