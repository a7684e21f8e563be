// Errors of the CUDA runtime as C++ exceptions, which Python sees as RuntimeError.
#pragma once

#include <stdexcept>
#include <string>

#include "common/cuda_runtime.h"

namespace alexnet {

#ifndef ALEXNET_CUDA_SIMT
// Whether an error is a running kernel's, which the runtime reports of whatever is called next.
inline bool is_of_a_kernel(cudaError_t error) {
  switch (error) {
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorIllegalInstruction:
    case cudaErrorInvalidPc:
    case cudaErrorHardwareStackError:
    case cudaErrorLaunchTimeout:
    case cudaErrorLaunchFailure:
    case cudaErrorAssert:
      return true;
    default:
      return false;
  }
}
#endif

[[noreturn]] inline void throw_cuda_error(cudaError_t error, const std::string& what, const std::string& file,
                                          int line) {
  const size_t start = file.rfind("csrc/");
  const std::string place = start == std::string::npos ? file : file.substr(start);
  std::string text = what + ": " + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ") at " + place + ":" +
                     std::to_string(line);
  // How to fix it, which the user needs before where it showed.
  std::string advice;
#ifndef ALEXNET_CUDA_SIMT
  if (is_of_a_kernel(error)) {
    text += "; a kernel that was launched before did this, CUDA_LAUNCH_BLOCKING=1 shows which";
  }
  if (error == cudaErrorInsufficientDriver) {
    int version = 0;
    cudaDriverGetVersion(&version);
    // The runtime has one error for both.
    advice = version == 0 ? "this machine has no NVIDIA driver" : "the NVIDIA driver is older than CUDA 13";
    advice +=
        ": install driver 580 or newer, in a container pass the GPUs through (--gpus all), or use the device cpu; ";
  }
#endif
  if (error == cudaErrorNoDevice || error == cudaErrorInsufficientDriver || error == cudaErrorNoKernelImageForDevice) {
    advice += "`alexnet-cuda doctor` says what this machine lacks; ";
  }
  // The runtime keeps the error of a call that failed until somebody asks for it; it is told here, and only here.
  static_cast<void>(cudaGetLastError());
  throw std::runtime_error(advice + text);
}

}  // namespace alexnet

#define ALEXNET_CUDA_CHECK(call)                                             \
  do {                                                                       \
    const cudaError_t alexnet_error = (call);                                \
    if (alexnet_error != cudaSuccess) {                                      \
      ::alexnet::throw_cuda_error(alexnet_error, #call, __FILE__, __LINE__); \
    }                                                                        \
  } while (false)
