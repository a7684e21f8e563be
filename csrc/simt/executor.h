// How one OS thread runs one block: a fiber for each CUDA thread, and the queues, barriers and rendezvous among them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "simt/context.h"
#include "simt/device.h"
#include "simt/launch.h"
#include "simt/race.h"
#include "simt/shared_memory.h"

namespace alexnet::simt {

inline constexpr unsigned kWarpSize = 32;
inline constexpr unsigned kMaxBlockThreads = 1024;
inline constexpr unsigned kMaxWarps = kMaxBlockThreads / kWarpSize;
inline constexpr uint32_t kFullMask = 0xFFFFFFFFu;
inline constexpr unsigned kNamedBarriers = 16;

// SplitMix64 (Steele, Lea, Flood 2014): any seed is a good one.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next();
  uint64_t below(uint64_t bound) { return next() % bound; }

 private:
  uint64_t state_;
};

struct AsyncCopy {
  void* target;
  const void* source;
  uint32_t bytes;
  uint32_t source_bytes;
  uint64_t group;
};

enum class WaitKind { kNone, kBlockBarrier, kNamedBarrier, kWarp, kExited };

struct Warp;
class BlockRunner;

struct Fiber : Thread {
  Warp* warp;
  BlockRunner* runner;
  Context context;
  bool made = false;  // the context is a thread of the kernel waiting to be run, or to be run again
  WaitKind wait = WaitKind::kNone;
  WarpOp wait_op = WarpOp::kSync;
  uint32_t wait_detail = 0;  // mask of a warp operation, number of a named barrier
  Site last_site = {nullptr, 0};
  std::vector<AsyncCopy> copies;
  uint64_t copy_group = 0;  // the group that the next cp.async joins
};

// Lanes that have come to a warp operation, waiting for the rest of its mask.
struct Rendezvous {
  uint32_t mask;
  uint32_t arrived;
  WarpOp op;
  Site site;
  void* arguments[kWarpSize];
};

struct Warp {
  unsigned index;
  uint32_t live;  // lanes that have not left the kernel
  uint32_t open;  // which rendezvous are in use
  unsigned head;  // of the queue of lanes that can run
  unsigned count;
  uint8_t queue[kWarpSize];
  Rendezvous rendezvous[kWarpSize];

  void push(unsigned lane) { queue[(head + count++) % kWarpSize] = static_cast<uint8_t>(lane); }
  unsigned pop() {
    const unsigned lane = queue[head];
    head = (head + 1) % kWarpSize;
    --count;
    return lane;
  }
};

struct Barrier {
  unsigned arrived;
  unsigned expected;
  unsigned predicates;
  int result;
  BlockSync kind;
  Site site;
  uint32_t waiting[kMaxWarps];
};

class BlockRunner {
 public:
  BlockRunner();
  ~BlockRunner();
  BlockRunner(const BlockRunner&) = delete;
  BlockRunner& operator=(const BlockRunner&) = delete;

  // Empty, or what was wrong with the block.
  std::string run(const Launch& launch, uint3 block, uint64_t seed);

  int block_barrier(Fiber& self, BlockSync kind, bool predicate, Site site);
  void named_barrier(Fiber& self, unsigned id, unsigned count, bool wait, Site site);
  void rendezvous(Fiber& self, WarpOp op, uint32_t mask, void* argument, PerformWarpOp perform, Site site);
  // Whether the address lies in the stack of a fiber or the page below it.
  bool in_stacks(uintptr_t address) const;
  [[noreturn]] void abandon(std::string error);
  SharedMemory& shared() { return shared_; }
  // Of the running thread, in shared memory or not; `code` is the address of the instruction.
  void access(const void* address, unsigned bytes, bool write, const void* code);
  // Its number in the block, as blockDim counts.
  unsigned number(const Fiber& fiber) const { return static_cast<unsigned>(&fiber - fibers_.data()); }
  uint3 thread_index(unsigned number) const { return fibers_[number].thread_idx; }

 private:
  static void fiber_main();
  void prepare(const Launch& launch, uint3 block);
  void make(Fiber& fiber, unsigned index);
  void release(Warp& warp, uint32_t lanes);
  void release(Barrier& barrier);
  void finish_block_barrier();
  Fiber* pick();
  void suspend(Fiber& self, WaitKind kind, uint32_t detail);
  void exit_thread(Fiber& self);
  std::string deadlock() const;
  std::string describe_wait(const Fiber& fiber) const;

  Place place_{};
  const Launch* launch_ = nullptr;
  unsigned threads_ = 0;
  unsigned live_ = 0;
  uint32_t ready_warps_ = 0;
  unsigned current_warp_ = 0;
  Random random_{0};
  Barrier block_barrier_{};
  Barrier named_[kNamedBarriers]{};
  std::vector<Warp> warps_;
  std::vector<Fiber> fibers_;
  Context home_;
  std::string error_;
  SharedMemory shared_;
  Progress progress_;
  RaceDetector races_;
  char* stacks_;
};

std::string text(uint3 index);
std::string text(Site site);
const char* op_name(WarpOp op);
std::string lane_list(uint32_t lanes);

// Turns faults of running kernels into errors of their launch for as long as one of these lives.
class FaultHandler {
 public:
  FaultHandler();
  ~FaultHandler();
};

// Gives the calling OS thread a stack for fault handlers, which cannot run on a fiber's stack that has overflowed.
class SignalStack {
 public:
  SignalStack();
  ~SignalStack();

 private:
  std::vector<char> memory_;
  void* previous_;
  size_t previous_bytes_;
  int previous_flags_;
};

inline Fiber& running_fiber() {
  return *static_cast<Fiber*>(running_thread);
}

}  // namespace alexnet::simt
