// Fortified _longjmp refuses to go to another stack, which is all that it does here.
#undef _FORTIFY_SOURCE

#include "simt/context.h"

#include <cstdint>

#ifdef ALEXNET_SIMT_PORTABLE_SWITCH
#include <ucontext.h>
#endif
#ifdef ALEXNET_SIMT_ASAN
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace alexnet::simt {

#ifdef ALEXNET_SIMT_PORTABLE_SWITCH

namespace {

void load(Context& to) {
  if (to.entry == nullptr) _longjmp(to.registers, 1);
  ucontext_t start;
  getcontext(&start);
  start.uc_stack.ss_sp = to.stack;
  start.uc_stack.ss_size = to.stack_bytes;
  start.uc_link = nullptr;
  makecontext(&start, to.entry, 0);
  to.entry = nullptr;
  setcontext(&start);
}

void switch_stack(Context& from, Context& to) {
  if (_setjmp(from.registers) == 0) load(to);
}

}  // namespace

void make_context(Context& context, void* stack, size_t stack_bytes, void (*entry)()) {
  context.stack = stack;
  context.stack_bytes = stack_bytes;
  context.entry = entry;
#ifdef ALEXNET_SIMT_ASAN
  context.fake_stack = nullptr;
  __asan_unpoison_memory_region(stack, stack_bytes);
#endif
}

#else

// Saves what the System V ABI has a function keep, on the stack that is left, and takes it from the stack that is
// entered. It ends in a return: the processor predicts one to where its last calls came from, here and in the callers,
// and lanes of a warp mostly wait at the same place, so that is right; after a jump every prediction is one call off.
extern "C" void alexnet_simt_switch_stack(void** left, void* entered);
asm(R"(
.text
.p2align 4
.globl alexnet_simt_switch_stack
.hidden alexnet_simt_switch_stack
.type alexnet_simt_switch_stack, @function
alexnet_simt_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size alexnet_simt_switch_stack, .-alexnet_simt_switch_stack
)");

void make_context(Context& context, void* stack, size_t stack_bytes, void (*entry)()) {
  context.stack = stack;
  context.stack_bytes = stack_bytes;
  constexpr uintptr_t kStackAlignment = 16;
  const uintptr_t top = (reinterpret_cast<uintptr_t>(stack) + stack_bytes) & ~(kStackAlignment - 1);
  void** slot = reinterpret_cast<void**>(top);
  *--slot = nullptr;  // where entry() would return to
  *--slot = reinterpret_cast<void*>(entry);
  for (int saved = 0; saved < 6; ++saved) *--slot = nullptr;
  context.stack_pointer = slot;
#ifdef ALEXNET_SIMT_ASAN
  context.fake_stack = nullptr;
  __asan_unpoison_memory_region(stack, stack_bytes);
#endif
}

namespace {

inline void switch_stack(Context& from, Context& to) {
  alexnet_simt_switch_stack(&from.stack_pointer, to.stack_pointer);
}

}  // namespace

#endif

#ifdef ALEXNET_SIMT_ASAN

void switch_context(Context& from, Context& to) {
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack, to.stack_bytes);
  switch_stack(from, to);
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
}

void context_entered() {
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
}

void describe_own_stack(Context& context) {
  pthread_attr_t attributes;
  if (pthread_getattr_np(pthread_self(), &attributes) != 0) return;
  pthread_attr_getstack(&attributes, &context.stack, &context.stack_bytes);
  pthread_attr_destroy(&attributes);
}

#else

void switch_context(Context& from, Context& to) {
  switch_stack(from, to);
}
void context_entered() {}
void describe_own_stack(Context&) {}

#endif

}  // namespace alexnet::simt
