#include <sys/mman.h>

#include <cstring>
#include <exception>
#include <stdexcept>
#include <utility>

#include "simt/executor.h"

namespace alexnet::simt {

__thread Thread* running_thread = nullptr;

namespace {

constexpr size_t kStackGuard = 64 * 1024;
#ifdef ALEXNET_SIMT_ASAN
constexpr size_t kStackBytes = 512 * 1024;  // red zones around every variable
#else
constexpr size_t kStackBytes = 64 * 1024;
#endif
constexpr size_t kStackStride = kStackBytes + kStackGuard;
// Stacks that all began at the same offset in a page would share a few lines of the L1 cache.
constexpr size_t kStackColour = 256;
constexpr size_t kStackColours = 16;

// Lanes in an order drawn at random: multiplying by an odd number and adding permutes the numbers modulo 32.
template <typename Visit>
void visit_lanes(uint32_t lanes, uint64_t draw, Visit visit) {
  const uint32_t factor = static_cast<uint32_t>(draw) | 1u;
  uint32_t lane = static_cast<uint32_t>(draw >> 32);
  for (unsigned i = 0; i < kWarpSize; ++i, lane += factor) {
    if ((lanes >> (lane % kWarpSize)) & 1u) visit(lane % kWarpSize);
  }
}

bool same(Site a, Site b) {
  return a.line == b.line && (a.file == b.file || strcmp(a.file, b.file) == 0);
}

uint64_t next_block_run() {
  static uint64_t counter = 0;
  return __atomic_add_fetch(&counter, 1, __ATOMIC_RELAXED);
}

}  // namespace

uint64_t Random::next() {
  uint64_t z = state_ += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

BlockRunner::BlockRunner() : warps_(kMaxWarps), fibers_(kMaxBlockThreads) {
  constexpr size_t kBytes = kMaxBlockThreads * kStackStride;
  void* mapping = mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) throw std::runtime_error("the system refused memory for the CPU executor's stacks");
  stacks_ = static_cast<char*>(mapping);
}

BlockRunner::~BlockRunner() {
  munmap(stacks_, kMaxBlockThreads * kStackStride);
}

bool BlockRunner::in_stacks(uintptr_t address) const {
  return address - reinterpret_cast<uintptr_t>(stacks_) < kMaxBlockThreads * kStackStride;
}

void BlockRunner::make(Fiber& fiber, unsigned index) {
  char* const stack = stacks_ + index * kStackStride + kStackGuard;
  if (mprotect(stack, kStackBytes, PROT_READ | PROT_WRITE) != 0) {
    throw std::runtime_error("the system refused memory for the CPU executor's stacks");
  }
  make_context(fiber.context, stack, kStackBytes - index % kStackColours * kStackColour, &BlockRunner::fiber_main);
  fiber.made = true;
}

void BlockRunner::fiber_main() {
  context_entered();
  Fiber& self = running_fiber();
  // A thread that leaves the kernel stays here until the fiber runs a thread of the next block.
  for (;;) {
    const Launch& launch = *self.runner->launch_;
    try {
      launch.run_thread(launch);
    } catch (const std::exception& error) {
      fail("the kernel threw: %s", error.what());
    }
    self.runner->exit_thread(self);
  }
}

void BlockRunner::prepare(const Launch& launch, uint3 block) {
  launch_ = &launch;
  threads_ = live_ = launch.block.x * launch.block.y * launch.block.z;
  place_ = {block, launch.block, launch.grid, next_block_run()};
  shared_.begin_block(launch.shared_bytes);
  progress_ = {};
  block_barrier_ = {};
  for (Barrier& barrier : named_) barrier = {};
  error_.clear();
  const unsigned warps = (threads_ + kWarpSize - 1) / kWarpSize;
  ready_warps_ = warps == kMaxWarps ? kFullMask : (1u << warps) - 1u;
  for (unsigned w = 0; w < warps; ++w) {
    Warp& warp = warps_[w];
    const unsigned lanes = threads_ - w * kWarpSize;
    warp.index = w;
    warp.live = lanes >= kWarpSize ? kFullMask : (1u << lanes) - 1u;
    warp.open = warp.head = warp.count = 0;
    visit_lanes(warp.live, random_.next(), [&warp](unsigned lane) { warp.push(lane); });
  }
  uint3 index = {0, 0, 0};
  for (unsigned t = 0; t < threads_; ++t) {
    Fiber& fiber = fibers_[t];
    fiber.thread_idx = index;
    fiber.lane = t % kWarpSize;
    fiber.place = &place_;
    fiber.warp = &warps_[t / kWarpSize];
    fiber.runner = this;
    fiber.wait = WaitKind::kNone;
    fiber.last_site = {nullptr, 0};
    fiber.copies.clear();
    fiber.copy_group = 0;
    if (!fiber.made) make(fiber, t);
    if (++index.x == launch.block.x) {
      index.x = 0;
      if (++index.y == launch.block.y) {
        index.y = 0;
        ++index.z;
      }
    }
  }
}

std::string BlockRunner::run(const Launch& launch, uint3 block, uint64_t seed) {
  random_ = Random(seed);
  prepare(launch, block);
  current_warp_ = static_cast<unsigned>(random_.below((threads_ + kWarpSize - 1) / kWarpSize));
  Fiber* const first = pick();
  describe_own_stack(home_);
  running_thread = first;
  switch_context(home_, first->context);
  running_thread = nullptr;
  if (!error_.empty()) {
    for (Fiber& fiber : fibers_) fiber.made = false;  // they stopped in the middle of the kernel
    return "block " + text(block) + ", " + error_;
  }
  const std::string damage = shared_.damage();
  return damage.empty() ? damage : "block " + text(block) + ": " + damage;
}

void BlockRunner::access(const void* address, unsigned bytes, bool write, const void* code) {
  const size_t offset = shared_.offset(address);
  if (offset < shared_.extent()) races_.access(place_.block_run, progress_, offset, bytes, write, code);
}

void BlockRunner::abandon(std::string error) {
  error_ = std::move(error);
  Fiber& self = running_fiber();
  switch_context(self.context, home_);
  __builtin_unreachable();
}

Fiber* BlockRunner::pick() {
  Warp* warp = &warps_[current_warp_];
  if (warp->count == 0) {
    ready_warps_ &= ~(1u << current_warp_);
    if (ready_warps_ == 0) return nullptr;
    uint32_t candidates = ready_warps_;
    for (auto skip = random_.below(static_cast<uint64_t>(__builtin_popcount(candidates))); skip > 0; --skip) {
      candidates &= candidates - 1;
    }
    current_warp_ = static_cast<unsigned>(__builtin_ctz(candidates));
    warp = &warps_[current_warp_];
  }
  return &fibers_[current_warp_ * kWarpSize + warp->pop()];
}

void BlockRunner::suspend(Fiber& self, WaitKind kind, uint32_t detail) {
  self.wait = kind;
  self.wait_detail = detail;
  Fiber* const next = pick();
  if (next == nullptr) abandon(deadlock());
  running_thread = next;
  switch_context(self.context, next->context);
  self.wait = WaitKind::kNone;
}

void BlockRunner::release(Warp& warp, uint32_t lanes) {
  if (lanes == 0) return;
  visit_lanes(lanes, random_.next(), [&warp](unsigned lane) { warp.push(lane); });
  ready_warps_ |= 1u << warp.index;
}

void BlockRunner::release(Barrier& barrier) {
  ++progress_.block;
  for (unsigned w = 0; w * kWarpSize < threads_; ++w) {
    release(warps_[w], std::exchange(barrier.waiting[w], 0u));
  }
  barrier.arrived = barrier.predicates = 0;
}

void BlockRunner::exit_thread(Fiber& self) {
  const uint32_t bit = 1u << self.lane;
  Warp& warp = *self.warp;
  self.wait = WaitKind::kExited;
  warp.live &= ~bit;
  for (uint32_t open = warp.open; open != 0; open &= open - 1) {
    const Rendezvous& waiting = warp.rendezvous[__builtin_ctz(open)];
    if (waiting.mask & bit) {
      fail("left the kernel, but lanes %s of its warp wait for it in %s(mask 0x%08x) at %s",
           lane_list(waiting.arrived).c_str(), op_name(waiting.op), waiting.mask, text(waiting.site).c_str());
    }
  }
  --live_;
  if (live_ != 0 && block_barrier_.arrived == live_) finish_block_barrier();
  Fiber* const next = pick();
  if (next == nullptr && live_ != 0) abandon(deadlock());
  running_thread = next;
  switch_context(self.context, next != nullptr ? next->context : home_);
}

void BlockRunner::finish_block_barrier() {
  Barrier& barrier = block_barrier_;
  if (barrier.kind == BlockSync::kCount) barrier.result = static_cast<int>(barrier.predicates);
  if (barrier.kind == BlockSync::kAnd) barrier.result = barrier.predicates == barrier.arrived;
  if (barrier.kind == BlockSync::kOr) barrier.result = barrier.predicates != 0;
  release(barrier);
}

int BlockRunner::block_barrier(Fiber& self, BlockSync kind, bool predicate, Site site) {
  Barrier& barrier = block_barrier_;
  self.last_site = site;
  if (barrier.arrived == 0) {
    barrier.kind = kind;
    barrier.site = site;
  } else if (barrier.kind != kind || !same(barrier.site, site)) {
    fail("waits at the barrier of %s, while %u threads wait at that of %s", text(site).c_str(), barrier.arrived,
         text(barrier.site).c_str());
  }
  ++barrier.arrived;
  barrier.predicates += predicate;
  if (barrier.arrived == live_) {
    finish_block_barrier();
  } else {
    barrier.waiting[self.warp->index] |= 1u << self.lane;
    suspend(self, WaitKind::kBlockBarrier, 0);
  }
  return barrier.result;
}

void BlockRunner::named_barrier(Fiber& self, unsigned id, unsigned count, bool wait, Site site) {
  self.last_site = site;
  if (id == 0 || id >= kNamedBarriers) fail("named barrier %u at %s; expected 1 to 15", id, text(site).c_str());
  if (count == 0 || count % kWarpSize != 0 || count > (threads_ + kWarpSize - 1) / kWarpSize * kWarpSize) {
    fail("named barrier %u for %u threads at %s; expected whole warps of a block of %u threads", id, count,
         text(site).c_str(), threads_);
  }
  Barrier& barrier = named_[id];
  if (barrier.arrived == 0) {
    barrier.expected = count;
    barrier.site = site;
  } else if (barrier.expected != count) {
    fail("named barrier %u for %u threads at %s, but for %u at %s", id, count, text(site).c_str(), barrier.expected,
         text(barrier.site).c_str());
  }
  if (++barrier.arrived == barrier.expected) {
    release(barrier);
  } else if (wait) {
    barrier.waiting[self.warp->index] |= 1u << self.lane;
    suspend(self, WaitKind::kNamedBarrier, id);
  }
}

void BlockRunner::rendezvous(Fiber& self, WarpOp op, uint32_t mask, void* argument, PerformWarpOp perform, Site site) {
  Warp& warp = *self.warp;
  const uint32_t bit = 1u << self.lane;
  self.last_site = site;
  if ((mask & bit) == 0) {
    fail("lane %u calls %s(mask 0x%08x) at %s, a mask without itself", self.lane, op_name(op), mask,
         text(site).c_str());
  }
  if ((mask & ~warp.live) != 0) {
    fail("%s(mask 0x%08x) at %s names lanes %s, which have left the kernel or never were in it", op_name(op), mask,
         text(site).c_str(), lane_list(mask & ~warp.live).c_str());
  }
  Rendezvous* meeting = nullptr;
  for (uint32_t open = warp.open; open != 0 && meeting == nullptr; open &= open - 1) {
    Rendezvous& candidate = warp.rendezvous[__builtin_ctz(open)];
    if (candidate.mask == mask) meeting = &candidate;
  }
  if (meeting == nullptr) {
    const int slot = __builtin_ctz(~warp.open);
    warp.open |= 1u << slot;
    meeting = &warp.rendezvous[slot];
    meeting->mask = mask;
    meeting->arrived = 0;
    meeting->op = op;
    meeting->site = site;
  } else if (meeting->op != op || (op != WarpOp::kSync && !same(meeting->site, site))) {
    fail("lane %u calls %s at %s, while lanes %s wait for it in %s at %s", self.lane, op_name(op), text(site).c_str(),
         lane_list(meeting->arrived).c_str(), op_name(meeting->op), text(meeting->site).c_str());
  }
  meeting->arguments[self.lane] = argument;
  meeting->arrived |= bit;
  if (meeting->arrived != mask) {
    self.wait_op = op;
    suspend(self, WaitKind::kWarp, mask);
    return;
  }
  if (op == WarpOp::kSync) ++progress_.warp[warp.index];
  if (perform != nullptr) perform(meeting->arguments, mask);
  warp.open &= ~(1u << (meeting - warp.rendezvous));
  release(warp, mask & ~bit);
}

}  // namespace alexnet::simt
