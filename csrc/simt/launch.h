// The executor's launch(): runs the kernel's blocks on CPU threads and returns when all are done.
#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>
#include <utility>

#include "simt/api.h"
#include "simt/device.h"
#include "simt/memory.h"

namespace alexnet::simt {

struct Launch {
  dim3 grid;
  dim3 block;
  size_t shared_bytes;
  void (*run_thread)(const Launch& launch);  // the kernel with its arguments, in the calling thread
  const void* kernel_and_arguments;
};

// Throws std::runtime_error with what the executor found wrong.
void run_launch(const Launch& launch);

// The order in which threads and blocks run is drawn from it; ALEXNET_CUDA_SIMT_SEED gives the first value.
void set_seed(uint64_t seed);
uint64_t seed();

// OS threads that run blocks; ALEXNET_CUDA_SIMT_THREADS gives the first value, else 1 until the caller says more.
void set_thread_count(int count);
int thread_count();

template <typename... Parameters>
struct BoundKernel {
  void (*kernel)(Parameters...);
  std::tuple<std::decay_t<Parameters>...> arguments;

  static void run_thread(const Launch& launch) {
    const auto& bound = *static_cast<const BoundKernel*>(launch.kernel_and_arguments);
    std::apply(bound.kernel, bound.arguments);
  }
};

}  // namespace alexnet::simt

namespace alexnet {

// Launches kernel(args...); each argument is converted to the kernel's parameter type.
template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t,
            Arguments... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "one argument for each parameter of the kernel");
  using Bound = simt::BoundKernel<Parameters...>;
  const Bound bound = {kernel, {static_cast<Parameters>(arguments)...}};
  int position = 0;
  const auto check = [&position](const auto& argument) {
    using Argument = std::decay_t<decltype(argument)>;
    if constexpr (std::is_pointer_v<Argument>) {
      if (!std::is_function_v<std::remove_pointer_t<Argument>>) simt::check_kernel_argument(argument, position);
    }
    ++position;
  };
  std::apply([&check](const auto&... each) { (check(each), ...); }, bound.arguments);
  simt::run_launch({grid, block, shared_bytes, &Bound::run_thread, &bound});
}

}  // namespace alexnet
