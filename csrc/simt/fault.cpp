// Faults of running kernels: accesses to guard zones, stack overflow, division by zero.
#include <csignal>
#include <cstring>
#include <mutex>

#ifdef __x86_64__
#include <ucontext.h>
#endif

#include "simt/executor.h"
#include "simt/memory.h"

namespace alexnet::simt {
namespace {

constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGFPE};
constexpr int kSignalCount = sizeof(kSignals) / sizeof(kSignals[0]);

std::mutex handler_mutex;
int handlers = 0;
struct sigaction previous[kSignalCount];

const char* access_kind([[maybe_unused]] const void* context) {
#ifdef __x86_64__
  constexpr greg_t kPageFaultWrite = 2;
  const auto error = static_cast<const ucontext_t*>(context)->uc_mcontext.gregs[REG_ERR];
  return error & kPageFaultWrite ? "write" : "read";
#else
  return "access";
#endif
}

// A kernel's fault comes from its own instruction, never from inside malloc or under a lock, so what follows may use
// them as ordinary code does. It does not return: the block is given up.
void on_fault(int signal, siginfo_t* info, void* context) {
  if (running_thread == nullptr) {
    // Not a kernel's: once the handler before this one is back, the instruction faults again and goes there.
    for (int i = 0; i < kSignalCount; ++i) {
      if (kSignals[i] == signal) sigaction(signal, &previous[i], nullptr);
    }
    return;
  }
  Fiber& self = running_fiber();
  const std::string after = text(self.last_site);
  if (signal == SIGFPE) fail("integer division by zero, after %s", after.c_str());
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  if (self.runner->in_stacks(address)) fail("its stack overflowed, after %s", after.c_str());
  if (address == 0 && info->si_code == SI_KERNEL) fail("access to a misaligned address, after %s", after.c_str());
  std::string where = self.runner->shared().describe_address(address);
  if (where.empty()) where = describe_address(address);
  fail("%s at %p, %s, after %s", access_kind(context), info->si_addr, where.c_str(), after.c_str());
}

}  // namespace

FaultHandler::FaultHandler() {
  const std::lock_guard<std::mutex> lock(handler_mutex);
  if (handlers++ != 0) return;
  struct sigaction action;
  memset(&action, 0, sizeof(action));
  action.sa_sigaction = &on_fault;
  // Not blocked while it is handled, as the handler is left without returning.
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  for (int i = 0; i < kSignalCount; ++i) sigaction(kSignals[i], &action, &previous[i]);
}

FaultHandler::~FaultHandler() {
  const std::lock_guard<std::mutex> lock(handler_mutex);
  if (--handlers != 0) return;
  for (int i = 0; i < kSignalCount; ++i) sigaction(kSignals[i], &previous[i], nullptr);
}

SignalStack::SignalStack() : memory_(64 * 1024) {
  stack_t mine = {};
  stack_t old = {};
  mine.ss_sp = memory_.data();
  mine.ss_size = memory_.size();
  sigaltstack(&mine, &old);
  previous_ = old.ss_sp;
  previous_bytes_ = old.ss_size;
  previous_flags_ = old.ss_flags;
}

SignalStack::~SignalStack() {
  stack_t old = {};
  old.ss_sp = previous_;
  old.ss_size = previous_bytes_;
  old.ss_flags = previous_flags_;
  sigaltstack(&old, nullptr);
}

}  // namespace alexnet::simt
