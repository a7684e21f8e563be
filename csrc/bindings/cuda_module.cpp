#include "bindings/device.h"
#include "bindings/ops.h"

PYBIND11_MODULE(_cuda, module) {
  module.doc() =
      "The CUDA kernels. Arrays are Tensors, the stream is a cudaStream_t as an integer. Every function checks its "
      "arguments (ValueError, TypeError), launches and returns; a refused launch is a RuntimeError.";
  alexnet::bindings::bind_device(module);
  alexnet::bindings::bind_ops(module);
}
