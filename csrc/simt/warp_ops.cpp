// Barriers, shuffles and votes of the running thread.
#include "simt/executor.h"

namespace alexnet::simt {
namespace {

// The lane to read from, by the rules of CUDA's shuffles: lanes that would leave their segment read themselves.
unsigned source_lane(WarpOp op, unsigned lane, const ShuffleArgument& argument) {
  const unsigned segment = static_cast<unsigned>(argument.width) - 1;
  const unsigned operand = static_cast<unsigned>(argument.operand);
  switch (op) {
    case WarpOp::kShuffleUp:
      return (lane & segment) < operand ? lane : lane - operand;
    case WarpOp::kShuffleDown:
      return (lane & segment) + operand > segment ? lane : lane + operand;
    case WarpOp::kShuffleXor:
      return (lane ^ operand) > (lane | segment) ? lane : lane ^ operand;
    default:
      return (lane & ~segment) | (operand & segment);
  }
}

template <WarpOp op>
void perform_shuffle(void* const* arguments, uint32_t mask) {
  constexpr uint64_t kUndefined = ~uint64_t{0};  // kPoison: what a lane outside the mask holds is not defined
  for (unsigned lane = 0; lane < kWarpSize; ++lane) {
    if (((mask >> lane) & 1u) == 0) continue;
    auto& argument = *static_cast<ShuffleArgument*>(arguments[lane]);
    const unsigned source = source_lane(op, lane, argument);
    const bool defined = source < kWarpSize && ((mask >> source) & 1u);
    argument.result = defined ? static_cast<const ShuffleArgument*>(arguments[source])->value : kUndefined;
  }
}

struct VoteArgument {
  bool predicate;
  uint32_t result;
};

template <WarpOp op>
void perform_vote(void* const* arguments, uint32_t mask) {
  uint32_t ballot = 0;
  for (unsigned lane = 0; lane < kWarpSize; ++lane) {
    if (((mask >> lane) & 1u) && static_cast<const VoteArgument*>(arguments[lane])->predicate) ballot |= 1u << lane;
  }
  const uint32_t result = op == WarpOp::kBallot ? ballot : op == WarpOp::kAll ? ballot == mask : ballot != 0;
  for (unsigned lane = 0; lane < kWarpSize; ++lane) {
    if ((mask >> lane) & 1u) static_cast<VoteArgument*>(arguments[lane])->result = result;
  }
}

PerformWarpOp shuffle_performer(WarpOp op) {
  switch (op) {
    case WarpOp::kShuffleUp:
      return &perform_shuffle<WarpOp::kShuffleUp>;
    case WarpOp::kShuffleDown:
      return &perform_shuffle<WarpOp::kShuffleDown>;
    case WarpOp::kShuffleXor:
      return &perform_shuffle<WarpOp::kShuffleXor>;
    default:
      return &perform_shuffle<WarpOp::kShuffle>;
  }
}

}  // namespace

void warp_rendezvous(WarpOp op, uint32_t mask, void* argument, PerformWarpOp perform, Site site) {
  Fiber& self = running_fiber();
  self.runner->rendezvous(self, op, mask, argument, perform, site);
}

void warp_shuffle(WarpOp op, uint32_t mask, ShuffleArgument& argument, Site site) {
  if (argument.width < 1 || argument.width > static_cast<int>(kWarpSize) || (argument.width & (argument.width - 1))) {
    fail("%s at %s has width %d; expected a power of two up to 32", op_name(op), text(site).c_str(), argument.width);
  }
  warp_rendezvous(op, mask, &argument, shuffle_performer(op), site);
}

uint32_t warp_vote(WarpOp op, uint32_t mask, bool predicate, Site site) {
  VoteArgument argument = {predicate, 0};
  const PerformWarpOp perform = op == WarpOp::kBallot ? &perform_vote<WarpOp::kBallot>
                                : op == WarpOp::kAll  ? &perform_vote<WarpOp::kAll>
                                                      : &perform_vote<WarpOp::kAny>;
  warp_rendezvous(op, mask, &argument, perform, site);
  return argument.result;
}

int block_barrier(BlockSync kind, bool predicate, Site site) {
  Fiber& self = running_fiber();
  return self.runner->block_barrier(self, kind, predicate, site);
}

void named_barrier(unsigned id, unsigned count, bool wait, Site site) {
  Fiber& self = running_fiber();
  self.runner->named_barrier(self, id, count, wait, site);
}

void* new_static_shared(SharedSlot& slot, size_t bytes, size_t alignment, const char* name, Site site) {
  Fiber& self = running_fiber();
  void* const address = self.runner->shared().add_static(bytes, alignment, name, site);
  if (address == nullptr) {
    fail("shared array %s at %s does not fit: 48 KiB static, 227 KiB with dynamic", name, text(site).c_str());
  }
  slot = {self.place->block_run, address};
  return address;
}

void* dynamic_shared() {
  return running_fiber().runner->shared().dynamic();
}

}  // namespace alexnet::simt
