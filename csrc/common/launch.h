// The one way to launch a kernel, and what it is launched on, for the GPU and for the CPU executor.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <tuple>

#include "common/check.h"
#include "common/cuda_runtime.h"
#include "common/machine.h"

#ifdef ALEXNET_CUDA_SIMT
#include "simt/launch.h"
#endif

namespace alexnet {

// A kernel's name without namespace and template arguments, in the compiler's own words: a name typed beside the kernel
// can be that of another.
template <auto kKernel>
std::string kernel_name() {
  const std::string_view text = __PRETTY_FUNCTION__, before = "kKernel = ";
  std::string_view name = text.substr(text.find(before) + before.size());
  name = name.substr(0, name.find_first_of("<;]"));
  return std::string(name.substr(name.find_last_of(":& ") + 1));
}

// A stream, and where in the sources a kernel is put on it: what converts it at the call knows.
struct StreamAt {
  cudaStream_t stream;
  const char* file;
  int line;

  StreamAt(cudaStream_t stream_, const char* file_ = __builtin_FILE(), int line_ = __builtin_LINE())
      : stream(stream_), file(file_), line(line_) {}
};

#ifdef ALEXNET_CUDA_SIMT

inline Machine current_machine() {
  return kReferenceMachine;
}

template <auto kKernel, typename... Arguments>
void launch(dim3 grid, dim3 block, size_t shared_bytes, StreamAt at, Arguments... arguments) {
  launch(kKernel, grid, block, shared_bytes, at.stream, arguments...);
}

#else

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

// Starts kernel(arguments...), each argument converted to the kernel's parameter type; the error of doing so.
template <typename... Parameters, typename... Arguments>
cudaError_t start(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                  Arguments... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "one argument for each parameter of the kernel");
  constexpr size_t kSharedWithoutOptIn = 48 * 1024;
  const void* const function = reinterpret_cast<const void*>(kernel);
  if (shared_bytes > kSharedWithoutOptIn) {
    ALEXNET_CUDA_CHECK(
        cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)));
  }
  std::tuple<Parameters...> values(static_cast<Parameters>(arguments)...);
  return std::apply(
      [&](auto&... value) {
        void* pointers[] = {&value...};
        return cudaLaunchKernel(function, grid, block, pointers, shared_bytes, stream);
      },
      values);
}

// Launches kKernel(arguments...) and throws where that is refused. It does not wait for the kernel, whose own errors
// show at a later call of the runtime.
template <auto kKernel, typename... Arguments>
void launch(dim3 grid, dim3 block, size_t shared_bytes, StreamAt at, Arguments... arguments) {
  // What another call left; whoever made it was told. An error of a kernel that ran before comes back at every call.
  static_cast<void>(cudaGetLastError());
  const cudaError_t error = start(kKernel, grid, block, shared_bytes, at.stream, arguments...);
  if (error != cudaSuccess) throw_cuda_error(error, "launching " + kernel_name<kKernel>(), at.file, at.line);
}

#endif

}  // namespace alexnet
