// Activations: elementwise functions whose gradient follows from what they gave. The table of them, parameters and
// launches. Kernels and their contracts: activation.cuh.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <tuple>

#include "common/cuda_runtime.h"
#include "common/dtype.h"

namespace alexnet {

// max(x, 0) (Nair and Hinton 2010; section 3.1 of the AlexNet paper). A NaN stays a NaN, so that a training run that
// broke shows it.
struct Relu {
  static constexpr const char* kName = "relu";
  static __device__ float fprop(float x) { return x <= 0.0f ? 0.0f : x; }
  static __device__ float bprop(float y, float dy) { return y > 0.0f ? dy : 0.0f; }
};

// tanh(x), the saturating unit that the AlexNet paper compares ReLU with (section 3.1).
struct Tanh {
  static constexpr const char* kName = "tanh";
  static __device__ float fprop(float x) { return tanhf(x); }
  static __device__ float bprop(float y, float dy) { return dy * (1.0f - y * y); }
};

// 1 / (1 + exp(-x)), the other saturating unit.
struct Logistic {
  static constexpr const char* kName = "logistic";
  static __device__ float fprop(float x) { return 1.0f / (1.0f + expf(-x)); }
  static __device__ float bprop(float y, float dy) { return dy * (y * (1.0f - y)); }
};

// The extensions have <kName>_fprop and <kName>_bprop of each.
using ActivationTable = std::tuple<Relu, Tanh, Logistic>;

struct ActivationFpropParams {
  size_t function;  // place in the table
  const void* x;    // [count]
  void* y;          // [count], may be x
  int64_t count;
  DType dtype;
};

struct ActivationBpropParams {
  size_t function;
  const void* y;   // [count], what fprop wrote
  const void* dy;  // [count]
  void* dx;        // [count], may be y or dy
  int64_t count;
  DType dtype;
};

void launch_activation_fprop(const ActivationFpropParams& params, cudaStream_t stream);
void launch_activation_bprop(const ActivationBpropParams& params, cudaStream_t stream);

}  // namespace alexnet
