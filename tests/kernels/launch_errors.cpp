// Runs common/launch.h against the runtime of standin/: prints one line a step, which test_launch_errors.py reads.
#include <cstdio>
#include <stdexcept>

#include "common/launch.h"

namespace {

void plain_kernel(int) {}
template <typename T, int kVector>
void vector_kernel(T) {}

// What a step says that fails as told, and what is left of the error after it.
template <typename Step>
void report(const char* title, Step&& step) {
  try {
    step();
    std::printf("%s: ok\n", title);
  } catch (const std::runtime_error& error) {
    std::printf("%s: %s\n", title, error.what());
  }
  if (standin::last != cudaSuccess) std::printf("%s: an error is left\n", title);
}

void launch_it() {
  alexnet::launch<plain_kernel>(dim3{}, dim3{}, 64 * 1024, nullptr, 1);
}

void fail(const char* call, cudaError_t error) {
  standin::failing = call;
  standin::error = error;
}

}  // namespace

int main() {
  report("launch", launch_it);
  for (const char* call : {"cudaFuncSetAttribute", "cudaLaunchKernel"}) {
    fail(call, cudaErrorInvalidValue);
    report(call, launch_it);
    fail("", cudaSuccess);
    report("next launch", launch_it);
  }
  fail("cudaLaunchKernel", cudaErrorInvalidValue);
  report("a template", [] { alexnet::launch<vector_kernel<float, 4>>(dim3{}, dim3{}, 0, nullptr, 1.0f); });
  fail("cudaLaunchKernel", cudaErrorIllegalAddress);
  report("a kernel before", launch_it);
  fail("", cudaSuccess);
  standin::last = cudaErrorInvalidValue;
  report("next launch", launch_it);

  const auto ask = [] {
    const alexnet::Machine machine = alexnet::current_machine();
    std::printf("machine: %d, %d\n", machine.multiprocessors, machine.shared_bytes);
  };
  for (const char* call : {"cudaGetDevice", "cudaDeviceGetAttribute"}) {
    fail(call, cudaErrorInvalidValue);
    report(call, ask);
  }
  fail("", cudaSuccess);
  report("next launch", launch_it);
  report("ask", ask);
  standin::calls.clear();
  report("ask again", ask);
  std::printf("calls: %zu\n", standin::calls.size());
  standin::device = 1;
  report("another GPU", ask);
}
