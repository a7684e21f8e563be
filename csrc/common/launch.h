// The one way to launch a kernel, and what it is launched on, for the GPU and for the CPU executor.
#pragma once

#include <cstddef>
#include <map>
#include <tuple>

#include "common/check.h"
#include "common/cuda_runtime.h"
#include "common/machine.h"

#ifdef ALEXNET_CUDA_SIMT
#include "simt/launch.h"

namespace alexnet {

inline Machine current_machine() {
  return kReferenceMachine;
}

}  // namespace alexnet

#else

namespace alexnet {

// The GPU that this thread launches on.
inline Machine current_machine() {
  thread_local std::map<int, Machine> known;
  int device = 0;
  ALEXNET_CUDA_CHECK(cudaGetDevice(&device));
  const auto found = known.find(device);
  if (found != known.end()) return found->second;
  Machine machine{};
  ALEXNET_CUDA_CHECK(cudaDeviceGetAttribute(&machine.multiprocessors, cudaDevAttrMultiProcessorCount, device));
  ALEXNET_CUDA_CHECK(
      cudaDeviceGetAttribute(&machine.shared_bytes, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device));
  return known.emplace(device, machine).first->second;
}

// Launches kernel(arguments...); each argument is converted to the kernel's parameter type. The caller follows it with
// check_launch(name), which is about this launch alone.
template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
            Arguments... arguments) {
  constexpr size_t kSharedWithoutOptIn = 48 * 1024;
  const void* const function = reinterpret_cast<const void*>(kernel);
  // What another call left; whoever made it was told. An error of a kernel that ran before comes back at every call.
  static_cast<void>(cudaGetLastError());
  if (shared_bytes > kSharedWithoutOptIn) {
    ALEXNET_CUDA_CHECK(
        cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)));
  }
  std::tuple<Parameters...> values(static_cast<Parameters>(arguments)...);
  std::apply(
      [&](auto&... value) {
        void* pointers[] = {&value...};
        // check_launch reads the error.
        static_cast<void>(cudaLaunchKernel(function, grid, block, pointers, shared_bytes, stream));
      },
      values);
}

}  // namespace alexnet

#endif
