// A CUDA runtime for launch_errors.cpp: no GPU, but errors that stay until somebody asks for them, as the real one's
// do.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorNoKernelImageForDevice = 209,
  cudaErrorIllegalAddress = 700,
  cudaErrorLaunchTimeout = 702,
  cudaErrorAssert = 710,
  cudaErrorHardwareStackError = 714,
  cudaErrorIllegalInstruction = 715,
  cudaErrorMisalignedAddress = 716,
  cudaErrorInvalidAddressSpace = 717,
  cudaErrorInvalidPc = 718,
  cudaErrorLaunchFailure = 719,
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount, cudaDevAttrMaxSharedMemoryPerMultiprocessor };
using cudaStream_t = struct CUstream_st*;
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

namespace standin {

inline std::vector<std::string> calls;  // made so far
inline std::string failing;             // this call fails, always with `error`
inline cudaError_t error = cudaSuccess;
inline cudaError_t last = cudaSuccess;  // what cudaGetLastError would say
inline int device = 0;

inline cudaError_t call(const std::string& name) {
  calls.push_back(name);
  if (name != failing) return cudaSuccess;
  return last = error;
}

}  // namespace standin

inline cudaError_t cudaGetLastError() {
  const cudaError_t was = standin::last;
  standin::last = cudaSuccess;
  return was;
}
inline const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorIllegalAddress ? "an illegal memory access was encountered" : "invalid argument";
}
inline const char* cudaGetErrorName(cudaError_t error) {
  return error == cudaErrorIllegalAddress ? "cudaErrorIllegalAddress" : "cudaErrorInvalidValue";
}
inline cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
inline cudaError_t cudaGetDevice(int* device) {
  *device = standin::device;
  return standin::call("cudaGetDevice");
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  *value = attribute == cudaDevAttrMultiProcessorCount ? 100 + device : 1000 * (1 + device);
  return standin::call("cudaDeviceGetAttribute");
}
inline cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) {
  return standin::call("cudaFuncSetAttribute");
}
inline cudaError_t cudaLaunchKernel(const void*, dim3, dim3, void**, size_t, cudaStream_t) {
  return standin::call("cudaLaunchKernel");
}
