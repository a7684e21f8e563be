// The executor's words for what went wrong.
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "simt/executor.h"

namespace alexnet::simt {

std::string text(uint3 index) {
  return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) + ")";
}

std::string text(Site site) {
  if (site.file == nullptr) return "the start of the kernel";
  const char* const sources = strstr(site.file, "csrc/");
  return std::string(sources != nullptr ? sources : site.file) + ":" + std::to_string(site.line);
}

const char* op_name(WarpOp op) {
  switch (op) {
    case WarpOp::kSync:
      return "__syncwarp";
    case WarpOp::kShuffle:
      return "__shfl_sync";
    case WarpOp::kShuffleUp:
      return "__shfl_up_sync";
    case WarpOp::kShuffleDown:
      return "__shfl_down_sync";
    case WarpOp::kShuffleXor:
      return "__shfl_xor_sync";
    case WarpOp::kBallot:
      return "__ballot_sync";
    case WarpOp::kAll:
      return "__all_sync";
    case WarpOp::kAny:
      return "__any_sync";
    case WarpOp::kLdmatrix:
      return "ldmatrix";
    case WarpOp::kMma:
      return "mma.sync";
  }
  return "an unknown operation";
}

std::string lane_list(uint32_t lanes) {
  std::string list;
  for (unsigned lane = 0; lane < kWarpSize; ++lane) {
    if (((lanes >> lane) & 1u) == 0) continue;
    unsigned last = lane;
    while (last + 1 < kWarpSize && ((lanes >> (last + 1)) & 1u)) ++last;
    if (!list.empty()) list += ", ";
    list += std::to_string(lane);
    if (last != lane) list += "-" + std::to_string(last);
    lane = last;
  }
  return list;
}

std::string BlockRunner::describe_wait(const Fiber& fiber) const {
  switch (fiber.wait) {
    case WaitKind::kBlockBarrier:
      return "at the barrier of " + text(fiber.last_site);
    case WaitKind::kNamedBarrier:
      return "at named barrier " + std::to_string(fiber.wait_detail) + " of " + text(fiber.last_site);
    case WaitKind::kWarp: {
      char mask[16];
      snprintf(mask, sizeof(mask), "0x%08x", fiber.wait_detail);
      uint32_t absent = fiber.wait_detail;
      for (uint32_t open = fiber.warp->open; open != 0; open &= open - 1) {
        const Rendezvous& meeting = fiber.warp->rendezvous[__builtin_ctz(open)];
        if (meeting.mask == fiber.wait_detail) absent = meeting.mask & ~meeting.arrived;
      }
      return std::string("in ") + op_name(fiber.wait_op) + "(mask " + mask + ") at " + text(fiber.last_site) +
             " for lanes " + lane_list(absent) + " of warp " + std::to_string(fiber.warp->index);
    }
    case WaitKind::kNone:
    case WaitKind::kExited:
      break;
  }
  return {};
}

std::string BlockRunner::deadlock() const {
  struct Group {
    std::string where;
    uint3 first;
    unsigned count;
  };
  std::vector<Group> groups;
  for (unsigned t = 0; t < threads_; ++t) {
    const std::string where = describe_wait(fibers_[t]);
    if (where.empty()) continue;
    bool known = false;
    for (Group& group : groups) {
      if (group.where != where) continue;
      ++group.count;
      known = true;
    }
    if (!known) groups.push_back({where, fibers_[t].thread_idx, 1});
  }
  constexpr size_t kShown = 4;
  std::string list = "no thread can go on:";
  for (size_t i = 0; i < groups.size() && i < kShown; ++i) {
    list += (i == 0 ? " " : "; ") + std::to_string(groups[i].count) + " of " + std::to_string(live_) +
            " live threads wait " + groups[i].where + ", the first is thread " + text(groups[i].first);
  }
  if (groups.size() > kShown) list += "; and " + std::to_string(groups.size() - kShown) + " more groups";
  return list;
}

void fail(const char* format, ...) {
  char message[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof(message), format, arguments);
  va_end(arguments);
  Fiber& self = running_fiber();
  self.runner->abandon("thread " + text(self.thread_idx) + ": " + message);
}

}  // namespace alexnet::simt
