// The one way to launch a kernel, on the GPU and on the CPU executor.
#pragma once

#include <cstddef>
#include <tuple>

#include "common/check.h"
#include "common/cuda_runtime.h"

#ifdef ALEXNET_CUDA_SIMT
#include "simt/launch.h"
#else

namespace alexnet {

// Launches kernel(arguments...); each argument is converted to the kernel's parameter type. The caller follows it with
// check_launch(name).
template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
            Arguments... arguments) {
  constexpr size_t kSharedWithoutOptIn = 48 * 1024;
  const void* const function = reinterpret_cast<const void*>(kernel);
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
