// A place where execution can be left and taken up again on a stack of its own.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define ALEXNET_SIMT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ALEXNET_SIMT_ASAN 1
#endif
#endif

// Other processors than x86-64 switch with _setjmp and _longjmp: slower, and nothing to write for each.
#if !defined(__x86_64__) && !defined(ALEXNET_SIMT_PORTABLE_SWITCH)
#define ALEXNET_SIMT_PORTABLE_SWITCH 1
#endif

#ifdef ALEXNET_SIMT_PORTABLE_SWITCH
#include <setjmp.h>
#endif

namespace alexnet::simt {

struct Context {
#ifdef ALEXNET_SIMT_PORTABLE_SWITCH
  jmp_buf registers;
  void (*entry)() = nullptr;  // not null until the context has run for the first time
#else
  void* stack_pointer = nullptr;
#endif
  void* stack = nullptr;
  size_t stack_bytes = 0;
#ifdef ALEXNET_SIMT_ASAN
  void* fake_stack = nullptr;
#endif
};

// Makes `context` start in entry(), which never returns, on the given stack.
void make_context(Context& context, void* stack, size_t stack_bytes, void (*entry)());

// Leaves `from` here and goes on in `to`; returns when somebody switches to `from`.
void switch_context(Context& from, Context& to);

// The first statement of an entry function.
void context_entered();

// Tells where the stack of the running OS thread is, for a context that is left but was not made.
void describe_own_stack(Context& context);

}  // namespace alexnet::simt
