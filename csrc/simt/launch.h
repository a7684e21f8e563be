// The executor's launch(): runs the kernel's blocks on CPU threads and returns when all are done.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "simt/api.h"
#include "simt/device.h"
#include "simt/memory.h"

namespace alexnet::simt {

// A kernel and where its arguments lie.
struct KernelCall {
  struct Argument {
    const void* data;
    size_t bytes;
  };
  const void* kernel;  // the function's address
  std::vector<Argument> where;
};

struct Launch {
  dim3 grid;
  dim3 block;
  size_t shared_bytes;
  void (*run_thread)(const Launch& launch);  // the kernel with its arguments, in the calling thread
  const KernelCall* call;
};

// Throws std::invalid_argument where grid, block or a setting is wrong, then runs the kernel: by run_blocks(), or by
// run_elsewhere() where the build has another runner.
void run_launch(const Launch& launch);

// The executor itself. Throws std::runtime_error with what it found wrong.
void run_blocks(const Launch& launch);

// Defined by the file that the build option ALEXNET_SIMT_RUNNER names; README.md, "Another runner".
void run_elsewhere(const Launch& launch);

// The order in which threads and blocks run is drawn from it; ALEXNET_CUDA_SIMT_SEED gives the first value.
void set_seed(uint64_t seed);
uint64_t seed();

// OS threads that run blocks; ALEXNET_CUDA_SIMT_THREADS gives the first value, else 1 until the caller says more.
void set_thread_count(int count);
int thread_count();

// How mma.sync adds: exactly rounded, or cut off as tensor cores do (matrix.cpp). ALEXNET_CUDA_SIMT_MMA, "exact" or
// "truncated", gives the first value.
enum class MmaSums { kExact, kTruncated };
void set_mma_sums(const std::string& name);
MmaSums mma_sums();
const char* name(MmaSums sums);

template <typename... Parameters>
struct BoundKernel : KernelCall {
  void (*function)(Parameters...);
  std::tuple<std::decay_t<Parameters>...> arguments;

  BoundKernel(void (*function)(Parameters...), std::decay_t<Parameters>... given)
      : KernelCall{reinterpret_cast<const void*>(function), {}}, function(function), arguments(given...) {
    std::apply([this](const auto&... each) { where = {{&each, sizeof(each)}...}; }, arguments);
  }
  BoundKernel(const BoundKernel&) = delete;  // `where` points into it
  BoundKernel& operator=(const BoundKernel&) = delete;

  static void run_thread(const Launch& launch) {
    const auto& bound = *static_cast<const BoundKernel*>(launch.call);
    std::apply(bound.function, bound.arguments);
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
  const Bound bound(kernel, static_cast<Parameters>(arguments)...);
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
