// What `python tools/simt.py` gives a CUDA program in the place of <cuda_runtime.h>: the executor's device functions
// and the few functions of the runtime that a small program needs. tools/simt.py rewrites `__shared__` and `<<< >>>`.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <exception>

#include "common/cuda_runtime.h"
#include "common/launch.h"
#include "simt/memory.h"

#define __constant__ static const

namespace alexnet::simt {

// The arguments of <<< >>>.
struct Configuration {
  dim3 grid, block;
  size_t shared_bytes;
  cudaStream_t stream;
  Configuration(dim3 grid, dim3 block, size_t shared_bytes = 0, cudaStream_t stream = nullptr)
      : grid(grid), block(block), shared_bytes(shared_bytes), stream(stream) {}
};

// On a GPU an error would show at the next synchronisation; here it ends the program at once.
template <typename... Parameters, typename... Arguments>
void launch_or_exit(const char* name, void (*kernel)(Parameters...), const Configuration& c, Arguments... arguments) {
  try {
    launch(kernel, c.grid, c.block, c.shared_bytes, c.stream, arguments...);
  } catch (const std::exception& error) {
    fflush(stdout);
    fprintf(stderr, "%s: %s\n", name, error.what());
    _Exit(EXIT_FAILURE);
  }
}

}  // namespace alexnet::simt

template <typename T>
cudaError_t cudaMalloc(T** pointer, size_t bytes) {
  *pointer = static_cast<T*>(alexnet::simt::allocate(bytes, alexnet::simt::default_placement(), "of cudaMalloc"));
  return cudaSuccess;
}
inline cudaError_t cudaFree(void* pointer) {
  if (pointer != nullptr) alexnet::simt::release(pointer);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpy(void* target, const void* source, size_t bytes, cudaMemcpyKind kind) {
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (to_device && !alexnet::simt::is_guarded(target, bytes)) return cudaErrorInvalidValue;
  if (from_device && !alexnet::simt::is_guarded(source, bytes)) return cudaErrorInvalidValue;
  return cudaMemcpyAsync(target, source, bytes, kind, nullptr);
}
inline cudaError_t cudaMemset(void* target, int value, size_t bytes) {
  if (!alexnet::simt::is_guarded(target, bytes)) return cudaErrorInvalidValue;
  return cudaMemsetAsync(target, value, bytes, nullptr);
}
// The executor allows what a multiprocessor has; launches over that are errors there.
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
template <typename Kernel>
cudaError_t cudaFuncSetAttribute(Kernel*, cudaFuncAttribute, size_t) {
  return cudaSuccess;
}
inline cudaError_t cudaDeviceSynchronize() {
  return cudaSuccess;
}
